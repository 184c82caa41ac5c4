//! Builds what an attempt runs: guests over their restored state, sinks; sources come from `sources`. Owns the step from a
//! plan to objects; nothing runs here.

use std::sync::Arc;

use weir_core::domain::{Class, Failure};
use weir_core::graph::plan::{KeyFrom, Vertex, VertexKind};
use weir_core::graph::spec::{self, Guarantee, SinkKind, SourceKind};
use weir_core::ids::{Epoch, Name, Token};

use super::authority::Shared;
use super::authority_thread::failure;
use super::job::{Job, guest_settings};
use super::sources::Sources;
use super::statistics;
use super::wiring::{self, Wiring};
use super::writer::Restored;
use crate::connector::file::FileSink;
use crate::connector::standard::{Discard, Stdout};
use crate::connector::{self, Sink, Waker, kafka};
use crate::dataflow::{
    Alarm, BarrierMode, KeyExtraction, Metrics, Node, NodeKind, NodeMetrics, OnError, OperatorNode, OperatorSettings,
    Policy, Prepared, SinkNode, Task,
};
use crate::guest::{Instance, Logs, Measured, Subtask};

/// Rows of the next epoch that may wait at the subtasks of a sink while a commit is under way, bytes.
const HOLD_BYTES: usize = 64 << 20;

/// Everything that an attempt runs.
pub(super) struct Assembled {
    pub(super) shards: Vec<Prepared>,
    /// Tasks of all shards, by number: as many snapshots make a checkpoint.
    pub(super) tasks: Vec<statistics::Subtask>,
    pub(super) metrics: Arc<Metrics>,
    /// What looks for more to read. Behind the shards, whose sources it ends with.
    pub(super) watches: Vec<kafka::Watch>,
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
    let (mut metrics, mut tasks, mut sources) = (Vec::new(), Vec::new(), Sources::new(job));
    let barriers = barrier_mode(job);
    for chain in &plan.chains {
        let names: Vec<&str> = chain.members.iter().map(|id| plan.vertex(*id).name.as_str()).collect();
        let head = chain.members[0];
        let of = plan.vertex(head).parallelism;
        for subtask in 0..of {
            let shard = wiring.shard_of(head, subtask);
            let waker = wiring.waker(head, subtask);
            let mut nodes = Vec::new();
            for vertex in chain.members.iter().map(|id| plan.vertex(*id)) {
                let counted = counted(job, vertex, subtask);
                metrics.push(Arc::clone(&counted));
                let of = Subtask { index: subtask, of: vertex.parallelism };
                nodes.push(match vertex.kind {
                    VertexKind::Source { source } => {
                        let spec = &job.pipeline().sources[source];
                        let positions = restored.sources.get(&vertex.name);
                        Node::Source(Box::new(sources.node(vertex, spec, positions, of, counted, &waker)?))
                    }
                    VertexKind::Node { node } => {
                        let spec = &job.pipeline().nodes[node];
                        let alarm = job.shards.alarm(&vertex.name, &wiring.bells()[shard]);
                        Node::Operator(Box::new(operator_node(job, vertex, spec, &mut restored, of, counted, alarm)?))
                    }
                    VertexKind::Sink { sink, .. } => {
                        let spec = &job.pipeline().sinks[sink];
                        let writer = writer(shared, spec, of, token, next, &waker)?;
                        let channels = wiring::channels(plan, vertex).count();
                        let (name, policy) = (vertex.name.clone(), policy(job, spec.on_error));
                        Node::Sink(Box::new(SinkNode::new(name, writer, channels, barriers, policy, counted)))
                    }
                });
            }
            let (edges, outlets, inlets) = wiring.take(chain, subtask);
            shards[shard].push(Task::new(tasks.len(), nodes, edges, outlets, inlets));
            tasks.push(statistics::Subtask { chain: names.join(" > "), index: subtask, of });
        }
    }
    let watches = sources.watch()?;
    let shards = shards.into_iter().zip(wiring.bells());
    let shards = shards.map(|(tasks, bell)| Prepared { tasks, bell: Arc::clone(bell) });
    Ok(Assembled { shards: shards.collect(), tasks, metrics: Arc::new(Metrics { nodes: metrics }), watches })
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
    Arc::new(NodeMetrics::new(vertex.name.clone(), subtask, kind, ports, measured).in_chain(vertex.chain.0))
}

fn barrier_mode(job: &Job) -> BarrierMode {
    match job.pipeline().checkpoint.guarantee {
        Guarantee::AtLeastOnce => BarrierMode::Count,
        // Of `none` nothing outlives the process; within it a restart goes on where it was.
        Guarantee::ExactlyOnce | Guarantee::None => BarrierMode::Align,
    }
}

pub(super) fn policy(job: &Job, on_error: spec::OnError) -> Policy {
    let on_error = match on_error {
        spec::OnError::Fail => OnError::Fail,
        spec::OnError::Skip => OnError::Skip,
    };
    Policy { on_error, journal: Arc::clone(&job.journal), samples: job.pipeline().samples }
}

fn operator_node(
    job: &Job,
    vertex: &Vertex,
    spec: &spec::Node,
    restored: &mut Restored,
    subtask: Subtask,
    metrics: Arc<NodeMetrics>,
    alarm: Alarm,
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
    let logs = Logs { journal: Arc::clone(&job.journal), counts: Arc::clone(&metrics.logs) };
    let settings = guest_settings(job.pipeline(), spec, subtask, Arc::clone(&metrics.measured), logs);
    let (state, watermark) =
        restored.take_state(&vertex.name, subtask.index).ok_or_else(|| bug("its state was not restored"))?;
    let instance = Instance::start(operator, settings, state).map_err(|failed| {
        policy(job, spec.on_error).failed(&vertex.name, &failed);
        let why =
            format!("node `{}`: the operator failed in `open` ({}): {}", vertex.name, failed.code, failed.message);
        Failure { class: Class::Guest, why }
    })?;
    let settings = OperatorSettings {
        node: vertex.name.clone(),
        operator: job.checked.operator_name(&vertex.name),
        keys,
        inputs: wiring::channels(plan, vertex).map(|(_, channel, _)| channel.input).collect(),
        policy: policy(job, spec.on_error),
        barriers: barrier_mode(job),
        rejects_port: vertex.rejects.and_then(|id| vertex.outputs.iter().position(|output| *output == id)),
        late_port: vertex.outputs.iter().position(|id| plan.output(*id).port == "late"),
        origin: origin(job, vertex),
        alarm,
    };
    Ok(OperatorNode::new(settings, instance, metrics, watermark))
}

/// How to call a record's place, where all records of a node come straight from one source.
fn origin(job: &Job, vertex: &Vertex) -> Option<String> {
    let plan = &job.checked.plan;
    let [channel] = vertex.channels[..] else { return None };
    match plan.vertex(plan.output(channel.from).vertex).kind {
        VertexKind::Source { source } => Some(match &job.pipeline().sources[source].kind {
            SourceKind::Kafka(kafka) => kafka.topics.to_string(),
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
pub(super) fn at(name: &Name, error: connector::Error) -> Failure {
    let failed = failure(error);
    Failure { why: format!("`{name}`: {}", failed.why), ..failed }
}
