//! From a checked pipeline to its plan: order, ports, channels, chains. Reports every port that does not exist.

use super::super::check;
use super::super::fault::{Fault, Severity};
use super::super::nearest::nearest;
use super::super::spec::{self, Edge, EventTime, Input, Key, OnError, Pipeline, SinkKind, SourceKind};
use super::{
    Authority, Chain, ChainId, Channel, DEAD_LETTER, Exchange, KeyFrom, Output, OutputId, Plan, Ports, REJECTS,
    SinkRole, Vertex, VertexId, VertexKind,
};
use crate::ids::Name;

type PortsOf<'a> = &'a dyn Fn(&Name) -> Option<Ports>;

pub(super) fn plan(pipeline: &Pipeline, ports: PortsOf<'_>) -> Result<Plan, Vec<Fault>> {
    let (errors, warnings): (Vec<_>, Vec<_>) =
        check::check(pipeline).into_iter().partition(|fault| fault.severity == Severity::Error);
    if !errors.is_empty() {
        return Err(errors);
    }
    let mut build =
        Build { pipeline, faults: Vec::new(), vertices: Vec::new(), outputs: Vec::new(), declared: Vec::new() };
    build.sources();
    build.nodes(ports);
    build.sinks();
    build.policies();
    if !build.faults.is_empty() {
        return Err(build.faults);
    }
    let authority = build.authority();
    let chains = build.chains();
    Ok(Plan { vertices: build.vertices, outputs: build.outputs, chains, authority, warnings })
}

struct Build<'a> {
    pipeline: &'a Pipeline,
    faults: Vec<Fault>,
    vertices: Vec<Vertex>,
    outputs: Vec<Output>,
    /// Per vertex, whether its ports are declared; else edges make them.
    declared: Vec<bool>,
}

impl Build<'_> {
    fn sources(&mut self) {
        for (source, spec) in self.pipeline.sources.iter().enumerate() {
            let time = match &spec.event_time {
                EventTime::Json { pointer, unit } => Some((pointer.clone(), *unit)),
                EventTime::KafkaTimestamp | EventTime::None => None,
            };
            let vertex = self.vertex(spec.name.clone(), VertexKind::Source { source }, true, spec.parallelism);
            if spec.parallelism > 1 && !matches!(spec.kind, SourceKind::Kafka(_)) {
                self.one_at_a_time(format!("sources.{}.parallelism", spec.name), spec.kind.as_str(), "read");
            }
            let output = self.output(vertex, "");
            self.outputs[output.0].time = time;
            self.vertices[vertex.0].outputs.push(output);
        }
    }

    /// Nodes in topological order, among equals in file order: each round takes the first node whose producers stand.
    fn nodes(&mut self, ports: PortsOf<'_>) {
        let mut left: Vec<usize> = (0..self.pipeline.nodes.len()).collect();
        while let Some(at) = left.iter().position(|node| self.is_ready(*node)) {
            let node = left.remove(at);
            self.node(node, ports);
        }
        debug_assert!(left.is_empty(), "a checked pipeline has no cycle");
    }

    fn is_ready(&self, node: usize) -> bool {
        let mut edges = self.pipeline.nodes[node].inputs.iter().flat_map(|i| &i.from);
        edges.all(|edge| self.find(&edge.node).is_some())
    }

    fn node(&mut self, node: usize, ports: PortsOf<'_>) {
        let spec = &self.pipeline.nodes[node];
        let ports = ports(&spec.name);
        let vertex = self.vertex(spec.name.clone(), VertexKind::Node { node }, ports.is_some(), spec.parallelism);
        let place = format!("nodes.{}", spec.name);
        if let Some(ports) = &ports {
            self.faults.extend(reserved(&place, ports));
            self.faults.extend(unconnected(&place, ports, &spec.inputs));
        }
        // Edges of a component that was not looked at may name any port, so the first is there even if it has no name yet.
        let outputs = ports.as_ref().map_or_else(|| vec![String::new()], |p| p.outputs.clone());
        for port in &outputs {
            let output = self.output(vertex, port);
            self.vertices[vertex.0].outputs.push(output);
        }
        for (index, input) in spec.inputs.iter().enumerate() {
            let index = match (&ports, &input.port) {
                (Some(ports), Some(port)) => match ports.inputs.iter().position(|p| p == port) {
                    Some(index) => index,
                    None => {
                        self.faults.push(unknown_input(&place, port, ports));
                        continue;
                    }
                },
                _ => index,
            };
            self.channels(vertex, index as u32, input);
        }
    }

    fn sinks(&mut self) {
        let authority = self.pipeline.sinks.iter().any(|s| matches!(s.kind, SinkKind::Kafka(_)));
        for (sink, spec) in self.pipeline.sinks.iter().enumerate() {
            let role = match spec.kind {
                SinkKind::Kafka(_) => SinkRole::Transaction,
                SinkKind::File { .. } if authority => SinkRole::Follower,
                SinkKind::File { .. } => SinkRole::Published,
                SinkKind::Stdout | SinkKind::Discard => SinkRole::Outside,
            };
            let parallelism = self.sink_parallelism(spec);
            let vertex = self.vertex(spec.name.clone(), VertexKind::Sink { sink, role }, true, parallelism);
            spec.inputs.iter().for_each(|input| self.channels(vertex, 0, input));
        }
    }

    /// As written, where the type can; else as many as all that it takes from have, so that it joins their chain.
    fn sink_parallelism(&mut self, spec: &spec::Sink) -> u32 {
        let alone = matches!(spec.kind, SinkKind::File { .. } | SinkKind::Stdout);
        if alone {
            if spec.parallelism.is_some_and(|parallelism| parallelism > 1) {
                self.one_at_a_time(format!("sinks.{}.parallelism", spec.name), spec.kind.as_str(), "written");
            }
            return 1;
        }
        if let Some(parallelism) = spec.parallelism {
            return parallelism;
        }
        let producers = spec.inputs.iter().flat_map(|input| &input.from).filter_map(|edge| self.find(&edge.node));
        let mut parallelisms = producers.map(|producer| self.vertices[producer.0].parallelism);
        let first = parallelisms.next().unwrap_or(1);
        if parallelisms.all(|parallelism| parallelism == first) { first } else { 1 }
    }

    fn one_at_a_time(&mut self, path: String, kind: &str, done: &str) {
        let message = format!("the type {kind} is {done} by one subtask");
        self.faults.push(Fault::error("weir::config::parallelism", path, message).help("take `parallelism` out"));
    }

    fn vertex(&mut self, name: Name, kind: VertexKind, declared: bool, parallelism: u32) -> VertexId {
        let (channels, outputs, rejects, chain) = (vec![], vec![], None, ChainId(usize::MAX));
        let vertex = Vertex { name, kind, channels, outputs, rejects, chain, parallelism };
        self.vertices.push(vertex);
        self.declared.push(declared);
        VertexId(self.vertices.len() - 1)
    }

    fn output(&mut self, vertex: VertexId, port: &str) -> OutputId {
        let port = port.to_string();
        let on_error = OnError::Fail;
        self.outputs.push(Output { vertex, port, time: None, keys: vec![], on_error, consumers: vec![] });
        OutputId(self.outputs.len() - 1)
    }

    fn find(&self, name: &str) -> Option<VertexId> {
        self.vertices.iter().position(|v| v.name.as_str() == name).map(VertexId)
    }

    fn channels(&mut self, consumer: VertexId, input: u32, spec: &Input) {
        for edge in &spec.from {
            let Some(from) = self.resolve(edge) else { continue };
            let key = match &spec.key {
                None => KeyFrom::Nothing,
                Some(Key::Record) => KeyFrom::Record,
                Some(Key::Json(pointer)) => KeyFrom::Extracted(self.key_column(from, pointer)),
            };
            let exchange = self.exchange(edge, self.outputs[from.0].vertex, consumer, key);
            let channels = &mut self.vertices[consumer.0].channels;
            channels.push(Channel { from, input, key, exchange });
            let channel = channels.len() - 1;
            self.outputs[from.0].consumers.push((consumer, channel));
        }
    }

    /// How the records of an edge are spread. Between single subtasks there is nothing to spread.
    fn exchange(&mut self, edge: &Edge, from: VertexId, to: VertexId, key: KeyFrom) -> Exchange {
        let (out, into) = (self.vertices[from.0].parallelism, self.vertices[to.0].parallelism);
        if (out, into) == (1, 1) {
            return Exchange::Forward;
        }
        let keyed = key != KeyFrom::Nothing;
        let wrong = |message: String, help: &'static str| {
            Fault::error("weir::config::exchange", format!("{}.exchange", edge.path), message).help(help)
        };
        let (found, fault) = match edge.exchange {
            None if keyed => (Exchange::ByKey, None),
            None if out == into => (Exchange::Forward, None),
            None if into > 1 && matches!(self.vertices[to.0].kind, VertexKind::Sink { .. }) => {
                let message =
                    format!("`{edge}` has {out} subtasks, the sink {into}: rows of one key would lose their order");
                let help = "take `parallelism` out of the sink, or write { from = …, exchange = \"rebalance\" }";
                (Exchange::Rebalance, Some(wrong(message, help)))
            }
            None => (Exchange::Rebalance, None),
            Some(_) if keyed => {
                let message = format!("the input has a key, so the records of `{edge}` go to the subtask that owns it");
                (Exchange::ByKey, Some(wrong(message, "take `exchange` out, or the key")))
            }
            Some(spec::Exchange::Broadcast) => (Exchange::Broadcast, None),
            Some(spec::Exchange::Rebalance) => (Exchange::Rebalance, None),
            Some(spec::Exchange::Forward) => {
                let message = format!("`{edge}` has {out} subtasks and cannot be forwarded to {into}");
                let help = "give both the same `parallelism`, or write \"rebalance\"";
                (Exchange::Forward, (out != into).then(|| wrong(message, help)))
            }
        };
        self.faults.extend(fault);
        found
    }

    /// The column of this pointer among the keys of an output. Two consumers that ask for the same share it.
    fn key_column(&mut self, output: OutputId, pointer: &str) -> usize {
        let keys = &mut self.outputs[output.0].keys;
        keys.iter().position(|k| k == pointer).unwrap_or_else(|| {
            keys.push(pointer.to_string());
            keys.len() - 1
        })
    }

    /// The output that an edge means.
    fn resolve(&mut self, edge: &Edge) -> Option<OutputId> {
        let vertex = self.find(&edge.node)?;
        let outputs = &self.vertices[vertex.0].outputs;
        let Some(port) = edge.port.as_deref() else {
            if outputs.is_empty() {
                let message = format!("the operator of `{}` has no output", edge.node);
                self.faults.push(Fault::error("weir::config::unknown_port", &edge.path, message));
            }
            return outputs.first().copied();
        };
        if port == DEAD_LETTER {
            let fault = Fault::error("weir::config::later", &edge.path, "the port `dead-letter` comes later");
            self.faults.push(fault.help("until then on_error is \"fail\" or \"skip\""));
            return None;
        }
        if port == REJECTS {
            let known = self.vertices[vertex.0].rejects;
            let output = known.unwrap_or_else(|| self.output(vertex, REJECTS));
            self.vertices[vertex.0].rejects = Some(output);
            return Some(output);
        }
        let known = outputs.iter().copied().find(|o| self.outputs[o.0].port == port);
        if known.is_none() && !self.declared[vertex.0] {
            let output = self.output(vertex, port);
            self.vertices[vertex.0].outputs.push(output);
            return Some(output);
        }
        if known.is_none() {
            let fault = self.unknown_output(vertex, edge, port);
            self.faults.push(fault);
        }
        known
    }

    fn unknown_output(&self, vertex: VertexId, edge: &Edge, port: &str) -> Fault {
        let names = self.vertices[vertex.0].outputs.iter().map(|o| self.outputs[o.0].port.as_str());
        let known: Vec<&str> = names.chain([REJECTS]).collect();
        let message = format!("the operator of `{}` has no output `{port}`", edge.node);
        let list = known.join(", ");
        Fault::error("weir::config::unknown_port", &edge.path, message).help(match nearest(port, &known) {
            Some(close) => format!("did you mean `{close}`? Its ports: {list}"),
            None => format!("its ports: {list}"),
        })
    }

    /// A record without its time or key: a source says what happens, else its consumers do, and one that wants to fail
    /// is enough.
    fn policies(&mut self) {
        for at in 0..self.outputs.len() {
            let output = &self.outputs[at];
            let own = match self.vertices[output.vertex.0].kind {
                VertexKind::Source { source } => self.pipeline.sources[source].on_error,
                _ => None,
            };
            let mut consumers = output.consumers.iter().map(|(vertex, _)| self.on_error(*vertex));
            let all_skip = !output.consumers.is_empty() && consumers.all(|policy| policy == OnError::Skip);
            let of_consumers = if all_skip { OnError::Skip } else { OnError::Fail };
            self.outputs[at].on_error = own.unwrap_or(of_consumers);
        }
    }

    fn on_error(&self, vertex: VertexId) -> OnError {
        match self.vertices[vertex.0].kind {
            VertexKind::Source { .. } => OnError::Fail,
            VertexKind::Node { node } => self.pipeline.nodes[node].on_error,
            VertexKind::Sink { sink, .. } => self.pipeline.sinks[sink].on_error,
        }
    }

    fn authority(&self) -> Authority {
        let in_transaction = |v: &Vertex| matches!(v.kind, VertexKind::Sink { role: SinkRole::Transaction, .. });
        match self.vertices.iter().position(in_transaction) {
            Some(first) => Authority::Kafka(VertexId(first)),
            None => Authority::Current,
        }
    }

    fn chains(&mut self) -> Vec<Chain> {
        let mut chains: Vec<Chain> = Vec::new();
        for at in 0..self.vertices.len() {
            let chain = match self.vertices[at].channels.as_slice() {
                [only] if only.exchange == Exchange::Forward => self.vertices[self.outputs[only.from.0].vertex.0].chain,
                _ => {
                    chains.push(Chain { members: vec![] });
                    ChainId(chains.len() - 1)
                }
            };
            chains[chain.0].members.push(VertexId(at));
            self.vertices[at].chain = chain;
        }
        chains
    }
}

fn reserved(place: &str, ports: &Ports) -> impl Iterator<Item = Fault> {
    let taken = ports.outputs.iter().filter(|port| [REJECTS, DEAD_LETTER].contains(&port.as_str()));
    taken.map(move |port| {
        let message = format!("the operator declares the output `{port}`, a name that is the host's");
        Fault::error("weir::config::reserved_port", format!("{place}.operator"), message)
            .help("rename it in the operator")
    })
}

/// Every declared input must be fed, and several can only be told apart by name.
fn unconnected(place: &str, ports: &Ports, inputs: &[Input]) -> Option<Fault> {
    let path = format!("{place}.inputs");
    let list = ports.inputs.join(", ");
    let shape = ports.inputs.iter().map(|p| format!("{p} = …")).collect::<Vec<_>>().join(", ");
    if ports.inputs.is_empty() {
        return Some(Fault::error("weir::config::inputs", path, "the operator declares no input"));
    }
    if inputs.iter().all(|i| i.port.is_none()) {
        let message = format!("the operator has several inputs: {list}");
        let fault = Fault::error("weir::config::inputs", path, message);
        return (ports.inputs.len() > 1).then(|| fault.help(format!("name them: inputs = {{ {shape} }}")));
    }
    let missing = ports.inputs.iter().find(|p| !inputs.iter().any(|i| i.port.as_deref() == Some(p)))?;
    let message = format!("nothing flows into the operator's input `{missing}`");
    Some(Fault::error("weir::config::inputs", path, message).help(format!("its inputs: {{ {shape} }}")))
}

fn unknown_input(place: &str, port: &str, ports: &Ports) -> Fault {
    let known: Vec<&str> = ports.inputs.iter().map(String::as_str).collect();
    let message = format!("the operator has no input `{port}`");
    let list = known.join(", ");
    Fault::error("weir::config::unknown_port", format!("{place}.inputs.{port}"), message).help(
        match nearest(port, &known) {
            Some(close) => format!("did you mean `{close}`? Its inputs: {list}"),
            None => format!("its inputs: {list}"),
        },
    )
}
