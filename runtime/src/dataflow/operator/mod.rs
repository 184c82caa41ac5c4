//! A node that runs user code: keys, the guest's calls, timers, what happens to a record that it refuses. A call that fails
//! is repeated, halved or blamed on one record; then the node's policy decides. Knows no connector and no checkpoint file.

mod firing;

use std::ops::Range;
use std::sync::Arc;

use weir_core::checkpoint::manifest::NodeSnapshot;
use weir_core::extract::Extractor;
use weir_core::ids::{Epoch, Name};
use weir_core::record::{Batch, Mark};

use super::error::{Error, OnError};
use super::gate::{BarrierMode, Event, Flow, Gate, Room, Waiting};
use super::metrics::NodeMetrics;
use super::packet::{KeyExtraction, Packet, extract_keys};
use crate::clock;
use crate::guest::{Failure, Instance, Keyed, Reason};
use crate::state::{DueTimers, SealedState};

/// Records or timers in one call.
const CALL_MAX: usize = 1_000;
/// A guest's `retry` is honoured this often, then it is fatal.
const RETRIES: u32 = 3;
/// Rounds of timers that set timers for one watermark.
const ROUNDS_MAX: usize = 10_000;

/// What the plan says about an operator node.
#[derive(Debug, Clone)]
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
    pub on_error: OnError,
    /// Index of the host port `rejects`, where something is wired to it.
    pub rejects_port: Option<usize>,
    /// Index of the operator's port `late`, for its counter.
    pub late_port: Option<usize>,
    /// The name of the splits of the one source upstream, for messages.
    pub origin: Option<String>,
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
        }
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
    }

    fn emit_mark(&mut self, mark: Mark, emit: &mut Emit<'_>) -> Result<(), Error> {
        (0..self.metrics.ports.len()).try_for_each(|port| emit(port, Flow::Mark(mark)).map(drop))
    }

    /// What was evicted of these keys is brought back before the guest is called.
    fn admit(&mut self, keyed: &Keyed) -> Result<(), Error> {
        let admitted = self.instance.state().admit(&keyed.hashes, &keyed.keys);
        admitted.map_err(|source| Error::State { node: self.settings.node.clone(), source })
    }

    fn on_packet(&mut self, input: u32, packet: &mut Packet, emit: &mut Emit<'_>) -> Result<(), Error> {
        self.metrics.records_in.add(packet.batch.len() as u64);
        let Some(by) = self.settings.keys[input as usize].clone() else {
            return self.run(input, &mut packet.batch, &mut None, emit);
        };
        if let Some(index) = packet.known_at(&by) {
            // Taken out and put back: the packet may go to other nodes too.
            self.admit(&packet.keyed[index])?;
            let mut keyed = Some(std::mem::take(&mut packet.keyed[index]));
            let result = self.run(input, &mut packet.batch, &mut keyed, emit);
            packet.keyed[index] = keyed.unwrap_or_default();
            return result;
        }
        let mut keyed = std::mem::take(&mut self.keyed);
        let mut faults = std::mem::take(&mut self.faults);
        extract_keys(&packet.batch, &by, &mut self.extractors[input as usize], &mut keyed, &mut faults);
        self.admit(&keyed)?;
        if faults.is_empty() {
            let mut some = Some(keyed);
            let result = self.run(input, &mut packet.batch, &mut some, emit);
            self.keyed = some.unwrap_or_default();
            self.faults = faults;
            return result;
        }
        let mut from = 0;
        for (slot, what) in faults.drain(..).chain([(packet.batch.len(), String::new())]) {
            self.run_range(input, &packet.batch, Some(&keyed), from..slot, emit)?;
            if slot < packet.batch.len() {
                self.refuse(&packet.batch, slot, None, &what)?;
            }
            from = slot + 1;
        }
        self.keyed = keyed;
        self.faults = faults;
        Ok(())
    }

    /// Runs part of a batch as a batch of its own.
    fn run_range(
        &mut self,
        input: u32,
        batch: &Batch,
        keyed: Option<&Keyed>,
        range: Range<usize>,
        emit: &mut Emit<'_>,
    ) -> Result<(), Error> {
        if range.is_empty() {
            return Ok(());
        }
        match self.process_range(input, batch, keyed, range.clone(), emit)? {
            Ok(()) => Ok(()),
            Err(failure) => self.find_bad(input, batch, keyed, range, failure, emit),
        }
    }

    /// Calls the guest over a batch; where it fails, finds the record that is to blame.
    fn run(
        &mut self,
        input: u32,
        batch: &mut Batch,
        keyed: &mut Option<Keyed>,
        emit: &mut Emit<'_>,
    ) -> Result<(), Error> {
        if batch.is_empty() {
            return Ok(());
        }
        let watermark = self.gate.watermark();
        match self.call("process", |instance, now| instance.process(input, batch, keyed.as_mut(), watermark, now)) {
            Ok(()) => self.deliver(Some(batch), emit).map(drop),
            Err(failure) => self.find_bad(input, batch, keyed.as_ref(), 0..batch.len(), failure, emit),
        }
    }

    /// Halves what failed until single records are left, in the order of the batch. A list of ranges and one copy at a
    /// time, not a recursion: a guest that blames the first record of every call would make it a thousand deep.
    fn find_bad(
        &mut self,
        input: u32,
        batch: &Batch,
        keyed: Option<&Keyed>,
        range: Range<usize>,
        failure: Failure,
        emit: &mut Emit<'_>,
    ) -> Result<(), Error> {
        // The next one to run is the last.
        let mut waiting = Vec::new();
        let mut failed = Some((range, failure));
        loop {
            match failed.take() {
                Some((range, failure)) if range.len() == 1 => {
                    let key = keyed.and_then(|keyed| keyed.keys.get(range.start));
                    self.refuse(batch, range.start, key, &self.says(&failure))?;
                }
                Some((range, failure)) => waiting.extend(halves(range, failure.slot).into_iter().rev()),
                None => {}
            }
            let Some(range) = waiting.pop() else { return Ok(()) };
            if !range.is_empty() {
                let result = self.process_range(input, batch, keyed, range.clone(), emit)?;
                failed = result.err().map(|failure| (range, failure));
            }
        }
    }

    /// One call over a copy of part of a batch.
    fn process_range(
        &mut self,
        input: u32,
        batch: &Batch,
        keyed: Option<&Keyed>,
        range: Range<usize>,
        emit: &mut Emit<'_>,
    ) -> Result<Result<(), Failure>, Error> {
        let mut part = Batch::default();
        part.extend_from(batch, range.clone());
        let mut part_keyed = keyed.map(|keyed| {
            let mut part = Keyed { hashes: keyed.hashes[range.clone()].to_vec(), ..Keyed::default() };
            part.keys.extend_from(&keyed.keys, range);
            part
        });
        let watermark = self.gate.watermark();
        let called = self
            .call("process", |instance, now| instance.process(input, &mut part, part_keyed.as_mut(), watermark, now));
        match called {
            Ok(()) => self.deliver(Some(&part), emit).map(|_| Ok(())),
            Err(failure) => Ok(Err(failure)),
        }
    }

    /// One call, repeated while the guest asks for it.
    fn call(
        &mut self,
        _callback: &'static str,
        mut call: impl FnMut(&mut Instance, i64) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        // Frozen per call, and the same when the call is repeated.
        let now = clock::now_millis();
        let mut attempt = 0;
        loop {
            let started = clock::now();
            let result = call(&mut self.instance, now);
            self.metrics.calls.add(1);
            self.metrics.call_nanos.add(started.elapsed().as_nanos() as u64);
            match result {
                Err(failure) if failure.reason == Reason::Retry && attempt < RETRIES => {
                    attempt += 1;
                    // The shard waits: order per key is kept. 10, 20, 40 ms.
                    clock::pause(std::time::Duration::from_millis(5 << attempt));
                }
                Err(failure) => {
                    self.metrics.traps[failure.reason as usize].add(1);
                    return Err(failure);
                }
                Ok(()) => return Ok(()),
            }
        }
    }

    fn says(&self, failure: &Failure) -> String {
        let verb = match failure.reason {
            Reason::Retry => "asked to be called again four times",
            Reason::Failed => "failed",
            _ => "trapped",
        };
        format!("{} {verb} ({}): {}", self.settings.operator, failure.code, failure.message)
    }

    /// A record that cannot be processed.
    fn refuse(&mut self, batch: &Batch, slot: usize, key: Option<&[u8]>, what: &str) -> Result<(), Error> {
        let error =
            || record_error(("node", &self.settings.node), batch, slot, key, self.settings.origin.as_deref(), what);
        if self.settings.on_error == OnError::Skip {
            self.metrics.skipped.add(1);
            tracing::debug!("skipped: {}", error());
            return Ok(());
        }
        Err(error())
    }

    /// Hands on what the call left. `batch` is what it worked on, for rejects.
    fn deliver(&mut self, batch: Option<&Batch>, emit: &mut Emit<'_>) -> Result<Room, Error> {
        let mut room = Room::Free;
        for port in 0..self.instance.output().ports.len() {
            if self.instance.output().ports[port].is_empty() {
                continue;
            }
            std::mem::swap(&mut self.out.batch, &mut self.instance.output().ports[port]);
            let rows = self.out.batch.len() as u64;
            self.metrics.records_out[port].add(rows);
            if self.settings.late_port == Some(port) {
                self.metrics.late.add(rows);
            }
            let result = emit(port, Flow::Packet(&mut self.out));
            self.out.batch.clear();
            std::mem::swap(&mut self.out.batch, &mut self.instance.output().ports[port]);
            if result? == Room::Full {
                room = Room::Full;
            }
        }
        let rejects = std::mem::take(&mut self.instance.output().rejects);
        let Some(batch) = batch.filter(|_| !rejects.is_empty()) else { return Ok(room) };
        for (slot, code, message) in rejects {
            match self.settings.rejects_port {
                Some(port) => {
                    let mut rejected = Packet::default();
                    rejected.batch.extend_from(batch, slot as usize..slot as usize + 1);
                    self.metrics.records_out[port].add(1);
                    emit(port, Flow::Packet(&mut rejected))?;
                }
                None => self.refuse(
                    batch,
                    slot as usize,
                    None,
                    &format!("{} rejected it ({code}): {message}", self.settings.operator),
                )?,
            }
        }
        Ok(room)
    }

    fn on_end(&mut self, emit: &mut Emit<'_>) -> Result<(), Error> {
        if self.instance.descriptor().calls("end") {
            let watermark = self.gate.watermark();
            self.call("on-end", |instance, now| instance.on_end(watermark, now))
                .map_err(|failure| self.failed("on-end", &failure))?;
            self.deliver(None, emit)?;
        }
        self.emit_mark(Mark::EndOfInput, emit)
    }

    fn failed(&self, callback: &'static str, failure: &Failure) -> Error {
        Error::Guest { node: self.settings.node.clone(), callback, message: self.says(failure) }
    }
}

/// What to run instead of a range that failed. The guest's word is checked: the record that it blames is run alone, and so
/// are those before and behind it. A slot that is not of the call blames nobody.
fn halves(range: Range<usize>, slot: Option<u32>) -> [Range<usize>; 3] {
    let (first, second) = match slot.map(|slot| slot as usize).filter(|slot| *slot < range.len()) {
        Some(slot) => (range.start + slot, range.start + slot + 1),
        None => (range.start + range.len() / 2, range.start + range.len() / 2),
    };
    [range.start..first, first..second, second..range.end]
}

/// A bad record, with all that finds it again.
pub(super) fn record_error(
    (role, node): (&'static str, &Name),
    batch: &Batch,
    slot: usize,
    key: Option<&[u8]>,
    source: Option<&str>,
    what: &str,
) -> Error {
    let origin = match (batch.origin(slot), source) {
        (Some((partition, offset)), Some(source)) => format!("{source}/{partition}@{offset}"),
        (Some((partition, offset)), None) => format!("{partition}@{offset}"),
        (None, _) => format!("with time {}", batch.times.get(slot).copied().unwrap_or_default()),
    };
    Error::Record {
        role,
        node: node.clone(),
        what: what.to_owned(),
        origin,
        key: show_key(key.or_else(|| batch.keys.get(slot))),
    }
}

fn show_key(key: Option<&[u8]>) -> String {
    key.map_or(String::new(), |key| {
        let text = String::from_utf8_lossy(&key[..key.len().min(64)]);
        format!(" key={text:?}")
    })
}
