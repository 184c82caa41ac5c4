//! Where an edge leaves its chain: spreads rows over the subtasks behind it and hands them on in packets. Owns what waits
//! for a ring with room; decides nothing about when the chain may go on.

use std::collections::VecDeque;

use weir_core::extract::Extractor;
use weir_core::key_group::KeyGroup;
use weir_core::record::Mark;

use super::packet::{KeyExtraction, Packet, extract_keys};
use super::ring::{Element, RingWriter};
use crate::guest::Keyed;

/// Rows and bytes at which a packet is handed on, and packets taken in after which all are: a subtask whose keys are rare
/// does not wait for a packet of its own to fill.
const ROWS_MAX: usize = 1_000;
const BYTES_MAX: usize = 1 << 20;
const TAKEN_MAX: u32 = 16;

/// How rows are spread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Spread {
    /// All to the one subtask behind.
    Forward,
    /// To the subtask that owns the key's group.
    ByKey(KeyExtraction),
    /// To every subtask.
    Broadcast,
    /// To one subtask after the other, packet by packet.
    Rebalance,
}

/// One edge's end in one subtask of the chain.
pub struct Outlet {
    spread: Spread,
    targets: Vec<Target>,
    /// Who is next in turn.
    turn: usize,
    taken: u32,
    by_key: ByKey,
}

/// One subtask behind the edge.
struct Target {
    ring: RingWriter,
    staging: Box<Packet>,
    /// What the ring had no room for.
    backlog: VecDeque<Element>,
}

/// What splitting by key keeps.
#[derive(Default)]
struct ByKey {
    extractor: Option<Extractor>,
    keyed: Keyed,
    faults: Vec<(usize, String)>,
    /// Slots of each target.
    slots: Vec<Vec<u32>>,
}

impl Outlet {
    /// An end with one ring for each subtask behind it. `subtask` is whose end it is: not all begin with the same target.
    pub fn new(spread: Spread, rings: Vec<RingWriter>, subtask: usize) -> Outlet {
        let turn = subtask % rings.len().max(1);
        let by_key = ByKey { slots: rings.iter().map(|_| Vec::new()).collect(), ..ByKey::default() };
        let target = |ring: RingWriter| Target { staging: ring.spare(), ring, backlog: VecDeque::new() };
        Outlet { spread, targets: rings.into_iter().map(target).collect(), turn, taken: 0, by_key }
    }

    /// Takes the rows of a packet; they are copied.
    pub(super) fn send(&mut self, packet: &Packet) {
        match &self.spread {
            Spread::Forward => self.targets[0].append(packet),
            Spread::Broadcast => self.targets.iter_mut().for_each(|target| target.append(packet)),
            Spread::Rebalance => {
                self.targets[self.turn].append(packet);
                self.turn = (self.turn + 1) % self.targets.len();
            }
            Spread::ByKey(by) => self.by_key.split(by, packet, &mut self.targets),
        }
        self.taken += 1;
        if self.taken >= TAKEN_MAX {
            self.flush();
        }
    }

    /// Hands a mark to every subtask, behind all rows.
    pub(super) fn mark(&mut self, mark: Mark) {
        for target in &mut self.targets {
            target.flush();
            target.push(Element::Mark(mark));
        }
        self.taken = 0;
    }

    /// Hands on what was taken so far.
    pub(super) fn flush(&mut self) {
        self.targets.iter_mut().for_each(Target::flush);
        self.taken = 0;
    }

    /// Tries again to hand on what waits.
    pub(super) fn relieve(&mut self) {
        self.targets.iter_mut().for_each(Target::relieve);
    }

    /// Bytes that wait for a ring with room.
    pub(super) fn pending_bytes(&self) -> usize {
        let bytes = |element: &Element| match element {
            Element::Packet(packet) => packet.batch.bytes().max(1),
            Element::Mark(_) => 1,
        };
        self.targets.iter().flat_map(|target| &target.backlog).map(bytes).sum()
    }
}

impl Target {
    fn append(&mut self, packet: &Packet) {
        self.staging.extend_from(packet, 0..packet.batch.len());
        self.flush_if_due();
    }

    /// A packet goes when it is full, and at once where the reader's shard has nothing to do. One that is busy with other
    /// subtasks gains nothing from a small packet, and each costs a call of the guest.
    fn flush_if_due(&mut self) {
        let batch = &self.staging.batch;
        if batch.len() >= ROWS_MAX || batch.bytes() >= BYTES_MAX || self.ring.is_awaited() && self.backlog.is_empty() {
            self.flush();
        }
    }

    fn flush(&mut self) {
        if !self.staging.batch.is_empty() {
            let full = std::mem::replace(&mut self.staging, self.ring.spare());
            self.push(Element::Packet(full));
        }
    }

    fn push(&mut self, element: Element) {
        if !self.backlog.is_empty() {
            self.backlog.push_back(element);
        } else if let Err(element) = self.ring.push(element) {
            self.backlog.push_back(element);
        }
    }

    fn relieve(&mut self) {
        while let Some(element) = self.backlog.pop_front() {
            if let Err(element) = self.ring.push(element) {
                self.backlog.push_front(element);
                return;
            }
        }
    }
}

impl ByKey {
    fn split(&mut self, by: &KeyExtraction, packet: &Packet, targets: &mut [Target]) {
        let known = packet.known_at(by);
        if known.is_none() {
            self.faults.clear();
            extract_keys(&packet.batch, by, &mut self.extractor, &mut self.keyed, &mut self.faults);
        }
        let keyed = known.map_or(&self.keyed, |index| &packet.keyed[index]);
        let mut faults = self.faults.iter().map(|(slot, _)| *slot).filter(|_| known.is_none()).peekable();
        let parallelism = targets.len() as u32;
        for (slot, hash) in keyed.hashes.iter().enumerate() {
            if faults.next_if_eq(&slot).is_some() {
                // The node behind finds the fault itself and knows what to do with it.
                let target = &mut targets[0];
                target.flush();
                target.staging.batch.extend_from(&packet.batch, slot..slot + 1);
                target.flush();
                continue;
            }
            self.slots[KeyGroup::of_hash(*hash).owner(parallelism) as usize].push(slot as u32);
        }
        for (target, slots) in targets.iter_mut().zip(&mut self.slots) {
            if !slots.is_empty() {
                target.staging.append_keyed(packet, keyed, by, slots);
                slots.clear();
                target.flush_if_due();
            }
        }
    }
}
