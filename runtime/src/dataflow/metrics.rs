//! Counters that the data path keeps, once per batch. Plain atomics: whoever exports them reads them. Decides nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use weir_core::ids::Name;

use crate::guest::Measured;
use crate::journal::LogCounts;

/// A counter or gauge.
#[derive(Debug, Default)]
pub struct Value(AtomicU64);

impl Value {
    /// Adds to a counter.
    pub fn add(&self, by: u64) {
        self.0.fetch_add(by, Ordering::Relaxed);
    }

    /// Sets a gauge.
    pub fn set(&self, to: u64) {
        self.0.store(to, Ordering::Relaxed);
    }

    /// The value.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the three kinds of node")]
pub enum NodeKind {
    Source,
    Operator,
    Sink,
}

/// What a node does with its shard's time, nanoseconds.
#[derive(Debug, Default)]
pub struct NodeTime {
    /// The node worked.
    pub busy: Value,
    /// No node could work, since rows wait at a sink that has no room.
    pub backpressured: Value,
    /// Nothing was there to do, or another node worked.
    pub idle: Value,
}

/// What one node counts.
#[derive(Debug)]
pub struct NodeMetrics {
    /// Node.
    pub name: Name,
    /// Which of its subtasks, where it has several.
    pub subtask: Option<u32>,
    /// Whether it reads from outside.
    pub is_source: bool,
    /// Whether it runs user code.
    pub is_operator: bool,
    /// Ports whose rows are counted, in order.
    pub ports: Vec<String>,
    /// Records taken in.
    pub records_in: Value,
    /// Records sent on, per port.
    pub records_out: Vec<Value>,
    /// Records that `on_error = "skip"` dropped.
    pub skipped: Value,
    /// Rows on the port `late` that nothing was wired to, or that were.
    pub late: Value,
    /// Calls of the guest.
    pub calls: Value,
    /// Nanoseconds in the guest and its imports.
    pub call_nanos: Value,
    /// Calls that failed, by [`crate::guest::Reason`].
    pub traps: [Value; 6],
    /// Bytes of the working set.
    pub state_bytes: Value,
    /// Keys that were evicted from the working set.
    pub state_evicted: Value,
    /// Keys that were looked up on disk, since they were evicted or are new.
    pub state_missed: Value,
    /// Timers that wait.
    pub timers: Value,
    /// Bytes of the guest's linear memory.
    pub guest_memory: Value,
    /// Nanoseconds of the shard, by what they were for this node. Together they are the time that the shard has run.
    pub time: NodeTime,
    /// Records behind the end of what exists, for sources.
    pub lag: Value,
    /// What its operator counts by itself.
    pub measured: Arc<[Measured]>,
    /// What its operator logs.
    pub logs: Arc<LogCounts>,
    /// The chain that it belongs to, by number.
    pub chain: usize,
    watermark: AtomicI64,
}

impl NodeMetrics {
    /// Counters at zero.
    pub fn new(
        name: Name,
        subtask: Option<u32>,
        kind: NodeKind,
        ports: Vec<String>,
        measured: Arc<[Measured]>,
    ) -> NodeMetrics {
        NodeMetrics {
            name,
            subtask,
            is_source: kind == NodeKind::Source,
            is_operator: kind == NodeKind::Operator,
            records_out: ports.iter().map(|_| Value::default()).collect(),
            ports,
            records_in: Value::default(),
            skipped: Value::default(),
            late: Value::default(),
            calls: Value::default(),
            call_nanos: Value::default(),
            traps: Default::default(),
            state_bytes: Value::default(),
            state_evicted: Value::default(),
            state_missed: Value::default(),
            timers: Value::default(),
            guest_memory: Value::default(),
            time: NodeTime::default(),
            lag: Value::default(),
            measured,
            logs: Arc::default(),
            chain: 0,
            watermark: AtomicI64::new(i64::MIN),
        }
    }

    /// The same, as a part of this chain.
    #[must_use]
    pub fn in_chain(self, chain: usize) -> NodeMetrics {
        NodeMetrics { chain, ..self }
    }

    /// The node's watermark, milliseconds; the least value before the first.
    pub fn watermark(&self) -> i64 {
        self.watermark.load(Ordering::Relaxed)
    }

    pub(super) fn set_watermark(&self, to: i64) {
        self.watermark.store(to, Ordering::Relaxed);
    }
}

/// What a pipeline counts.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Its nodes.
    pub nodes: Vec<Arc<NodeMetrics>>,
}

impl Metrics {
    /// The nodes that read from outside.
    pub fn sources(&self) -> impl Iterator<Item = &NodeMetrics> {
        self.nodes.iter().map(AsRef::as_ref).filter(|node| node.is_source)
    }
}
