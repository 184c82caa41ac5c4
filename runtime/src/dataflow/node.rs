//! A node at run time, whatever it is: what its task asks of it. Owns nothing of its own.

use std::sync::Arc;

use weir_core::ids::Epoch;

use super::metrics::NodeMetrics;
use super::operator::OperatorNode;
use super::sink::SinkNode;
use super::source::SourceNode;

/// A node of one subtask.
pub enum Node {
    /// Reads.
    Source(Box<SourceNode>),
    /// Runs user code.
    Operator(Box<OperatorNode>),
    /// Writes.
    Sink(Box<SinkNode>),
}

impl Node {
    pub(super) fn metrics(&self) -> Arc<NodeMetrics> {
        match self {
            Node::Source(node) => node.metrics(),
            Node::Operator(node) => node.metrics(),
            Node::Sink(node) => node.metrics(),
        }
    }

    /// The epoch of the barrier that has passed and is not yet reported.
    pub(super) fn cut(&self) -> Option<Epoch> {
        match self {
            Node::Source(node) => node.cut(),
            Node::Operator(node) => node.cut(),
            Node::Sink(node) => node.cut(),
        }
    }

    /// Whether what a barrier closed is still to be copied.
    pub(super) fn is_copying(&self) -> bool {
        matches!(self, Node::Operator(node) if node.is_copying())
    }

    /// Whether it waits for room in the middle of something.
    pub(super) fn is_busy(&self) -> bool {
        matches!(self, Node::Operator(node) if node.is_busy())
    }

    /// Whether the channel waits behind a barrier.
    pub(super) fn is_blocked(&self, channel: usize) -> bool {
        match self {
            Node::Source(_) => false,
            Node::Operator(node) => node.is_blocked(channel),
            Node::Sink(node) => node.is_blocked(channel),
        }
    }

    /// Whether nothing follows.
    pub(super) fn has_ended(&self) -> bool {
        match self {
            Node::Source(node) => node.has_ended(),
            Node::Operator(node) => node.has_ended(),
            Node::Sink(node) => node.has_ended(),
        }
    }
}
