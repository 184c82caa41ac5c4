//! `/metrics`, `/livez`, `/readyz`, `/startupz`, `/version`: no token, nothing secret.

use axum::Router;
use axum::extract::State as Extract;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use weir_core::ids::Name;

use super::problem::{Problem, blocking};
use super::{Running, Watched, metrics};
use crate::clock;
use crate::pipeline::{Handle, State};

/// The routes.
pub fn routes(watched: Watched) -> Router {
    Router::new()
        .route("/metrics", get(show_metrics))
        .route("/livez", get(live))
        .route("/readyz", get(ready))
        .route("/startupz", get(started))
        .route("/version", get(version))
        .with_state(watched)
}

/// Whether the process lives
///
/// 503 only where nothing but another process helps: nobody has supervised a pipeline for ten minutes. A broker that is gone, a
/// pipeline that has failed, and a long restore are no such thing.
#[utoipa::path(get, path = "/livez", operation_id = "getLiveness", tag = "probes",
    responses((status = 200, body = String, content_type = "text/plain"), (status = 503, body = String, content_type = "text/plain", description = "Names what is stuck")))]
pub(super) async fn live(Extract(watched): Extract<Watched>) -> Result<Response, Problem> {
    let now = clock::now();
    let running = blocking(move || Ok::<_, Problem>(watched.running())).await?;
    let stuck: String = running
        .iter()
        .filter(|(_, handle)| handle.status.is_stuck(now))
        .map(|(name, _)| format!("{name} is stuck: nobody supervises it any more\n"))
        .collect();
    Ok(answer(stuck))
}

/// The version of the server
#[utoipa::path(get, path = "/version", operation_id = "getServerVersion", tag = "probes", responses((status = 200, body = String, content_type = "text/plain")))]
#[allow(clippy::unused_async, reason = "a handler is")]
pub(super) async fn version() -> &'static str {
    concat!(env!("CARGO_PKG_VERSION"), "\n")
}

/// Metrics for Prometheus
#[utoipa::path(get, path = "/metrics", operation_id = "getMetrics", tag = "probes",
    responses((status = 200, body = String, content_type = "application/openmetrics-text")))]
pub(super) async fn show_metrics(Extract(watched): Extract<Watched>) -> Result<Response, Problem> {
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let text = blocking(move || {
        metrics::encode(&watched.running(), watched.states()).map_err(|e| Problem::internal(e.to_string()))
    })
    .await?;
    Ok(([(header::CONTENT_TYPE, content_type)], text).into_response())
}

/// Whether the start is over
///
/// Once every pipeline that ran when the last server ended runs again, or has come to rest, or waits for a broker: 200 from
/// then on, whatever becomes of them.
#[utoipa::path(get, path = "/startupz", operation_id = "getStartup", tag = "probes",
    responses((status = 200, body = String, content_type = "text/plain"), (status = 503, body = String, content_type = "text/plain", description = "Names what is not")))]
pub(super) async fn started(Extract(watched): Extract<Watched>) -> Result<Response, Problem> {
    let has_started = match &watched {
        Watched::One(running) => running.handle.status.read(|facts| {
            !matches!(facts.state, State::Created | State::Starting) || facts.restarts > 0 || facts.problem.is_some()
        }),
        Watched::All(manager) => {
            let manager = manager.clone();
            blocking(move || Ok::<_, Problem>(manager.has_started())).await?
        }
    };
    if has_started { Ok("ok\n".into_response()) } else { ready(Extract(watched)).await }
}

/// Whether all runs that should
///
/// Names every pipeline that should run and does not.
#[utoipa::path(get, path = "/readyz", operation_id = "getReadiness", tag = "probes",
    responses((status = 200, body = String, content_type = "text/plain"), (status = 503, body = String, content_type = "text/plain", description = "Names what is not")))]
pub(super) async fn ready(Extract(watched): Extract<Watched>) -> Result<Response, Problem> {
    let waiting = blocking(move || Ok::<_, Problem>(watched.waiting())).await?;
    Ok(answer(waiting))
}

/// What is not as it should be, a line each.
fn answer(amiss: String) -> Response {
    match amiss.is_empty() {
        true => "ok\n".into_response(),
        false => (StatusCode::SERVICE_UNAVAILABLE, amiss).into_response(),
    }
}

impl Watched {
    fn running(&self) -> Vec<(Name, Handle)> {
        match self {
            Watched::One(running) => vec![(running.name.clone(), running.handle.clone())],
            Watched::All(manager) => manager.handles(),
        }
    }

    fn states(&self) -> Vec<(Name, State)> {
        match self {
            Watched::One(running) => vec![(running.name.clone(), running.handle.status.read(|facts| facts.state))],
            Watched::All(manager) => manager.list().into_iter().map(|view| (view.name, view.state)).collect(),
        }
    }

    /// A line per pipeline that is not as it should be.
    fn waiting(&self) -> String {
        let line = |name: &str, state: State, problem: Option<&str>| match state {
            // Somebody asked for the stop, or the input ended.
            State::Running | State::Stopping | State::Stopped => String::new(),
            state => format!("{name} is {}: {}\n", state.as_str(), problem.unwrap_or("no problem known")),
        };
        match self {
            Watched::One(Running { name, handle, .. }) => handle.status.read(|facts| match facts.state {
                State::Stopping => format!("{name} is stopping\n"),
                state => line(name.as_str(), state, facts.problem.as_deref()),
            }),
            Watched::All(manager) if manager.is_shutting_down() => "the server is stopping\n".to_owned(),
            Watched::All(manager) => {
                let views = manager.list().into_iter();
                views.map(|view| line(view.name.as_str(), view.state, view.problem.as_deref())).collect()
            }
        }
    }
}
