//! What comes in and goes out: bodies with a limit that is counted while they stream, content types, names in paths, times.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequest, Path, Request};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;
use serde_json::Value;
use weir_core::ids::Name;

use super::problem::{Code, Problem};

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
    let too_large = || Problem::new(Code::TooLarge, format!("the limit is {bytes_max} bytes"));
    let length =
        request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > bytes_max as u64) {
        return Err(too_large());
    }
    match tokio::time::timeout(BODY_TIME_MAX, Bytes::from_request(request, &())).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(rejection)) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => Err(too_large()),
        Ok(Err(rejection)) => Err(Problem::new(Code::BadRequest, rejection.body_text())),
        Err(_) => {
            Err(Problem::new(Code::BodyTimeout, format!("the body was not here within {} s", BODY_TIME_MAX.as_secs())))
        }
    }
}

/// What a request asks for in JSON; no body asks for nothing special.
pub(super) async fn options<T: DeserializeOwned + Default>(request: Request) -> Result<T, Problem> {
    let bytes = read(request, OPTIONS_BYTES_MAX).await?;
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(T::default());
    }
    serde_json::from_slice(&bytes)
        .map_err(|e| Problem::new(Code::BadRequest, format!("the body is not understood: {e}")))
}

/// An answer in JSON. It ends with a newline: on a terminal the next answer begins on a line of its own.
pub(super) fn json(value: &Value) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], format!("{value}\n")).into_response()
}

/// A path's variables.
pub(super) fn path<T>(path: Result<Path<T>, PathRejection>) -> Result<T, Problem> {
    path.map(|Path(found)| found).map_err(|rejection| Problem::new(Code::BadRequest, rejection.body_text()))
}

/// A name by the one rule.
pub(super) fn name(text: &str) -> Result<Name, Problem> {
    Name::new(text).map_err(|e| Problem::new(Code::BadName, e.to_string()))
}
