//! The durable record that makes a snapshot complete: which files hold the state of an epoch, and where its sources stood.
//! Owns the JSON that is written last into `checkpoints/<epoch>-<token>/manifest`; reads and writes no file itself.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::ids::{Epoch, Name, Token};

/// The version of [`Manifest`] that this build writes, and the newest that it reads.
pub const VERSION: u32 = 1;

/// Names one snapshot for ever: its folder is `<epoch>-<token>`, its manifest has this digest.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SnapshotRef {
    /// Epoch of the snapshot.
    pub epoch: Epoch,
    /// Token of the attempt that wrote it.
    pub token: Token,
    /// sha256 of the manifest's bytes, lower-case hex.
    pub sha256: String,
}

impl SnapshotRef {
    /// `<epoch>-<token>`: the folder's name and the checkpoint's id.
    pub fn id(&self) -> String {
        format!("{}-{}", self.epoch, self.token)
    }
}

/// Why an epoch was committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CommitKind {
    /// A periodic one, or the last one of a graceful stop.
    #[default]
    Checkpoint,
    /// One that a user asked for and owns.
    Savepoint,
    /// The end of bounded input: nothing follows.
    Final,
    /// Return to an older snapshot.
    Rewind,
    /// State was deleted on purpose; no snapshot.
    Reset,
}

impl CommitKind {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            CommitKind::Checkpoint => "checkpoint",
            CommitKind::Savepoint => "savepoint",
            CommitKind::Final => "final",
            CommitKind::Rewind => "rewind",
            CommitKind::Reset => "reset",
        }
    }
}

/// A file below `checkpoints/files/`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FileRef {
    /// `<token>-<sha256>`.
    pub stored: String,
    /// Bytes.
    pub bytes: u64,
    /// sha256 of the content, lower-case hex.
    pub sha256: String,
}

/// State of all nodes of one database: a base and the deltas on top of it, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateFiles {
    /// A RocksDB snapshot: RocksDB's own file name → stored file.
    pub base: BTreeMap<String, FileRef>,
    /// Sorted tables, one an epoch, applied in this order.
    pub deltas: Vec<FileRef>,
}

/// One split of a source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SplitPosition {
    /// The source's name of the split: `<topic>/<partition>`, a file name, or empty where there is only one.
    pub split: String,
    /// The next position to read.
    pub position: i64,
    /// Where a bounded read ends (exclusive), fixed by the first commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<i64>,
    /// Digest of what lies before the position, where the source's content could be exchanged for another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tail: Option<String>,
    /// The largest event time seen, before the bound is taken off. What was late before a kill is late after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub largest_time: Option<i64>,
}

/// Positions of a source: all its splits, also unread ones.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourcePositions {
    /// What is read: type and place (`kafka:<topic>`, `file:<path>`, `generator`). A different one at restore is refused.
    pub identity: String,
    /// Its splits.
    pub splits: Vec<SplitPosition>,
    /// The watermark that the source had sent.
    pub watermark: i64,
}

/// What a node keeps.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeSnapshot {
    /// State name → its id in the keys of the database. Append-only over the life of a pipeline.
    #[serde(default)]
    pub states: BTreeMap<String, StateId>,
    /// The node's watermark when the barrier passed.
    pub watermark: i64,
}

/// A declared state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateId {
    /// Its id, unique in the database.
    pub id: u16,
    /// `value`, `map`, `list`, `broadcast`, or `timers`.
    pub kind: String,
    /// Version of its schema, as declared.
    pub version: u32,
}

/// A file that a file sink staged and that is renamed once the epoch is committed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StagedPart {
    /// Sink node.
    pub sink: Name,
    /// Name in `<path>/.staging/`.
    pub staged: String,
    /// Name in `<path>/`.
    pub published: String,
    /// Bytes.
    pub bytes: u64,
    /// sha256, lower-case hex.
    pub sha256: String,
}

/// The manifest of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`VERSION`] of the writer.
    pub version: u32,
    /// Pipeline.
    pub pipeline: Name,
    /// Random id of the pipeline's first start; tells two pipelines of one name apart.
    pub lineage: String,
    /// Epoch.
    pub epoch: Epoch,
    /// Token of the attempt.
    pub token: Token,
    /// Kind of the commit that names it.
    pub kind: CommitKind,
    /// Seconds since 1970, for people.
    pub created_at: u64,
    /// Key groups of the pipeline: 128.
    pub key_groups: u16,
    /// Sources by name.
    pub sources: BTreeMap<Name, SourcePositions>,
    /// Operator nodes by name.
    pub nodes: BTreeMap<Name, NodeSnapshot>,
    /// The database's files.
    pub state: StateFiles,
    /// Ids of states that were left out on purpose: entries of theirs are nobody's, and no id of these is given out again.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub dropped: BTreeSet<u16>,
    /// Parts to publish once committed. Publishing is repeated at restore.
    #[serde(default)]
    pub parts: Vec<StagedPart>,
}

/// Bytes that are no manifest for this build.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// A later build wrote them.
    #[error("it has version {0}, and this build reads {VERSION}")]
    Newer(u32),
    /// They are none at all.
    #[error(transparent)]
    Damaged(#[from] serde_json::Error),
}

impl Manifest {
    /// Reads what [`Manifest::encode`] has written. Whether its files are there, and are named as weir names them, is another
    /// question.
    pub fn decode(bytes: &[u8]) -> Result<Manifest, Unreadable> {
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }
        // First and alone: what else a later version has, nobody here can know.
        match serde_json::from_slice(bytes)? {
            Version { version } if version > VERSION => Err(Unreadable::Newer(version)),
            _ => Ok(serde_json::from_slice(bytes)?),
        }
    }

    /// The bytes that lie in the store, and whose digest a COMMIT names.
    pub fn encode(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut bytes = serde_json::to_vec_pretty(self)?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// Every stored file that this manifest names: the only list from which files are kept or deleted.
    pub fn files(&self) -> impl Iterator<Item = &FileRef> {
        self.state.base.values().chain(&self.state.deltas)
    }

    /// The same, to be given other names.
    pub fn files_mut(&mut self) -> impl Iterator<Item = &mut FileRef> {
        self.state.base.values_mut().chain(&mut self.state.deltas)
    }

    /// What a state id of the database stands for, in words: `state "count" of node "ip-count"`.
    pub fn name_of_state(&self, id: u16) -> Option<String> {
        let mut states =
            self.nodes.iter().flat_map(|(node, kept)| kept.states.iter().map(move |(name, state)| (node, name, state)));
        let (node, name, _) = states.find(|(.., state)| state.id == id)?;
        Some(format!("state {name:?} of node \"{node}\""))
    }
}
