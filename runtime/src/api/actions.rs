//! `POST /api/v1/pipelines/NAME:ACTION`: what is asked of a pipeline that is there. Each has its own documentation; the router
//! knows them as one path, which is taken apart here.

use std::time::Duration;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;

use super::apply::condition;
use super::auth::By;
use super::pipelines::{self, Asked, Pipeline};
use super::problem::{Code, Problem, blocking};
use super::refusals::{Always, Changing, Named, Taking};
use super::watched::Watched;
use super::wishes::{Act, Stop};
use super::{body, checkpoints};
use crate::access::Actor;
use crate::pipeline::{Applied, Manager, ManagerError};

/// How long an upgrade is on trial, unless said.
const GRACE: Duration = Duration::from_secs(10);

pub(super) async fn act(
    State(watched): State<Watched>,
    By(by): By,
    path: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, Problem> {
    let target = body::path(path)?;
    let Some((name, action)) = target.rsplit_once(':') else {
        let problem = Problem::new(Code::MethodNotAllowed, "a pipeline has no POST, but for its actions: …/NAME:stop");
        return Ok(([(header::ALLOW, "GET,HEAD,PUT,DELETE")], problem).into_response());
    };
    let name = name.to_owned();
    match action {
        "stop" => stop(watched, by, name, request).await,
        "cancel" => cancel(watched, by, name, request).await,
        "pause" => pause(watched, by, name, request).await,
        "resume" => resume(watched, by, name, request).await,
        "restart" => restart(watched, by, name, request).await,
        "upgrade" => upgrade(watched, by, name, request).await,
        "rollback" => rollback(watched, by, name, request).await,
        action => Err(unknown(action)),
    }
}

fn unknown(action: &str) -> Problem {
    let detail = format!(
        "there is no action {action:?}: there are :stop, :cancel, :pause, :resume, :restart, :upgrade and :rollback"
    );
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
pub(super) async fn pause(watched: Watched, by: Actor, name: String, request: Request) -> Result<Response, Problem> {
    plain(watched, by, name, Act::Pause, request).await
}

/// Resume a paused pipeline
#[utoipa::path(post, path = "/api/v1/pipelines/{name}:resume", operation_id = "resumePipeline", tag = "pipelines",
    params(("name" = String, Path, description = "The pipeline")),
    request_body(content = Option<Wait>, content_type = "application/json"),
    responses((status = 202, body = Asked, description = "It starts"), (status = 200, body = Asked, description = "It runs"),
        Always, Named, Changing, Taking))]
pub(super) async fn resume(watched: Watched, by: Actor, name: String, request: Request) -> Result<Response, Problem> {
    plain(watched, by, name, Act::Resume, request).await
}

/// Restart a pipeline
///
/// A last checkpoint, and on from it with the same revision; one that has stopped or failed starts again.
#[utoipa::path(post, path = "/api/v1/pipelines/{name}:restart", operation_id = "restartPipeline", tag = "pipelines",
    params(("name" = String, Path, description = "The pipeline")),
    request_body(content = Option<Wait>, content_type = "application/json"),
    responses((status = 202, body = Asked, description = "It restarts"), (status = 200, body = Asked, description = "It runs again"),
        Always, Named, Changing, Taking))]
pub(super) async fn restart(watched: Watched, by: Actor, name: String, request: Request) -> Result<Response, Problem> {
    plain(watched, by, name, Act::Restart, request).await
}

/// Another operator at a node.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Upgrade {
    /// The node.
    node: String,
    /// `NAME@VERSION`; a version may be shortened.
    operator: String,
    /// So long nothing is committed, and the revision before comes back by itself where this one traps or cannot open: `10s`
    /// unless said, at most `60s`; `0s` is no trial.
    grace: Option<String>,
    /// Answer when it has committed, or was rolled back.
    #[serde(default)]
    wait: bool,
}

/// Give a node another operator
///
/// Refused at once where the state does not fit. Else a last checkpoint under the old operator, and the new one goes on from it,
/// on trial: where it traps or cannot open before its grace is over, the revision before it comes back and goes on from the same
/// checkpoint.
#[utoipa::path(post, path = "/api/v1/pipelines/{name}:upgrade", operation_id = "upgradePipeline", tag = "pipelines",
    params(("name" = String, Path, description = "The pipeline"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` of the revision that is meant")),
    request_body(content = Upgrade, content_type = "application/json"),
    responses((status = 202, body = Asked, description = "It is on its way"), (status = 200, body = Asked, description = "It is over: see the operation; or it ran already"),
        (status = 412, body = super::problem::Shown<'static>, content_type = "application/problem+json", description = "It has another revision"),
        Always, Named, Changing, Taking))]
pub(super) async fn upgrade(watched: Watched, by: Actor, name: String, request: Request) -> Result<Response, Problem> {
    let condition = condition(request.headers())?;
    let Upgrade { node, operator, grace, wait } = body::must(request).await?;
    let grace = body::duration("grace", grace.as_deref())?.unwrap_or(GRACE);
    switched(watched, wait, move |manager| manager.upgrade(&name, (&node, &operator), grace, condition, &by)).await
}

/// Where to go back to.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Rollback {
    /// The revision; the one before the one that counts, unless said.
    to: Option<u64>,
    /// Answer when it runs.
    wait: bool,
}

/// Go back to an earlier revision
///
/// Its text and its operators become a new revision, which goes on from the newest commit: nothing is read or written twice.
/// Refused where it cannot read the state that the newer one has written.
#[utoipa::path(post, path = "/api/v1/pipelines/{name}:rollback", operation_id = "rollbackPipeline", tag = "pipelines",
    params(("name" = String, Path, description = "The pipeline"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` of the revision that is meant")),
    request_body(content = Option<Rollback>, content_type = "application/json"),
    responses((status = 202, body = Asked, description = "It is on its way"), (status = 200, body = Asked, description = "It runs"),
        (status = 412, body = super::problem::Shown<'static>, content_type = "application/problem+json", description = "It has another revision"),
        Always, Named, Changing, Taking))]
pub(super) async fn rollback(watched: Watched, by: Actor, name: String, request: Request) -> Result<Response, Problem> {
    let condition = condition(request.headers())?;
    let Rollback { to, wait } = body::options(request).await?;
    switched(watched, wait, move |manager| manager.rollback(&name, to, condition, &by)).await
}

/// Switches to another revision, and answers how that stands.
async fn switched(
    watched: Watched,
    wait: bool,
    switch: impl FnOnce(&Manager) -> Result<Applied, ManagerError> + Send + 'static,
) -> Result<Response, Problem> {
    let Watched::All(manager) = watched else {
        return Err(Problem::new(
            Code::UnknownAction,
            "a `weir run` has one revision: a server upgrades and rolls back",
        ));
    };
    let (view, operation, is_over) = blocking(move || {
        let Applied { mut view, operation, .. } = switch(&manager)?;
        let is_over = operation.is_none() || wait;
        if let Some(operation) = operation.as_ref().filter(|_| wait) {
            manager.wait_for(&view.name, operation.number);
            view = manager.get(view.name.as_str())?;
        }
        Ok::<_, ManagerError>((view, operation, is_over))
    })
    .await?;
    let status = if is_over { StatusCode::OK } else { StatusCode::ACCEPTED };
    let id = operation.map(|it| it.id(&view.name));
    Ok(pipelines::asked(status, &view, id))
}

async fn plain(watched: Watched, by: Actor, name: String, act: Act, request: Request) -> Result<Response, Problem> {
    let Wait { wait } = body::options(request).await?;
    let status = if wait { StatusCode::OK } else { StatusCode::ACCEPTED };
    let (view, operation) = blocking(move || watched.act(&name, act, wait, &by)).await?;
    Ok(pipelines::asked(status, &view, operation))
}
