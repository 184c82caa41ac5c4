//! `POST /api/v1/pipelines/NAME:ACTION`: what is asked of a pipeline that is there. Each has its own documentation; the router
//! knows them as one path, which is taken apart here.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;

use super::auth::By;
use super::pipelines::{self, Asked, Pipeline};
use super::problem::{Code, Problem, blocking};
use super::refusals::{Always, Changing, Named, Taking};
use super::watched::{Act, Stop, Watched};
use super::{body, checkpoints};
use crate::access::Actor;

/// Actions that a later version brings.
const LATER: &[&str] = &["upgrade", "rollback"];

pub(super) async fn act(
    State(watched): State<Watched>,
    By(by): By,
    path: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, Problem> {
    let target = body::path(path)?;
    let Some((name, action)) = target.rsplit_once(':') else { return Err(unknown("")) };
    let name = name.to_owned();
    match action {
        "stop" => stop(watched, by, name, request).await,
        "cancel" => cancel(watched, by, name, request).await,
        "pause" => plain(watched, by, name, Act::Pause, request).await,
        "resume" => plain(watched, by, name, Act::Resume, request).await,
        "restart" => plain(watched, by, name, Act::Restart, request).await,
        later if LATER.contains(&later) => Err(Problem::new(Code::ComesLater, format!("`:{later}` comes later"))),
        action => Err(unknown(action)),
    }
}

fn unknown(action: &str) -> Problem {
    let detail = format!("there is no action {action:?}: there are :stop, :cancel, :pause, :resume and :restart");
    Problem::new(Code::UnknownAction, detail)
}

/// Stop a pipeline
///
/// A last checkpoint, then the end; it stays stopped. With `savepoint` the answer comes when it is there, with `wait` when it
/// has ended.
#[utoipa::path(post, path = "/api/v1/pipelines/{name}:stop", operation_id = "stopPipeline", tag = "pipelines",
    params(("name" = String, Path, description = "The pipeline")),
    request_body(content = Option<Stop>, content_type = "application/json"),
    responses((status = 202, body = Asked, description = "It is stopping"), (status = 200, body = Asked, description = "It has stopped"),
        Always, Named, Changing, Taking))]
pub(super) async fn stop(watched: Watched, by: Actor, name: String, request: Request) -> Result<Response, Problem> {
    let stop: Stop = body::options(request).await?;
    let status = if stop.wait { StatusCode::OK } else { StatusCode::ACCEPTED };
    let (view, operation, done) = blocking(move || watched.stop(&name, stop, &by)).await?;
    let Some(done) = done else { return Ok(pipelines::asked(status, &view, operation)) };
    let mut shown = json!(Pipeline::from(&view));
    shown["savepoint"] = checkpoints::show(&done);
    Ok((status, pipelines::etag(&view), body::json(&shown)).into_response())
}

/// How to cancel.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Wait {
    /// Answer when it is done.
    wait: bool,
}

/// End a pipeline at once
///
/// Nothing more is committed. It stays stopped.
#[utoipa::path(post, path = "/api/v1/pipelines/{name}:cancel", operation_id = "cancelPipeline", tag = "pipelines",
    params(("name" = String, Path, description = "The pipeline")),
    request_body(content = Option<Wait>, content_type = "application/json"),
    responses((status = 202, body = Asked, description = "It ends"), (status = 200, body = Asked, description = "It has ended"),
        Always, Named, Changing, Taking))]
pub(super) async fn cancel(watched: Watched, by: Actor, name: String, request: Request) -> Result<Response, Problem> {
    plain(watched, by, name, Act::Cancel, request).await
}

/// Pause a pipeline
///
/// A last checkpoint, then rest: it holds neither guests nor an open transaction, and goes on from there when it is resumed.
#[utoipa::path(post, path = "/api/v1/pipelines/{name}:pause", operation_id = "pausePipeline", tag = "pipelines",
    params(("name" = String, Path, description = "The pipeline")),
    request_body(content = Option<Wait>, content_type = "application/json"),
    responses((status = 202, body = Asked, description = "It is pausing"), (status = 200, body = Asked, description = "It is paused"),
        Always, Named, Changing, Taking))]
#[allow(dead_code, reason = "stands in the documentation only")]
pub(super) fn pause() {}

/// Resume a paused pipeline
#[utoipa::path(post, path = "/api/v1/pipelines/{name}:resume", operation_id = "resumePipeline", tag = "pipelines",
    params(("name" = String, Path, description = "The pipeline")),
    request_body(content = Option<Wait>, content_type = "application/json"),
    responses((status = 202, body = Asked, description = "It starts"), (status = 200, body = Asked, description = "It runs"),
        Always, Named, Changing, Taking))]
#[allow(dead_code, reason = "stands in the documentation only")]
pub(super) fn resume() {}

/// Restart a pipeline
///
/// A last checkpoint, and on from it with the same revision; one that has stopped or failed starts again.
#[utoipa::path(post, path = "/api/v1/pipelines/{name}:restart", operation_id = "restartPipeline", tag = "pipelines",
    params(("name" = String, Path, description = "The pipeline")),
    request_body(content = Option<Wait>, content_type = "application/json"),
    responses((status = 202, body = Asked, description = "It restarts"), (status = 200, body = Asked, description = "It runs again"),
        Always, Named, Changing, Taking))]
#[allow(dead_code, reason = "stands in the documentation only")]
pub(super) fn restart() {}

async fn plain(watched: Watched, by: Actor, name: String, act: Act, request: Request) -> Result<Response, Problem> {
    let Wait { wait } = body::options(request).await?;
    let status = if wait { StatusCode::OK } else { StatusCode::ACCEPTED };
    let (view, operation) = blocking(move || watched.act(&name, act, wait, &by)).await?;
    Ok(pipelines::asked(status, &view, operation))
}
