//! Builds what an attempt runs: sources at their restored positions, guests over their restored state, sinks. Owns the step
//! from a plan to objects; nothing runs here.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use weir_core::checkpoint::manifest::SourcePositions;
use weir_core::domain::{Class, Failure};
use weir_core::graph::plan::{KeyFrom, Vertex, VertexKind};
use weir_core::graph::spec::{self, EventTime, Guarantee, OnError as Policy, SinkKind, SourceKind};
use weir_core::ids::{Epoch, Name, Token};
use weir_core::template::Template;
use weir_core::watermark::Watermarks;

use super::authority::{Shared, cluster};
use super::authority_thread::failure;
use super::job::{Job, guest_settings};
use super::statistics;
use super::wiring::{self, Wiring};
use super::writer::Restored;
use crate::connector::file::{FileSink, FileSource};
use crate::connector::generator::Generator;
use crate::connector::standard::{Discard, Stdin, Stdout};
use crate::connector::{self, Sink, Source, Waker, kafka};
use crate::dataflow::{
    BarrierMode, Bell, Command, KeyExtraction, Metrics, Node, NodeKind, NodeMetrics, OnError, OperatorNode,
    OperatorSettings, SinkNode, SourceNode, SourceSettings, Task,
};
use crate::guest::{Instance, Measured, Subtask};

/// Rows of the next epoch that may wait at the subtasks of a sink while a commit is under way, bytes.
const HOLD_BYTES: usize = 64 << 20;

/// Everything that an attempt runs.
pub(super) struct Assembled {
    pub(super) shards: Vec<AssembledShard>,
    /// Tasks of all shards, by number: as many snapshots make a checkpoint.
    pub(super) tasks: Vec<statistics::Subtask>,
    pub(super) metrics: Arc<Metrics>,
}

/// One shard, not started.
pub(super) struct AssembledShard {
    pub(super) tasks: Vec<Task>,
    pub(super) commands: SyncSender<Command>,
    pub(super) inbox: Receiver<Command>,
    pub(super) bell: Arc<Bell>,
}

/// Builds all nodes. `next` is the first epoch.
pub(super) fn assemble(
    job: &Job,
    shared: &Shared,
    mut restored: Restored,
    token: Token,
    next: Epoch,
) -> Result<Assembled, Failure> {
    let plan = &job.checked.plan;
    let mut wiring = Wiring::new(plan);
    let mut shards: Vec<Vec<Task>> = wiring.bells().iter().map(|_| Vec::new()).collect();
    let (mut metrics, mut tasks) = (Vec::new(), Vec::new());
    let barriers = barrier_mode(job);
    for chain in &plan.chains {
        let names: Vec<&str> = chain.members.iter().map(|id| plan.vertex(*id).name.as_str()).collect();
        let of = plan.vertex(chain.members[0]).parallelism;
        for subtask in 0..of {
            let shard = wiring.shard_of(subtask);
            let waker = wiring.waker(subtask);
            let mut nodes = Vec::new();
            for vertex in chain.members.iter().map(|id| plan.vertex(*id)) {
                let counted = counted(job, vertex, subtask);
                metrics.push(Arc::clone(&counted));
                let of = Subtask { index: subtask, of: vertex.parallelism };
                nodes.push(match vertex.kind {
                    VertexKind::Source { source } => {
                        let spec = &job.pipeline().sources[source];
                        let positions = restored.sources.get(&vertex.name);
                        Node::Source(Box::new(source_node(job, vertex, spec, positions, of, counted, &waker)?))
                    }
                    VertexKind::Node { node } => {
                        let spec = &job.pipeline().nodes[node];
                        Node::Operator(Box::new(operator_node(job, vertex, spec, &mut restored, of, counted)?))
                    }
                    VertexKind::Sink { sink, .. } => {
                        let spec = &job.pipeline().sinks[sink];
                        let writer = writer(shared, spec, of, token, next, &waker)?;
                        let channels = wiring::channels(plan, vertex).count();
                        let (name, policy) = (vertex.name.clone(), policy(spec.on_error));
                        Node::Sink(Box::new(SinkNode::new(name, writer, channels, barriers, policy, counted)))
                    }
                });
            }
            let (edges, outlets, inlets) = wiring.take(chain, subtask);
            shards[shard].push(Task::new(tasks.len(), nodes, edges, outlets, inlets));
            tasks.push(statistics::Subtask { chain: names.join(" > "), index: subtask, of });
        }
    }
    let shards = shards.into_iter().zip(wiring.bells()).map(|(tasks, bell)| {
        let (commands, inbox) = sync_channel(64);
        AssembledShard { tasks, commands, inbox, bell: Arc::clone(bell) }
    });
    Ok(Assembled { shards: shards.collect(), tasks, metrics: Arc::new(Metrics { nodes: metrics }) })
}

fn counted(job: &Job, vertex: &Vertex, subtask: u32) -> Arc<NodeMetrics> {
    let plan = &job.checked.plan;
    let (kind, ports) = match vertex.kind {
        VertexKind::Source { .. } => (NodeKind::Source, None),
        VertexKind::Node { .. } => (NodeKind::Operator, None),
        VertexKind::Sink { .. } => (NodeKind::Sink, Some(vec![String::new()])),
    };
    let ports =
        ports.unwrap_or_else(|| vertex.outputs.iter().map(|id| plan.output(*id).port.clone()).collect::<Vec<_>>());
    let operator = job.checked.operators.get(&vertex.name);
    let measured = Measured::of(operator.map_or(&[], |operator| &operator.descriptor().metrics));
    let subtask = (vertex.parallelism > 1).then_some(subtask);
    Arc::new(NodeMetrics::new(vertex.name.clone(), subtask, kind, ports, measured))
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

fn barrier_mode(job: &Job) -> BarrierMode {
    match job.pipeline().checkpoint.guarantee {
        Guarantee::AtLeastOnce => BarrierMode::Count,
        // Of `none` nothing outlives the process; within it a restart goes on where it was.
        Guarantee::ExactlyOnce | Guarantee::None => BarrierMode::Align,
    }
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
    subtask: Subtask,
    metrics: Arc<NodeMetrics>,
    waker: &Waker,
) -> Result<SourceNode, Failure> {
    let output = job.checked.plan.output(vertex.outputs[0]);
    let reader = reader(job, spec, positions, subtask, waker).map_err(|error| at(&spec.name, error))?;
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
    subtask: Subtask,
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
                share: kafka::Share { index: subtask.index, of: subtask.of },
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
    subtask: Subtask,
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
    let settings = guest_settings(job.pipeline(), spec, subtask, Arc::clone(&metrics.measured));
    let (state, watermark) =
        restored.take_state(&vertex.name, subtask.index).ok_or_else(|| bug("its state was not restored"))?;
    let instance = Instance::start(operator, settings, state).map_err(|failed| Failure {
        class: Class::Guest,
        why: format!("node `{}`: the operator failed in `open` ({}): {}", vertex.name, failed.code, failed.message),
    })?;
    let settings = OperatorSettings {
        node: vertex.name.clone(),
        operator: format!("{}@{}", descriptor.name, descriptor.version),
        keys,
        inputs: wiring::channels(plan, vertex).map(|(_, channel, _)| channel.input).collect(),
        on_error: policy(spec.on_error),
        barriers: barrier_mode(job),
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
    subtask: Subtask,
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
                let hold = HOLD_BYTES / subtask.of as usize;
                kafka::KafkaSink::new(Arc::clone(producer), &kafka.topic, max, hold, Arc::clone(waker))
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
