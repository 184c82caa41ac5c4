//! `/api/v1/pipelines/{name}/logs`: what a pipeline's operators log, in pages or as a stream.

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::get;
use axum::{Extension, Router};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};

use super::body;
use super::page::{Page, Paging};
use super::problem::{Code, Problem, blocking};
use super::refusals::{Always, Named};
use super::stream::{Follow, From, ServerSentEvent, Serving, wants_stream};
use super::watched::Watched;
use crate::clock::{self, rfc3339};
use crate::journal::{self, Level};
use crate::settings::duration;

/// The routes.
pub(super) fn routes(watched: Watched) -> Router {
    Router::new().route("/api/v1/pipelines/{name}/logs", get(logs)).with_state(watched)
}

/// A line that an operator has logged. Control characters in it are escaped.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct LogLine {
    /// Greater than that of all lines before, also over a restart of the server.
    id: u64,
    /// RFC 3339.
    at: String,
    node: String,
    subtask: u32,
    /// `trace`, `debug`, `info`, `warn` or `error`.
    level: &'static str,
    message: String,
    /// In the order in which they were written.
    fields: Vec<Field>,
    /// The records of the call that wrote it, where they are of one partition: `partition@offset`, or `partition@first..last`.
    origin: Option<String>,
}

/// Something that a line says beside.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Field {
    name: String,
    value: String,
}

impl LogLine {
    fn of(id: u64, it: &journal::Line) -> LogLine {
        let field = |(name, value): &(String, String)| Field { name: name.clone(), value: value.clone() };
        LogLine {
            id,
            at: rfc3339(it.at),
            node: it.node.to_string(),
            subtask: it.subtask,
            level: it.level.as_str(),
            message: it.message.clone(),
            fields: it.fields.iter().map(field).collect(),
            origin: it.origin.clone(),
        }
    }
}

/// Which lines.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default)]
pub(super) struct Which {
    /// Of this node only.
    node: Option<String>,
    /// This loud or louder.
    level: Option<String>,
    /// Not older than this, as `5m`.
    since: Option<String>,
    /// As a stream, whatever `Accept` says.
    follow: bool,
}

struct Wanted {
    node: Option<String>,
    level: Level,
    /// Milliseconds since 1970.
    since: i64,
}

impl Which {
    fn wanted(self, now: i64) -> Result<Wanted, Problem> {
        let bad = |detail: String| Problem::new(Code::BadRequest, detail);
        let level = match self.level {
            None => Level::Trace,
            Some(text) => Level::ALL
                .into_iter()
                .find(|level| level.as_str() == text)
                .ok_or_else(|| bad(format!("level={text}: a level is trace, debug, info, warn or error")))?,
        };
        let since = match self.since {
            None => i64::MIN,
            Some(text) => {
                let ago = duration::parse(&text).ok_or_else(|| bad(format!("since={text}: {}", duration::SHAPE)))?;
                now.saturating_sub(i64::try_from(ago.as_millis()).unwrap_or(i64::MAX))
            }
        };
        Ok(Wanted { node: self.node, level, since })
    }
}

impl Wanted {
    fn takes(&self, line: &journal::Line) -> bool {
        let is_of_node = self.node.as_ref().is_none_or(|node| node == line.node.as_str());
        is_of_node && line.level >= self.level && line.at >= self.since
    }
}

/// Read what a pipeline's operators log
///
/// The newest 1,000 lines or 256 KiB of the server's life, oldest first, in pages; or as server-sent events with
/// `Accept: text/event-stream` or `?follow=true`: `event` is `log`, and the rest is as of the pipeline's events.
#[utoipa::path(get, path = "/api/v1/pipelines/{name}/logs", operation_id = "readLogs", tag = "seeing",
    params(("name" = String, Path, description = "The pipeline"), Which, From, Paging,
        ("Last-Event-ID" = Option<String>, Header, description = "The id of the last line that was seen")),
    responses((status = 200, content((Page<LogLine> = "application/json"), (ServerSentEvent = "text/event-stream"))), Always, Named))]
#[allow(clippy::too_many_arguments, reason = "what a handler takes out of a request")]
pub(super) async fn logs(
    State(watched): State<Watched>,
    Extension(serving): Extension<Serving>,
    path: Result<Path<String>, PathRejection>,
    which: Result<Query<Which>, QueryRejection>,
    from: Result<Query<From>, QueryRejection>,
    asked: Result<Query<Paging>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (name, which, paging) = (body::path(path)?, body::query(which)?, body::query(asked)?);
    let from = body::query(from)?.id(&headers)?;
    let is_stream = which.follow || wants_stream(&headers, false);
    let wanted = which.wanted(clock::now_millis())?;
    // A stream has no pages, and what is wrong with one is wrong all the same.
    paging.by_number()?;
    let node = wanted.node.clone();
    let journal = blocking(move || {
        let journal = watched.journal(&name)?;
        // One of an earlier revision may have left lines.
        let has_lines = |node: &str| !journal.logs.after(None, 1, |line| line.node.as_str() == node).items.is_empty();
        if let Some(node) = node.filter(|node| !has_lines(node)) {
            watched.check_node(&name, &node)?;
        }
        Ok::<_, Problem>(journal)
    })
    .await?;
    if !is_stream {
        return Ok(body::json(&paging.of_ring(&journal.logs, |line| wanted.takes(line), LogLine::of)?));
    }
    let show = |id, line: &journal::Line| ("log", json!(LogLine::of(id, line)));
    let wants = move |line: &journal::Line| wanted.takes(line);
    Follow { journal, ring: |journal| &journal.logs, from, wants, show }.begin(serving)
}
