//! Answers that say no: `application/problem+json` (RFC 9457) with a stable code. Each code has its paragraph of advice in
//! `docs/http-errors.md`; a test compares the two.

use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

pub(super) use super::codes::Code;
use super::request_id;
use crate::settings::Diagnostics;

/// Where the paragraphs are.
const DOCS: &str = "https://github.com/weir-streams/weir/blob/main/docs/http-errors.md";

/// An answer that says no.
#[derive(Debug, Clone)]
pub(super) struct Problem {
    code: Code,
    detail: String,
    errors: Option<Value>,
}

/// A problem as it is sent.
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub(super) struct Shown<'a> {
    /// The paragraph about this code.
    r#type: String,
    /// The code in words.
    title: &'a str,
    /// That of the answer.
    status: u16,
    /// What is wrong with this request.
    detail: &'a str,
    /// Stable: compare this.
    code: &'a str,
    /// Whose fault it is: `user`, `operator`, `external` or `internal`.
    domain: &'a str,
    /// Whether the same request may succeed later.
    retryable: bool,
    /// What to do.
    hint: &'a str,
    /// As `type`.
    doc_url: String,
    /// The request's id, which the log has too.
    trace_id: Option<&'a str>,
    /// Of a pipeline that is not valid: each fault with its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<Object>>)]
    errors: Option<&'a Value>,
}

impl Problem {
    pub(super) fn new(code: Code, detail: impl Into<String>) -> Problem {
        Problem { code, detail: detail.into(), errors: None }
    }

    pub(super) fn is(&self, code: Code) -> bool {
        self.code == code
    }

    pub(super) fn internal(detail: String) -> Problem {
        tracing::error!("an HTTP request failed: {detail}");
        Problem::new(Code::Internal, detail)
    }

    /// What the disk said: full is an answer of its own.
    pub(super) fn io(error: &std::io::Error, detail: String) -> Problem {
        match crate::durable::is_no_space(error) {
            true => Problem::new(Code::NoSpace, detail),
            false => Problem::internal(detail),
        }
    }

    pub(super) fn invalid(faults: &Diagnostics) -> Problem {
        let said = |path: &str, message: &str| match path {
            "" => message.to_owned(),
            path => format!("{path}: {message}"),
        };
        let detail = match faults.problems() {
            [] => "the pipeline is not valid".to_owned(),
            [only] => said(only.path(), only.message()),
            [first, more @ ..] => format!("{} (and {} more)", said(first.path(), first.message()), more.len()),
        };
        Problem { code: Code::PipelineInvalid, detail, errors: serde_json::to_value(faults.entries()).ok() }
    }

    fn body(&self, trace_id: Option<&str>) -> String {
        let code = self.code;
        let doc_url = format!("{DOCS}#{}", code.as_str());
        let shown = Shown {
            r#type: doc_url.clone(),
            title: code.title(),
            status: code.status().as_u16(),
            detail: &self.detail,
            code: code.as_str(),
            domain: code.domain(),
            retryable: code.is_retryable(),
            hint: code.hint(),
            doc_url,
            trace_id,
            errors: self.errors.as_ref(),
        };
        let body = serde_json::to_string(&shown).expect("strings and numbers");
        format!("{body}\n")
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.code.status();
        let mut response =
            (status, [(header::CONTENT_TYPE, "application/problem+json")], self.body(None)).into_response();
        let headers = response.headers_mut();
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if status == StatusCode::TOO_MANY_REQUESTS || self.code == Code::TooManyChanges {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        // For the layer that knows which request this answers.
        response.extensions_mut().insert(self);
        response
    }
}

/// Says in a problem which request it answers.
pub(super) async fn name_the_request(request: Request, next: Next) -> Response {
    let id = request_id::of(request.headers());
    let mut response = next.run(request).await;
    if let (Some(id), Some(problem)) = (id, response.extensions_mut().remove::<Problem>()) {
        let body = problem.body(Some(&id));
        response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
        *response.body_mut() = body.into();
    }
    response
}

/// Runs what may wait for a disk, a lock or the compiler beside the threads that answer.
pub(super) async fn blocking<T, E>(work: impl FnOnce() -> Result<T, E> + Send + 'static) -> Result<T, Problem>
where
    T: Send + 'static,
    E: Into<Problem> + Send + 'static,
{
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(Into::into),
        Err(e) => Err(Problem::internal(format!("a request ended without an answer: {e}"))),
    }
}
