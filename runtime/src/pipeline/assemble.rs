//! Builds what an attempt runs: sources at their restored positions, guests over their restored state, sinks. Owns the step
//! from a plan to objects; nothing runs here.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender};

use weir_core::checkpoint::manifest::SourcePositions;
use weir_core::domain::{Class, Failure};
use weir_core::graph::plan::{KeyFrom, Vertex, VertexKind};
use weir_core::graph::spec::{self, EventTime, OnError as Policy, SinkKind, SourceKind};
use weir_core::ids::{Epoch, Name, Token};
use weir_core::template::Template;
use weir_core::watermark::Watermarks;

use super::authority::{Shared, cluster};
use super::authority_thread::failure;
use super::job::{Job, guest_settings};
use super::writer::Restored;
use crate::connector::file::{FileSink, FileSource};
use crate::connector::generator::Generator;
use crate::connector::standard::{Discard, Stdin, Stdout};
use crate::connector::{self, Sink, Source, Waker, kafka};
use crate::dataflow::{
    Command, Edge, KeyExtraction, Metrics, Node, NodeKind, NodeMetrics, OnError, OperatorNode, OperatorSettings,
    SinkNode, SourceNode, SourceSettings,
};
use crate::guest::{Instance, Measured};

/// Rows of the next epoch that may wait while a commit is under way, bytes.
const HOLD_BYTES: usize = 64 << 20;

/// Everything that a shard runs.
pub(super) struct Assembled {
    pub(super) nodes: Vec<Node>,
    pub(super) edges: Vec<Vec<Vec<Edge>>>,
    pub(super) commands: SyncSender<Command>,
    pub(super) inbox: Receiver<Command>,
    pub(super) metrics: Arc<Metrics>,
}

/// Builds the nodes. `next` is the first epoch.
pub(super) fn assemble(
    job: &Job,
    shared: &Shared,
    mut restored: Restored,
    token: Token,
    next: Epoch,
    (commands, inbox): (SyncSender<Command>, Receiver<Command>),
) -> Result<Assembled, Failure> {
    let plan = &job.checked.plan;
    let waker: Waker = {
        let commands = commands.clone();
        // A full queue means that the shard is awake.
        Arc::new(move || drop(commands.try_send(Command::Wake)))
    };
    let (mut nodes, mut metrics) = (Vec::new(), Vec::new());
    for vertex in &plan.vertices {
        let ports: Vec<String> = vertex.outputs.iter().map(|id| plan.output(*id).port.clone()).collect();
        let kind = match vertex.kind {
            VertexKind::Source { .. } => NodeKind::Source,
            VertexKind::Node { .. } => NodeKind::Operator,
            VertexKind::Sink { .. } => NodeKind::Sink,
        };
        let ports = if kind == NodeKind::Sink { vec![String::new()] } else { ports };
        let operator = job.checked.operators.get(&vertex.name);
        let measured = Measured::of(operator.map_or(&[], |operator| &operator.descriptor().metrics));
        let counted = Arc::new(NodeMetrics::new(vertex.name.clone(), kind, ports, measured));
        metrics.push(Arc::clone(&counted));
        nodes.push(match vertex.kind {
            VertexKind::Source { source } => {
                let spec = &job.pipeline().sources[source];
                let positions = restored.sources.remove(&vertex.name);
                Node::Source(Box::new(source_node(job, vertex, spec, positions.as_ref(), counted, &waker)?))
            }
            VertexKind::Node { node } => {
                let spec = &job.pipeline().nodes[node];
                Node::Operator(Box::new(operator_node(job, vertex, spec, &mut restored, counted)?))
            }
            VertexKind::Sink { sink, .. } => {
                let spec = &job.pipeline().sinks[sink];
                let writer = writer(shared, spec, token, next, &waker)?;
                let policy = policy(spec.on_error);
                Node::Sink(Box::new(SinkNode::new(vertex.name.clone(), writer, vertex.channels.len(), policy, counted)))
            }
        });
    }
    let edge = |(to, channel): &(weir_core::graph::plan::VertexId, usize)| Edge { to: to.0, channel: *channel };
    let edges = (plan.vertices.iter())
        .map(|vertex| vertex.outputs.iter().map(|id| plan.output(*id).consumers.iter().map(edge).collect()).collect())
        .collect();
    Ok(Assembled { nodes, edges, commands, inbox, metrics: Arc::new(Metrics { nodes: metrics }) })
}

/// Whether the sources still are what was read up to these positions, where that can be known without opening them for
/// good. Changes nothing.
pub(super) fn check_sources(job: &Job, positions: &BTreeMap<Name, SourcePositions>) -> Result<(), Failure> {
    for source in &job.pipeline().sources {
        if let (SourceKind::File { path }, Some(restored)) = (&source.kind, positions.get(&source.name)) {
            FileSource::check_restored(&path.resolved, &path.written, restored)
                .map_err(|error| at(&source.name, error))?;
        }
    }
    Ok(())
}

fn policy(policy: Policy) -> OnError {
    match policy {
        Policy::Fail => OnError::Fail,
        Policy::Skip => OnError::Skip,
    }
}

fn source_node(
    job: &Job,
    vertex: &Vertex,
    spec: &spec::Source,
    positions: Option<&SourcePositions>,
    metrics: Arc<NodeMetrics>,
    waker: &Waker,
) -> Result<SourceNode, Failure> {
    let output = job.checked.plan.output(vertex.outputs[0]);
    let reader = reader(job, spec, positions, waker).map_err(|error| at(&spec.name, error))?;
    if let Some(positions) = positions
        && positions.identity != reader.identity()
    {
        let (name, was, is) = (&spec.name, &positions.identity, reader.identity());
        let why = format!(
            "source `{name}` reads {is}, but its positions are those of {was}; give the source another name, or start with --from empty --rewind"
        );
        return Err(Failure { class: Class::Halt, why });
    }
    let settings = SourceSettings {
        node: spec.name.clone(),
        event_time: match &spec.event_time {
            EventTime::Json { pointer, unit } => Some((pointer.clone(), *unit)),
            EventTime::KafkaTimestamp | EventTime::None => None,
        },
        keys: output.keys.clone().into(),
        on_error: policy(output.on_error),
        record_max: spec.record_bytes_max as usize,
    };
    let watermarks = (spec.event_time != EventTime::None).then(|| {
        // A split that the snapshot does not know has shown nothing yet.
        let known = |split: &connector::SplitStatus| {
            positions?.splits.iter().find(|known| known.split == split.split)?.largest_time
        };
        let largest: Vec<Option<i64>> = reader.splits().iter().map(known).collect();
        let sent = positions.map_or(i64::MIN, |positions| positions.watermark);
        Watermarks::restore((&spec.watermark).into(), &largest, sent)
    });
    SourceNode::new(settings, reader, watermarks, metrics)
        .map_err(|e| Failure { class: Class::Bug, why: e.to_string() })
}

fn reader(
    job: &Job,
    spec: &spec::Source,
    positions: Option<&SourcePositions>,
    waker: &Waker,
) -> Result<Box<dyn Source>, connector::Error> {
    Ok(match &spec.kind {
        SourceKind::Generator(generator) => {
            let template =
                Template::compile(&generator.template).map_err(|e| connector::Error::Config(e.to_string()))?;
            let rate = generator.rate.map(|rate| rate as f64);
            Box::new(Generator::new(template, generator.seed, generator.count, rate, positions))
        }
        SourceKind::File { path } => {
            Box::new(FileSource::open(&path.resolved, &path.written, spec.record_bytes_max as usize, positions)?)
        }
        SourceKind::Stdin => Box::new(Stdin::open(spec.record_bytes_max as usize, Arc::clone(waker))),
        SourceKind::Kafka(kafka) => {
            let settings = kafka::SourceSettings {
                pipeline: job.pipeline().name.to_string(),
                cluster: cluster(&kafka.client),
                topics: kafka::Topics::Named(vec![kafka.topic.clone()]),
                start: match kafka.start {
                    spec::Start::Earliest => kafka::Start::Earliest,
                    spec::Start::Latest => kafka::Start::Latest,
                },
                until: kafka.until.map(|_| kafka::Until::Latest),
            };
            Box::new(kafka::KafkaSource::open(&settings, positions, Arc::clone(waker))?)
        }
    })
}

fn operator_node(
    job: &Job,
    vertex: &Vertex,
    spec: &spec::Node,
    restored: &mut Restored,
    metrics: Arc<NodeMetrics>,
) -> Result<OperatorNode, Failure> {
    let plan = &job.checked.plan;
    let bug = |what: &str| Failure { class: Class::Bug, why: format!("node `{}`: {what}", vertex.name) };
    let operator = job.checked.operators.get(&vertex.name).ok_or_else(|| bug("its component was not loaded"))?;
    let descriptor = operator.descriptor();
    let mut keys: Vec<Option<KeyExtraction>> = descriptor.inputs.iter().map(|_| None).collect();
    for channel in &vertex.channels {
        keys[channel.input as usize] = match channel.key {
            KeyFrom::Nothing => None,
            KeyFrom::Record => Some(KeyExtraction::Record),
            KeyFrom::Extracted(index) => Some(KeyExtraction::Json(plan.output(channel.from).keys[index].clone())),
        };
    }
    let settings = guest_settings(job.pipeline(), spec, Arc::clone(&metrics.measured));
    let (state, watermark) = restored.take_state(&vertex.name).ok_or_else(|| bug("its state was not restored"))?;
    let instance = Instance::start(operator, settings, state).map_err(|failed| Failure {
        class: Class::Guest,
        why: format!("node `{}`: the operator failed in `open` ({}): {}", vertex.name, failed.code, failed.message),
    })?;
    let settings = OperatorSettings {
        node: vertex.name.clone(),
        operator: format!("{}@{}", descriptor.name, descriptor.version),
        keys,
        inputs: vertex.channels.iter().map(|channel| channel.input).collect(),
        on_error: policy(spec.on_error),
        rejects_port: vertex.rejects.and_then(|id| vertex.outputs.iter().position(|output| *output == id)),
        late_port: vertex.outputs.iter().position(|id| plan.output(*id).port == "late"),
        origin: origin(job, vertex),
    };
    Ok(OperatorNode::new(settings, instance, metrics, watermark))
}

/// How to call a record's place, where all records of a node come straight from one source.
fn origin(job: &Job, vertex: &Vertex) -> Option<String> {
    let plan = &job.checked.plan;
    let [channel] = vertex.channels[..] else { return None };
    match plan.vertex(plan.output(channel.from).vertex).kind {
        VertexKind::Source { source } => Some(match &job.pipeline().sources[source].kind {
            SourceKind::Kafka(kafka) => kafka.topic.clone(),
            SourceKind::File { path } => path.written.clone(),
            other => other.as_str().to_owned(),
        }),
        _ => None,
    }
}

fn writer(
    shared: &Shared,
    spec: &spec::Sink,
    token: Token,
    next: Epoch,
    waker: &Waker,
) -> Result<Box<dyn Sink>, Failure> {
    let sink: Result<Box<dyn Sink>, connector::Error> = match &spec.kind {
        SinkKind::Stdout => Ok(Box::new(Stdout)),
        SinkKind::Discard => Ok(Box::new(Discard)),
        SinkKind::File { path } => {
            FileSink::open(spec.name.clone(), &path.resolved, token, next).map(|sink| Box::new(sink) as Box<dyn Sink>)
        }
        SinkKind::Kafka(kafka) => match &shared.producer {
            Some(producer) => {
                let max = spec.record_bytes_max as usize;
                kafka::KafkaSink::new(Arc::clone(producer), &kafka.topic, max, HOLD_BYTES, Arc::clone(waker))
                    .map(|sink| Box::new(sink) as Box<dyn Sink>)
            }
            None => Err(connector::Error::Config(format!("sink `{}` has no transaction to write into", spec.name))),
        },
    };
    sink.map_err(|error| at(&spec.name, error))
}

/// A connector's failure with the end that it happened at.
fn at(name: &Name, error: connector::Error) -> Failure {
    let failed = failure(error);
    Failure { why: format!("`{name}`: {}", failed.why), ..failed }
}
