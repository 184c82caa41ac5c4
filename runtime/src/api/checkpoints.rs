//! `/api/v1/pipelines/{name}/checkpoints`: those that are there, and a new one on request. The pipeline decides when.

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
use super::watched::Watched;
use crate::clock::rfc3339;
use crate::pipeline::checkpoints::Checkpoint;
use crate::pipeline::{Done, Wish};

/// The routes.
pub(super) fn routes(watched: Watched) -> Router {
    Router::new().route("/api/v1/pipelines/{name}/checkpoints", get(list).post(make)).with_state(watched)
}

type Name = Result<Path<String>, PathRejection>;

async fn list(State(watched): State<Watched>, path: Name) -> Result<Response, Problem> {
    let name = body::path(path)?;
    let items = blocking(move || {
        let listed = watched.checkpoints(&name)?.list();
        let (found, _) = listed.map_err(|e| Problem::new(Code::Damaged, e.to_string()))?;
        Ok::<_, Problem>(found.iter().map(summary).collect::<Vec<_>>())
    })
    .await?;
    Ok(body::json(&json!({"items": items, "next": null})))
}

fn summary(it: &Checkpoint) -> Value {
    json!({
        "id": it.id(), "epoch": it.snapshot.epoch, "completed_at": rfc3339(it.completed_at()), "bytes": it.bytes(),
        "kind": it.kind(),
    })
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
