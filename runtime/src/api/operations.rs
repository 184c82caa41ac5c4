//! `/api/v1/operations`: what was asked of a pipeline and takes its time.

use axum::Router;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::response::Response;
use axum::routing::get;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::body;
use super::page::{Page, Paging};
use super::problem::{Code, Problem, blocking};
use super::refusals::{Always, Named};
use crate::clock::rfc3339;
use crate::pipeline::{self, Manager, Progress};

/// The routes.
pub(super) fn routes(manager: Manager) -> Router {
    Router::new().route("/api/v1/operations", get(list)).route("/api/v1/operations/{id}", get(one)).with_state(manager)
}

/// Something that was asked of a pipeline.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Operation {
    /// The pipeline and a number.
    id: String,
    pipeline: String,
    /// `apply`, `stop`, `cancel`, `pause`, `resume`, `restart`, `upgrade` or `rollback`.
    kind: &'static str,
    /// The revision that it is about.
    revision: u64,
    /// The token that asked.
    by: String,
    /// `running`, `succeeded` or `failed`.
    state: &'static str,
    /// RFC 3339.
    started_at: String,
    /// RFC 3339; null while it is under way.
    ended_at: Option<String>,
    /// Why it came to nothing.
    problem: Option<String>,
}

impl Operation {
    fn of(name: &weir_core::ids::Name, it: &pipeline::Operation) -> Operation {
        Operation {
            id: it.id(name),
            pipeline: name.to_string(),
            kind: it.kind.as_str(),
            revision: it.revision,
            by: it.by.clone(),
            state: match it.progress {
                Progress::Running => "running",
                Progress::Succeeded => "succeeded",
                Progress::Failed => "failed",
            },
            started_at: rfc3339(it.started_at),
            ended_at: it.ended_at.map(rfc3339),
            problem: it.problem.clone(),
        }
    }
}

/// Whose operations.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default)]
pub(super) struct Whose {
    /// Of this pipeline only.
    pipeline: Option<String>,
}

/// List operations
///
/// The newest 16 of each pipeline, newest first.
#[utoipa::path(get, path = "/api/v1/operations", operation_id = "listOperations", tag = "operations", params(Whose, Paging),
    responses((status = 200, body = Page<Operation>), Always, Named))]
pub(super) async fn list(
    State(manager): State<Manager>,
    whose: Result<Query<Whose>, QueryRejection>,
    asked: Result<Query<Paging>, QueryRejection>,
) -> Result<Response, Problem> {
    let (whose, paging) = (body::query(whose)?, body::query(asked)?);
    let found = blocking(move || {
        let names = match whose.pipeline {
            Some(name) => vec![manager.get(&name)?.name],
            None => manager.list().into_iter().map(|view| view.name).collect(),
        };
        let mut found = Vec::new();
        for name in names {
            // One that was deleted meanwhile, or is damaged, has none.
            let operations = manager.operations(name.as_str()).unwrap_or_default();
            found.extend(operations.iter().map(|it| (it.started_at, Operation::of(&name, it))));
        }
        found.sort_by_key(|(at, it)| (std::cmp::Reverse(*at), it.id.clone()));
        Ok::<_, Problem>(found)
    })
    .await?;
    Ok(body::json(&paging.cut(found.into_iter().map(|(_, it)| it), |it| it.id.clone())?))
}

/// Look an operation up
///
/// It is there for as long as it is one of the newest 16 of its pipeline, also behind a restart of the server.
#[utoipa::path(get, path = "/api/v1/operations/{id}", operation_id = "getOperation", tag = "operations",
    params(("id" = String, Path, description = "As the action answered it")),
    responses((status = 200, body = Operation), Always, Named))]
pub(super) async fn one(
    State(manager): State<Manager>,
    path: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    let id = body::path(path)?;
    let unknown = || Problem::new(Code::UnknownOperation, format!("there is no operation {id:?}"));
    let (name, _) = id.rsplit_once('.').ok_or_else(unknown)?;
    let asked = name.to_owned();
    let found = blocking(move || Ok::<_, Problem>((manager.get(&asked)?.name, manager.operations(&asked)?))).await;
    let (name, operations) =
        found.map_err(|problem| if problem.is(Code::UnknownPipeline) { unknown() } else { problem })?;
    let found = operations.iter().find(|it| it.id(&name) == id).ok_or_else(unknown)?;
    Ok(body::json(&Operation::of(&name, found)))
}
