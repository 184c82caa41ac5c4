//! One subtask of a chain: its nodes, run one behind the other without a queue between them, what flows in from rings and
//! out into them. A step does a bounded amount of work and never waits: while rows wait for room, the next step only makes
//! room. Decides nothing about checkpoints.

use std::collections::BTreeMap;
use std::time::Duration;

use weir_core::checkpoint::manifest::{NodeSnapshot, SourcePositions, StagedPart};
use weir_core::ids::{Epoch, Name};
use weir_core::record::Mark;

use super::error::Error;
use super::gate::{Flow, Room};
use super::node::Node;
use super::operator::Emit;
use super::outlet::Outlet;
use super::passage::{Passage, Passed, SLICE, slice_behind};
use super::ring::{Element, RingReader};
use super::source::{SourceNode, Stepped};
use super::stopwatch::{Owner, Stopwatch};
use crate::clock;
use crate::connector::Cut;
use crate::state::SealedState;

/// Bytes that may wait for room before timers stop firing.
const PENDING_BYTES_MAX: usize = 8 << 20;
/// How long a shard sleeps at most when nothing happens: its times are published then.
pub(super) const SLEEP_MAX: Duration = Duration::from_secs(1);
/// The same where a source waits, which looks at its splits and its clock now and then.
const SLEEP_SOURCE: Duration = Duration::from_millis(100);
/// The same while rows wait for room.
const SLEEP_FULL: Duration = Duration::from_millis(2);

/// Where a port's rows go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edge {
    /// To a node of the same chain.
    Node {
        /// Its index in the task.
        to: usize,
        /// Its channel.
        channel: usize,
    },
    /// Out of the chain, by the outlet of this index.
    Outlet(usize),
}

/// Everything that a barrier cut off in one task.
pub struct TaskSnapshot {
    /// The task's number.
    pub task: usize,
    /// Positions of its source, if it has one.
    pub sources: BTreeMap<Name, SourcePositions>,
    /// State of its operators.
    pub nodes: Vec<(Name, NodeSnapshot, SealedState)>,
    /// Parts that file sinks staged.
    pub parts: Vec<StagedPart>,
    /// Why the epoch is to be declined, if it is: a sink has no space for its rows, and keeps them for the next one.
    pub declined: Option<String>,
    /// When the barrier came, and how long it took.
    pub passed: Passed,
    /// Records that the task has taken in since the barrier before.
    pub records: u64,
    /// Bytes of its working set.
    pub state_bytes: u64,
}

/// Whether a step did something, else how long to sleep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Worked {
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

/// See the module.
pub struct Task {
    /// Its number in the attempt.
    number: usize,
    nodes: Vec<Option<Node>>,
    /// Per node and port, who receives.
    edges: Vec<Vec<Vec<Edge>>>,
    outlets: Vec<Outlet>,
    /// The head's channels.
    inlets: Vec<RingReader>,
    /// The one to look at first.
    turn: usize,
    /// Index of the first node in the shard's stopwatch.
    first: usize,
    paused: bool,
    /// The watermark goes to the end of time before the next barrier.
    drains: bool,
    ended: bool,
    /// A barrier that the source has not yet cut at, since rows wait for room.
    barrier: Option<Epoch>,
    /// How long to copy next of what a barrier closed.
    slice: Duration,
    /// The newest barrier on its way through the chain.
    passage: Option<Passage>,
    /// Records that the head had taken in at the barrier before.
    counted: u64,
    /// A snapshot that was finished because the next barrier came.
    finished: Option<(Epoch, TaskSnapshot)>,
}

impl Task {
    /// Nodes in topological order, the head first; per node and port, the edges out of it; the rings into the head, by
    /// channel. `number` is the task's own in the attempt.
    pub fn new(
        number: usize,
        nodes: Vec<Node>,
        edges: Vec<Vec<Vec<Edge>>>,
        outlets: Vec<Outlet>,
        inlets: Vec<RingReader>,
    ) -> Task {
        Task {
            number,
            nodes: nodes.into_iter().map(Some).collect(),
            edges,
            outlets,
            inlets,
            turn: 0,
            first: 0,
            paused: false,
            drains: false,
            ended: false,
            barrier: None,
            slice: SLICE,
            passage: None,
            counted: 0,
            finished: None,
        }
    }

    pub(super) fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().flatten()
    }

    /// Its nodes are those from `first` on in the shard's stopwatch.
    pub(super) fn count_from(&mut self, first: usize) {
        self.first = first;
    }

    /// The watermarks that its nodes had passed on go out again: what is behind them stands where it stood.
    pub(super) fn resume(&mut self, time: &mut Stopwatch) -> Result<(), Error> {
        (0..self.nodes.len()).try_for_each(|index| {
            self.with_node(index, time, |node, emit| match node {
                Node::Source(source) => source.resume(emit),
                Node::Operator(operator) => operator.repeat_watermark(emit),
                Node::Sink(_) => Ok(()),
            })
        })
    }

    pub(super) fn close(&mut self) {
        for node in self.nodes.iter_mut().flatten() {
            if let Node::Operator(operator) = node {
                operator.close();
            }
        }
    }

    /// Reads nothing more.
    pub(super) fn pause(&mut self) {
        self.paused = true;
    }

    /// Reads nothing more, and fires every timer before the next barrier.
    pub(super) fn drain(&mut self) {
        (self.paused, self.drains) = (true, true);
    }

    /// Cut at this epoch, once no rows wait for room. Only where the head is a source: to others barriers come in rings.
    pub(super) fn on_barrier(&mut self, epoch: Epoch) {
        if matches!(self.nodes[0], Some(Node::Source(_))) {
            self.barrier = Some(epoch);
        }
    }

    /// The epoch is given up. A head that has not cut at it never will: it passes a cancel marker on, so that nobody waits
    /// for its barrier. Behind the head the barrier only waits for what the chain is doing, and passes.
    pub(super) fn on_cancel(&mut self, epoch: Epoch, time: &mut Stopwatch) -> Result<(), Error> {
        if self.barrier.take_if(|waiting| *waiting == epoch).is_some() {
            self.with_source(time, |_, emit| emit(0, Flow::Mark(Mark::Cancel(epoch))).map(drop))?;
        }
        self.with_node(0, time, |head, emit| match head {
            Node::Source(_) => Ok(()),
            Node::Operator(operator) => operator.on_given_up(epoch, emit),
            Node::Sink(sink) => sink.on_given_up(epoch),
        })?;
        self.on_released(epoch, time)
    }

    /// Held rows may go out.
    pub(super) fn on_released(&mut self, epoch: Epoch, time: &mut Stopwatch) -> Result<(), Error> {
        self.each_sink(time, |sink| sink.on_released(epoch))
    }

    pub(super) fn on_committed(&mut self, positions: &BTreeMap<Name, SourcePositions>) {
        if let Some(Node::Source(source)) = &mut self.nodes[0]
            && let Some(positions) = positions.get(source.name())
        {
            source.on_committed(positions);
        }
    }

    /// What a barrier cut off, once all nodes have seen it and their state is copied.
    pub(super) fn take_snapshot(&mut self) -> Option<(Epoch, TaskSnapshot)> {
        if let Some(finished) = self.finished.take() {
            return Some(finished);
        }
        let epoch = self.nodes().next()?.cut()?;
        if !self.nodes().all(|node| node.cut() == Some(epoch) && !node.is_copying()) {
            return None;
        }
        let counted = self.nodes().next()?.metrics().records_in.get();
        let mut snapshot = TaskSnapshot {
            task: self.number,
            sources: BTreeMap::new(),
            nodes: Vec::new(),
            parts: Vec::new(),
            declined: None,
            passed: Passage::passed(self.passage, epoch),
            records: counted - std::mem::replace(&mut self.counted, counted),
            state_bytes: self.nodes().map(|node| node.metrics().state_bytes.get()).sum(),
        };
        for node in self.nodes.iter_mut().flatten() {
            match node {
                Node::Source(source) => {
                    let name = source.name().clone();
                    snapshot.sources.extend(source.take_cut().map(|(_, positions)| (name, positions)));
                }
                Node::Operator(operator) => {
                    let name = operator.name().clone();
                    snapshot.nodes.extend(operator.take_cut().map(|(node, sealed)| (name, node, sealed)));
                }
                Node::Sink(sink) => match sink.take_cut() {
                    Some((_, Cut::Parts(parts))) => snapshot.parts.extend(parts),
                    Some((_, Cut::NoSpace(why))) => snapshot.declined = Some(why),
                    None => {}
                },
            }
        }
        Some((epoch, snapshot))
    }

    /// Whether all input has ended and everything of it is through. Says so once.
    pub(super) fn take_ended(&mut self) -> bool {
        let is_through = |node: &Node| node.has_ended() && !node.is_copying();
        let has_ended = !self.ended && self.nodes().all(is_through) && self.pending_bytes() == 0;
        self.ended |= has_ended;
        has_ended
    }

    /// Copies some state if a barrier asked for it, makes room, then does one piece of work.
    pub(super) fn step(&mut self, time: &mut Stopwatch) -> Result<Worked, Error> {
        if self.copy_slice(self.slice, time) {
            let since = clock::now();
            let worked = self.work(time)?;
            self.slice = slice_behind(since.elapsed());
            return Ok(worked | Worked::Something);
        }
        self.work(time)
    }

    fn work(&mut self, time: &mut Stopwatch) -> Result<Worked, Error> {
        if self.pending_bytes() > 0 {
            self.relieve(time)?;
            if self.pending_bytes() > 0 {
                return Ok(Worked::Nothing(SLEEP_FULL));
            }
        }
        // The last one first: what it still has to do comes before what those in front of it send.
        if let Some(busy) = self.nodes.iter().rposition(|node| node.as_ref().is_some_and(Node::is_busy)) {
            self.go_on(busy, time)?;
            return Ok(Worked::Something);
        }
        let worked = match &self.nodes[0] {
            Some(Node::Source(_)) => self.step_source(time)?,
            _ => self.step_inlets(time)?,
        };
        if worked != Worked::Something {
            // Nothing follows soon: what was spread so far need not wait for a full packet.
            self.outlets.iter_mut().for_each(Outlet::flush);
            if self.outlets.iter().any(|outlet| outlet.pending_bytes() > 0) {
                return Ok(worked | Worked::Nothing(SLEEP_FULL));
            }
        }
        Ok(worked)
    }

    fn step_source(&mut self, time: &mut Stopwatch) -> Result<Worked, Error> {
        if std::mem::take(&mut self.drains) {
            // What fires may take several steps; the barrier waits for them.
            self.with_source(time, |source, emit| source.drain(emit))?;
            return Ok(Worked::Something);
        }
        if let Some(epoch) = self.barrier.take() {
            self.finish_snapshot(time);
            Passage::on_barrier(&mut self.passage, epoch);
            self.with_source(time, |source, emit| {
                source.on_barrier(epoch);
                crate::crash::point("barrier.injected");
                emit(0, Flow::Mark(Mark::Barrier(epoch)))
            })?;
            self.passage.iter_mut().for_each(|it| it.on_passed(false));
            return Ok(Worked::Something);
        }
        if self.paused {
            return Ok(Worked::Nothing(SLEEP_MAX));
        }
        Ok(match self.with_source(time, |source, emit| source.step(emit))? {
            Some(Stepped::Worked) => Worked::Something,
            Some(Stepped::WorkedBefore(wait)) => match self.pending_bytes() == 0 && !self.nodes().any(Node::is_busy) {
                true => Worked::Nothing(wait.min(SLEEP_SOURCE)),
                false => Worked::Something,
            },
            Some(Stepped::Later(wait)) => Worked::Nothing(wait.min(SLEEP_SOURCE)),
            Some(Stepped::Empty) => Worked::Nothing(SLEEP_SOURCE),
            Some(Stepped::Ended) | None => Worked::Nothing(SLEEP_MAX),
        })
    }

    /// The next element of the next channel that is not blocked.
    fn step_inlets(&mut self, time: &mut Stopwatch) -> Result<Worked, Error> {
        let channels = self.inlets.len();
        for channel in (self.turn..channels).chain(0..self.turn) {
            if self.nodes[0].as_ref().is_some_and(|head| head.is_blocked(channel)) {
                continue;
            }
            let Some(element) = self.inlets[channel].pop() else { continue };
            self.turn = (channel + 1) % channels;
            match element {
                Element::Packet(mut packet) => {
                    self.receive(0, channel, Flow::Packet(&mut packet), time)?;
                    self.inlets[channel].give_back(packet);
                }
                Element::Mark(mark) => {
                    if let Mark::Barrier(epoch) = mark {
                        self.finish_snapshot(time);
                        Passage::on_barrier(&mut self.passage, epoch);
                    }
                    self.receive(0, channel, Flow::Mark(mark), time)?;
                    if matches!(mark, Mark::Barrier(_)) {
                        let is_blocked = self.nodes[0].as_ref().is_some_and(|head| head.is_blocked(channel));
                        self.passage.iter_mut().for_each(|it| it.on_passed(is_blocked));
                    }
                }
            }
            return Ok(Worked::Something);
        }
        Ok(Worked::Nothing(SLEEP_MAX))
    }

    /// Copies state that a barrier closed for a slice of time. Whether there was any.
    fn copy_slice(&mut self, slice: Duration, time: &mut Stopwatch) -> bool {
        let Some(index) = self.nodes.iter().position(|node| node.as_ref().is_some_and(Node::is_copying)) else {
            return false;
        };
        if let Some(Node::Operator(operator)) = &mut self.nodes[index] {
            let before = time.pass_to(Owner::Node(self.first + index));
            let since = clock::now();
            operator.copy(|| since.elapsed() >= slice);
            let took = since.elapsed();
            self.passage.iter_mut().for_each(|it| it.on_slice(since, took));
            time.pass_to(before);
        }
        true
    }

    /// The next barrier is here, since the epoch before was given up: what that one closed is copied to its end. It is in no
    /// snapshot yet, so the next one has to hold it.
    fn finish_snapshot(&mut self, time: &mut Stopwatch) {
        while self.copy_slice(Duration::MAX, time) {}
        self.finished = self.take_snapshot();
    }

    /// Lets a node that waits for room in the middle of a watermark go on.
    fn go_on(&mut self, index: usize, time: &mut Stopwatch) -> Result<(), Error> {
        self.with_node(index, time, |node, emit| match node {
            Node::Operator(operator) => operator.resume(emit),
            Node::Source(_) | Node::Sink(_) => Ok(()),
        })
    }

    /// Runs something of a node, with a way to hand on what it emits.
    fn with_node(
        &mut self,
        index: usize,
        time: &mut Stopwatch,
        act: impl FnOnce(&mut Node, &mut Emit<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let Some(mut node) = self.nodes[index].take() else { return Ok(()) };
        let before = time.pass_to(Owner::Node(self.first + index));
        let result = act(&mut node, &mut |port, flow| self.deliver(index, port, flow, time));
        time.pass_to(before);
        self.nodes[index] = Some(node);
        result
    }

    fn relieve(&mut self, time: &mut Stopwatch) -> Result<(), Error> {
        self.outlets.iter_mut().for_each(Outlet::relieve);
        self.each_sink(time, |sink| sink.relieve())
    }

    fn each_sink(
        &mut self,
        time: &mut Stopwatch,
        mut act: impl FnMut(&mut super::sink::SinkNode) -> Result<(), Error>,
    ) -> Result<(), Error> {
        for (index, node) in self.nodes.iter_mut().enumerate() {
            if let Some(Node::Sink(sink)) = node {
                let before = time.pass_to(Owner::Node(self.first + index));
                let result = act(sink);
                time.pass_to(before);
                result?;
            }
        }
        Ok(())
    }

    /// Bytes that wait for room, at sinks and at full rings.
    pub(super) fn pending_bytes(&self) -> usize {
        let sinks = self.nodes().map(|node| match node {
            Node::Sink(sink) => sink.pending_bytes(),
            Node::Source(_) | Node::Operator(_) => 0,
        });
        sinks.sum::<usize>() + self.outlets.iter().map(Outlet::pending_bytes).sum::<usize>()
    }

    /// Runs something of the source, with a way to hand on what it emits. `None` if the head is none.
    fn with_source<R>(
        &mut self,
        time: &mut Stopwatch,
        act: impl FnOnce(&mut SourceNode, &mut Emit<'_>) -> Result<R, Error>,
    ) -> Result<Option<R>, Error> {
        if !matches!(self.nodes[0], Some(Node::Source(_))) {
            return Ok(None);
        }
        let Some(Node::Source(mut source)) = self.nodes[0].take() else { return Ok(None) };
        let before = time.pass_to(Owner::Node(self.first));
        let result = act(&mut source, &mut |port, flow| self.deliver(0, port, flow, time));
        time.pass_to(before);
        self.nodes[0] = Some(Node::Source(source));
        result.map(Some)
    }

    fn deliver(&mut self, from: usize, port: usize, mut flow: Flow<'_>, time: &mut Stopwatch) -> Result<Room, Error> {
        for i in 0..self.edges[from][port].len() {
            let flow = match &mut flow {
                Flow::Packet(packet) => Flow::Packet(packet),
                Flow::Mark(mark) => Flow::Mark(*mark),
            };
            match self.edges[from][port][i] {
                Edge::Node { to, channel } => self.receive(to, channel, flow, time)?,
                Edge::Outlet(outlet) => match flow {
                    Flow::Packet(packet) => self.outlets[outlet].send(packet),
                    Flow::Mark(mark) => self.outlets[outlet].mark(mark),
                },
            }
        }
        Ok(if self.pending_bytes() > PENDING_BYTES_MAX { Room::Full } else { Room::Free })
    }

    fn receive(&mut self, to: usize, channel: usize, flow: Flow<'_>, time: &mut Stopwatch) -> Result<(), Error> {
        // The node is out of its place while it works: what it emits goes to other nodes, since the graph has no cycle.
        let Some(mut node) = self.nodes[to].take() else {
            return Err(Error::Bug("a node received from itself".to_owned()));
        };
        let before = time.pass_to(Owner::Node(self.first + to));
        let result = match &mut node {
            Node::Operator(operator) => {
                operator.on_flow(channel, flow, &mut |port, flow| self.deliver(to, port, flow, time))
            }
            Node::Sink(sink) => sink.on_flow(channel, flow),
            Node::Source(_) => Err(Error::Bug("an edge leads into a source".to_owned())),
        };
        time.pass_to(before);
        self.nodes[to] = Some(node);
        result
    }
}
