//! Every request has an id: the client's, where it sent one that can be printed, or one of ours. It comes back in
//! `X-Request-Id`, and stands in problems, in the log and in the audit log.

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;

use crate::hex;

const NAME: HeaderName = HeaderName::from_static("x-request-id");
const LENGTH_MAX: usize = 64;

/// Gives a request its id, and the answer the same.
pub(super) async fn give(mut request: Request, next: Next) -> Response {
    let id = match request.headers().get(&NAME) {
        Some(id) if is_printable(id) => id.clone(),
        _ => random(),
    };
    request.headers_mut().insert(NAME, id.clone());
    let mut response = next.run(request).await;
    response.headers_mut().insert(NAME, id);
    response
}

/// The id of a request that passed through here.
pub(super) fn of(headers: &HeaderMap) -> Option<String> {
    headers.get(&NAME).and_then(|id| id.to_str().ok()).map(str::to_owned)
}

/// What anybody may send ends up in logs: no spaces, no escapes, nothing long.
fn is_printable(id: &HeaderValue) -> bool {
    let bytes = id.as_bytes();
    (1..=LENGTH_MAX).contains(&bytes.len()) && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(b))
}

fn random() -> HeaderValue {
    let id = hex::random::<8>().ok().and_then(|id| HeaderValue::from_str(&id).ok());
    // Without random bits the log has less to hold on to, and nothing else is lost.
    id.unwrap_or(HeaderValue::from_static("none"))
}
