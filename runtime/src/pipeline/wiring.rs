//! Rings between chains: how many, from which subtask to which, and on which shard each end is. Made from the plan, handed
//! out task by task. Knows no node.

use std::collections::BTreeMap;
use std::sync::Arc;

use weir_core::graph::plan::{Chain, Channel, Exchange, KeyFrom, Plan, Vertex, VertexId};

use crate::connector::Waker;
use crate::dataflow::{Bell, Edge, KeyExtraction, Outlet, RingReader, RingWriter, Spread, ring};

/// Edges per node and port, the outlets among them, and the rings into the head, by channel.
pub(super) type Wires = (Vec<Vec<Vec<Edge>>>, Vec<Outlet>, Vec<RingReader>);

/// Both ends of all rings, until their tasks take them.
pub(super) struct Wiring<'p> {
    plan: &'p Plan,
    bells: Vec<Arc<Bell>>,
    /// By vertex: the shard of its first subtask.
    first_shards: BTreeMap<VertexId, usize>,
    /// By consumer, its edge, and the producer's subtask: a ring to each of the consumer's subtasks.
    writers: BTreeMap<(VertexId, usize, u32), Vec<RingWriter>>,
    /// By consumer and its subtask: a ring for each channel.
    readers: BTreeMap<(VertexId, u32), Vec<RingReader>>,
}

/// The channels into each subtask of a vertex, in order: the edge that each belongs to, with its index, and the producer's
/// subtask, or `None` where it is the one with the same number.
pub(super) fn channels<'p>(
    plan: &'p Plan,
    vertex: &'p Vertex,
) -> impl Iterator<Item = (usize, &'p Channel, Option<u32>)> {
    vertex.channels.iter().enumerate().flat_map(|(edge, channel)| {
        let producers = plan.vertex(plan.output(channel.from).vertex).parallelism;
        let forward = channel.exchange == Exchange::Forward;
        (0..if forward { 1 } else { producers }).map(move |producer| (edge, channel, (!forward).then_some(producer)))
    })
}

/// Chains with a subtask for every shard begin at the first one. Narrower ones go round: two sources that are read by one
/// subtask each do not share a shard while another has nothing to do.
fn first_shards(plan: &Plan, shards: usize) -> BTreeMap<VertexId, usize> {
    let (mut first_shards, mut next) = (BTreeMap::new(), 0);
    for chain in &plan.chains {
        let parallelism = plan.vertex(chain.members[0]).parallelism as usize;
        let mut first = 0;
        if parallelism < shards {
            first = next % shards;
            next += parallelism;
        }
        first_shards.extend(chain.members.iter().map(|member| (*member, first)));
    }
    first_shards
}

impl<'p> Wiring<'p> {
    /// Rings for all edges between chains. There are as many shards as the widest vertex has subtasks, and not more than
    /// cores.
    pub(super) fn new(plan: &'p Plan) -> Wiring<'p> {
        let widest = plan.vertices.iter().map(|vertex| vertex.parallelism).max().unwrap_or(1) as usize;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let bells: Vec<_> = (0..widest.min(cores)).map(|_| Arc::default()).collect();
        let first_shards = first_shards(plan, bells.len());
        let mut wiring = Wiring { plan, bells, first_shards, writers: BTreeMap::new(), readers: BTreeMap::new() };
        for head in plan.chains.iter().map(|chain| chain.members[0]) {
            for subtask in 0..plan.vertex(head).parallelism {
                wiring.connect(head, subtask);
            }
        }
        wiring
    }

    fn connect(&mut self, head: VertexId, subtask: u32) {
        let vertex = self.plan.vertex(head);
        for (edge, channel, producer) in channels(self.plan, vertex) {
            let producer = producer.unwrap_or(subtask);
            let from = self.plan.output(channel.from).vertex;
            let (writer, reader) =
                ring(&self.bells[self.shard_of(from, producer)], &self.bells[self.shard_of(head, subtask)]);
            self.writers.entry((head, edge, producer)).or_default().push(writer);
            self.readers.entry((head, subtask)).or_default().push(reader);
        }
    }

    /// The shard that runs a subtask of a vertex.
    pub(super) fn shard_of(&self, vertex: VertexId, subtask: u32) -> usize {
        (self.first_shards[&vertex] + subtask as usize) % self.bells.len()
    }

    /// The bells of all shards.
    pub(super) fn bells(&self) -> &[Arc<Bell>] {
        &self.bells
    }

    /// Wakes the shard that runs a subtask of a vertex.
    pub(super) fn waker(&self, vertex: VertexId, subtask: u32) -> Waker {
        let bell = Arc::clone(&self.bells[self.shard_of(vertex, subtask)]);
        Arc::new(move || bell.ring())
    }

    /// What belongs to one subtask of a chain.
    pub(super) fn take(&mut self, chain: &Chain, subtask: u32) -> Wires {
        let mut outlets = Vec::new();
        let mut edges = Vec::new();
        for vertex in chain.members.iter().map(|id| self.plan.vertex(*id)) {
            let mut ports = Vec::new();
            for output in vertex.outputs.iter().map(|id| self.plan.output(*id)) {
                let consumers = output.consumers.iter();
                ports.push(consumers.map(|(to, edge)| self.edge(chain, *to, *edge, subtask, &mut outlets)).collect());
            }
            edges.push(ports);
        }
        let inlets = self.readers.remove(&(chain.members[0], subtask)).unwrap_or_default();
        (edges, outlets, inlets)
    }

    fn edge(&mut self, chain: &Chain, to: VertexId, edge: usize, subtask: u32, outlets: &mut Vec<Outlet>) -> Edge {
        if let Some(index) = chain.members.iter().position(|member| *member == to) {
            return Edge::Node { to: index, channel: edge };
        }
        let channel = &self.plan.vertex(to).channels[edge];
        let spread = match channel.exchange {
            Exchange::Forward => Spread::Forward,
            Exchange::Broadcast => Spread::Broadcast,
            Exchange::Rebalance => Spread::Rebalance,
            Exchange::ByKey => Spread::ByKey(match channel.key {
                KeyFrom::Extracted(index) => KeyExtraction::Json(self.plan.output(channel.from).keys[index].clone()),
                KeyFrom::Record | KeyFrom::Nothing => KeyExtraction::Record,
            }),
        };
        let rings = self.writers.remove(&(to, edge, subtask)).unwrap_or_default();
        outlets.push(Outlet::new(spread, rings, subtask as usize));
        Edge::Outlet(outlets.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use weir_core::graph::plan::Plan;

    use super::*;
    use crate::settings::{self, Environment, Format};

    #[test]
    fn narrow_chains_go_round_and_wide_ones_have_a_subtask_on_each_shard() {
        let source = "type = \"generator\"\nseed = 1\ncount = 1\ntemplate = 'x'\n";
        let inputs =
            ["a", "b", "c"].map(|name| format!("{{ from = \"{name}\", exchange = \"rebalance\" }}")).join(", ");
        let text = format!(
            "version = 1\nname = \"a\"\n[sources.a]\n{source}[sources.b]\n{source}[sources.c]\n{source}\
             [sinks.out]\ntype = \"discard\"\ninputs = [{inputs}]\nparallelism = 2\n"
        );
        let environment = Environment { variable: &|_| None, file: None, base: None, secrets: None };
        let spec = settings::parse(&text, "a.toml", Format::Toml, &environment).unwrap().spec;
        let plan = Plan::new(&spec, &|_| None).unwrap();
        let first_shards = |shards| {
            let placed = first_shards(&plan, shards);
            let shard =
                |name: &str| placed[&VertexId(plan.vertices.iter().position(|v| v.name.as_str() == name).unwrap())];
            ["a", "b", "c", "out"].map(shard)
        };
        assert_eq!(first_shards(2), [0, 1, 0, 0]);
        assert_eq!(
            first_shards(4),
            [0, 1, 2, 3],
            "two subtasks are narrow among four shards: the second one is on the first"
        );
        assert_eq!(first_shards(1), [0; 4]);
    }
}
