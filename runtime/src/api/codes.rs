//! The codes of all problems: what a program compares. Each with its status, whose fault it is, whether it is worth another
//! try, and what to do. And which of them an error of `pipeline`, `registry` and `access` is.

use axum::http::StatusCode;

use super::problem::Problem;
use crate::access::tokens;
use crate::pipeline::ManagerError;
use crate::registry;

macro_rules! codes {
    ($($code:ident $text:literal $status:ident $domain:ident $retryable:literal $title:literal $hint:literal,)*) => {
        /// Stable: programs compare them.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(in crate::api) enum Code { $($code,)* }
        impl Code {
            #[cfg(test)]
            const ALL: &[Code] = &[$(Code::$code,)*];
            pub(super) fn as_str(self) -> &'static str {
                match self { $(Code::$code => $text,)* }
            }
            pub(super) fn title(self) -> &'static str {
                match self { $(Code::$code => $title,)* }
            }
            pub(super) fn status(self) -> StatusCode {
                match self { $(Code::$code => StatusCode::$status,)* }
            }
            /// Whose fault it is.
            pub(super) fn domain(self) -> &'static str {
                match self { $(Code::$code => stringify!($domain),)* }
            }
            pub(super) fn is_retryable(self) -> bool {
                match self { $(Code::$code => $retryable,)* }
            }
            pub(super) fn hint(self) -> &'static str {
                match self { $(Code::$code => $hint,)* }
            }
        }
    };
}

codes! {
    BadRequest "bad-request" BAD_REQUEST user false "The request cannot be read" "compare it with /openapi.json",
    Unauthorized "unauthorized" UNAUTHORIZED user false "A token is needed" "send `Authorization: Bearer TOKEN`",
    OutOfScope "out-of-scope" FORBIDDEN user false "The token may not do this" "ask for a token with the scope that `detail` names",
    ForeignOrigin "foreign-origin" FORBIDDEN user false "The request comes from another site" "use a program, or a page of this server",
    ForeignHost "foreign-host" FORBIDDEN user false "The request is for another host" "use 127.0.0.1 or localhost",
    OverQuota "over-quota" FORBIDDEN user false "The token has no more room" "delete what is not needed, or ask for a larger quota",
    NoRoute "no-route" NOT_FOUND user false "There is no such path" "compare it with /openapi.json",
    UnknownAction "unknown-action" NOT_FOUND user false "There is no such action" "compare it with /openapi.json",
    UnknownPipeline "unknown-pipeline" NOT_FOUND user false "There is no such pipeline" "list them with GET /api/v1/pipelines",
    UnknownRevision "unknown-revision" NOT_FOUND user false "There is no such revision" "list them with GET …/revisions",
    UnknownNode "unknown-node" NOT_FOUND user false "There is no such node" "list them with GET …/graph",
    UnknownOperation "unknown-operation" NOT_FOUND user false "There is no such operation" "ask the pipeline how it stands",
    UnknownCheckpoint "unknown-checkpoint" NOT_FOUND user false "There is no such checkpoint" "list them with GET …/checkpoints",
    UnknownOperator "unknown-operator" NOT_FOUND user false "There is no such operator" "list them with GET /api/v1/operators",
    UnknownToken "unknown-token" NOT_FOUND user false "There is no such token" "list them with GET /api/v1/tokens",
    MethodNotAllowed "method-not-allowed" METHOD_NOT_ALLOWED user false "This path has no such method" "the header Allow lists those that it has",
    BodyTimeout "body-timeout" REQUEST_TIMEOUT user true "The body came too slowly" "send it in one go",
    PipelineExists "pipeline-exists" CONFLICT user false "There is a pipeline of this name" "take another name, or send no If-None-Match",
    PipelineRunning "pipeline-running" CONFLICT user false "The pipeline runs" "stop it first",
    PipelinePaused "pipeline-paused" CONFLICT user false "The pipeline is paused" "stop it first",
    PipelineNotPaused "pipeline-not-paused" CONFLICT user false "The pipeline is not paused" "restart it, if it is to run",
    PipelineNotRunning "pipeline-not-running" CONFLICT user false "The pipeline does not run" "look at its state and problem",
    PipelineEnded "pipeline-ended" CONFLICT user false "The pipeline's input has ended" "delete it to begin anew, or apply another text",
    PipelineStopping "pipeline-stopping" CONFLICT user true "The pipeline is still stopping" "ask again when its state is `stopped`",
    PipelineDeleting "pipeline-deleting" CONFLICT user true "The pipeline is being deleted" "ask again when it is gone",
    IncompatibleState "incompatible-state" CONFLICT user false "The state does not fit" "give the operator a migration, or use one that fits",
    NothingBefore "nothing-before" CONFLICT user false "There is no revision to go back to" "name one with `to`",
    CheckpointNeeded "checkpoint-needed" CONFLICT user false "The checkpoint is needed" "make a newer one first",
    VersionExists "version-exists" CONFLICT user false "The version exists with other bytes" "upload another version",
    VersionUsed "version-used" CONFLICT user false "Pipelines use the version" "stop using it first",
    TokenExists "token-exists" CONFLICT user false "There is a token of this name" "take another name, or delete the one that is there",
    RevisionChanged "revision-changed" PRECONDITION_FAILED user false "The pipeline has another revision" "read it again, and decide again",
    TooLarge "too-large" PAYLOAD_TOO_LARGE user false "The body is too large" "make it smaller",
    UnsupportedType "unsupported-type" UNSUPPORTED_MEDIA_TYPE user false "The body has a type or an encoding that is not taken" "send it as `detail` says",
    BadName "bad-name" UNPROCESSABLE_ENTITY user false "This is not a name" "a letter, then letters, digits, _ and -, at most 63",
    BadVersion "bad-version" UNPROCESSABLE_ENTITY user false "This is not a version" "versions are semver, such as 1.0.0",
    OtherDigest "other-digest" UNPROCESSABLE_ENTITY user true "The bytes are not those that were sent" "send it again",
    ComponentRefused "component-refused" UNPROCESSABLE_ENTITY user false "The component was refused" "`weir inspect` says the same on your machine",
    PipelineInvalid "pipeline-invalid" UNPROCESSABLE_ENTITY user false "The pipeline is not valid" "`weir check` says the same on your machine",
    BadOrigin "bad-origin" UNPROCESSABLE_ENTITY user false "The pipeline cannot start from there" "name a folder that `weir savepoint` printed",
    NameMismatch "name-mismatch" UNPROCESSABLE_ENTITY user false "Path and pipeline have different names" "make them the same",
    TooManyRequests "too-many-requests" TOO_MANY_REQUESTS user true "The token asks too often" "wait a second",
    Damaged "damaged" INTERNAL_SERVER_ERROR operator false "What the server keeps about this is damaged" "put a good copy there, and start the server again",
    Internal "internal" INTERNAL_SERVER_ERROR internal false "weir failed" "look into the server's log for the trace_id",
    ComesLater "comes-later" NOT_IMPLEMENTED user false "A later version brings this" "do without it",
    ShuttingDown "shutting-down" SERVICE_UNAVAILABLE operator true "The server is stopping" "ask again when it is back",
    TooManyStreams "too-many-streams" SERVICE_UNAVAILABLE user true "Too many streams are open" "close one, or read pages",
    TooManyChanges "too-many-changes" SERVICE_UNAVAILABLE user true "Too many requests are under way for a change" "ask again in a second",
    NotReset "not-reset" SERVICE_UNAVAILABLE external true "The reset could not be committed" "see that its brokers can be reached",
    NotRemoved "not-removed" SERVICE_UNAVAILABLE external true "The checkpoint could not be deleted" "ask again",
    NotCommitted "not-committed" SERVICE_UNAVAILABLE external true "There is no such checkpoint or savepoint" "look at the pipeline's problem, and ask again",
    NoSpace "no-space" INSUFFICIENT_STORAGE operator true "The server's disk is full" "make room on it",
}

impl From<ManagerError> for Problem {
    fn from(error: ManagerError) -> Problem {
        let code = match &error {
            ManagerError::Invalid(faults) => return Problem::invalid(faults),
            ManagerError::Io { source, .. } => return Problem::io(source, error.to_string()),
            ManagerError::Registry(_) => match error {
                ManagerError::Registry(error) => return error.into(),
                error => return Problem::internal(error.to_string()),
            },
            ManagerError::Damaged(_) => Code::Damaged,
            ManagerError::Unknown(_) => Code::UnknownPipeline,
            ManagerError::UnknownRevision { .. } => Code::UnknownRevision,
            ManagerError::OtherName { .. } => Code::NameMismatch,
            ManagerError::NotReset(_) => Code::NotReset,
            ManagerError::Changed(_) => Code::RevisionChanged,
            ManagerError::Exists(..) => Code::PipelineExists,
            ManagerError::Running(_) => Code::PipelineRunning,
            ManagerError::Paused(_) => Code::PipelinePaused,
            ManagerError::NotPaused { .. } => Code::PipelineNotPaused,
            ManagerError::NotRunning { .. } => Code::PipelineNotRunning,
            ManagerError::Ended(..) => Code::PipelineEnded,
            ManagerError::Stopping(_) => Code::PipelineStopping,
            ManagerError::Deleting(_) => Code::PipelineDeleting,
            ManagerError::Incompatible(..) => Code::IncompatibleState,
            ManagerError::NothingBefore(_) => Code::NothingBefore,
            ManagerError::UnknownNode { .. } => Code::UnknownNode,
            ManagerError::LongGrace(_) | ManagerError::OriginOnTrial => Code::BadRequest,
            ManagerError::Origin(_) | ManagerError::NeedsRewind(..) => Code::BadOrigin,
            ManagerError::InUse { .. } => Code::VersionUsed,
            ManagerError::OverQuota(_) => Code::OverQuota,
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
            Error::OtherDigest { .. } => Code::OtherDigest,
            Error::TooLarge(_) => Code::TooLarge,
            Error::Immutable { .. } => Code::VersionExists,
            Error::OverQuota(_) => Code::OverQuota,
            Error::Full { .. } => Code::NoSpace,
            Error::Unknown(_) => Code::UnknownOperator,
            Error::Damaged { .. } => Code::Damaged,
            Error::Io { source, .. } => return Problem::io(source, error.to_string()),
        };
        Problem::new(code, error.to_string())
    }
}

impl From<tokens::Error> for Problem {
    fn from(error: tokens::Error) -> Problem {
        use tokens::Error;
        let code = match &error {
            Error::Taken(_) | Error::TooMany => Code::TokenExists,
            Error::Unknown(_) => Code::UnknownToken,
            Error::Io { source, .. } => return Problem::io(source, error.to_string()),
        };
        Problem::new(code, error.to_string())
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
