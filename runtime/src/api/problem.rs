//! What goes wrong over HTTP: one type, one body (`application/problem+json`), stable codes. Every code has a paragraph in
//! docs/http-errors.md; a test compares the two.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::pipeline::ManagerError;
use crate::registry;
use crate::settings::Diagnostics;

/// Where a code is explained.
const DOCS: &str = "https://github.com/weir-streams/weir/blob/main/docs/http-errors.md";

macro_rules! codes {
    ($($code:ident $text:literal $status:ident $title:literal,)*) => {
        /// Stable: programs compare them.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum Code { $($code,)* }
        impl Code {
            #[cfg(test)]
            const ALL: &[Code] = &[$(Code::$code,)*];
            fn as_str(self) -> &'static str {
                match self { $(Code::$code => $text,)* }
            }
            fn title(self) -> &'static str {
                match self { $(Code::$code => $title,)* }
            }
            fn status(self) -> StatusCode {
                match self { $(Code::$code => StatusCode::$status,)* }
            }
        }
    };
}

codes! {
    BadRequest "bad-request" BAD_REQUEST "The request cannot be read",
    Unauthorized "unauthorized" UNAUTHORIZED "A token is needed",
    ForeignOrigin "foreign-origin" FORBIDDEN "The request comes from another site",
    ForeignHost "foreign-host" FORBIDDEN "The request is for another host",
    NoRoute "no-route" NOT_FOUND "There is no such path",
    UnknownAction "unknown-action" NOT_FOUND "There is no such action",
    UnknownPipeline "unknown-pipeline" NOT_FOUND "There is no such pipeline",
    UnknownCheckpoint "unknown-checkpoint" NOT_FOUND "There is no such checkpoint",
    UnknownOperator "unknown-operator" NOT_FOUND "There is no such operator",
    MethodNotAllowed "method-not-allowed" METHOD_NOT_ALLOWED "This path has no such method",
    BodyTimeout "body-timeout" REQUEST_TIMEOUT "The body came too slowly",
    PipelineRunning "pipeline-running" CONFLICT "The pipeline runs",
    PipelineNotRunning "pipeline-not-running" CONFLICT "The pipeline does not run",
    PipelineStopping "pipeline-stopping" CONFLICT "The pipeline is still stopping",
    PipelineDeleting "pipeline-deleting" CONFLICT "The pipeline is being deleted",
    CheckpointNeeded "checkpoint-needed" CONFLICT "The checkpoint is needed",
    VersionExists "version-exists" CONFLICT "The version exists with other bytes",
    RevisionChanged "revision-changed" PRECONDITION_FAILED "The pipeline has another revision",
    TooLarge "too-large" PAYLOAD_TOO_LARGE "The body is too large",
    UnsupportedType "unsupported-type" UNSUPPORTED_MEDIA_TYPE "The body has a type or an encoding that is not taken",
    BadName "bad-name" UNPROCESSABLE_ENTITY "This is not a name",
    BadVersion "bad-version" UNPROCESSABLE_ENTITY "This is not a version",
    ComponentRefused "component-refused" UNPROCESSABLE_ENTITY "The component was refused",
    PipelineInvalid "pipeline-invalid" UNPROCESSABLE_ENTITY "The pipeline is not valid",
    NameMismatch "name-mismatch" UNPROCESSABLE_ENTITY "Path and pipeline have different names",
    Damaged "damaged" INTERNAL_SERVER_ERROR "What the server keeps about this is damaged",
    Internal "internal" INTERNAL_SERVER_ERROR "weir failed",
    ComesLater "comes-later" NOT_IMPLEMENTED "A later version brings this",
    ShuttingDown "shutting-down" SERVICE_UNAVAILABLE "The server is stopping",
    NotReset "not-reset" SERVICE_UNAVAILABLE "The reset could not be committed",
    NotRemoved "not-removed" SERVICE_UNAVAILABLE "The checkpoint could not be deleted",
    NotCommitted "not-committed" SERVICE_UNAVAILABLE "There is no such checkpoint or savepoint",
}

/// An answer that says no.
#[derive(Debug)]
pub(super) struct Problem {
    code: Code,
    detail: String,
    errors: Option<Value>,
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

    fn invalid(faults: &Diagnostics) -> Problem {
        let detail = match faults.problems() {
            [] => "the pipeline is not valid".to_owned(),
            [only] => format!("{}: {}", only.path(), only.message()),
            [first, more @ ..] => format!("{}: {} (and {} more)", first.path(), first.message(), more.len()),
        };
        Problem { code: Code::PipelineInvalid, detail, errors: serde_json::to_value(faults.entries()).ok() }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (code, status) = (self.code, self.code.status());
        let mut body = json!({
            "type": format!("{DOCS}#{}", code.as_str()),
            "title": code.title(),
            "status": status.as_u16(),
            "detail": self.detail,
            "code": code.as_str(),
        });
        if let Some(errors) = self.errors {
            body["errors"] = errors;
        }
        let mut response =
            (status, [(header::CONTENT_TYPE, "application/problem+json")], format!("{body}\n")).into_response();
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl From<ManagerError> for Problem {
    fn from(error: ManagerError) -> Problem {
        let code = match &error {
            ManagerError::Invalid(faults) => return Problem::invalid(faults),
            ManagerError::Io { .. } => return Problem::internal(error.to_string()),
            ManagerError::Damaged(_) => Code::Damaged,
            ManagerError::Unknown(_) => Code::UnknownPipeline,
            ManagerError::OtherName { .. } => Code::NameMismatch,
            ManagerError::NotReset(_) => Code::NotReset,
            ManagerError::Changed(_) => Code::RevisionChanged,
            ManagerError::Running(_) => Code::PipelineRunning,
            ManagerError::Stopping(_) => Code::PipelineStopping,
            ManagerError::Deleting(_) => Code::PipelineDeleting,
            ManagerError::ShuttingDown => Code::ShuttingDown,
        };
        Problem::new(code, error.to_string())
    }
}

impl From<registry::Error> for Problem {
    fn from(error: registry::Error) -> Problem {
        use registry::Error;
        let code = match &error {
            Error::BadVersion(_) => Code::BadVersion,
            Error::Refused(refused) if refused.is_of_the_host() => return Problem::internal(error.to_string()),
            Error::Refused(_) => Code::ComponentRefused,
            Error::Immutable { .. } => Code::VersionExists,
            Error::Unknown(_) => Code::UnknownOperator,
            Error::Damaged { .. } => Code::Damaged,
            Error::Io { .. } => return Problem::internal(error.to_string()),
        };
        Problem::new(code, error.to_string())
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_a_paragraph_and_every_paragraph_a_code() {
        let docs = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/http-errors.md")).unwrap();
        let headings: Vec<&str> = docs.lines().filter_map(|line| line.strip_prefix("## ")).collect();
        let codes: Vec<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(headings, codes);
    }
}
