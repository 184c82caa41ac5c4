//! A node that runs user code: what comes in on its channels, in order, and what a mark means for it. Packets go to `calls`,
//! watermarks to `firing`, records that a call fails on to `blame`. Knows no connector and no checkpoint file.

mod blame;
mod calls;
mod firing;

use std::sync::Arc;

use weir_core::checkpoint::manifest::NodeSnapshot;
use weir_core::extract::Extractor;
use weir_core::ids::{Epoch, Name};
use weir_core::record::Mark;

use super::error::Error;
use super::gate::{BarrierMode, Event, Flow, Gate, Room, Waiting};
use super::metrics::NodeMetrics;
use super::packet::{KeyExtraction, Packet};
use super::policy::{At, Policy};
use crate::guest::{Failure, Instance, Keyed};
use crate::state::{DueTimers, SealedState};

/// Records or timers in one call.
const CALL_MAX: usize = 1_000;
/// Rounds of timers that set timers for one watermark.
const ROUNDS_MAX: usize = 10_000;

/// Told when a guest holds its thread: it trapped, its call took long, or it asks to wait. Cheap, and told each time. Says whether
/// anybody still waits for what the guest does: a batch of records that all loop would take minutes.
pub type Alarm = Arc<dyn Fn() -> bool + Send + Sync>;

/// What the plan says about an operator node.
#[derive(Clone)]
pub struct OperatorSettings {
    /// Its name.
    pub node: Name,
    /// `name@version` of the operator, for messages.
    pub operator: String,
    /// How each input of the operator is keyed.
    pub keys: Vec<Option<KeyExtraction>>,
    /// The operator's input of each channel.
    pub inputs: Vec<u32>,
    /// What becomes of a channel behind its barrier.
    pub barriers: BarrierMode,
    /// What happens to a bad record.
    pub policy: Policy,
    /// Index of the host port `rejects`, where something is wired to it.
    pub rejects_port: Option<usize>,
    /// Index of the operator's port `late`, for its counter.
    pub late_port: Option<usize>,
    /// The name of the splits of the one source upstream, for messages.
    pub origin: Option<String>,
    /// See [`Alarm`].
    pub alarm: Alarm,
}

/// Hands what a node emits to the nodes behind it.
pub(super) type Emit<'a> = dyn FnMut(usize, Flow<'_>) -> Result<Room, Error> + 'a;

/// An operator node at run time.
pub struct OperatorNode {
    settings: OperatorSettings,
    instance: Instance,
    metrics: Arc<NodeMetrics>,
    gate: Gate,
    extractors: Vec<Option<Extractor>>,
    keyed: Keyed,
    due: DueTimers,
    out: Packet,
    faults: Vec<(usize, String)>,
    /// The last barrier, while what it closed is not yet taken.
    cut: Option<(Epoch, NodeSnapshot)>,
    /// Some of what it closed is still to be copied.
    copying: bool,
    /// The watermark whose timers are being fired. They may emit more than there is room for: then the rest waits, and all
    /// that comes in behind it.
    firing: Option<i64>,
    /// Calls of the guest that are left for that watermark.
    calls_left: usize,
    /// Nobody waits for what it does any more.
    is_given_up: bool,
}

impl OperatorNode {
    /// A node whose guest is open and whose state is restored. `watermark` is that of the snapshot.
    pub fn new(
        settings: OperatorSettings,
        instance: Instance,
        metrics: Arc<NodeMetrics>,
        watermark: i64,
    ) -> OperatorNode {
        OperatorNode {
            gate: Gate::new(settings.inputs.len(), settings.barriers, watermark),
            extractors: settings.keys.iter().map(|_| None).collect(),
            settings,
            instance,
            metrics,
            keyed: Keyed::default(),
            due: DueTimers::default(),
            out: Packet::default(),
            faults: Vec::new(),
            cut: None,
            copying: false,
            firing: None,
            calls_left: 0,
            is_given_up: false,
        }
    }

    fn at(&self) -> At<'_> {
        ("node", &self.settings.node, &self.metrics)
    }

    pub(super) fn name(&self) -> &Name {
        &self.settings.node
    }

    pub(super) fn metrics(&self) -> Arc<NodeMetrics> {
        Arc::clone(&self.metrics)
    }

    /// The epoch of the barrier that has passed and is not yet reported.
    pub(super) fn cut(&self) -> Option<Epoch> {
        self.cut.as_ref().map(|(epoch, _)| *epoch)
    }

    /// All of it must be copied.
    pub(super) fn take_cut(&mut self) -> Option<(NodeSnapshot, SealedState)> {
        self.cut.take().map(|(_, node)| (node, self.instance.state().take_generation()))
    }

    /// Whether what a barrier closed is still to be copied.
    pub(super) fn is_copying(&self) -> bool {
        self.copying
    }

    /// Copies it until it is done or the slice is over.
    pub(super) fn copy(&mut self, is_over: impl FnMut() -> bool) {
        self.copying = !self.instance.state().copy_generation(is_over);
    }

    /// Whether it waits for room in the middle of a watermark.
    pub(super) fn is_busy(&self) -> bool {
        self.firing.is_some()
    }

    /// Whether the channel waits behind a barrier.
    pub(super) fn is_blocked(&self, channel: usize) -> bool {
        self.gate.is_blocked(channel)
    }

    /// Whether nothing follows, and all of it is done.
    pub(super) fn has_ended(&self) -> bool {
        self.gate.has_ended() && !self.is_busy()
    }

    pub(super) fn close(&mut self) {
        self.instance.close();
    }

    pub(super) fn on_flow(&mut self, channel: usize, mut flow: Flow<'_>, emit: &mut Emit<'_>) -> Result<(), Error> {
        if self.gate.holds(channel, &mut flow, self.firing.is_some()) {
            return Ok(());
        }
        self.take(channel, flow, emit)?;
        self.take_waiting(emit)
    }

    /// What it had passed on before the restart goes out again. Its inputs may be silent for long, and a node behind it knows
    /// its own watermark but not which of its inputs had come how far.
    pub(super) fn repeat_watermark(&mut self, emit: &mut Emit<'_>) -> Result<(), Error> {
        match self.gate.watermark() {
            i64::MIN => Ok(()),
            passed => self.emit_mark(Mark::Watermark(passed), emit),
        }
    }

    /// Goes on in the middle of a watermark, and with what waited behind it.
    pub(super) fn resume(&mut self, emit: &mut Emit<'_>) -> Result<(), Error> {
        if let Some(to) = self.firing {
            self.fire(to, emit)?;
        }
        self.take_waiting(emit)
    }

    /// The coordinator has given the attempt up.
    pub(super) fn on_given_up(&mut self, epoch: Epoch, emit: &mut Emit<'_>) -> Result<(), Error> {
        let events = self.gate.on_given_up(epoch);
        events.into_iter().try_for_each(|event| self.on_event(event, emit))?;
        self.take_waiting(emit)
    }

    fn take_waiting(&mut self, emit: &mut Emit<'_>) -> Result<(), Error> {
        while self.firing.is_none()
            && let Some((channel, waiting)) = self.gate.next_free()
        {
            match waiting {
                Waiting::Packet(mut packet) => self.take(channel, Flow::Packet(&mut packet), emit)?,
                Waiting::Mark(mark) => self.take(channel, Flow::Mark(mark), emit)?,
            }
        }
        Ok(())
    }

    fn take(&mut self, channel: usize, flow: Flow<'_>, emit: &mut Emit<'_>) -> Result<(), Error> {
        match flow {
            Flow::Packet(packet) => self.on_packet(self.settings.inputs[channel], packet, emit),
            Flow::Mark(mark) => {
                let events = self.gate.on_mark(channel, mark)?;
                events.into_iter().try_for_each(|event| self.on_event(event, emit))
            }
        }
    }

    fn on_event(&mut self, event: Event, emit: &mut Emit<'_>) -> Result<(), Error> {
        match event {
            Event::Watermark(to) => self.on_watermark(to, emit),
            Event::Idle => self.emit_mark(Mark::Idle, emit),
            Event::Aligned(epoch) => {
                // Order: the barrier goes on before the own snapshot, so that the nodes behind align while this one copies.
                self.emit_mark(Mark::Barrier(epoch), emit)?;
                let node = NodeSnapshot { states: Default::default(), watermark: self.gate.watermark() };
                self.show_state();
                self.instance.state().close_generation(epoch);
                (self.cut, self.copying) = (Some((epoch, node)), true);
                crate::crash::point("state.sealed");
                Ok(())
            }
            Event::Cancelled(epoch) => self.emit_mark(Mark::Cancel(epoch), emit),
            Event::Ended => self.on_end(emit),
        }
    }

    /// What the metrics say of its state: at watermarks and at barriers.
    fn show_state(&mut self) {
        let state = self.instance.state();
        self.metrics.state_bytes.set(state.bytes() as u64);
        self.metrics.timers.set(state.timers_pending() as u64);
        let spilled = state.spilled();
        self.metrics.state_evicted.set(spilled.evicted);
        self.metrics.state_missed.set(spilled.missed);
        self.metrics.guest_memory.set(self.instance.memory_bytes() as u64);
    }

    fn emit_mark(&mut self, mark: Mark, emit: &mut Emit<'_>) -> Result<(), Error> {
        (0..self.metrics.ports.len()).try_for_each(|port| emit(port, Flow::Mark(mark)).map(drop))
    }

    fn on_end(&mut self, emit: &mut Emit<'_>) -> Result<(), Error> {
        if self.instance.descriptor().calls("end") {
            let watermark = self.gate.watermark();
            self.call(|instance, now| instance.on_end(watermark, now))
                .map_err(|failure| self.failed("on-end", &failure))?;
            self.deliver(None, emit)?;
        }
        self.emit_mark(Mark::EndOfInput, emit)
    }

    fn failed(&self, callback: &'static str, failure: &Failure) -> Error {
        self.settings.policy.failed(&self.settings.node, failure);
        Error::Guest { node: self.settings.node.clone(), callback, message: self.says(failure) }
    }
}
