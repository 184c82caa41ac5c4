//! Why a call did not succeed, as the contract reports it.

use std::fmt;

/// Ends the running call: nothing of it is kept, and the record that was being processed is blamed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub(crate) kind: FailureKind,
    pub(crate) slot: Option<u32>,
    pub(crate) code: String,
    pub(crate) message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FailureKind {
    Retry = 0,
    Fatal = 1,
}

impl Failure {
    /// The same record would fail again: the node's `on_error` decides what becomes of it.
    pub fn fatal(code: impl Into<String>, message: impl fmt::Display) -> Failure {
        Failure { kind: FailureKind::Fatal, slot: None, code: code.into(), message: message.to_string() }
    }

    /// The call may succeed later: the host repeats it, three times with back-off, then the failure is fatal.
    pub fn retry(code: impl Into<String>, message: impl fmt::Display) -> Failure {
        Failure { kind: FailureKind::Retry, ..Failure::fatal(code, message) }
    }

    /// In `migrate`: there is no way from this version of this state.
    pub fn no_migration(state: u32, from_version: u32) -> Failure {
        Failure::fatal("no-migration", format_args!("state {state} has no way from schema version {from_version}"))
    }

    /// A stable word for what went wrong.
    pub fn code(&self) -> &str {
        &self.code
    }

    /// For the person who reads it.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Whether the host is asked to repeat the call.
    pub fn is_retry(&self) -> bool {
        self.kind == FailureKind::Retry
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl std::error::Error for Failure {}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Failure {
        Failure::fatal("json", error)
    }
}
