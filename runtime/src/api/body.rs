//! What comes in and goes out: bodies with a limit that is counted while they stream, content types, names in paths, times.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{FromRequest, Path, Query, Request};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt;
use serde::Serialize;
use serde::de::DeserializeOwned;
use utoipa::ToSchema;
use weir_core::ids::Name;

use super::fits;
use super::problem::{Code, Problem};
use super::stream::Serving;
use crate::settings::duration;

/// A body that takes longer is given up: it holds memory.
const BODY_TIME_MAX: Duration = Duration::from_secs(60);

/// What an action may say beside its name.
const OPTIONS_BYTES_MAX: usize = 64 << 10;

/// The media type of a request, without parameters and in lower case. No encoded bodies: a small one may unpack to a huge
/// one.
pub(super) fn media_type(headers: &HeaderMap, taken: &[&'static str]) -> Result<&'static str, Problem> {
    let refuse = |detail| Err(Problem::new(Code::UnsupportedType, detail));
    if headers.contains_key(header::CONTENT_ENCODING) {
        return refuse("a Content-Encoding is not taken: send the body as it is".to_owned());
    }
    let given = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let given = given.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match taken.iter().find(|taken| **taken == given) {
        Some(taken) => Ok(taken),
        None => refuse(format!("send it with `Content-Type: {}`; this is {given:?}", taken.join("` or `"))),
    }
}

/// The body; its route carries the same limit as a layer.
pub(super) async fn read(request: Request, bytes_max: usize) -> Result<Bytes, Problem> {
    let too_large = || too_large(bytes_max);
    announced(&request, bytes_max)?;
    let serving = request.extensions().get::<Serving>().cloned();
    let read = match tokio::time::timeout(BODY_TIME_MAX, Bytes::from_request(request, &())).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(rejection)) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => Err(too_large()),
        Ok(Err(_)) => Err(broken()),
        Err(_) => Err(too_slow()),
    };
    still_stands(serving.as_ref()).and(read)
}

/// A body may take its time, and the token that it came with may be gone by its end.
fn still_stands(serving: Option<&Serving>) -> Result<(), Problem> {
    match serving.and_then(|serving| serving.standing.as_ref()).is_none_or(|stands| stands()) {
        true => Ok(()),
        false => Err(Problem::new(Code::Unauthorized, "the token was deleted or has expired while the body came")),
    }
}

/// Refuses what says itself that it is too large, before any of it came.
fn announced(request: &Request, bytes_max: usize) -> Result<(), Problem> {
    let length =
        request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > bytes_max as u64) { Err(too_large(bytes_max)) } else { Ok(()) }
}

fn too_slow() -> Problem {
    Problem::new(Code::BodyTimeout, format!("the body was not here within {} s", BODY_TIME_MAX.as_secs()))
}

fn broken() -> Problem {
    Problem::new(
        Code::BadRequest,
        "the body cannot be read to its end: it broke off, or it is not cut as its headers say",
    )
}

fn too_large(bytes_max: usize) -> Problem {
    Problem::new(Code::TooLarge, format!("the limit is {bytes_max} bytes"))
}

/// What a request asks for in JSON; no body asks for nothing special.
pub(super) async fn options<T: DeserializeOwned + ToSchema + Default>(request: Request) -> Result<T, Problem> {
    let bytes = read(request, OPTIONS_BYTES_MAX).await?;
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(T::default());
    }
    parsed(&bytes)
}

/// What a request must say in JSON.
pub(super) async fn must<T: DeserializeOwned + ToSchema>(request: Request) -> Result<T, Problem> {
    parsed(&read(request, OPTIONS_BYTES_MAX).await?)
}

fn parsed<T: DeserializeOwned + ToSchema>(bytes: &[u8]) -> Result<T, Problem> {
    let refuse = |detail: String| Problem::new(Code::BadRequest, detail);
    let value = serde_json::from_slice(bytes).map_err(|e| refuse(format!("the body is not JSON: {e}")))?;
    fits::body::<T>(&value).map_err(refuse)?;
    // Not of the value: it does not know of a key that stands twice.
    serde_json::from_slice(bytes).map_err(|e| refuse(format!("the body is not understood: {e}")))
}

/// An answer in JSON. It ends with a newline: on a terminal the next answer begins on a line of its own.
pub(super) fn json<T: Serialize>(value: &T) -> Response {
    match serde_json::to_string(value) {
        Ok(text) => ([(header::CONTENT_TYPE, "application/json")], format!("{text}\n")).into_response(),
        Err(e) => Problem::internal(format!("an answer cannot be written as JSON: {e}")).into_response(),
    }
}

/// A path's variables.
pub(super) fn path<T>(path: Result<Path<T>, PathRejection>) -> Result<T, Problem> {
    let refuse =
        |_| Problem::new(Code::BadRequest, "the path cannot be read: what `%` stands for in it is to be UTF-8");
    path.map(|Path(found)| found).map_err(refuse)
}

/// What stands behind the `?`, which was looked at before.
pub(super) fn query<T>(query: Result<Query<T>, QueryRejection>) -> Result<T, Problem> {
    let refuse = |_| Problem::new(Code::BadRequest, "what stands behind the `?` is not understood");
    query.map(|Query(found)| found).map_err(refuse)
}

/// Hands a body on piece by piece, as it comes, within the time that one has. `take` may wait for a disk; it keeps nothing for
/// good, since a body that breaks off ends for it as a whole one does.
pub(super) async fn stream<R: Send + 'static>(
    request: Request,
    bytes_max: usize,
    take: impl FnOnce(tokio::sync::mpsc::Receiver<Bytes>) -> Result<R, Problem> + Send + 'static,
) -> Result<R, Problem> {
    announced(&request, bytes_max)?;
    let serving = request.extensions().get::<Serving>().cloned();
    // A few pieces: who sends waits for the disk.
    let (sender, receiver) = tokio::sync::mpsc::channel(8);
    let taken = tokio::task::spawn_blocking(move || take(receiver));
    let sent = tokio::time::timeout(BODY_TIME_MAX, async {
        let mut body = request.into_body();
        loop {
            let frame = tokio::select! {
                frame = body.frame() => frame,
                // Whoever takes nothing more has said why.
                () = sender.closed() => return Ok(()),
            };
            let Some(frame) = frame else { return Ok(()) };
            let frame = frame.map_err(|_| broken())?;
            if let Ok(bytes) = frame.into_data() {
                // The same.
                let _ = sender.send(bytes).await;
            }
        }
    });
    let sent = sent.await.unwrap_or_else(|_| Err(too_slow()));
    drop(sender);
    // What was cut off is dropped with what `take` made of it, and nothing of it was kept.
    sent?;
    still_stands(serving.as_ref())?;
    taken.await.unwrap_or_else(|e| Err(Problem::internal(format!("an upload ended without an answer: {e}"))))
}

/// A duration, where one is said.
pub(super) fn duration(what: &str, text: Option<&str>) -> Result<Option<Duration>, Problem> {
    let Some(text) = text else { return Ok(None) };
    let found = duration::parse(text);
    found.map(Some).ok_or_else(|| Problem::new(Code::BadRequest, format!("{what}: {text:?}: {}", duration::SHAPE)))
}

/// A name by the one rule.
pub(super) fn name(text: &str) -> Result<Name, Problem> {
    Name::new(text).map_err(|e| Problem::new(Code::BadName, e.to_string()))
}
