//! `/api/v1/pipelines/{name}/revisions` and `/graph`: what a pipeline is, and was.

use axum::Router;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::response::Response;
use axum::routing::get;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::page::{Page, Paging};
use super::problem::{Code, Problem, blocking};
use super::refusals::{Always, Named};
use super::{body, nodes};
use crate::clock::rfc3339;
use crate::pipeline::{self, Cause, Language, Manager};

/// The routes.
pub(super) fn routes(manager: Manager) -> Router {
    Router::new()
        .route("/api/v1/pipelines/{name}/revisions", get(list))
        .route("/api/v1/pipelines/{name}/revisions/{number}", get(one))
        .route("/api/v1/pipelines/{name}/graph", get(graph))
        .with_state(manager)
}

/// A revision of a pipeline. It never changes.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Revision {
    number: u64,
    /// RFC 3339.
    at: String,
    /// The token that made it.
    by: String,
    /// `apply`, `upgrade`, or `rollback to N`.
    cause: String,
    /// `toml` or `json`.
    language: &'static str,
    /// By `name@version` as the text has it: `{version, sha256}`.
    #[schema(value_type = Object)]
    operators: Value,
    /// As it was applied; in the list it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
}

impl Revision {
    fn of(it: pipeline::Revision, with_text: bool) -> Revision {
        Revision {
            number: it.number,
            at: rfc3339(it.at),
            by: it.by,
            cause: match it.cause {
                Cause::Apply => "apply".to_owned(),
                Cause::Upgrade => "upgrade".to_owned(),
                Cause::Rollback { to } => format!("rollback to {to}"),
            },
            language: match it.language {
                Language::Toml => "toml",
                Language::Json => "json",
            },
            operators: json!(it.operators),
            text: with_text.then_some(it.text),
        }
    }
}

type Name = Result<Path<String>, PathRejection>;

/// List the revisions of a pipeline
///
/// Newest first.
#[utoipa::path(get, path = "/api/v1/pipelines/{name}/revisions", operation_id = "listRevisions", tag = "pipelines",
    params(("name" = String, Path, description = "The pipeline"), Paging),
    responses((status = 200, body = Page<Revision>), Always, Named))]
pub(super) async fn list(
    State(manager): State<Manager>,
    path: Name,
    asked: Result<Query<Paging>, QueryRejection>,
) -> Result<Response, Problem> {
    let (name, paging) = (body::path(path)?, body::query(asked)?);
    let newest = {
        let (manager, name) = (manager.clone(), name.clone());
        blocking(move || manager.get(&name)).await?.revision
    };
    let page = paging.cut((1..=newest).rev(), u64::to_string)?;
    let page = blocking(move || {
        page.try_map(|number| Ok::<_, Problem>(Revision::of(manager.revision(&name, number)?, false)))
    })
    .await?;
    Ok(body::json(&page))
}

/// Look a revision up
#[utoipa::path(get, path = "/api/v1/pipelines/{name}/revisions/{number}", operation_id = "getRevision", tag = "pipelines",
    params(("name" = String, Path, description = "The pipeline"), ("number" = String, Path, description = "The revision, or `current`")),
    responses((status = 200, body = Revision), Always, Named))]
pub(super) async fn one(
    State(manager): State<Manager>,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Result<Response, Problem> {
    let (name, number) = body::path(path)?;
    let found = blocking(move || match number.as_str() {
        "current" => Ok(manager.current(&name)?),
        number => match number.parse() {
            Ok(number) => Ok(manager.revision(&name, number)?),
            Err(_) => Err(Problem::new(
                Code::UnknownRevision,
                format!("a revision is a number, or `current`, and not {number:?}"),
            )),
        },
    })
    .await?;
    Ok(body::json(&Revision::of(found, true)))
}

/// Look at a pipeline's graph
///
/// Nodes with their subtasks, chains, and how records are spread between them: as `weir graph --format json` prints it. Where the
/// pipeline runs each node has `live`, the `total` of its status, and the graph has the `bottleneck`.
#[utoipa::path(get, path = "/api/v1/pipelines/{name}/graph", operation_id = "getGraph", tag = "pipelines",
    params(("name" = String, Path, description = "The pipeline")),
    responses((status = 200, body = Object), Always, Named))]
pub(super) async fn graph(State(manager): State<Manager>, path: Name) -> Result<Response, Problem> {
    let name = body::path(path)?;
    let graph = blocking(move || {
        let mut graph = json!(manager.graph(&name)?);
        let handle = manager.handles().into_iter().find(|(known, _)| known.as_str() == name);
        if let Some(live) = handle.map(|(_, handle)| handle.status.live()) {
            for node in graph["nodes"].as_array_mut().into_iter().flatten() {
                node["live"] = nodes::in_a_graph(&live, node["name"].as_str().unwrap_or_default());
            }
            graph["bottleneck"] = json!(live.bottleneck);
        }
        Ok::<_, Problem>(graph)
    })
    .await?;
    Ok(body::json(&graph))
}
