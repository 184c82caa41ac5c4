//! `/metrics`, `/livez`, `/readyz`, `/startupz`, `/version`: no token, nothing secret.

use axum::Router;
use axum::extract::State as Extract;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::{Running, metrics};
use crate::pipeline::State;

/// The routes.
pub fn routes(pipelines: Vec<Running>) -> Router {
    Router::new()
        .route("/metrics", get(show_metrics))
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/startupz", get(ready))
        .route("/version", get(|| async { concat!(env!("CARGO_PKG_VERSION"), "\n") }))
        .with_state(pipelines)
}

async fn show_metrics(Extract(pipelines): Extract<Vec<Running>>) -> Response {
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    match metrics::encode(&pipelines) {
        Ok(text) => ([(header::CONTENT_TYPE, content_type)], text).into_response(),
        Err(e) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{e}\n")).into_response(),
    }
}

/// Names every pipeline that is not running.
async fn ready(Extract(pipelines): Extract<Vec<Running>>) -> Response {
    let mut waiting = String::new();
    for pipeline in &pipelines {
        pipeline.handle.status.read(|facts| {
            if !matches!(facts.state, State::Running | State::Stopped) {
                let problem = facts.problem.as_deref().unwrap_or("no problem known");
                waiting.push_str(&format!("{} is {}: {problem}\n", pipeline.name, facts.state.as_str()));
            }
        });
    }
    match waiting.is_empty() {
        true => "ok\n".into_response(),
        false => (StatusCode::SERVICE_UNAVAILABLE, waiting).into_response(),
    }
}
