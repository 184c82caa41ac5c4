//! `/api/v1/pipelines/{name}/nodes/{node}/status`: what a node does, subtask by subtask; and the same in a line for a graph.

use axum::Router;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::get;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::body;
use super::problem::{Code, Problem, blocking};
use super::problems;
use super::refusals::{Always, Named};
use super::watched::{Watched, no_node};
use crate::clock::{self, rfc3339};
use crate::journal::Kind;
use crate::pipeline::{Live, Reason, WatchedNode, known_watermark};

/// The routes.
pub(super) fn routes(watched: Watched) -> Router {
    Router::new().route("/api/v1/pipelines/{name}/nodes/{node}/status", get(status)).with_state(watched)
}

/// What a node does. Numbers count from the newest restart on.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct NodeStatus {
    node: String,
    /// `source`, `operator` or `sink`.
    kind: &'static str,
    /// All subtasks together: sums; the mean of shares; the least watermark.
    total: Numbers,
    subtasks: Vec<Subtask>,
    /// The newest kind of trap in it, since the server started.
    last_trap: Option<problems::Problem>,
    /// What the whole pipeline waits for, if there is such a thing: `count (busy 97 %)`.
    bottleneck: Option<String>,
}

/// What a subtask of a node does.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Subtask {
    subtask: u32,
    #[serde(flatten)]
    numbers: Numbers,
}

/// What is known of a node, or of a subtask of it.
#[derive(Debug, Clone, Default, Serialize, ToSchema)]
pub(super) struct Numbers {
    records_in: u64,
    /// All ports together.
    records_out: u64,
    /// Over the last 10 s or so; null where it is too early to say.
    records_in_per_second: Option<f64>,
    records_out_per_second: Option<f64>,
    /// Records that `on_error = "skip"` left out.
    skipped: u64,
    late: u64,
    /// Since the newest restart; the three kinds together are the time that has passed, for each subtask.
    busy_seconds: f64,
    backpressured_seconds: f64,
    idle_seconds: f64,
    /// Shares over the last 10 s or so, together 1.
    busy: Option<f64>,
    backpressured: Option<f64>,
    idle: Option<f64>,
    /// RFC 3339; null before the first one and at the end of input.
    watermark: Option<String>,
    watermark_lag_seconds: Option<f64>,
    /// Of a source: records up to the end of what exists.
    lag_records: u64,
    /// Of an operator: its working set.
    state_bytes: u64,
    timers: u64,
    guest_memory_bytes: u64,
    calls: u64,
    /// Calls that failed, whatever for.
    failed_calls: u64,
    log_lines: u64,
    log_lines_dropped: u64,
}

impl Numbers {
    fn of(it: &WatchedNode, now: i64) -> Numbers {
        let (node, rate) = (&it.node, it.rate);
        let seconds = |nanos: u64| nanos as f64 / 1e9;
        let watermark = known_watermark(node.watermark());
        Numbers {
            records_in: node.records_in.get(),
            records_out: node.records_out.iter().map(|port| port.get()).sum(),
            records_in_per_second: rate.map(|rate| rate.records_in),
            records_out_per_second: rate.map(|rate| rate.records_out),
            skipped: node.skipped.get(),
            late: node.late.get(),
            busy_seconds: seconds(node.time.busy.get()),
            backpressured_seconds: seconds(node.time.backpressured.get()),
            idle_seconds: seconds(node.time.idle.get()),
            busy: rate.map(|rate| rate.busy),
            backpressured: rate.map(|rate| rate.backpressured),
            idle: rate.map(|rate| rate.idle),
            watermark: watermark.map(rfc3339),
            watermark_lag_seconds: watermark.map(|watermark| (now - watermark) as f64 / 1000.0),
            lag_records: node.lag.get(),
            state_bytes: node.state_bytes.get(),
            timers: node.timers.get(),
            guest_memory_bytes: node.guest_memory.get(),
            calls: node.calls.get(),
            failed_calls: Reason::ALL.iter().map(|reason| node.traps[*reason as usize].get()).sum(),
            log_lines: node.logs.written(),
            log_lines_dropped: node.logs.dropped(),
        }
    }

    /// All of them together.
    fn total(subtasks: &[Numbers]) -> Numbers {
        let sum = |of: fn(&Numbers) -> u64| subtasks.iter().map(of).sum::<u64>();
        let seconds = |of: fn(&Numbers) -> f64| subtasks.iter().map(of).sum::<f64>();
        let all = |of: fn(&Numbers) -> Option<f64>| subtasks.iter().map(of).sum::<Option<f64>>();
        let mean = |of: fn(&Numbers) -> Option<f64>| all(of).map(|sum| sum / subtasks.len() as f64);
        // The least watermark lags most.
        let latest = subtasks.iter().filter(|it| it.watermark.is_some());
        let least = latest.max_by(|a, b| {
            a.watermark_lag_seconds.partial_cmp(&b.watermark_lag_seconds).unwrap_or(std::cmp::Ordering::Equal)
        });
        Numbers {
            records_in: sum(|it| it.records_in),
            records_out: sum(|it| it.records_out),
            records_in_per_second: all(|it| it.records_in_per_second),
            records_out_per_second: all(|it| it.records_out_per_second),
            skipped: sum(|it| it.skipped),
            late: sum(|it| it.late),
            busy_seconds: seconds(|it| it.busy_seconds),
            backpressured_seconds: seconds(|it| it.backpressured_seconds),
            idle_seconds: seconds(|it| it.idle_seconds),
            busy: mean(|it| it.busy),
            backpressured: mean(|it| it.backpressured),
            idle: mean(|it| it.idle),
            watermark: least.and_then(|it| it.watermark.clone()),
            watermark_lag_seconds: least.and_then(|it| it.watermark_lag_seconds),
            lag_records: sum(|it| it.lag_records),
            state_bytes: sum(|it| it.state_bytes),
            timers: sum(|it| it.timers),
            guest_memory_bytes: sum(|it| it.guest_memory_bytes),
            calls: sum(|it| it.calls),
            failed_calls: sum(|it| it.failed_calls),
            log_lines: sum(|it| it.log_lines),
            log_lines_dropped: sum(|it| it.log_lines_dropped),
        }
    }
}

/// The subtasks of a node.
fn numbers<'a>(live: &'a Live, node: &str, now: i64) -> Vec<(&'a WatchedNode, Numbers)> {
    let mine = live.nodes.iter().filter(|it| it.node.name.as_str() == node);
    mine.map(|it| (it, Numbers::of(it, now))).collect()
}

/// What a graph shows of each of its nodes, by name.
pub(super) fn in_a_graph(live: &Live, node: &str) -> Value {
    let found = numbers(live, node, clock::now_millis());
    match &found[..] {
        [] => Value::Null,
        found => json!(Numbers::total(&found.iter().map(|(_, numbers)| numbers.clone()).collect::<Vec<_>>())),
    }
}

/// See what a node does
///
/// Records, time, watermark, state and memory, of each subtask and in all. Of a pipeline that has ended, how it ended.
#[utoipa::path(get, path = "/api/v1/pipelines/{name}/nodes/{node}/status", operation_id = "getNodeStatus", tag = "seeing",
    params(("name" = String, Path, description = "The pipeline"), ("node" = String, Path, description = "A source, an operator's node, or a sink")),
    responses((status = 200, body = NodeStatus),
        (status = 409, body = super::problem::Shown<'static>, content_type = "application/problem+json", description = "The pipeline has not run"),
        Always, Named))]
pub(super) async fn status(
    State(watched): State<Watched>,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Result<Response, Problem> {
    let (name, node) = body::path(path)?;
    let found = blocking(move || {
        let handle = watched.handle(&name)?;
        let (live, now) = (handle.status.live(), clock::now_millis());
        let found = numbers(&live, &node, now);
        let Some((first, _)) = found.first() else {
            return Err(unknown(&live, &name, &node));
        };
        let kind = match (first.node.is_source, first.node.is_operator) {
            (true, _) => "source",
            (false, true) => "operator",
            (false, false) => "sink",
        };
        let mut problems = handle.status.journal().problems().into_iter();
        let last_trap =
            problems.find(|it| it.kind == Kind::Trap && it.node.as_ref().is_some_and(|at| at.as_str() == node));
        let total = Numbers::total(&found.iter().map(|(_, numbers)| numbers.clone()).collect::<Vec<_>>());
        let subtask =
            |(it, numbers): (&WatchedNode, Numbers)| Subtask { subtask: it.node.subtask.unwrap_or(0), numbers };
        let subtasks = found.into_iter().map(subtask).collect();
        let last_trap = last_trap.map(problems::Problem::of);
        Ok(NodeStatus { node, kind, total, subtasks, last_trap, bottleneck: live.bottleneck.clone() })
    })
    .await?;
    Ok(body::json(&found))
}

fn unknown(live: &Live, pipeline: &str, node: &str) -> Problem {
    if live.nodes.is_empty() {
        return Problem::new(Code::PipelineNotRunning, format!("pipeline `{pipeline}` is starting: ask again"));
    }
    no_node(pipeline, node, live.nodes.iter().map(|it| it.node.name.to_string()).collect())
}
