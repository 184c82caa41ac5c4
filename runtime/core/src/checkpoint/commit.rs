//! The two records that a domain writes into its authority: CLAIM, which fences older attempts, and COMMIT, which decides
//! what is committed. Owns their JSON; the newest COMMIT is the single truth about a pipeline.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::manifest::{CommitKind, SnapshotRef};
use crate::ids::{Epoch, Token};

/// The version of both records that this build writes, and the newest that it reads.
pub const VERSION: u32 = 1;

/// What an attempt writes first. Its offset in the commit topic is the attempt's token.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Claim {
    /// [`VERSION`].
    pub v: u32,
    /// Random, so that an attempt finds its own CLAIM.
    pub nonce: String,
    /// Random id of the pipeline's first start.
    pub lineage: String,
    /// Transactional ids that the attempt fenced and may use.
    pub txn_ids: Vec<String>,
    /// Host name.
    pub host: String,
    /// Id of the host's boot, so that a claim of a process that is gone is told from a live one.
    pub boot_id: String,
    /// Process id.
    pub pid: u32,
    /// Milliseconds since 1970.
    pub started_at: i64,
    /// Version of weir.
    pub build: String,
}

/// What decides: it travels in the same transaction as the rows of its epoch.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Commit {
    /// [`VERSION`].
    pub v: u32,
    /// Why.
    pub kind: CommitKind,
    /// As in the claim.
    pub lineage: String,
    /// Epoch.
    pub epoch: Epoch,
    /// Token of the attempt.
    pub token: Token,
    /// The snapshot to restore; `None` for [`CommitKind::Reset`].
    pub snapshot: Option<SnapshotRef>,
    /// Next position per source and split, for people and tools: the manifest decides.
    pub positions: BTreeMap<String, i64>,
    /// Milliseconds since 1970, for people.
    pub at: i64,
}
