//! The thread that runs a pipeline's nodes: polls sources in turn, pushes what they give through the graph, answers
//! commands between batches. Owns the nodes; never decides when a checkpoint is due or whether it is committed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::Duration;

use weir_core::checkpoint::manifest::{NodeSnapshot, SourcePositions, StagedPart};
use weir_core::ids::{Epoch, Name};
use weir_core::record::Mark;

use super::error::Error;
use super::gate::Flow;
use super::metrics::NodeMetrics;
use super::operator::OperatorNode;
use super::sink::SinkNode;
use super::source::{SourceNode, Stepped};
use super::stopwatch::{Owner, Stopwatch};
use crate::state::SealedState;

/// Bytes that may wait at full sinks before the shard stops to make room.
const PENDING_BYTES_MAX: usize = 32 << 20;
/// How long the shard sleeps at most when nothing happens.
const SLEEP_MAX: Duration = Duration::from_millis(100);

/// A node at run time.
pub enum Node {
    /// Reads.
    Source(Box<SourceNode>),
    /// Runs user code.
    Operator(Box<OperatorNode>),
    /// Writes.
    Sink(Box<SinkNode>),
}

impl Node {
    fn metrics(&self) -> Arc<NodeMetrics> {
        match self {
            Node::Source(node) => node.metrics(),
            Node::Operator(node) => node.metrics(),
            Node::Sink(node) => node.metrics(),
        }
    }
}

/// Where a port's rows go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edge {
    /// Index of the receiving node.
    pub to: usize,
    /// Its channel.
    pub channel: usize,
}

/// What the shard is told. Commands are answered in order, between batches.
#[derive(Debug)]
pub enum Command {
    /// Cut here: snapshot everything as this epoch.
    Barrier(Epoch),
    /// The epoch is committed and the next transaction is open: held rows may go out.
    Released(Epoch),
    /// The epoch is given up: forget its barrier if it still waits; held rows go out, the next epoch covers them.
    Cancel(Epoch),
    /// The epoch is committed: tell the sources, for displays outside.
    Committed(BTreeMap<Name, SourcePositions>),
    /// Read nothing more. Barriers are still answered.
    Pause,
    /// The same, and the watermark moves to the end of time: every timer fires.
    Drain,
    /// Something outside changed: look again.
    Wake,
    /// End the thread.
    Stop,
}

/// Everything that a barrier cut off.
pub struct ShardSnapshot {
    /// Its epoch.
    pub epoch: Epoch,
    /// Positions of the sources.
    pub sources: BTreeMap<Name, SourcePositions>,
    /// State of the operators.
    pub nodes: Vec<(Name, NodeSnapshot, SealedState)>,
    /// Parts that file sinks staged.
    pub parts: Vec<StagedPart>,
    /// How long the data path stood still.
    pub pause: Duration,
}

/// What the shard says.
pub enum Report {
    /// A barrier was answered.
    Snapshot(Box<ShardSnapshot>),
    /// All sources have ended and everything behind them is through.
    Ended,
    /// The attempt is over.
    Failed(Error),
}

/// Takes what the shard says. Must not block for long.
pub type Reporter = Box<dyn Fn(Report) + Send>;

/// A pipeline's nodes on one thread.
pub struct Shard {
    nodes: Vec<Option<Node>>,
    /// Per node and port, who receives.
    edges: Vec<Vec<Vec<Edge>>>,
    commands: Receiver<Command>,
    report: Reporter,
    paused: bool,
    /// The watermark goes to the end of time before the next barrier.
    drain: bool,
    ended: bool,
    stopped: bool,
    /// A barrier that waits until full sinks have room.
    barrier: Option<Epoch>,
    time: Stopwatch,
}

impl Shard {
    /// Nodes in topological order and, per node and port, the edges out of it.
    pub fn new(nodes: Vec<Node>, edges: Vec<Vec<Vec<Edge>>>, commands: Receiver<Command>, report: Reporter) -> Shard {
        let time = Stopwatch::new(nodes.iter().map(Node::metrics).collect());
        let nodes = nodes.into_iter().map(Some).collect();
        Shard {
            nodes,
            edges,
            commands,
            report,
            paused: false,
            drain: false,
            ended: false,
            stopped: false,
            barrier: None,
            time,
        }
    }

    /// Runs until it is stopped or fails. The failure is the last report.
    pub fn run(mut self) {
        if let Err(error) = self.run_to_the_end() {
            (self.report)(Report::Failed(error));
        }
        for node in self.nodes.iter_mut().flatten() {
            if let Node::Operator(operator) = node {
                operator.close();
            }
        }
    }

    fn run_to_the_end(&mut self) -> Result<(), Error> {
        for index in 0..self.nodes.len() {
            self.with_source(index, |source, emit| source.resume(emit))?;
        }
        while !self.stopped {
            let worked = self.commands()? | self.round()?;
            if let Worked::Nothing(sleep) = worked {
                match self.next_command(sleep) {
                    Ok(command) => self.on_command(command)?,
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => self.stopped = true,
                }
            } else {
                self.time.publish();
            }
        }
        Ok(())
    }

    /// Waits for a command, and says what for: room at a sink, or something to do.
    fn next_command(&mut self, wait: Duration) -> Result<Command, RecvTimeoutError> {
        let owner = if self.pending_bytes() > 0 { Owner::Backpressure } else { Owner::Nobody };
        let before = self.time.pass_to(owner);
        let command = self.commands.recv_timeout(wait);
        self.time.pass_to(before);
        self.time.publish();
        command
    }

    /// Answers all commands that wait.
    fn commands(&mut self) -> Result<Worked, Error> {
        let mut worked = Worked::Nothing(SLEEP_MAX);
        loop {
            match self.commands.try_recv() {
                Ok(command) => {
                    self.on_command(command)?;
                    worked = Worked::Something;
                }
                Err(TryRecvError::Empty) => return Ok(worked),
                Err(TryRecvError::Disconnected) => {
                    self.stopped = true;
                    return Ok(worked);
                }
            }
        }
    }

    fn on_command(&mut self, command: Command) -> Result<(), Error> {
        match command {
            Command::Barrier(epoch) => {
                self.barrier = Some(epoch);
                self.try_barrier()
            }
            Command::Released(epoch) => {
                self.each_sink(|sink| sink.on_released(epoch))?;
                self.try_barrier()
            }
            Command::Cancel(epoch) => {
                self.barrier = self.barrier.filter(|waiting| *waiting != epoch);
                self.each_sink(|sink| sink.on_released(epoch))
            }
            Command::Committed(positions) => {
                for node in self.nodes.iter_mut().flatten() {
                    if let Node::Source(source) = node
                        && let Some(positions) = positions.get(source.name())
                    {
                        source.on_committed(positions);
                    }
                }
                Ok(())
            }
            Command::Pause => {
                self.paused = true;
                Ok(())
            }
            Command::Drain => {
                (self.paused, self.drain) = (true, true);
                Ok(())
            }
            Command::Wake => Ok(()),
            Command::Stop => {
                self.stopped = true;
                Ok(())
            }
        }
    }

    /// One poll of each source, unless a sink is full.
    fn round(&mut self) -> Result<Worked, Error> {
        if self.pending_bytes() > 0 {
            self.each_sink(SinkNode::relieve)?;
        }
        self.try_barrier()?;
        if self.paused || self.ended || self.pending_bytes() > 0 {
            return Ok(Worked::Nothing(if self.pending_bytes() > 0 { Duration::from_millis(2) } else { SLEEP_MAX }));
        }
        let (mut worked, mut ended) = (Worked::Nothing(SLEEP_MAX), true);
        for index in 0..self.nodes.len() {
            let stepped = self.with_source(index, |source, emit| source.step(emit))?;
            worked = worked
                | match stepped {
                    Some(Stepped::Worked) => Worked::Something,
                    Some(Stepped::Later(wait)) => Worked::Nothing(wait),
                    Some(Stepped::Empty | Stepped::Ended) | None => Worked::Nothing(SLEEP_MAX),
                };
            ended &= match &self.nodes[index] {
                Some(Node::Source(source)) => source.has_ended(),
                _ => true,
            };
        }
        if ended && !self.ended {
            self.ended = true;
            (self.report)(Report::Ended);
        }
        Ok(worked)
    }

    /// Cuts at the barrier that waits, once no rows wait at a sink.
    fn try_barrier(&mut self) -> Result<(), Error> {
        if self.pending_bytes() > 0 {
            return Ok(());
        }
        if std::mem::take(&mut self.drain) {
            for index in 0..self.nodes.len() {
                self.with_source(index, |source, emit| source.drain(emit))?;
            }
            if self.pending_bytes() > 0 {
                return Ok(());
            }
        }
        let Some(epoch) = self.barrier.take() else { return Ok(()) };
        let started = crate::clock::now();
        let mut sources = BTreeMap::new();
        for index in 0..self.nodes.len() {
            self.with_source(index, |source, emit| {
                sources.insert(source.name().clone(), source.positions());
                crate::crash::point("barrier.injected");
                emit(0, Flow::Mark(Mark::Barrier(epoch)))
            })?;
        }
        let (mut nodes, mut parts) = (Vec::new(), Vec::new());
        for node in self.nodes.iter_mut().flatten() {
            match node {
                Node::Source(_) => {}
                Node::Operator(operator) => {
                    let name = operator.name().clone();
                    let Some((node, sealed)) = operator.take_snapshot() else {
                        return Err(Error::Bug(format!("barrier {epoch} did not reach node `{name}`")));
                    };
                    nodes.push((name, node, sealed));
                }
                Node::Sink(sink) => parts.append(&mut sink.take_parts()),
            }
        }
        let snapshot = ShardSnapshot { epoch, sources, nodes, parts, pause: started.elapsed() };
        (self.report)(Report::Snapshot(Box::new(snapshot)));
        Ok(())
    }

    fn each_sink(&mut self, mut act: impl FnMut(&mut SinkNode) -> Result<(), Error>) -> Result<(), Error> {
        for (index, node) in self.nodes.iter_mut().enumerate() {
            if let Some(Node::Sink(sink)) = node {
                let before = self.time.pass_to(Owner::Node(index));
                let result = act(sink);
                self.time.pass_to(before);
                result?;
            }
        }
        Ok(())
    }

    fn pending_bytes(&self) -> usize {
        let pending = |node: &Node| match node {
            Node::Sink(sink) => sink.pending_bytes(),
            _ => 0,
        };
        self.nodes.iter().flatten().map(pending).sum()
    }

    /// Runs something of a source, with a way to hand on what it emits. `None` if the node is no source.
    fn with_source<R>(
        &mut self,
        index: usize,
        act: impl FnOnce(&mut SourceNode, &mut super::operator::Emit<'_>) -> Result<R, Error>,
    ) -> Result<Option<R>, Error> {
        if !matches!(self.nodes[index], Some(Node::Source(_))) {
            return Ok(None);
        }
        let Some(Node::Source(mut source)) = self.nodes[index].take() else { return Ok(None) };
        let before = self.time.pass_to(Owner::Node(index));
        let result = act(&mut source, &mut |port, flow| self.deliver(index, port, flow));
        self.time.pass_to(before);
        self.nodes[index] = Some(Node::Source(source));
        result.map(Some)
    }

    fn deliver(&mut self, from: usize, port: usize, mut flow: Flow<'_>) -> Result<(), Error> {
        for i in 0..self.edges[from][port].len() {
            let edge = self.edges[from][port][i];
            let flow = match &mut flow {
                Flow::Packet(packet) => Flow::Packet(packet),
                Flow::Mark(mark) => Flow::Mark(*mark),
            };
            // The node is out of its place while it works: what it emits goes to other nodes, since the graph has no cycle.
            let Some(mut node) = self.nodes[edge.to].take() else {
                return Err(Error::Bug("a node received from itself".to_owned()));
            };
            let before = self.time.pass_to(Owner::Node(edge.to));
            let result = match &mut node {
                Node::Operator(operator) => {
                    operator.on_flow(edge.channel, flow, &mut |port, flow| self.deliver(edge.to, port, flow))
                }
                Node::Sink(sink) => sink.on_flow(edge.channel, flow),
                Node::Source(_) => Err(Error::Bug("an edge leads into a source".to_owned())),
            };
            self.time.pass_to(before);
            self.nodes[edge.to] = Some(node);
            result?;
        }
        if self.pending_bytes() > PENDING_BYTES_MAX { self.make_room() } else { Ok(()) }
    }

    /// Waits in the middle of a batch until full sinks have room: timers of one watermark can emit more than any buffer
    /// holds. Only releases are answered meanwhile; what else comes in waits for its turn.
    fn make_room(&mut self) -> Result<(), Error> {
        while self.pending_bytes() > PENDING_BYTES_MAX / 2 {
            match self.next_command(Duration::from_millis(2)) {
                Ok(Command::Released(epoch)) => self.each_sink(|sink| sink.on_released(epoch))?,
                Ok(Command::Barrier(epoch)) => self.barrier = Some(epoch),
                Ok(Command::Cancel(epoch)) => {
                    self.barrier = self.barrier.filter(|waiting| *waiting != epoch);
                    self.each_sink(|sink| sink.on_released(epoch))?;
                }
                Ok(Command::Stop) | Err(RecvTimeoutError::Disconnected) => {
                    self.stopped = true;
                    return Ok(());
                }
                Ok(Command::Drain) => (self.paused, self.drain) = (true, true),
                Ok(Command::Pause) => self.paused = true,
                Ok(Command::Committed(_) | Command::Wake) | Err(RecvTimeoutError::Timeout) => {}
            }
            self.each_sink(SinkNode::relieve)?;
        }
        Ok(())
    }
}

/// Whether a round did something, else how long to sleep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Worked {
    Something,
    Nothing(Duration),
}

impl std::ops::BitOr for Worked {
    type Output = Worked;

    fn bitor(self, other: Worked) -> Worked {
        match (self, other) {
            (Worked::Nothing(a), Worked::Nothing(b)) => Worked::Nothing(a.min(b)),
            _ => Worked::Something,
        }
    }
}
