//! `/api/v1/pipelines/{name}/checkpoints`: those that are there, how the newest were made, a new one on request, and the end
//! of an old one. The pipeline decides when, and whether.

use std::path::PathBuf;

use axum::Router;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::{Value, json};

use super::body;
use super::page::{Page, Paging};
use super::problem::{Code, Problem, blocking};
use super::refusals::{Always, Changing, Named, Taking};
use super::shown;
use super::watched::Watched;
use crate::pipeline::checkpoints::Error;
use crate::pipeline::{Done, Wish};

/// The routes.
pub(super) fn routes(watched: Watched) -> Router {
    Router::new()
        .route("/api/v1/pipelines/{name}/checkpoints", get(list).post(make))
        // No id is called so: an id is a number, a dash and a number.
        .route("/api/v1/pipelines/{name}/checkpoints/history", get(history))
        .route("/api/v1/pipelines/{name}/checkpoints/{id}", get(one).delete(remove))
        .route("/api/v1/pipelines/{name}/checkpoints/{id}/manifest", get(manifest))
        .with_state(watched)
}

/// A checkpoint in a list.
#[derive(utoipa::ToSchema)]
#[allow(dead_code, reason = "stands in the documentation only")]
pub(super) struct Checkpoint {
    /// The epoch and the token of its writer.
    id: String,
    epoch: u64,
    /// RFC 3339; null for one that was not committed.
    completed_at: Option<String>,
    bytes: Option<u64>,
    /// `checkpoint`, `savepoint`, `final`, `rewind` or `reset`.
    kind: String,
}

type Name = Result<Path<String>, PathRejection>;
type Paged = Result<Query<Paging>, QueryRejection>;
type OneOf = Result<Path<(String, String)>, PathRejection>;

/// List the committed checkpoints of a pipeline
///
/// Newest first.
#[utoipa::path(get, path = "/api/v1/pipelines/{name}/checkpoints", operation_id = "listCheckpoints", tag = "checkpoints",
    params(("name" = String, Path, description = "The pipeline"), Paging),
    responses((status = 200, body = Page<Checkpoint>), Always, Named))]
pub(super) async fn list(State(watched): State<Watched>, path: Name, asked: Paged) -> Result<Response, Problem> {
    let (name, paging) = (body::path(path)?, body::query(asked)?);
    let items = blocking(move || {
        let listed = watched.checkpoints(&name)?.list();
        let (found, _) = listed.map_err(|e| Problem::new(Code::Damaged, e.to_string()))?;
        Ok::<_, Problem>(found.iter().map(shown::summary).collect::<Vec<_>>())
    })
    .await?;
    Ok(body::json(&paging.cut(items, |it: &Value| it["id"].to_string())?))
}

/// See how the newest checkpoints were made
///
/// Newest first, failed ones and the one under way too.
#[utoipa::path(get, path = "/api/v1/pipelines/{name}/checkpoints/history", operation_id = "listCheckpointHistory", tag = "checkpoints",
    params(("name" = String, Path, description = "The pipeline"), Paging),
    responses((status = 200, body = Page<Object>), Always, Named))]
pub(super) async fn history(State(watched): State<Watched>, path: Name, asked: Paged) -> Result<Response, Problem> {
    let (name, paging) = (body::path(path)?, body::query(asked)?);
    let items: Vec<Value> = blocking(move || {
        let known = watched.history(&name)?;
        Ok::<_, Problem>(known.newest_first().map(shown::statistics).collect())
    })
    .await?;
    Ok(body::json(&paging.cut(items, |it: &Value| it["id"].to_string())?))
}

/// Look a checkpoint up
///
/// What it holds, and how it was made in each subtask.
#[utoipa::path(get, path = "/api/v1/pipelines/{name}/checkpoints/{id}", operation_id = "getCheckpoint", tag = "checkpoints",
    params(("name" = String, Path, description = "The pipeline"), ("id" = String, Path, description = "`EPOCH-TOKEN`")),
    responses((status = 200, body = Object), Always, Named))]
pub(super) async fn one(State(watched): State<Watched>, path: OneOf) -> Result<Response, Problem> {
    let (name, id) = body::path(path)?;
    let found = blocking(move || {
        let history = watched.history(&name)?;
        let made = history.newest_first().find(|it| it.id() == id);
        match (watched.checkpoints(&name)?.get(&id), made) {
            (Ok(committed), made) => Ok(shown::committed(&committed, made)),
            (Err(Error::Unknown { .. }), Some(made)) => Ok(shown::without_manifest(made)),
            (Err(e @ Error::Unknown { .. }), None) => Err(Problem::new(Code::UnknownCheckpoint, e.to_string())),
            (Err(e), _) => Err(Problem::new(Code::Damaged, e.to_string())),
        }
    })
    .await?;
    Ok(body::json(&found))
}

/// Read the manifest of a checkpoint
///
/// As it lies in the state folder, or in a savepoint.
#[utoipa::path(get, path = "/api/v1/pipelines/{name}/checkpoints/{id}/manifest", operation_id = "getManifest", tag = "checkpoints",
    params(("name" = String, Path, description = "The pipeline"), ("id" = String, Path, description = "`EPOCH-TOKEN`")),
    responses((status = 200, body = Object), Always, Named))]
pub(super) async fn manifest(State(watched): State<Watched>, path: OneOf) -> Result<Response, Problem> {
    let (name, id) = body::path(path)?;
    let found = blocking(move || {
        watched.checkpoints(&name)?.get(&id).map_err(|e| match e {
            Error::Unknown { .. } => Problem::new(Code::UnknownCheckpoint, e.to_string()),
            e => Problem::new(Code::Damaged, e.to_string()),
        })
    });
    Ok(body::json(&found.await?.manifest))
}

/// Delete a checkpoint
///
/// Not the newest commit, which the next start restores.
#[utoipa::path(delete, path = "/api/v1/pipelines/{name}/checkpoints/{id}", operation_id = "deleteCheckpoint", tag = "checkpoints",
    params(("name" = String, Path, description = "The pipeline"), ("id" = String, Path, description = "`EPOCH-TOKEN`")),
    responses((status = 204, description = "It is gone"), Always, Named, Changing))]
pub(super) async fn remove(State(watched): State<Watched>, path: OneOf) -> Result<StatusCode, Problem> {
    let (name, id) = body::path(path)?;
    blocking(move || watched.remove_checkpoint(&name, &id)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What to make.
#[derive(Debug, Default, serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(as = NewCheckpoint)]
pub(super) struct Asked {
    kind: Kind,
    /// For a savepoint: an absolute path of the server's machine, into which a folder of its own comes.
    #[schema(value_type = Option<String>)]
    to: Option<PathBuf>,
    /// Do not wait for it.
    detach: bool,
}

#[derive(Debug, Default, Clone, Copy, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Kind {
    #[default]
    Checkpoint,
    Savepoint,
}

/// Make a checkpoint or a savepoint now
#[utoipa::path(post, path = "/api/v1/pipelines/{name}/checkpoints", operation_id = "makeCheckpoint", tag = "checkpoints",
    params(("name" = String, Path, description = "The pipeline")),
    request_body(content = Option<Asked>, content_type = "application/json"),
    responses((status = 201, body = Object, description = "It is committed, and copied if it is a savepoint"), (status = 202, body = Object, description = "It is asked for"), Always, Named, Changing, Taking))]
pub(super) async fn make(State(watched): State<Watched>, path: Name, request: Request) -> Result<Response, Problem> {
    let name = body::path(path)?;
    let Asked { kind, to, detach } = body::options(request).await?;
    let wish = match (kind, to) {
        (Kind::Savepoint, to) => Wish::Savepoint { to: watched.place(to)? },
        (Kind::Checkpoint, None) => Wish::Checkpoint,
        (Kind::Checkpoint, Some(_)) => {
            return Err(Problem::new(
                Code::BadRequest,
                "`to` is for a savepoint: a checkpoint lies in the state folder",
            ));
        }
    };
    if detach {
        // Nobody waits: whoever wants to know looks at the list.
        drop(blocking(move || watched.handle(&name).map(|handle| handle.ask(wish))).await?);
        return Ok((StatusCode::ACCEPTED, body::json(&json!({}))).into_response());
    }
    let done = blocking(move || watched.commit(&name, wish)).await?;
    Ok((StatusCode::CREATED, body::json(&show(&done))).into_response())
}

/// What was committed, and where it lies if it is a savepoint.
pub(super) fn show(done: &Done) -> Value {
    json!({"id": done.snapshot.id(), "epoch": done.snapshot.epoch, "kind": done.kind, "path": done.path})
}
