//! Edges: each leads from a node that exists, none leads back, and what nobody takes is pointed out.

use std::collections::{BTreeMap, BTreeSet};

use super::super::fault::{Fault, are_enough};
use super::super::spec::{Edge, Input, Pipeline};
use crate::graph::nearest::nearest;

/// Every edge names a source or node; sources have no ports; no consumer is without inputs.
pub(super) fn lead_somewhere(pipeline: &Pipeline, faults: &mut Vec<Fault>) {
    for (place, _, inputs) in consumers(pipeline) {
        let edges = || inputs.iter().flat_map(|i| &i.from);
        if edges().next().is_none() {
            let fault =
                Fault::error("weir::config::no_inputs", format!("{place}.inputs"), format!("{place} has no inputs"));
            faults.push(fault.help("name a source or node: inputs = [\"NAME\"]"));
        }
        let mut seen = BTreeSet::new();
        for edge in edges() {
            if are_enough(faults) {
                return;
            }
            faults.extend(unknown(pipeline, edge));
            if !seen.insert((&edge.node, &edge.port)) {
                let message = format!("`{edge}` is an input of {place} twice");
                faults.push(Fault::error("weir::config::duplicate_input", &edge.path, message));
            }
        }
    }
}

/// Place, name and inputs of each node and sink.
fn consumers(pipeline: &Pipeline) -> impl Iterator<Item = (String, &str, &[Input])> {
    let nodes = pipeline.nodes.iter().map(|n| (format!("nodes.{}", n.name), n.name.as_str(), n.inputs.as_slice()));
    let sinks = pipeline.sinks.iter().map(|s| (format!("sinks.{}", s.name), s.name.as_str(), s.inputs.as_slice()));
    nodes.chain(sinks)
}

fn unknown(pipeline: &Pipeline, edge: &Edge) -> Option<Fault> {
    let name = edge.node.as_str();
    if pipeline.node(name).is_some() {
        return None;
    }
    if pipeline.source(name).is_some() {
        let port = edge.port.as_ref()?;
        let message = format!("the source `{name}` has no port `{port}`");
        let fault = Fault::error("weir::config::unknown_port", &edge.path, message);
        return Some(fault.help(format!("a source has one output: write \"{name}\"")));
    }
    if pipeline.sink(name).is_some() {
        let message = format!("`{name}` is a sink: nothing comes out of it");
        return Some(Fault::error("weir::config::unknown_node", &edge.path, message));
    }
    let known: Vec<&str> = pipeline
        .sources
        .iter()
        .map(|s| s.name.as_str())
        .chain(pipeline.nodes.iter().map(|n| n.name.as_str()))
        .collect();
    let list = if known.is_empty() { "none".to_string() } else { known.join(", ") };
    let help = match nearest(name, &known) {
        Some(close) => format!("did you mean `{close}`? Sources and nodes of this file: {list}"),
        None => format!("sources and nodes of this file: {list}"),
    };
    Some(
        Fault::error("weir::config::unknown_node", &edge.path, format!("no source or node is named `{name}`"))
            .help(help),
    )
}

/// Reports each cycle once, at the edge that closes it.
pub(super) fn make_no_cycle(pipeline: &Pipeline, faults: &mut Vec<Fault>) {
    let mut walk = Walk { pipeline, done: BTreeSet::new(), path: Vec::new(), faults };
    for node in &pipeline.nodes {
        walk.visit(node.name.as_str());
    }
}

/// A depth-first walk against the edges. The depth is bounded by the number of nodes, which the reader caps.
struct Walk<'a, 'f> {
    pipeline: &'a Pipeline,
    done: BTreeSet<&'a str>,
    path: Vec<&'a str>,
    faults: &'f mut Vec<Fault>,
}

impl<'a> Walk<'a, '_> {
    fn visit(&mut self, name: &'a str) {
        if self.done.contains(name) {
            return;
        }
        let Some(node) = self.pipeline.node(name) else { return };
        self.path.push(name);
        for edge in node.inputs.iter().flat_map(|i| &i.from) {
            match self.path.iter().position(|n| *n == edge.node) {
                Some(first) => self.report(first, edge),
                None => self.visit(&edge.node),
            }
        }
        self.path.pop();
        self.done.insert(name);
    }

    fn report(&mut self, first: usize, edge: &Edge) {
        if are_enough(self.faults) {
            return;
        }
        // The path runs from consumer to producer; people read it the other way round.
        let mut ring: Vec<&str> = self.path[first..].iter().rev().copied().collect();
        ring.push(ring[0]);
        let message = format!("the nodes form a cycle: {}", ring.join(" → "));
        let fault = Fault::error("weir::config::cycle", &edge.path, message);
        self.faults.push(fault.help("a pipeline runs one way: take one of these edges out"));
    }
}

/// A source or node whose records nobody takes: a warning.
pub(super) fn are_consumed(pipeline: &Pipeline, faults: &mut Vec<Fault>) {
    let mut taken: BTreeMap<&str, usize> = BTreeMap::new();
    for (_, _, inputs) in consumers(pipeline) {
        inputs.iter().flat_map(|i| &i.from).for_each(|e| *taken.entry(e.node.as_str()).or_default() += 1);
    }
    let sources = pipeline.sources.iter().map(|s| ("sources", s.name.as_str()));
    let nodes = pipeline.nodes.iter().map(|n| ("nodes", n.name.as_str()));
    for (kind, name) in sources.chain(nodes).filter(|(_, name)| !taken.contains_key(name)) {
        let message = format!("nothing takes the records of `{name}`");
        let fault = Fault::warning("weir::config::unused", format!("{kind}.{name}"), message);
        faults.push(fault.help(format!("add \"{name}\" to the inputs of a node or sink, or remove it")));
    }
}
