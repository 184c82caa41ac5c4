//! `/api/v1/operators`: upload once, list, look up. What is refused was never started, and nothing of it is kept.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::rejection::PathRejection;
use axum::extract::{DefaultBodyLimit, Path, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use weir_core::ids::Name;

use super::body;
use super::problem::{Code, Problem, blocking};
use crate::clock;
use crate::registry::{COMPONENT_BYTES_MAX, Registry, Version};

/// Each may hold a whole component and the compiler's memory.
const UPLOADS_AT_ONCE: usize = 4;

#[derive(Clone)]
struct Operators {
    registry: Arc<Registry>,
    uploads: Arc<Semaphore>,
}

/// The routes.
pub(super) fn routes(registry: Arc<Registry>) -> Router {
    let upload = put(upload).layer(DefaultBodyLimit::max(COMPONENT_BYTES_MAX)).get(one);
    Router::new()
        .route("/api/v1/operators", get(operators))
        .route("/api/v1/operators/{name}/versions", get(versions))
        .route("/api/v1/operators/{name}/versions/{version}", upload)
        .with_state(Operators { registry, uploads: Arc::new(Semaphore::new(UPLOADS_AT_ONCE)) })
}

async fn upload(
    State(operators): State<Operators>,
    path: Result<Path<(String, String)>, PathRejection>,
    request: Request,
) -> Result<Response, Problem> {
    let (name, version) = body::path(path)?;
    let name = body::name(&name)?;
    body::media_type(request.headers(), &["application/wasm"])?;
    let Ok(_turn) = operators.uploads.acquire().await else {
        return Err(Problem::internal("the queue of uploads is closed".to_owned()));
    };
    let bytes = body::read(request, COMPONENT_BYTES_MAX).await?;
    let called = name.clone();
    let uploaded = blocking(move || operators.registry.put(&name, &version, &bytes)).await?;
    let status = if uploaded.created { StatusCode::CREATED } else { StatusCode::OK };
    let mut answer = record(&uploaded.version);
    answer["inspection"] = json!(uploaded.inspection);
    answer["warnings"] = json!(other_name(&called, &uploaded.inspection.name));
    Ok((status, [(header::ETAG, etag(&uploaded.version))], body::json(&answer)).into_response())
}

/// Whoever reads a message of this operator looks for it under the name that it has there.
fn other_name(called: &Name, own: &str) -> Vec<String> {
    if called.as_str() == own {
        return Vec::new();
    }
    let warning = format!("the component calls itself `{own}`: messages name it so, pipelines name it `{called}`");
    tracing::warn!("{warning}");
    vec![warning]
}

async fn operators(State(operators): State<Operators>) -> Result<Response, Problem> {
    let all = blocking(move || Ok::<_, Problem>(operators.registry.list(None))).await?;
    let mut by_name: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for version in all {
        by_name.entry(version.name).or_default().push(version.version);
    }
    let items: Vec<Value> =
        by_name.into_iter().map(|(name, versions)| json!({"name": name, "versions": versions})).collect();
    Ok(body::json(&json!({"items": items, "next": null})))
}

async fn versions(
    State(operators): State<Operators>,
    path: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    let name = body::path(path)?;
    let asked = name.clone();
    let versions = blocking(move || Ok::<_, Problem>(operators.registry.list(Some(&asked)))).await?;
    if versions.is_empty() {
        return Err(Problem::new(Code::UnknownOperator, format!("there is no operator {name}")));
    }
    Ok(body::json(&json!({"items": versions.iter().map(record).collect::<Vec<_>>(), "next": null})))
}

async fn one(
    State(operators): State<Operators>,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Result<Response, Problem> {
    let (name, version) = body::path(path)?;
    let found = blocking(move || operators.registry.get(&name, &version)).await?;
    Ok(([(header::ETAG, etag(&found))], body::json(&record(&found))).into_response())
}

fn etag(version: &Version) -> String {
    format!("\"{}\"", version.sha256)
}

fn record(version: &Version) -> Value {
    json!({
        "name": version.name,
        "version": version.version,
        "sha256": version.sha256,
        "bytes": version.bytes,
        "uploaded_at": clock::rfc3339(version.uploaded_at),
    })
}
