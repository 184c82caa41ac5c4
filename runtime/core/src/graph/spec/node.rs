//! Operator nodes and edges as written.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{FilePath, Secret};
use crate::ids::Name;

/// `[nodes.NAME]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Its name: the identity of its state.
    pub name: Name,
    /// What it was called when the state was written that it is to have.
    pub previous_name: Option<Name>,
    /// The component.
    pub operator: OperatorRef,
    /// What it takes: one input without a port name, or several with one each.
    pub inputs: Vec<Input>,
    /// What becomes of a record that it rejects, traps on or cannot be keyed.
    pub on_error: OnError,
    /// Passed to the operator, which declares a schema for it. `null` where nothing was written.
    pub config: serde_json::Value,
    /// What the operator may ask for by name.
    pub secrets: BTreeMap<String, Secret>,
    /// What it may use.
    pub limits: Limits,
    /// Subtasks, 1 to 128.
    pub parallelism: u32,
}

/// Which component runs in a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OperatorRef {
    /// A file.
    Path(FilePath),
    /// An entry of the registry.
    Registry {
        /// Its name.
        name: Name,
        /// `1.0.0`, or the beginning of a version: `1`, `1.2`.
        version: String,
    },
}

impl std::fmt::Display for OperatorRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            OperatorRef::Path(path) => f.write_str(&path.written),
            OperatorRef::Registry { name, version } => write!(f, "{name}@{version}"),
        }
    }
}

/// One input port and what flows into it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// The port as the operator declares it; `None` where the file names none: the only one.
    pub port: Option<String>,
    /// What flows in.
    pub from: Vec<Edge>,
    /// What its records are keyed by.
    pub key: Option<Key>,
}

/// `"node"` or `"node.port"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edge {
    /// A source or node.
    pub node: String,
    /// Its port; `None`: its first.
    pub port: Option<String>,
    /// How its records are spread; `None`: by key where the input has one, else forward or, between unequal
    /// parallelisms, rebalance.
    pub exchange: Option<Exchange>,
    /// Where it stands in the file: `nodes.count.inputs[0]`.
    pub path: String,
}

/// `exchange`, where it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exchange {
    /// Subtask i to subtask i.
    Forward,
    /// Every record to every subtask.
    Broadcast,
    /// In turn, batch by batch.
    Rebalance,
}

impl std::fmt::Display for Edge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.node)?;
        self.port.iter().try_for_each(|port| write!(f, ".{port}"))
    }
}

/// What the records of an input are keyed by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    /// A field of the value, which is JSON: the JSON pointer to it.
    Json(String),
    /// The record's own key: Kafka's, or what the operator before emitted.
    Record,
}

/// `on_error`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnError {
    /// The pipeline fails and says which record.
    #[default]
    Fail,
    /// The record is left out and counted.
    Skip,
}

/// `limits = { … }` of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Linear memory of the instance, bytes.
    pub memory_bytes: u64,
    /// Longest call, as a budget of fuel.
    pub call_timeout: Duration,
    /// The largest record, in and out: key + value + headers, bytes.
    pub record_bytes_max: u64,
}

/// 512 MiB: the most that `limits.memory` may grant.
pub const MEMORY_BYTES_MAX: u64 = 512 << 20;

/// 1 MiB: `limits.record` where nothing else is written.
pub const RECORD_BYTES_MAX: u64 = 1 << 20;

impl Default for Limits {
    fn default() -> Limits {
        Limits { memory_bytes: 64 << 20, call_timeout: Duration::from_millis(100), record_bytes_max: RECORD_BYTES_MAX }
    }
}
