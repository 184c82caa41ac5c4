//! A server that stops: it answers until the end, and takes no change any more.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;

use super::problem::{Code, Problem};
use crate::pipeline::Manager;

/// The layer before routes that change something.
pub(super) async fn refuse_changes(
    State(manager): State<Manager>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    match manager.is_shutting_down() && !request.method().is_safe() {
        true => Err(Problem::new(Code::ShuttingDown, "the server is stopping: try again when it is back")),
        false => Ok(next.run(request).await),
    }
}
