//! What the edge tells a domain: results of steps, events of the shards, wishes of the user. Plain values; owns no rule.

use std::collections::BTreeMap;

use crate::checkpoint::commit::{Claim, Commit};
use crate::checkpoint::manifest::SnapshotRef;
use crate::ids::{Epoch, Token};

/// Something that has happened. Each is the answer to one [`Decision`](super::Decision), or comes by itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Fact {
    /// The state folder is locked and the preflight passed: the first fact of every attempt.
    Booted,
    /// Answer to `Peek`.
    Peeked {
        /// The newest CLAIM.
        claim: Option<Claim>,
        /// The newest COMMIT.
        commit: Option<Commit>,
        /// The claim's `boot_id` is this host's boot, and no process with its `pid` (and start time) lives any more.
        owner_gone: bool,
    },
    /// Answer to `Fence`: every id is fenced.
    Fenced,
    /// Answer to `Claim`.
    Claimed(Outcome),
    /// Answer to `Resolve`.
    Resolved(Resolved),
    /// Answer to `List`.
    Listed(Inventory),
    /// Answer to `Restore`: state and positions are those of the snapshot, its parts are published once more.
    Restored,
    /// Answer to `Begin`: the transaction is open.
    Begun,
    /// A sink subtask has handed out every row before the barrier, and holds the rows behind it.
    BarrierPassed {
        /// Index of the sink subtask, below `Settings::sinks`.
        sink: u32,
        /// Epoch of the barrier.
        epoch: Epoch,
    },
    /// A subtask cannot do its part for this epoch and leaves it to the next: a sink had no space for its rows, and keeps them.
    Declined {
        /// Epoch.
        epoch: Epoch,
        /// Which subtask, and why.
        why: String,
    },
    /// Answer to `Flush`: every row of the epoch is acknowledged (file sink: its parts are staged and fsynced).
    Flushed {
        /// Epoch.
        epoch: Epoch,
    },
    /// Answer to `WriteSnapshot`: the manifest is durable. Also when it comes late, after the epoch was cancelled.
    Prepared {
        /// Names the manifest and holds its digest.
        snapshot: SnapshotRef,
        /// Stored names of every file that the manifest lists.
        files: Vec<String>,
        /// Next positions, short form, for the COMMIT record.
        positions: BTreeMap<String, i64>,
    },
    /// Answer to `WriteSnapshot`: no space, before any fsync, and temporary files are dropped. Anything else that goes
    /// wrong with a snapshot is a [`Fact::Failed`].
    NoSpace {
        /// Epoch.
        epoch: Epoch,
        /// What was full.
        why: String,
    },
    /// Answer to `Mark`: the COMMIT record is acknowledged inside the open transaction.
    Marked,
    /// Answer to `Commit`.
    Committed(Outcome),
    /// Every source is at its end, and every row and timer of theirs has been handed out.
    InputEnded,
    /// The user wants a graceful stop (SIGTERM, `:stop`).
    Stop,
    /// The user wants a graceful stop whose last checkpoint is a savepoint: nothing behind it is committed. Only once it
    /// runs; declined, it is tried again as a savepoint.
    StopWithSavepoint,
    /// The user wants a checkpoint now.
    Requested {
        /// `true`: a savepoint.
        savepoint: bool,
    },
    /// Any step, shard, guest or connector failed. The domain decides what that means where it stands.
    Failed(Failure),
    /// Time has passed; call at [`Domain::wakeup`](super::Domain::wakeup).
    Tick,
}

/// The result of a commit on the wire. There is no "not committed".
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Committed.
    Committed {
        /// It was slow or met a retriable error: a copy of the request may still be under way.
        may_have_resent: bool,
    },
    /// Only recovery can tell.
    Unknown(String),
}

/// What RESOLVE read up to its own CLAIM.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Resolved {
    /// Position of our own CLAIM.
    pub token: Token,
    /// The newest COMMIT below it.
    pub commit: Option<Commit>,
    /// The newest CLAIM below ours, with its position.
    pub claim_before: Option<(Token, Claim)>,
    /// Whether a CLAIM stands above ours.
    pub claim_above: bool,
}

/// What the snapshot store holds: the positive list from which everything is kept or deleted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Inventory {
    /// Snapshots with a readable manifest, in any order.
    pub manifests: Vec<Stored>,
    /// Names of everything below `checkpoints/files/` that has the form `<token>-<sha256>`.
    pub files: Vec<String>,
    /// Folders `<epoch>-<token>` without a manifest.
    pub unfinished: Vec<(Epoch, Token)>,
}

/// A snapshot in the store.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Stored {
    /// Epoch.
    pub epoch: Epoch,
    /// Token of the attempt that wrote it.
    pub token: Token,
    /// Stored names of every file that its manifest lists.
    pub files: Vec<String>,
    /// The store holds the note of `NoteCommitted`: proof that the authority once named it.
    pub noted: bool,
    /// A user owns it (savepoint inside the store): never retired.
    pub pinned: bool,
}

/// Why a step failed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Failure {
    /// How it is to be taken.
    pub class: Class,
    /// What, where, what to do.
    pub why: String,
}

/// How an attempt ends. The class says what happens next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// Graceful stop: everything read is committed, no transaction is open. Exit 0.
    Stopped,
    /// Bounded input is at its end and committed, now or by an earlier run. Exit 0.
    Ended,
    /// The file is wrong, limits contradict each other. Exit 3.
    Config,
    /// Cannot be reached, not permitted. Exit 5 at start; with back-off once it ran.
    Unreachable,
    /// Leave, and recover from the newest commit: a new attempt with back-off.
    Transient,
    /// Another attempt owns the pipeline (DEPOSED, or a live owner): stop quietly. Exit 7. As the class of a
    /// [`Fact::Failed`] it means only that the broker said so: an own time-out looks the same, and the next PEEK tells.
    Fenced,
    /// HALT: an operator is needed. Touch nothing. Exit 6.
    Halt,
    /// A guest failed under `on_error = "fail"`: back-off, circuit.
    Guest,
    /// I/O error or failed fsync: the process ends, nothing is tried again on top of it.
    Io,
    /// An invariant does not hold. Stop, keep the evidence.
    Bug,
}

impl Class {
    /// As users read it.
    pub fn as_str(self) -> &'static str {
        match self {
            Class::Stopped => "stopped",
            Class::Ended => "ended",
            Class::Config => "config",
            Class::Unreachable => "unreachable",
            Class::Transient => "transient",
            Class::Fenced => "fenced",
            Class::Halt => "state",
            Class::Guest => "operator",
            Class::Io => "io",
            Class::Bug => "bug",
        }
    }
}
