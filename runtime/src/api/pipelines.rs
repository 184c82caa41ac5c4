//! `/api/v1/pipelines`: list, look up, delete, and what there is to read about one. The manager decides; this reads requests and
//! writes answers.

use axum::Router;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use serde::Serialize;
use utoipa::ToSchema;

use super::actions::act;
use super::apply::{PIPELINE_BYTES_MAX, apply, condition};
use super::auth::By;
use super::body;
use super::events::millis;
use super::page::{Page, Paging};
use super::problem::{Problem, blocking};
use super::refusals::{Always, Changing, Named};
use super::watched::Watched;
use crate::clock;
use crate::pipeline::{Manager, View};

/// The routes. The router takes no `{name}:stop`, so an action is found at the last colon of the target.
pub(super) fn routes(watched: Watched) -> Router {
    let mut target = get(one).post(act);
    if let Watched::All(manager) = &watched {
        let changes = put(apply).delete(delete).layer(DefaultBodyLimit::max(PIPELINE_BYTES_MAX));
        target = target.merge(changes.with_state(manager.clone()));
    }
    Router::new().route("/api/v1/pipelines", get(list)).route("/api/v1/pipelines/{target}", target).with_state(watched)
}

/// A pipeline as it stands.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Pipeline {
    name: String,
    /// `created`, `starting`, `running`, `paused`, `stopping`, `stopped`, `failed` or `circuit-open`.
    state: &'static str,
    /// The one that counts; the `ETag` too.
    revision: u64,
    last_checkpoint: Option<LastCheckpoint>,
    /// Attempts after the first, since it was last started.
    restarts: u64,
    /// Of a revision on trial, of which nothing is committed yet; else null.
    trial: Option<Trial>,
    /// Why it does not run, where nobody stopped it.
    problem: Option<String>,
    /// What it does at this moment, where it runs.
    live: Option<Live>,
}

/// What becomes of a revision on trial.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Trial {
    /// The revision that comes back where this one fails.
    back_to: u64,
}

/// A running pipeline in a line. Rates and shares are those of the last 10 s or so.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Live {
    /// Read by its sources.
    records_in_per_second: f64,
    /// Taken by its sinks.
    records_out_per_second: f64,
    /// Between its sources' positions and the end of what exists.
    lag_records: u64,
    /// Wall clock less the least watermark.
    watermark_lag_seconds: Option<f64>,
    /// The share of its time that the busiest subtask works.
    busy: f64,
    /// What everything waits for, if there is such a thing: `count (busy 97 %)`.
    bottleneck: Option<String>,
}

/// The newest committed checkpoint.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct LastCheckpoint {
    epoch: u64,
    /// RFC 3339.
    completed_at: String,
    age_seconds: f64,
    /// From its barrier to the commit; 0 for one of an earlier process.
    duration_ms: f64,
    /// Written for it.
    bytes: u64,
}

impl From<&View> for Pipeline {
    fn from(view: &View) -> Pipeline {
        let checkpoint = view.last_checkpoint.as_ref();
        Pipeline {
            name: view.name.to_string(),
            state: view.state.as_str(),
            revision: view.revision,
            last_checkpoint: checkpoint.map(|last| LastCheckpoint {
                epoch: last.epoch.0,
                completed_at: clock::rfc3339(last.completed_at),
                age_seconds: (clock::now_millis() - last.completed_at).max(0) as f64 / 1000.0,
                duration_ms: millis(last.duration),
                bytes: last.bytes,
            }),
            restarts: view.restarts,
            trial: view.back_to.map(|back_to| Trial { back_to }),
            problem: view.problem.clone(),
            live: view.pulse.as_ref().map(|pulse| Live {
                records_in_per_second: pulse.records_in,
                records_out_per_second: pulse.records_out,
                lag_records: pulse.lag,
                watermark_lag_seconds: pulse.watermark_lag.map(|lag| lag as f64 / 1000.0),
                busy: pulse.busy,
                bottleneck: pulse.bottleneck.clone(),
            }),
        }
    }
}

/// A pipeline as it stands, and what carries out the wish.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Asked {
    #[serde(flatten)]
    pipeline: Pipeline,
    /// The path of the operation, in `Location` too; null where there is nothing to wait for.
    operation: Option<String>,
}

type Target = Result<Path<String>, PathRejection>;

/// List pipelines
#[utoipa::path(get, path = "/api/v1/pipelines", operation_id = "listPipelines", tag = "pipelines", params(Paging),
    responses((status = 200, body = Page<Pipeline>), Always))]
pub(super) async fn list(
    State(watched): State<Watched>,
    asked: Result<Query<Paging>, QueryRejection>,
) -> Result<Response, Problem> {
    let paging = body::query(asked)?;
    let views = blocking(move || Ok::<_, Problem>(watched.views())).await?;
    Ok(body::json(&paging.cut(views.iter().map(Pipeline::from), |it| it.name.clone())?))
}

/// Look a pipeline up
#[utoipa::path(get, path = "/api/v1/pipelines/{name}", operation_id = "getPipeline", tag = "pipelines",
    params(("name" = String, Path, description = "The pipeline")),
    responses((status = 200, body = Pipeline), Always, Named))]
pub(super) async fn one(State(watched): State<Watched>, path: Target) -> Result<Response, Problem> {
    let name = body::path(path)?;
    let view = blocking(move || watched.view(&name)).await?;
    Ok((etag(&view), body::json(&Pipeline::from(&view))).into_response())
}

/// Delete a pipeline and its state
///
/// Once it is stopped. Commits that the state is gone, then deletes it.
#[utoipa::path(delete, path = "/api/v1/pipelines/{name}", operation_id = "deletePipeline", tag = "pipelines",
    params(("name" = String, Path, description = "The pipeline"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` of the revision that is meant, or `*`")),
    responses((status = 204, description = "It is gone"),
        (status = 412, body = super::problem::Shown<'static>, content_type = "application/problem+json", description = "It has another revision"),
        Always, Named, Changing))]
pub(super) async fn delete(
    State(manager): State<Manager>,
    By(by): By,
    path: Target,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    let (name, condition) = (body::path(path)?, condition(&headers)?);
    blocking(move || manager.delete(&name, condition, &by)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The answer to a wish.
pub(super) fn asked(status: StatusCode, view: &View, operation: Option<String>) -> Response {
    let operation = operation.map(|id| format!("/api/v1/operations/{id}"));
    let location = operation.clone();
    let answer = (status, etag(view), body::json(&Asked { pipeline: Pipeline::from(view), operation }));
    match location {
        Some(path) => ([(header::LOCATION, path)], answer).into_response(),
        None => answer.into_response(),
    }
}

pub(super) fn etag(view: &View) -> [(header::HeaderName, String); 1] {
    [(header::ETAG, format!("\"{}\"", view.revision))]
}
