//! `/api/v1/operators`: upload once, list, look up, delete, and look at without keeping. What is refused was never started, and
//! nothing of it is kept.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Path, Query, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use base64::Engine as _;
use serde::Serialize;
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::Receiver;
use utoipa::ToSchema;

use super::auth::By;
use super::body;
use super::page::{Page, Paging};
use super::problem::{Code, Problem, blocking};
use super::refusals::{Always, Changing, Named, Taking};
use crate::access::audit::Audit;
use crate::pipeline::Manager;
use crate::registry::{self, COMPONENT_BYTES_MAX, Inspection, Received, Registry};
use crate::{clock, hex};

#[derive(Clone)]
pub(super) struct Operators {
    registry: Arc<Registry>,
    audit: Arc<Audit>,
    manager: Manager,
    /// Each may hold a whole component and the compiler's memory.
    uploads: Arc<Semaphore>,
}

/// The routes.
pub(super) fn routes(registry: Arc<Registry>, audit: Arc<Audit>, manager: Manager, uploads_at_once: u32) -> Router {
    // What streams is counted where it is taken.
    let upload = put(upload).layer(DefaultBodyLimit::disable()).get(one).delete(delete);
    Router::new()
        .route("/api/v1/operators", get(operators))
        .route("/api/v1/operators:validate", post(validate).layer(DefaultBodyLimit::disable()))
        .route("/api/v1/operators/{name}/versions", get(versions))
        .route("/api/v1/operators/{name}/versions/{version}", upload)
        .with_state(Operators { registry, audit, manager, uploads: Arc::new(Semaphore::new(uploads_at_once as usize)) })
}

/// An operator and its versions.
#[derive(Serialize, ToSchema)]
pub(super) struct Operator {
    name: String,
    /// As semver orders them.
    versions: Vec<String>,
}

/// A version of an operator. It never changes.
#[derive(Serialize, ToSchema)]
pub(super) struct Version {
    name: String,
    /// Semver, in full.
    version: String,
    /// sha256 of its bytes, lower-case hex; the `ETag` too.
    sha256: String,
    bytes: usize,
    /// RFC 3339.
    uploaded_at: String,
    /// The token that it came with.
    by: String,
    /// How long it took to compile it and to ask it what it is.
    checked_in_ms: u64,
    /// What somebody should know who uses it.
    warnings: Vec<String>,
    /// What `weir inspect` says of it.
    #[schema(value_type = Object)]
    inspection: Value,
}

impl From<registry::Version> for Version {
    fn from(it: registry::Version) -> Version {
        let uploaded_at = clock::rfc3339(it.uploaded_at);
        let registry::Version { name, version, sha256, bytes, by, checked_in_ms, warnings, inspection, .. } = it;
        Version { name, version, sha256, bytes, uploaded_at, by, checked_in_ms, warnings, inspection }
    }
}

/// What a component is, that was looked at and not kept.
#[derive(Serialize, ToSchema)]
pub(super) struct Validated {
    /// What `weir inspect` says of it.
    #[schema(value_type = Object)]
    inspection: Inspection,
}

type Named2 = Result<Path<(String, String)>, PathRejection>;
type Asked = Result<Query<Paging>, QueryRejection>;

/// List operators
#[utoipa::path(get, path = "/api/v1/operators", operation_id = "listOperators", tag = "operators", params(Paging),
    responses((status = 200, body = Page<Operator>), Always))]
pub(super) async fn operators(State(operators): State<Operators>, asked: Asked) -> Result<Response, Problem> {
    let paging = body::query(asked)?;
    let all = blocking(move || Ok::<_, Problem>(operators.registry.list(None))).await?;
    let mut by_name: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for version in all {
        by_name.entry(version.name).or_default().push(version.version);
    }
    let items = by_name.into_iter().map(|(name, versions)| Operator { name, versions });
    Ok(body::json(&paging.cut(items, |it| it.name.clone())?))
}

/// List the versions of an operator
#[utoipa::path(get, path = "/api/v1/operators/{name}/versions", operation_id = "listVersions", tag = "operators",
    params(("name" = String, Path, description = "The operator"), Paging),
    responses((status = 200, body = Page<Version>), Always, Named))]
pub(super) async fn versions(
    State(operators): State<Operators>,
    path: Result<Path<String>, PathRejection>,
    asked: Asked,
) -> Result<Response, Problem> {
    let (name, paging) = (body::path(path)?, body::query(asked)?);
    let wanted = name.clone();
    let versions = blocking(move || Ok::<_, Problem>(operators.registry.list(Some(&wanted)))).await?;
    if versions.is_empty() {
        return Err(Problem::new(Code::UnknownOperator, format!("there is no operator {name}")));
    }
    Ok(body::json(&paging.cut(versions.into_iter().map(Version::from), |it| it.version.clone())?))
}

/// Look a version up
///
/// A version may be shortened: `1`, `1.2` is the newest that it means.
#[utoipa::path(get, path = "/api/v1/operators/{name}/versions/{version}", operation_id = "getVersion", tag = "operators",
    params(("name" = String, Path, description = "The operator"), ("version" = String, Path, description = "Semver, or its beginning")),
    responses((status = 200, body = Version), Always, Named))]
pub(super) async fn one(State(operators): State<Operators>, path: Named2) -> Result<Response, Problem> {
    let (name, version) = body::path(path)?;
    let found = blocking(move || operators.registry.get(&name, &version)).await?;
    Ok(answer(StatusCode::OK, found))
}

/// Upload a version
///
/// The same bytes again are 200 and change nothing; other bytes for a version that exists are 409. The component is checked,
/// compiled under limits, and asked what it is, before anything is kept.
#[utoipa::path(put, path = "/api/v1/operators/{name}/versions/{version}", operation_id = "putVersion", tag = "operators",
    params(("name" = String, Path, description = "The operator"), ("version" = String, Path, description = "Semver, in full"),
        ("Content-Digest" = Option<String>, Header, description = "RFC 9530: `sha-256=:BASE64:`; what arrives must have it")),
    request_body(content = Vec<u8>, content_type = "application/wasm", description = "The component, at most 32 MiB"),
    responses((status = 201, body = Version, description = "It is new"), (status = 200, body = Version, description = "It was there"),
        Always, Changing, Taking))]
pub(super) async fn upload(
    State(operators): State<Operators>,
    By(by): By,
    path: Named2,
    request: Request,
) -> Result<Response, Problem> {
    let (name, version) = body::path(path)?;
    let name = body::name(&name)?;
    let _turn = operators.turn().await?;
    let received = operators.receive(request).await?;
    let Operators { registry, audit, .. } = operators;
    let uploaded = blocking(move || registry.put((&by, &audit), &name, &version, received)).await?;
    uploaded.version.warnings.iter().for_each(|warning| tracing::warn!("{}: {warning}", uploaded.version.id()));
    Ok(answer(if uploaded.created { StatusCode::CREATED } else { StatusCode::OK }, uploaded.version))
}

/// Look at a component without keeping it
#[utoipa::path(post, path = "/api/v1/operators:validate", operation_id = "validateComponent", tag = "operators",
    request_body(content = Vec<u8>, content_type = "application/wasm", description = "The component, at most 32 MiB"),
    responses((status = 200, body = Validated), Always, Changing, Taking))]
pub(super) async fn validate(State(operators): State<Operators>, request: Request) -> Result<Response, Problem> {
    let _turn = operators.turn().await?;
    let received = operators.receive(request).await?;
    let inspection = blocking(move || operators.registry.inspect(&received.bytes)).await?;
    Ok(body::json(&Validated { inspection }))
}

/// Delete a version that no pipeline uses
///
/// Its name means these bytes for ever: other ones under it stay refused.
#[utoipa::path(delete, path = "/api/v1/operators/{name}/versions/{version}", operation_id = "deleteVersion", tag = "operators",
    params(("name" = String, Path, description = "The operator"), ("version" = String, Path, description = "Semver, in full")),
    responses((status = 204, description = "It is gone"), Always, Named, Changing))]
pub(super) async fn delete(
    State(operators): State<Operators>,
    By(by): By,
    path: Named2,
) -> Result<StatusCode, Problem> {
    let (name, version) = body::path(path)?;
    blocking(move || operators.manager.delete_operator(&name, &version, &by)).await?;
    Ok(StatusCode::NO_CONTENT)
}

impl Operators {
    async fn turn(&self) -> Result<tokio::sync::OwnedSemaphorePermit, Problem> {
        let turn = Arc::clone(&self.uploads).acquire_owned().await;
        turn.map_err(|_| Problem::internal("the queue of uploads is closed".to_owned()))
    }

    /// Takes a component in, to the last byte.
    async fn receive(&self, request: Request) -> Result<Received, Problem> {
        body::media_type(request.headers(), &["application/wasm"])?;
        let said = digest(request.headers())?;
        let registry = Arc::clone(&self.registry);
        body::stream(request, COMPONENT_BYTES_MAX, move |mut pieces: Receiver<Bytes>| {
            let mut upload = registry.receive()?;
            while let Some(piece) = pieces.blocking_recv() {
                upload.write(&piece)?;
            }
            Ok(upload.finish(said.as_deref())?)
        })
        .await
    }
}

/// The sha-256 that `Content-Digest` says, in hex. Other algorithms beside it are not looked at; alone they would promise a check
/// that nobody makes.
fn digest(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let bad = || Problem::new(Code::BadRequest, "Content-Digest is written once, `sha-256=:BASE64:`, as RFC 9530 says");
    let mut ours = None;
    for value in headers.get_all("content-digest") {
        for one in value.to_str().map_err(|_| bad())?.split(',') {
            let (algorithm, encoded) = one.trim().split_once('=').ok_or_else(bad)?;
            let encoded = encoded.strip_prefix(':').and_then(|rest| rest.strip_suffix(':')).ok_or_else(bad)?;
            let bytes = base64::engine::general_purpose::STANDARD.decode(encoded).map_err(|_| bad())?;
            if algorithm == "sha-256" && (bytes.len() != 32 || ours.replace(hex::encode(&bytes)).is_some()) {
                return Err(bad());
            }
        }
    }
    match ours {
        None if headers.contains_key("content-digest") => Err(bad()),
        ours => Ok(ours),
    }
}

fn answer(status: StatusCode, version: registry::Version) -> Response {
    let etag = format!("\"{}\"", version.sha256);
    (status, [(header::ETAG, etag)], body::json(&Version::from(version))).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_read_as_rfc_9530_writes_it() {
        let of = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("content-digest", text.parse().unwrap());
            digest(&headers)
        };
        let empty = "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:";
        assert_eq!(of(empty).unwrap(), Some(hex::sha256(b"")));
        assert_eq!(of(&format!("md5=:AA==:, {empty}")).unwrap(), Some(hex::sha256(b"")));
        let twice = format!("{empty}, {empty}");
        for bad in ["sha-256=47DE", "sha-256=:AA==:", "sha-256=:%:", "md5=:AA==:", "%%%", "", &twice] {
            assert!(of(bad).is_err(), "{bad}");
        }
        assert_eq!(digest(&HeaderMap::new()).unwrap(), None);
    }
}
