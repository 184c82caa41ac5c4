//! From a packet to calls of the guest, and from a call to the rows that it left. A call that asks for it is repeated; one
//! that fails is handed to `blame`. Owns no mark.

use weir_core::record::Batch;

use super::super::error::Error;
use super::super::gate::{Flow, Room};
use super::super::packet::{Packet, extract_keys};
use super::super::policy::{Fault, Slot};
use super::blame::Rows;
use super::{Emit, OperatorNode};
use crate::clock;
use crate::guest::{Failure, Instance, Keyed, Reason};
use crate::journal::Kind;

/// A guest's `retry` is honoured this often, then it is fatal.
const RETRIES: u32 = 3;

impl OperatorNode {
    pub(super) fn on_packet(&mut self, input: u32, packet: &mut Packet, emit: &mut Emit<'_>) -> Result<(), Error> {
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
        let rows = Rows { input, batch: &packet.batch, keyed: Some(&keyed) };
        let mut from = 0;
        for (slot, what) in faults.drain(..).chain([(packet.batch.len(), String::new())]) {
            self.run_part(rows, from..slot, emit)?;
            if slot < packet.batch.len() {
                self.refuse(&packet.batch, slot, None, &Fault::bad("no-key", &what))?;
            }
            from = slot + 1;
        }
        self.keyed = keyed;
        self.faults = faults;
        Ok(())
    }

    /// What was evicted of these keys is brought back before the guest is called.
    fn admit(&mut self, keyed: &Keyed) -> Result<(), Error> {
        let admitted = self.instance.state().admit(&keyed.hashes, &keyed.keys);
        admitted.map_err(|source| Error::State { node: self.settings.node.clone(), source })
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
        match self.call(|instance, now| instance.process(input, batch, keyed.as_mut(), watermark, now)) {
            Ok(()) => self.deliver(Some(batch), emit).map(drop),
            Err(failure) => {
                let rows = Rows { input, batch, keyed: keyed.as_ref() };
                self.find_bad(rows, 0..rows.batch.len(), failure, emit)
            }
        }
    }

    /// One call, repeated while the guest asks for it.
    pub(super) fn call(
        &mut self,
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
            let holds = match &result {
                Ok(()) => self.instance.took_long(),
                // A plain failure costs no more than a call that goes well.
                Err(failure) => failure.reason != Reason::Failed || self.instance.took_long(),
            };
            if holds {
                self.is_given_up |= !(self.settings.alarm)();
            }
            match result {
                Err(failure) if failure.reason == Reason::Retry && attempt < RETRIES && !self.is_given_up => {
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

    /// Hands on what the call left. `batch` is what it worked on, for rejects.
    pub(super) fn deliver(&mut self, batch: Option<&Batch>, emit: &mut Emit<'_>) -> Result<Room, Error> {
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
            let fault = Fault { kind: Kind::Reject, code: &code, message: &message, says: "", backtrace: &[] };
            let slot = slot as usize;
            match self.settings.rejects_port {
                Some(port) => {
                    let mut rejected = Packet::default();
                    rejected.batch.extend_from(batch, slot..slot + 1);
                    self.metrics.records_out[port].add(1);
                    emit(port, Flow::Packet(&mut rejected))?;
                    let source = || self.settings.origin.clone();
                    let slot = Slot { batch, slot, key: None, source: &source };
                    self.settings.policy.rejected(&self.settings.node, &fault, &slot);
                }
                None => {
                    let says = format!("{} rejected it ({code}): {message}", self.settings.operator);
                    self.refuse(batch, slot, None, &Fault { says: &says, ..fault })?;
                }
            }
        }
        Ok(room)
    }
}
