//! `/api/v1/pipelines/{name}/events`: what happens to a pipeline, as a stream or in pages.

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::get;
use axum::{Extension, Router};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use super::body;
use super::page::{Page, Paging};
use super::problem::{Problem, blocking};
use super::refusals::{Always, Named};
use super::stream::{Follow, From, ServerSentEvent, Serving, wants_stream};
use super::watched::Watched;
use crate::clock::rfc3339;
use crate::journal::{self, What};

/// The routes.
pub(super) fn routes(watched: Watched) -> Router {
    Router::new().route("/api/v1/pipelines/{name}/events", get(events)).with_state(watched)
}

/// Something that happened to a pipeline. Which fields there are depends on `event`.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(super) struct Event {
    /// Greater than that of all events before, also over a restart of the server.
    id: u64,
    /// RFC 3339.
    at: String,
    /// `state`, `checkpoint-completed`, `checkpoint-failed`, `restart` or `problem`.
    event: &'static str,
    /// Of `state`: the new one.
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'static str>,
    /// Of a checkpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    epoch: Option<u64>,
    /// Of a checkpoint: from its barrier to its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    duration_ms: Option<f64>,
    /// Of `checkpoint-completed`: written for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    /// Of `restart`: which one it is since the pipeline was started.
    #[serde(skip_serializing_if = "Option::is_none")]
    restart: Option<u64>,
    /// Of `restart`: the wait before it.
    #[serde(skip_serializing_if = "Option::is_none")]
    after_ms: Option<f64>,
    /// Of `problem`: where, if that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<String>,
    /// Of `problem`: as in the list of problems.
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    /// What is wrong, if something is.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
}

impl Event {
    fn of(id: u64, it: &journal::Event) -> Event {
        let plain = Event { id, at: rfc3339(it.at), event: it.what.name(), ..Event::default() };
        match it.what.clone() {
            What::State { state, why } => Event { state: Some(state), why, ..plain },
            What::CheckpointCompleted { epoch, duration, bytes } => {
                Event { epoch: Some(epoch.0), duration_ms: Some(millis(duration)), bytes: Some(bytes), ..plain }
            }
            What::CheckpointFailed { epoch, duration, why } => {
                Event { epoch: Some(epoch.0), duration_ms: Some(millis(duration)), why: Some(why), ..plain }
            }
            What::Restart { number, after, why } => {
                Event { restart: Some(number), after_ms: Some(millis(after)), why: Some(why), ..plain }
            }
            What::Problem { node, code, message } => {
                Event { node: node.map(|node| node.to_string()), code: Some(code), why: Some(message), ..plain }
            }
        }
    }
}

pub(super) fn millis(time: std::time::Duration) -> f64 {
    time.as_micros() as f64 / 1000.0
}

/// Follow what happens to a pipeline
///
/// The newest 1,000 events of the server's life. As server-sent events: those that are there behind `Last-Event-ID`, or all,
/// then those that come; `id` is the event's, `event` its kind, `data` the JSON of it. A `gap` says that events behind the id
/// are gone, an `end` why nothing follows. With `Accept: application/json` a page of them, oldest first.
#[utoipa::path(get, path = "/api/v1/pipelines/{name}/events", operation_id = "followEvents", tag = "seeing",
    params(("name" = String, Path, description = "The pipeline"), From, Paging,
        ("Last-Event-ID" = Option<String>, Header, description = "The id of the last event that was seen")),
    responses((status = 200, content((ServerSentEvent = "text/event-stream"), (Page<Event> = "application/json"))), Always, Named))]
pub(super) async fn events(
    State(watched): State<Watched>,
    Extension(serving): Extension<Serving>,
    path: Result<Path<String>, PathRejection>,
    from: Result<Query<From>, QueryRejection>,
    asked: Result<Query<Paging>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (name, from, paging) = (body::path(path)?, body::query(from)?.id(&headers)?, body::query(asked)?);
    // A stream has no pages, and what is wrong with one is wrong all the same.
    paging.by_number()?;
    let journal = blocking(move || watched.journal(&name)).await?;
    if !wants_stream(&headers, true) {
        return Ok(body::json(&paging.of_ring(&journal.events, |_| true, Event::of)?));
    }
    let show = |id, it: &journal::Event| (it.what.name(), json!(Event::of(id, it)));
    Follow { journal, ring: |journal| &journal.events, from, wants: |_: &journal::Event| true, show }.begin(serving)
}
