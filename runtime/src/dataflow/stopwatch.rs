//! Whose time the shard's time is. One clock read where the work passes from a node to the next, so two for each batch and
//! node; published behind each turn. Every moment of the shard counts once for every node: busy, back-pressured or idle;
//! idle too where the thread ran another pipeline's shard.

use std::sync::Arc;
use std::time::Instant;

use super::metrics::NodeMetrics;
use crate::clock;

/// Who has the thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    /// The node with this index works.
    Node(usize),
    /// Rows wait at a sink without room: no node can work.
    Backpressure,
    /// Nothing is to be done, or the shard itself does it.
    Nobody,
}

/// Counts the time of one shard.
pub(super) struct Stopwatch {
    nodes: Vec<Arc<NodeMetrics>>,
    /// Nanoseconds of each node that are not published yet.
    busy: Vec<u64>,
    backpressured: u64,
    total: u64,
    owner: Owner,
    since: Instant,
}

impl Stopwatch {
    pub(super) fn new(nodes: Vec<Arc<NodeMetrics>>) -> Stopwatch {
        let busy = vec![0; nodes.len()];
        Stopwatch { nodes, busy, backpressured: 0, total: 0, owner: Owner::Nobody, since: clock::now() }
    }

    /// From now on the time is this owner's. Whose it was before comes back.
    pub(super) fn pass_to(&mut self, owner: Owner) -> Owner {
        self.pass_at(owner, clock::now())
    }

    /// A turn begins. Rows that waited for room wait no more, or are waited for anew behind it; where nobody had the time,
    /// nobody has it still, and the clock need not be asked.
    pub(super) fn rest_until_now(&mut self) {
        if self.owner != Owner::Nobody {
            self.pass_to(Owner::Nobody);
        }
    }

    fn pass_at(&mut self, owner: Owner, now: Instant) -> Owner {
        let nanos = now.duration_since(self.since).as_nanos() as u64;
        self.since = now;
        self.total += nanos;
        match self.owner {
            Owner::Node(node) => self.busy[node] += nanos,
            Owner::Backpressure => self.backpressured += nanos,
            Owner::Nobody => {}
        }
        std::mem::replace(&mut self.owner, owner)
    }

    /// Adds what was counted to the nodes' metrics.
    pub(super) fn publish(&mut self) {
        for (node, busy) in self.nodes.iter().zip(&mut self.busy) {
            node.time.busy.add(*busy);
            node.time.backpressured.add(self.backpressured);
            node.time.idle.add(self.total - self.backpressured - *busy);
            *busy = 0;
        }
        (self.backpressured, self.total) = (0, 0);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use weir_core::ids::Name;

    use super::*;
    use crate::dataflow::NodeKind;

    #[test]
    fn busy_backpressured_and_idle_of_every_node_are_the_wall_time() {
        let node = |name| {
            let name = Name::new(name).unwrap();
            Arc::new(NodeMetrics::new(name, None, NodeKind::Source, Vec::new(), Arc::new([])))
        };
        let nodes = vec![node("a"), node("b")];
        let mut watch = Stopwatch::new(nodes.clone());
        let mut now = watch.since;
        let mut pass = |watch: &mut Stopwatch, owner, after: u64| {
            now += Duration::from_nanos(after);
            watch.pass_at(owner, now)
        };
        pass(&mut watch, Owner::Node(0), 1);
        assert_eq!(pass(&mut watch, Owner::Node(1), 10), Owner::Node(0));
        pass(&mut watch, Owner::Node(0), 100);
        pass(&mut watch, Owner::Backpressure, 1_000);
        watch.publish();
        pass(&mut watch, Owner::Nobody, 10_000);
        pass(&mut watch, Owner::Nobody, 100_000);
        watch.publish();
        let times = |i: usize| {
            let time = &nodes[i].time;
            [time.busy.get(), time.backpressured.get(), time.idle.get()]
        };
        assert_eq!(times(0), [1_010, 10_000, 100_101]);
        assert_eq!(times(1), [100, 10_000, 101_011]);
    }
}
