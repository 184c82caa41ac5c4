//! What a journal tells of a pipeline as it happens.

use std::time::Duration;

use weir_core::ids::{Epoch, Name};

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Milliseconds since 1970.
    pub at: i64,
    /// What it was.
    pub what: What,
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum What {
    /// The pipeline is in another state.
    State {
        /// The new one.
        state: &'static str,
        /// Why, where that is bad news.
        why: Option<String>,
    },
    /// A checkpoint is committed.
    CheckpointCompleted {
        /// Which one.
        epoch: Epoch,
        /// From its barrier to the commit.
        duration: Duration,
        /// Written for it.
        bytes: u64,
    },
    /// A checkpoint was given up.
    CheckpointFailed {
        /// Which one.
        epoch: Epoch,
        /// From its barrier to the end.
        duration: Duration,
        /// Why.
        why: String,
    },
    /// An attempt has failed, and another one follows.
    Restart {
        /// Which restart of this run it is.
        number: u64,
        /// The wait before it.
        after: Duration,
        /// What the attempt failed of.
        why: String,
    },
    /// A problem that was not known before.
    Problem {
        /// Where, if that is known.
        node: Option<Name>,
        /// The code of its group.
        code: String,
        /// The first of its kind, in full.
        message: String,
    },
}

impl What {
    /// The event's name.
    pub fn name(&self) -> &'static str {
        match self {
            What::State { .. } => "state",
            What::CheckpointCompleted { .. } => "checkpoint-completed",
            What::CheckpointFailed { .. } => "checkpoint-failed",
            What::Restart { .. } => "restart",
            What::Problem { .. } => "problem",
        }
    }

    /// About the memory that it takes.
    pub(super) fn bytes(&self) -> usize {
        let text = match self {
            What::State { why, .. } => why.as_ref().map_or(0, String::len),
            What::CheckpointCompleted { .. } => 0,
            What::CheckpointFailed { why, .. } | What::Restart { why, .. } => why.len(),
            What::Problem { code, message, .. } => code.len() + message.len(),
        };
        text + 64
    }
}
