//! A sink node: aligns its inputs, hands columns to its writer, keeps what the writer could not take. Decides nothing about
//! commits.

use std::sync::Arc;

use weir_core::ids::{Epoch, Name};
use weir_core::record::Batch;

use super::error::Error;
use super::gate::{BarrierMode, Event, Flow, Gate, Waiting};
use super::metrics::NodeMetrics;
use super::policy::{Fault, Policy, Slot};
use crate::connector::{self, Cut, Sink};

/// A sink node at run time.
pub struct SinkNode {
    name: Name,
    sink: Box<dyn Sink>,
    policy: Policy,
    gate: Gate,
    metrics: Arc<NodeMetrics>,
    /// Rows that the writer had no room for, in order. The shard reads no source while there are any.
    pending: Batch,
    taken: usize,
    /// The barrier that has passed, and what it cut off.
    cut: Option<(Epoch, Cut)>,
    /// The newest epoch that was committed or given up: rows behind its barrier are not held, also where it comes late.
    released: Epoch,
}

impl SinkNode {
    /// A sink with `channels` inputs.
    pub fn new(
        name: Name,
        sink: Box<dyn Sink>,
        channels: usize,
        barriers: BarrierMode,
        policy: Policy,
        metrics: Arc<NodeMetrics>,
    ) -> SinkNode {
        let gate = Gate::new(channels, barriers, i64::MIN);
        let (pending, released) = (Batch::default(), Epoch::default());
        SinkNode { name, sink, policy, gate, metrics, pending, taken: 0, cut: None, released }
    }

    pub(super) fn metrics(&self) -> Arc<NodeMetrics> {
        Arc::clone(&self.metrics)
    }

    /// Bytes that wait for room.
    pub(super) fn pending_bytes(&self) -> usize {
        if self.taken == self.pending.len() { 0 } else { self.pending.bytes().max(1) }
    }

    /// The epoch of the barrier that has passed and is not yet reported.
    pub(super) fn cut(&self) -> Option<Epoch> {
        self.cut.as_ref().map(|(epoch, _)| *epoch)
    }

    pub(super) fn take_cut(&mut self) -> Option<(Epoch, Cut)> {
        self.cut.take()
    }

    /// Whether the channel waits behind a barrier.
    pub(super) fn is_blocked(&self, channel: usize) -> bool {
        self.gate.is_blocked(channel)
    }

    /// Whether nothing follows.
    pub(super) fn has_ended(&self) -> bool {
        self.gate.has_ended()
    }

    pub(super) fn on_flow(&mut self, channel: usize, mut flow: Flow<'_>) -> Result<(), Error> {
        if self.gate.holds(channel, &mut flow, false) {
            return Ok(());
        }
        self.take(channel, flow)?;
        self.take_waiting()
    }

    /// The coordinator has given the attempt up.
    pub(super) fn on_given_up(&mut self, epoch: Epoch) -> Result<(), Error> {
        let events = self.gate.on_given_up(epoch);
        events.into_iter().try_for_each(|event| self.on_event(event))?;
        self.take_waiting()
    }

    fn take_waiting(&mut self) -> Result<(), Error> {
        while let Some((channel, waiting)) = self.gate.next_free() {
            match waiting {
                Waiting::Packet(mut packet) => self.take(channel, Flow::Packet(&mut packet))?,
                Waiting::Mark(mark) => self.take(channel, Flow::Mark(mark))?,
            }
        }
        Ok(())
    }

    fn take(&mut self, channel: usize, flow: Flow<'_>) -> Result<(), Error> {
        match flow {
            Flow::Packet(packet) => {
                self.metrics.records_in.add(packet.batch.len() as u64);
                if self.pending_bytes() > 0 {
                    self.pending.extend_from(&packet.batch, 0..packet.batch.len());
                    return Ok(());
                }
                let accepted = self.write(&packet.batch, 0)?;
                if accepted < packet.batch.len() {
                    self.pending.clear();
                    self.taken = 0;
                    self.pending.extend_from(&packet.batch, accepted..packet.batch.len());
                }
                Ok(())
            }
            Flow::Mark(mark) => {
                let events = self.gate.on_mark(channel, mark)?;
                events.into_iter().try_for_each(|event| self.on_event(event))
            }
        }
    }

    fn on_event(&mut self, event: Event) -> Result<(), Error> {
        match event {
            Event::Aligned(epoch) => self.on_barrier(epoch)?,
            Event::Watermark(to) => self.metrics.set_watermark(to),
            Event::Idle | Event::Cancelled(_) | Event::Ended => {}
        }
        Ok(())
    }

    /// Writes from slot `from` on and returns where the writer stopped; a row that it refuses is a bad record.
    fn write(&mut self, batch: &Batch, mut from: usize) -> Result<usize, Error> {
        loop {
            match self.sink.write(batch, from..batch.len()) {
                Ok(accepted) => {
                    self.metrics.records_out[0].add(accepted as u64);
                    return Ok(from + accepted);
                }
                Err(connector::Error::Record { slot, message }) => {
                    // The writer took what lies before the row.
                    self.metrics.records_out[0].add((slot - from) as u64);
                    let at = ("sink", &self.name, &*self.metrics);
                    let refused = Slot { batch, slot, key: None, source: &|| None };
                    self.policy.refuse(at, &Fault::bad("not-written", &message), &refused)?;
                    from = slot + 1;
                }
                Err(source) => return Err(Error::Connector { node: self.name.clone(), source }),
            }
        }
    }

    /// Tries again to write what waits.
    pub(super) fn relieve(&mut self) -> Result<(), Error> {
        if self.pending_bytes() == 0 {
            return Ok(());
        }
        let pending = std::mem::take(&mut self.pending);
        self.taken = self.write(&pending, self.taken)?;
        self.pending = pending;
        if self.taken == self.pending.len() {
            self.pending.clear();
            self.taken = 0;
        }
        Ok(())
    }

    fn on_barrier(&mut self, epoch: Epoch) -> Result<(), Error> {
        if self.pending_bytes() > 0 {
            return Err(Error::Bug(format!("barrier {epoch} reached sink `{}` while rows wait for room", self.name)));
        }
        let cut = self.sink.on_barrier(epoch).map_err(|source| Error::Connector { node: self.name.clone(), source })?;
        self.cut = Some((epoch, cut));
        if epoch <= self.released {
            self.on_released(epoch)?;
        }
        Ok(())
    }

    /// What is held behind the barrier of this epoch may go out.
    pub(super) fn on_released(&mut self, epoch: Epoch) -> Result<(), Error> {
        self.released = self.released.max(epoch);
        self.sink.on_released(epoch).map_err(|source| Error::Connector { node: self.name.clone(), source })?;
        self.relieve()
    }
}
