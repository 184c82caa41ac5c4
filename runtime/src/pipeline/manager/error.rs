//! Why a server's pipelines refuse a wish.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use weir_core::ids::Name;

use super::upgrade::GRACE_MAX;
use crate::access::OverQuota;
use crate::pipeline::savepoint;
use crate::pipeline::status::State;
use crate::registry;
use crate::settings::Diagnostics;

/// See the module.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is none of this name.
    #[error("there is no pipeline `{0}`")]
    Unknown(String),
    /// The text is wrong.
    #[error("the pipeline is not valid")]
    Invalid(Diagnostics),
    /// It says another name than its path.
    #[error("the path says `{path}`, the pipeline says `{file}`")]
    OtherName {
        /// In the path.
        path: Name,
        /// In the text.
        file: Name,
    },
    /// What deleting commits first could not be committed.
    #[error("the reset could not be committed, nothing was deleted: {0}")]
    NotReset(String),
    /// Somebody deletes it right now.
    #[error("pipeline `{0}` is being deleted: try again when it is gone")]
    Deleting(Name),
    /// It was told to stop and commits its last checkpoint.
    #[error("pipeline `{0}` is still stopping: try again when its state is `stopped`")]
    Stopping(Name),
    /// The server stops.
    #[error("the server is stopping: try again when it is back")]
    ShuttingDown,
    /// `If-Match` names another revision.
    #[error("the pipeline is at revision {0}, which is not the one that was meant: somebody has changed it")]
    Changed(u64),
    /// It is there, and should not be.
    #[error("there is a pipeline `{0}` already, at revision {1}")]
    Exists(Name, u64),
    /// It never had this revision.
    #[error("pipeline `{name}` has no revision {number}")]
    UnknownRevision {
        /// The pipeline.
        name: Name,
        /// Its number.
        number: u64,
    },
    /// It does not run, and that is what was asked for to be changed.
    #[error("pipeline `{name}` does not run, it is {}", state.as_str())]
    NotRunning {
        /// The pipeline.
        name: Name,
        /// What it is.
        state: State,
    },
    /// It rests until somebody resumes it; only then, or stopped, it may go.
    #[error("pipeline `{0}` is paused: stop it first")]
    Paused(Name),
    /// Only what is paused can be resumed.
    #[error("pipeline `{name}` is not paused, it is {}: `:restart` starts one that has stopped", state.as_str())]
    NotPaused {
        /// The pipeline.
        name: Name,
        /// What it is.
        state: State,
    },
    /// Its bounded input was committed to the end.
    #[error("pipeline `{0}` has {1}, and there is no more input: delete it to begin anew, or apply another text")]
    Ended(Name, String),
    /// What the newest checkpoint holds does not fit.
    #[error("the state of pipeline `{0}` does not fit, and nothing was changed: {1}")]
    Incompatible(Name, String),
    /// There is no revision before the one that counts, or the server has gone back to it already.
    #[error("pipeline `{0}` has no revision to go back to: name one with `to`")]
    NothingBefore(Name),
    /// There is no such node.
    #[error("pipeline `{name}` has no node `{node}` with an operator")]
    UnknownNode {
        /// The pipeline.
        name: Name,
        /// As asked for.
        node: String,
    },
    /// Longer than a transaction should stay open.
    #[error("a grace of {} s is too long: at most {} s", .0.as_secs(), GRACE_MAX.as_secs())]
    LongGrace(Duration),
    /// Where it is to start from is no such place.
    #[error("{0}; nothing was changed")]
    Origin(savepoint::Error),
    /// Something newer is committed than where it is to start from.
    #[error("pipeline `{0}` has committed {1}, and {2}; nothing was changed: add rewind to do it all the same")]
    NeedsRewind(Name, String, String),
    /// What a start from elsewhere leaves behind is not there to go back to.
    #[error("a start with `from` has no grace: there is no way back from it")]
    OriginOnTrial,
    /// Pipelines use it.
    #[error("{version} is used by {}: stop using it there first", users.join(", "))]
    InUse {
        /// `name@version`.
        version: String,
        /// By name.
        users: Vec<String>,
    },
    /// The token has no more room.
    #[error(transparent)]
    OverQuota(#[from] OverQuota),
    /// The registry says no.
    #[error(transparent)]
    Registry(#[from] registry::Error),
    /// It must be stopped first.
    #[error("pipeline `{0}` runs: stop it first")]
    Running(Name),
    /// What is kept about it cannot be read; nothing of it is touched.
    #[error("{0}")]
    Damaged(String),
    /// The disk.
    #[error("{path}: {source}")]
    Io {
        /// File or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}
