//! The data path: shards, each on a thread that it may share with others, run chains of nodes to completion, batch after batch, without a lock or an
//! allocation per record; between chains rows move in bounded rings. Sources cut batches where the watermark crosses a
//! tick; operators call their guest once a batch; sinks take columns. Marks travel in order with the batches. Decides
//! nothing about checkpoints: it answers commands.

mod error;
mod gate;
mod metrics;
mod node;
mod operator;
mod outlet;
mod packet;
mod passage;
mod policy;
mod ring;
mod shard;
mod sink;
mod source;
mod stopwatch;
mod task;
mod threads;

pub use error::{Error, OnError};
pub use gate::BarrierMode;
pub use metrics::{Metrics, NodeKind, NodeMetrics, NodeTime};
pub use node::Node;
pub use operator::{Alarm, OperatorNode, OperatorSettings};
pub use outlet::{Outlet, Spread};
pub use packet::{KeyExtraction, Packet};
pub use passage::Passed;
pub use policy::Policy;
pub use ring::{RingReader, RingWriter, ring};
pub use shard::{Command, Report, Reporter};
pub use sink::SinkNode;
pub use source::{SourceNode, SourceSettings};
pub use task::{Edge, Task, TaskSnapshot};
pub use threads::{Bell, Prepared, RunningShard, ShardPool};

#[cfg(test)]
mod source_tests;
#[cfg(test)]
mod tests;
