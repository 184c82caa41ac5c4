//! What a domain tells the edge to do. Plain values; owns no rule.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::checkpoint::commit::{Claim, Commit};
use crate::checkpoint::manifest::{CommitKind, SnapshotRef};
use crate::ids::{Epoch, Token};

/// Something to carry out. The decisions of one call are carried out in order; those that name an answer report it as a
/// [`Fact`](super::Fact), or as `Fact::Failed`. Those without an answer report only a failure.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Decision {
    /// Read the newest CLAIM and COMMIT, for politeness only. Answer: `Peeked`.
    Peek,
    /// A live owner may exist: print it. Nothing to do but `Tick` at `wakeup()`.
    Wait {
        /// Host of the newest CLAIM.
        host: String,
        /// Its process.
        pid: u32,
        /// Milliseconds since 1970 of the newest COMMIT, if there is one.
        committed_at: Option<i64>,
        /// When the domain goes on, if no COMMIT comes.
        until: Duration,
        /// The same owner as in the decision before: said already.
        again: bool,
    },
    /// New producer objects; fence every id. Answer: `Fenced`.
    Fence {
        /// Own ids and those of the newest CLAIM.
        ids: Vec<String>,
    },
    /// Write this CLAIM and commit it, on the producer that will carry the rows. Answer: `Claimed`.
    Claim(Claim),
    /// Read until the CLAIM with this nonce. Answer: `Resolved`.
    Resolve {
        /// Nonce of our CLAIM.
        nonce: String,
    },
    /// List the snapshot store. Answer: `Listed`.
    List,
    /// Check the digest, materialise the state, seek the sources, publish the snapshot's parts once more; `None`: start
    /// empty. Answer: `Restored`.
    Restore {
        /// What the newest COMMIT names.
        snapshot: Option<SnapshotRef>,
    },
    /// Copy the savepoint of [`Start::Savepoint`](super::Start) into the store as a snapshot of this name, every file of it
    /// checked. Answer: `Prepared`.
    Import {
        /// Epoch.
        epoch: Epoch,
        /// Our token, also the prefix of every file.
        token: Token,
    },
    /// Open the transaction of this epoch. Answer: `Begun`.
    Begin {
        /// Epoch.
        epoch: Epoch,
    },
    /// The first transaction is open: shards start, rows go out.
    Run {
        /// The first epoch.
        epoch: Epoch,
    },
    /// Send the barrier into every source. Answers: one `BarrierPassed` per sink.
    InjectBarrier {
        /// Epoch.
        epoch: Epoch,
        /// What the COMMIT will be.
        kind: CommitKind,
        /// Nothing may be read behind this barrier: the pipeline stops once it is committed.
        last: bool,
    },
    /// DECLINE: the epoch will not be committed. Cancel its barrier where it still travels; sealed state is dirty again;
    /// held rows go out into the *same*, still open transaction. The next epoch covers both.
    Cancel {
        /// Epoch.
        epoch: Epoch,
        /// For log and status.
        why: String,
    },
    /// Wait until every row of the epoch is acknowledged. Runs beside `WriteSnapshot`. Answer: `Flushed`.
    Flush {
        /// Epoch.
        epoch: Epoch,
    },
    /// Write the snapshot, manifest last, under the name `<epoch>-<token>`. Answer: `Prepared` or `NoSpace`.
    WriteSnapshot {
        /// Epoch.
        epoch: Epoch,
        /// Our token, also the prefix of every file.
        token: Token,
        /// Goes into the manifest.
        kind: CommitKind,
    },
    /// Put this COMMIT record into the open transaction (the edge sets `at`, the wall clock). Answer: `Marked`.
    Mark(Commit),
    /// Commit the open transaction. Answer: `Committed`.
    Commit {
        /// Epoch.
        epoch: Epoch,
    },
    /// The epoch is committed: followers apply, staged parts are renamed. Idempotent.
    Publish {
        /// The snapshot that lists them.
        snapshot: SnapshotRef,
    },
    /// Note in the store that this snapshot was committed (an empty file `committed` in its folder, no fsync needed): the
    /// proof that lets a later start tell a lost commit topic from a first start that died early.
    NoteCommitted {
        /// The snapshot.
        snapshot: SnapshotRef,
    },
    /// The id is suspicious and will be re-claimed: for log and status. Held rows stay held until `Release`.
    HoldRows {
        /// The epoch just committed.
        epoch: Epoch,
    },
    /// `epoch` is committed and the next transaction is open: held rows go out.
    Release {
        /// The epoch just committed.
        epoch: Epoch,
    },
    /// Show these positions outside (consumer group). Best effort.
    PublishLag {
        /// The epoch just committed.
        epoch: Epoch,
        /// From the COMMIT.
        positions: BTreeMap<String, i64>,
    },
    /// Delete exactly these. Manifests first. A failure is logged and changes nothing.
    Retire(Retire),
    /// The attempt is over: drop producers without aborting, carry out nothing more. Always the last decision.
    Exit {
        /// What happens next.
        class: super::Class,
        /// What, where, what to do.
        why: String,
    },
}

/// A positive list of what to delete.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Retire {
    /// Folders `checkpoints/<epoch>-<token>`.
    pub manifests: Vec<(Epoch, Token)>,
    /// Names below `checkpoints/files/`.
    pub files: Vec<String>,
}
