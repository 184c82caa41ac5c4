//! `/api/v1/pipelines/{name}/checkpoints`: those that are there, how the newest were made, a new one on request, and the end
//! of an old one. The pipeline decides when, and whether.

use std::path::PathBuf;

use axum::Router;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::{Value, json};

use super::body;
use super::problem::{Code, Problem, blocking};
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
        .with_state(watched)
}

type Name = Result<Path<String>, PathRejection>;
type OneOf = Result<Path<(String, String)>, PathRejection>;

async fn list(State(watched): State<Watched>, path: Name) -> Result<Response, Problem> {
    let name = body::path(path)?;
    let items = blocking(move || {
        let listed = watched.checkpoints(&name)?.list();
        let (found, _) = listed.map_err(|e| Problem::new(Code::Damaged, e.to_string()))?;
        Ok::<_, Problem>(found.iter().map(shown::summary).collect::<Vec<_>>())
    })
    .await?;
    Ok(body::json(&json!({"items": items, "next": null})))
}

async fn history(State(watched): State<Watched>, path: Name) -> Result<Response, Problem> {
    let name = body::path(path)?;
    let items: Vec<Value> = blocking(move || {
        let known = watched.history(&name)?;
        Ok::<_, Problem>(known.newest_first().map(shown::statistics).collect())
    })
    .await?;
    Ok(body::json(&json!({"items": items, "next": null})))
}

async fn one(State(watched): State<Watched>, path: OneOf) -> Result<Response, Problem> {
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

async fn remove(State(watched): State<Watched>, path: OneOf) -> Result<StatusCode, Problem> {
    let (name, id) = body::path(path)?;
    blocking(move || watched.remove_checkpoint(&name, &id)).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Asked {
    kind: Kind,
    to: Option<PathBuf>,
    detach: bool,
}

#[derive(Debug, Default, Clone, Copy, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    #[default]
    Checkpoint,
    Savepoint,
}

async fn make(State(watched): State<Watched>, path: Name, request: Request) -> Result<Response, Problem> {
    let name = body::path(path)?;
    let Asked { kind, to, detach } = body::options(request).await?;
    let wish = match (kind, to) {
        (Kind::Savepoint, to) => Wish::Savepoint { to },
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
