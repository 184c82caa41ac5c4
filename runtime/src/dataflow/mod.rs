//! The data path: one shard thread runs every node of a pipeline to completion, batch after batch, without a lock or an
//! allocation per record. Sources cut batches where the watermark crosses a tick; operators call their guest once a batch;
//! sinks take columns. Marks travel in order with the batches. Decides nothing about checkpoints: it answers commands.

mod error;
mod gate;
mod metrics;
mod operator;
mod packet;
mod shard;
mod sink;
mod source;
mod stopwatch;

pub use error::{Error, OnError};
pub use metrics::{Metrics, NodeKind, NodeMetrics, NodeTime};
pub use operator::{OperatorNode, OperatorSettings};
pub use packet::{KeyExtraction, Packet};
pub use shard::{Command, Edge, Node, Report, Reporter, Shard, ShardSnapshot};
pub use sink::SinkNode;
pub use source::{SourceNode, SourceSettings};

#[cfg(test)]
mod tests;
