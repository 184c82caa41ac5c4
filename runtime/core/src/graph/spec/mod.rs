//! A pipeline as its user wrote it: names, edges, ends, limits, with every default filled in. Owns the values; does not
//! read text (`settings` does) and does not decide whether they fit together (`check` does).

mod ends;
mod kafka;
mod kafka_source;
mod node;
mod secret;
mod time;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use ends::{FilePath, GeneratorSource, Sink, SinkKind, Source, SourceKind};
pub use kafka::{Compression, KafkaClient, KafkaSink, Mechanism, Protocol, Security};
pub use kafka_source::{DISCOVERY, KafkaSource, Offsets, Otherwise, Partition, Removed, Start, Topics, Until};
pub use node::{Edge, Exchange, Input, Key, Limits, MEMORY_BYTES_MAX, Node, OnError, OperatorRef, RECORD_BYTES_MAX};
pub use secret::Secret;
pub use time::{EventTime, Unit, WatermarkSettings};

use crate::ids::Name;
use crate::restart::Strategy;

/// The version of the pipeline file that this build reads.
pub const VERSION: u32 = 1;

/// What a user submits. Sources, nodes and sinks stand in the order of the file.
#[derive(Debug, Clone, PartialEq)]
pub struct Pipeline {
    /// Name: the identity of the state, of the transactional ids and of the commit topic.
    pub name: Name,
    /// Where state lives between two calls.
    pub state: Backend,
    /// When and how state is made durable.
    pub checkpoint: Checkpoint,
    /// What follows a failure that may pass.
    pub restart: Strategy,
    /// Whether what is told of a problem shows keys and values of records.
    pub samples: Samples,
    /// Where records come from.
    pub sources: Vec<Source>,
    /// Where user code runs.
    pub nodes: Vec<Node>,
    /// Where rows go.
    pub sinks: Vec<Sink>,
}

impl Pipeline {
    /// The source of this name.
    pub fn source(&self, name: &str) -> Option<&Source> {
        self.sources.iter().find(|s| s.name.as_str() == name)
    }

    /// The node of this name.
    pub fn node(&self, name: &str) -> Option<&Node> {
        self.nodes.iter().find(|n| n.name.as_str() == name)
    }

    /// The sink of this name.
    pub fn sink(&self, name: &str) -> Option<&Sink> {
        self.sinks.iter().find(|s| s.name.as_str() == name)
    }

    /// The time-out of this sink's transaction: as written, else long enough for an interval, a checkpoint that times
    /// out and the margin (rule V1 holds by construction), and at least two minutes.
    pub fn transaction_timeout(&self, sink: &KafkaSink) -> Duration {
        sink.transaction_timeout.unwrap_or_else(|| self.checkpoint.longest_transaction().max(Duration::from_secs(120)))
    }
}

/// `[checkpoint]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Time between barriers; also the commit latency of the sinks.
    pub interval: Duration,
    /// What is promised.
    pub guarantee: Guarantee,
    /// After this long a checkpoint is given up.
    pub timeout: Duration,
    /// Least time between the end of one checkpoint and the next barrier.
    pub min_pause: Duration,
    /// Checkpoints in a row that may fail before the pipeline does.
    pub tolerable_failures: u32,
    /// Snapshots kept.
    pub retain: u32,
    /// Where they lie.
    pub storage: Storage,
    /// What happens to the state of a cancelled pipeline.
    pub on_cancel: OnCancel,
    /// What must be left of a transaction's time-out after the longest checkpoint.
    pub margin: Duration,
}

impl Checkpoint {
    /// The longest that a transaction may have to stay open: interval + time-out + margin (rule V1).
    pub fn longest_transaction(&self) -> Duration {
        self.interval.saturating_add(self.timeout).saturating_add(self.margin)
    }
}

impl Default for Checkpoint {
    fn default() -> Checkpoint {
        Checkpoint {
            interval: Duration::from_secs(1),
            guarantee: Guarantee::ExactlyOnce,
            timeout: Duration::from_secs(60),
            min_pause: Duration::ZERO,
            tolerable_failures: 3,
            retain: 3,
            storage: Storage::Local,
            on_cancel: OnCancel::Keep,
            margin: Duration::from_secs(30),
        }
    }
}

/// What a pipeline promises about each record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Guarantee {
    /// Its effect is in the output once.
    #[default]
    ExactlyOnce,
    /// Its effect is in the output, perhaps more than once after a failure.
    AtLeastOnce,
    /// Nothing: what was in flight at a failure is gone.
    None,
}

impl Guarantee {
    /// As it is written in the file.
    pub fn as_str(self) -> &'static str {
        match self {
            Guarantee::ExactlyOnce => "exactly-once",
            Guarantee::AtLeastOnce => "at-least-once",
            Guarantee::None => "none",
        }
    }
}

/// Where snapshots lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Storage {
    /// In the state folder.
    #[default]
    Local,
    /// In the memory of the process, and gone with it.
    Memory,
}

/// Where state lives between two calls. Snapshots of both have one format: each restores what the other wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Backend {
    /// In memory; what is not in use leaves it for RocksDB where memory is short.
    #[default]
    RocksDb,
    /// In memory, all of it, always.
    Memory,
}

/// What is told of a problem shows of the record that it is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Samples {
    /// Its key and the beginning of its value.
    #[default]
    Show,
    /// Where it came from, and nothing of its content.
    Hide,
}

/// What becomes of a cancelled pipeline's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnCancel {
    /// It stays.
    #[default]
    Keep,
    /// It is deleted, after a reset was committed.
    Delete,
}
