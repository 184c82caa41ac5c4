//! Paths that a later version brings: they say so, and stand in the documentation with that answer.

use axum::Router;
use axum::routing::{get, post};

use super::problem::{Code, Problem};
use super::refusals::{Always, Later};

/// The routes.
pub(super) fn routes() -> Router {
    Router::new()
        .route("/api/v1/pipelines/{name}/tap", get(tap))
        .route("/api/v1/pipelines/{name}/nodes/{node}/state", get(state))
        .route("/api/v1/pipelines/{name}/nodes/{node}/state/scan", get(scan))
        .route("/api/v1/pipelines/{name}/nodes/{node}/profile", post(profile))
}

fn later(what: &str) -> Problem {
    Problem::new(Code::ComesLater, format!("{what} comes with a later version"))
}

/// Watch the records of an edge
#[utoipa::path(get, path = "/api/v1/pipelines/{name}/tap", operation_id = "tapPipeline", tag = "later",
    params(("name" = String, Path, description = "The pipeline")), responses(Always, Later))]
#[allow(clippy::unused_async, reason = "a handler is")]
pub(super) async fn tap() -> Problem {
    later("the tap")
}

/// Look up the state of a key
#[utoipa::path(get, path = "/api/v1/pipelines/{name}/nodes/{node}/state", operation_id = "getState", tag = "later",
    params(("name" = String, Path, description = "The pipeline"), ("node" = String, Path, description = "The node")), responses(Always, Later))]
#[allow(clippy::unused_async, reason = "a handler is")]
pub(super) async fn state() -> Problem {
    later("looking into state")
}

/// Walk through the state of a node
#[utoipa::path(get, path = "/api/v1/pipelines/{name}/nodes/{node}/state/scan", operation_id = "scanState", tag = "later",
    params(("name" = String, Path, description = "The pipeline"), ("node" = String, Path, description = "The node")), responses(Always, Later))]
#[allow(clippy::unused_async, reason = "a handler is")]
pub(super) async fn scan() -> Problem {
    later("looking into state")
}

/// See where the time of a node goes
#[utoipa::path(post, path = "/api/v1/pipelines/{name}/nodes/{node}/profile", operation_id = "profileNode", tag = "later",
    params(("name" = String, Path, description = "The pipeline"), ("node" = String, Path, description = "The node")), responses(Always, Later))]
#[allow(clippy::unused_async, reason = "a handler is")]
pub(super) async fn profile() -> Problem {
    later("a profile")
}
