//! `/api/v1/pipelines/{name}/problems` and `/restarts`: what goes wrong in a pipeline, grouped, and the attempts that failed.

use axum::Router;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::response::Response;
use axum::routing::get;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use utoipa::ToSchema;
use weir_core::domain::Class;

use super::body;
use super::events::millis;
use super::page::{Page, Paging};
use super::problem::{self, blocking};
use super::refusals::{Always, Named};
use super::watched::Watched;
use crate::clock::rfc3339;
use crate::journal::{self, Failure, Group, Then};

/// The routes.
pub(super) fn routes(watched: Watched) -> Router {
    Router::new()
        .route("/api/v1/pipelines/{name}/problems", get(problems))
        .route("/api/v1/pipelines/{name}/restarts", get(restarts))
        .with_state(watched)
}

/// Problems that are the same but for their numbers and values.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PipelineProblem)]
pub(super) struct Problem {
    /// Null where it is not known.
    node: Option<String>,
    /// `bad-record`, `reject`, `failure`, `trap` or `attempt`.
    kind: &'static str,
    /// The operator's own, or one of weir: `bad-record`, `no-key`, `not-written`, `trap`, `call-timeout`, `memory-limit`,
    /// `output-limit`; of an attempt the class of its failure.
    code: String,
    /// What they say, with `#` for numbers and `…` for what stands in quotes.
    message: String,
    /// What became of them: `failed`, `skipped` or `rejected`.
    outcome: &'static str,
    count: u64,
    /// RFC 3339.
    first_seen: String,
    /// RFC 3339.
    last_seen: String,
    /// What the first one said.
    said: String,
    /// Of a trap, the first one: functions of the operator, innermost first.
    backtrace: Vec<String>,
    /// The first record, where there is one.
    sample: Option<Sample>,
}

/// A record that went wrong.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ProblemSample)]
pub(super) struct Sample {
    /// `topic/partition@offset`, or what is known.
    origin: String,
    /// Its event time, RFC 3339.
    time: String,
    /// `[problems] samples = "hide"`: key and value are not shown.
    is_hidden: bool,
    key: Option<Part>,
    value: Option<Part>,
}

/// The first 1 KiB of a key or a value.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SamplePart)]
pub(super) struct Part {
    /// As text, where it is UTF-8.
    text: Option<String>,
    /// Else in base64.
    base64: Option<String>,
    /// Of all of it.
    bytes: usize,
    /// There is more than is shown.
    is_cut: bool,
}

impl Problem {
    pub(super) fn of(it: Group) -> Problem {
        Problem {
            node: it.node.map(|node| node.to_string()),
            kind: it.kind.as_str(),
            code: it.code,
            message: it.message,
            outcome: it.fate.as_str(),
            count: it.count,
            first_seen: rfc3339(it.first),
            last_seen: rfc3339(it.last),
            said: it.said,
            backtrace: it.backtrace,
            sample: it.sample.map(Sample::of),
        }
    }
}

impl Sample {
    fn of(it: journal::Sample) -> Sample {
        let is_hidden = it.record.is_none();
        let (key, value) = it.record.unwrap_or_default();
        let (key, value) = (key.map(Part::of), value.map(Part::of));
        Sample { origin: it.origin, time: rfc3339(it.time), is_hidden, key, value }
    }
}

impl Part {
    fn of(it: journal::Part) -> Part {
        let is_cut = it.bytes.len() < it.of;
        let (text, base64) = match text(&it.bytes, is_cut) {
            Some(text) => (Some(text.to_owned()), None),
            None => (None, Some(STANDARD.encode(&it.bytes))),
        };
        Part { text, base64, bytes: it.of, is_cut }
    }
}

/// Bytes as text, if they are. A cut may have fallen into a character, which is then left out.
fn text(bytes: &[u8], is_cut: bool) -> Option<&str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Some(text),
        Err(e) if is_cut && e.error_len().is_none() => std::str::from_utf8(&bytes[..e.valid_up_to()]).ok(),
        Err(_) => None,
    }
}

/// An attempt that failed.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Restart {
    /// RFC 3339.
    at: String,
    /// `config`, `unreachable`, `state`, `fenced`, `transient`, `operator`, `io` or `bug`.
    class: &'static str,
    /// Whose fault it is: `user` (the pipeline or an operator in it), `operator` (who runs weir), `external` or `internal`.
    domain: &'static str,
    /// What it failed of.
    why: String,
    /// Null where it is not known.
    node: Option<String>,
    /// What followed: `restart`, `gave-up` or `circuit-open`.
    then: &'static str,
    /// The wait before the restart.
    after_ms: Option<f64>,
}

impl Restart {
    fn of(it: Failure) -> Restart {
        let (then, after_ms) = match it.then {
            Then::Restart(after) => ("restart", Some(millis(after))),
            Then::GaveUp => ("gave-up", None),
            Then::CircuitOpen => ("circuit-open", None),
        };
        Restart {
            at: rfc3339(it.at),
            class: it.class.as_str(),
            domain: domain(it.class),
            why: it.why,
            node: it.node.map(|node| node.to_string()),
            then,
            after_ms,
        }
    }
}

fn domain(class: Class) -> &'static str {
    match class {
        Class::Config | Class::Guest | Class::Stopped | Class::Ended => "user",
        Class::Unreachable | Class::Transient => "external",
        Class::Fenced | Class::Halt | Class::Io => "operator",
        Class::Bug => "internal",
    }
}

type Name = Result<Path<String>, PathRejection>;
type Paged = Result<Query<Paging>, QueryRejection>;

/// See what goes wrong in a pipeline
///
/// The newest 100 groups of the server's life, the one that was seen last first: bad records, rejects, failures and traps of
/// operators, and attempts that failed of something else.
#[utoipa::path(get, path = "/api/v1/pipelines/{name}/problems", operation_id = "listProblems", tag = "seeing",
    params(("name" = String, Path, description = "The pipeline"), Paging),
    responses((status = 200, body = Page<Problem>), Always, Named))]
pub(super) async fn problems(
    State(watched): State<Watched>,
    path: Name,
    asked: Paged,
) -> Result<Response, problem::Problem> {
    let (name, paging) = (body::path(path)?, body::query(asked)?);
    let found = blocking(move || Ok::<_, problem::Problem>(watched.journal(&name)?.problems())).await?;
    paged(&paging, found.into_iter().map(Problem::of))
}

/// See which attempts of a pipeline failed, and what followed
///
/// The newest 16 of the server's life, newest first.
#[utoipa::path(get, path = "/api/v1/pipelines/{name}/restarts", operation_id = "listRestarts", tag = "seeing",
    params(("name" = String, Path, description = "The pipeline"), Paging),
    responses((status = 200, body = Page<Restart>), Always, Named))]
pub(super) async fn restarts(
    State(watched): State<Watched>,
    path: Name,
    asked: Paged,
) -> Result<Response, problem::Problem> {
    let (name, paging) = (body::path(path)?, body::query(asked)?);
    let found = blocking(move || Ok::<_, problem::Problem>(watched.journal(&name)?.failures())).await?;
    paged(&paging, found.into_iter().map(Restart::of))
}

/// All of them are one page, unless a smaller one is asked for; then the cursor is the place in the list.
fn paged<T: Serialize>(paging: &Paging, items: impl Iterator<Item = T>) -> Result<Response, problem::Problem> {
    let page = paging.cut(items.enumerate(), |(at, _)| at.to_string())?;
    Ok(body::json(&page.try_map(|(_, it)| Ok::<_, problem::Problem>(it))?))
}
