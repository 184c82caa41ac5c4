//! How the engine runs a pipeline: vertices in topological order, edges by number, what to find in each record, who decides
//! what is committed. Made once, from a checked pipeline and the ports of its operators; knows no component and no file.
//!
//! A vertex has as many subtasks as its parallelism says; a chain is what one barrier passes without waiting, and runs once
//! for each subtask.

mod build;
#[cfg(test)]
mod tests;

use super::fault::Fault;
use super::spec::{OnError, Pipeline, Unit};
use crate::ids::Name;

/// The port to which guest rejects go when it is wired. No operator may declare it.
pub const REJECTS: &str = "rejects";
/// Reserved for what a later version brings.
pub const DEAD_LETTER: &str = "dead-letter";

/// A vertex: its index in [`Plan::vertices`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VertexId(pub usize);

/// An output port: its index in [`Plan::outputs`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OutputId(pub usize);

/// A chain: its index in [`Plan::chains`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChainId(pub usize);

/// A pipeline, resolved.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Sources, nodes and sinks: each behind all that it takes from; among equals in file order.
    pub vertices: Vec<Vertex>,
    /// Every port that records leave by, wired or not.
    pub outputs: Vec<Output>,
    /// Neighbours that one thread runs as one.
    pub chains: Vec<Chain>,
    /// Who decides what is committed.
    pub authority: Authority,
    /// What the user should know.
    pub warnings: Vec<Fault>,
}

/// A source, node or sink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vertex {
    /// Its name.
    pub name: Name,
    /// What it is.
    pub kind: VertexKind,
    /// The channels that lead in. Each has a number of its own here: alignment and watermarks count by it.
    pub channels: Vec<Channel>,
    /// Its ports, in the order in which the operator declares them; one for a source, none for a sink.
    pub outputs: Vec<OutputId>,
    /// The port of its rejects, where that is wired.
    pub rejects: Option<OutputId>,
    /// The chain it belongs to.
    pub chain: ChainId,
    /// Its subtasks.
    pub parallelism: u32,
}

/// What a vertex is, and which: its index in [`Pipeline::sources`], `nodes` or `sinks`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VertexKind {
    /// `pipeline.sources[source]`.
    Source {
        /// Index.
        source: usize,
    },
    /// `pipeline.nodes[node]`.
    Node {
        /// Index.
        node: usize,
    },
    /// `pipeline.sinks[sink]`.
    Sink {
        /// Index.
        sink: usize,
        /// What it has to do with a commit.
        role: SinkRole,
    },
}

/// An edge, seen from its consumer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Channel {
    /// The port it comes from.
    pub from: OutputId,
    /// The index of the input in the operator's declaration; 0 for a sink.
    pub input: u32,
    /// What its records are keyed by.
    pub key: KeyFrom,
    /// How its records are spread over the consumer's subtasks.
    pub exchange: Exchange,
}

/// How the records of an edge are spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exchange {
    /// Subtask i to subtask i.
    Forward,
    /// To the subtask that owns the key group of the record's key.
    ByKey,
    /// Every record to every subtask.
    Broadcast,
    /// In turn, batch by batch.
    Rebalance,
}

impl Exchange {
    /// As people write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Exchange::Forward => "forward",
            Exchange::ByKey => "by key",
            Exchange::Broadcast => "broadcast",
            Exchange::Rebalance => "rebalance",
        }
    }
}

/// Where the key of a record is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyFrom {
    /// The input is not keyed.
    Nothing,
    /// In the record's own key.
    Record,
    /// In this column of those that [`Output::keys`] asks for.
    Extracted(usize),
}

/// A port that records leave by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Whose.
    pub vertex: VertexId,
    /// The port's name; empty for a source.
    pub port: String,
    /// The event time to find in each value, for a source that has it there. One scan finds it with the keys.
    pub time: Option<(String, Unit)>,
    /// JSON pointers of the keys that consumers ask for, each once.
    pub keys: Vec<String>,
    /// What becomes of a record in which one of these is not found.
    pub on_error: OnError,
    /// Who takes its records: the vertex, and which of its channels. Empty: they are counted and dropped.
    pub consumers: Vec<(VertexId, usize)>,
}

/// Vertices joined by forward edges that no barrier waits at: all but the head have one channel, and it is forward. All have
/// the same parallelism.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    /// Members in topological order; the first is the head.
    pub members: Vec<VertexId>,
}

/// The one place that decides what is committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Authority {
    /// The transaction of this sink's cluster: the Kafka sink that the file names first.
    Kafka(VertexId),
    /// The pointer `CURRENT` in the state folder.
    Current,
}

/// What a sink has to do with a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SinkRole {
    /// Its rows are in the transaction that decides.
    Transaction,
    /// The Kafka transaction decides; its rows are part of the snapshot and are published after that.
    Follower,
    /// `CURRENT` decides; its parts are staged before, and published after that.
    Published,
    /// It stands outside the guarantee.
    Outside,
}

/// What an operator declares.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ports {
    /// Its inputs, in order.
    pub inputs: Vec<String>,
    /// Its outputs, in order; the first is what `inputs = ["node"]` means.
    pub outputs: Vec<String>,
}

impl Plan {
    /// Plans a pipeline. `ports` gives what the operator of a node declares, or `None` where the component has not been
    /// looked at: then any port goes. On errors, all of them are returned; warnings are in the plan.
    pub fn new(pipeline: &Pipeline, ports: &dyn Fn(&Name) -> Option<Ports>) -> Result<Plan, Vec<Fault>> {
        build::plan(pipeline, ports)
    }

    /// The vertex of this id.
    pub fn vertex(&self, id: VertexId) -> &Vertex {
        &self.vertices[id.0]
    }

    /// The output of this id.
    pub fn output(&self, id: OutputId) -> &Output {
        &self.outputs[id.0]
    }

    /// The vertex of this name.
    pub fn find(&self, name: &str) -> Option<VertexId> {
        self.vertices.iter().position(|v| v.name.as_str() == name).map(VertexId)
    }
}
