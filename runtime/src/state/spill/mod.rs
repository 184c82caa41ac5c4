//! State that is larger than memory: entries that nobody has changed for a while and that the live database holds are
//! evicted, and come back before a call that names their key. Owns which key groups miss something, so that a key of any
//! other that is not in memory is known to be nowhere.
//!
//! An entry is evicted whole and comes back whole. One with timers stays: what is due is found in memory alone.

use std::sync::Arc;

use weir_core::ids::Epoch;
use weir_core::key_group::{KEY_GROUPS, KeyGroup};
use weir_core::record::{ABSENT, Column};

use super::budget::{Budget, Part, Share};
use super::entries::UNLISTED;
use super::keyed::{KeyedState, Kind};
use super::live::Live;
use super::{Error, key};
use crate::settings::size;

/// Entries that one call to [`KeyedState::admit`] looks at while it evicts: they follow one another, so this is some tens
/// of microseconds.
const LOOKED_AT_MAX: usize = 8_192;
/// Entries that it evicts: as many again as a batch can bring.
const EVICTED_MAX: usize = 2_048;

/// What a working set needs to stay within the budget.
#[derive(Debug)]
pub(super) struct Spill {
    share: Share,
    /// `None` where nothing may be evicted: the state lives in memory alone.
    live: Option<Arc<Live>>,
    /// Key groups from which something was evicted.
    evicted: u128,
    /// Where the search for something to evict goes on, and the call at which it was last at the start.
    hand: u32,
    round: u32,
    counts: Spilled,
    /// Keys of the database that are looked up; kept for its memory.
    wanted: Vec<Vec<u8>>,
}

/// How much came and went, ever.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spilled {
    /// Entries that were evicted.
    pub evicted: u64,
    /// Keys that were looked up in the database since they were not in memory.
    pub missed: u64,
}

const _: () = assert!(KEY_GROUPS as usize <= u128::BITS as usize, "a bit a key group");

impl Spill {
    fn misses(&self, group: KeyGroup) -> bool {
        self.evicted >> group.0 & 1 != 0
    }
}

impl KeyedState {
    /// Keeps the working set within its part of the budget. With `live` it evicts what that database holds; without, a
    /// state that outgrows the budget is an error.
    pub fn keep_within(&mut self, budget: &Arc<Budget>, live: Option<Arc<Live>>) {
        let share = Share::new(budget);
        let (counts, wanted) = (Spilled::default(), Vec::new());
        self.spill = Some(Box::new(Spill { share, live, evicted: 0, hand: 0, round: 0, counts, wanted }));
    }

    /// The working set holds what the database held at this epoch.
    pub fn restored_at(&mut self, epoch: Epoch) {
        self.entries.closed_epoch = epoch.0 as u16;
    }

    /// Before a call over these keys: makes room for them, and loads those that were evicted.
    pub fn admit(&mut self, hashes: &[u64], keys: &Column) -> Result<(), Error> {
        let bytes = self.bytes_used();
        let Some(spill) = self.spill.as_deref_mut() else { return Ok(()) };
        spill.share.set(bytes);
        if spill.share.excess(Part::Nearly) > 0 {
            self.make_room()?;
        }
        match &self.spill {
            Some(spill) if spill.evicted != 0 => self.load_missing(hashes, keys),
            _ => Ok(()),
        }
    }

    /// What was evicted and looked up so far.
    pub fn spilled(&self) -> Spilled {
        self.spill.as_ref().map_or_else(Spilled::default, |spill| spill.counts)
    }

    /// Whether a restore has filled its part of the budget.
    pub(super) fn is_filled(&mut self) -> bool {
        let bytes = self.bytes_used();
        self.spill.as_mut().is_some_and(|spill| {
            spill.share.set(bytes);
            spill.share.excess(Part::Restored) > 0
        })
    }

    /// A restore leaves this key group in the database. An error where there is none to read from.
    pub(super) fn leave_out(&mut self, group: KeyGroup) -> Result<(), Error> {
        match self.spill.as_deref_mut() {
            Some(spill) if spill.live.is_some() => {
                spill.evicted |= 1 << group.0;
                Ok(())
            }
            Some(spill) => Err(Error::OverBudget { limit: spill.share.budget().limit() }),
            None => Ok(()),
        }
    }

    /// What the working set takes, as far as it depends on how much it holds: arrays keep their length.
    fn bytes_used(&self) -> usize {
        self.entries.live() * self.entry_bytes()
            + self.entries.heap_bytes()
            + self.values.heap_bytes()
            + self.maps.field_bytes()
            + self.generations.bytes()
    }

    /// What an entry takes in all arrays.
    fn entry_bytes(&self) -> usize {
        // Two index slots an entry, at worst three; twice a list of dirty entries.
        const INDEX: usize = 20;
        self.entries.entry_bytes()
            + self.values.entry_bytes()
            + self.maps.entry_bytes()
            + self.timers.entry_bytes()
            + INDEX
    }

    #[cold]
    fn make_room(&mut self) -> Result<(), Error> {
        let per_entry = self.bytes_used().div_ceil(self.entries.live().max(1)).max(1);
        let Some(spill) = self.spill.as_deref_mut() else { return Ok(()) };
        let Some(live) = &spill.live else {
            return match spill.share.excess(Part::Whole) {
                0 => Ok(()),
                _ => Err(Error::OverBudget { limit: spill.share.budget().limit() }),
            };
        };
        live.want();
        let ingested = live.ingested();
        let wanted = spill.share.excess(Part::Whole) / per_entry;
        self.evict(wanted.min(EVICTED_MAX), ingested);
        Ok(())
    }

    /// Evicts up to `wanted` entries that no call has named since the search was last here, oldest numbers first.
    fn evict(&mut self, wanted: usize, ingested: Epoch) {
        let Some(spill) = self.spill.as_deref_mut() else { return };
        let mut left = wanted;
        for _ in 0..LOOKED_AT_MAX.min(self.entries.len()) {
            if left == 0 {
                break;
            }
            if spill.hand as usize >= self.entries.len() {
                (spill.hand, spill.round) = (0, self.call.stamp());
            }
            let number = spill.hand;
            spill.hand += 1;
            let entry = self.entries.get(number);
            let is_old = entry.stamp.wrapping_sub(spill.round) as i32 <= 0;
            let is_held = entry.is_live() && entry.held > 0 && entry.listed == UNLISTED;
            if !is_old || !is_held || !is_in(entry.epoch, ingested) || self.timers.has_any(number) {
                continue;
            }
            if spill.evicted == 0 {
                let limit = size::format(spill.share.budget().limit() as u64);
                tracing::info!(
                    "the state is over the {limit} of memory that there is for it: what is not in use is evicted"
                );
            }
            spill.evicted |= 1 << KeyGroup::of_hash(entry.hash).0;
            spill.counts.evicted += 1;
            self.values.evict(number);
            self.maps.evict(number);
            self.entries.get_mut(number).held = 0;
            self.entries.drop_if_empty(number);
            left -= 1;
        }
    }

    /// Loads what was evicted of these keys.
    #[cold]
    pub(super) fn load_missing(&mut self, hashes: &[u64], keys: &Column) -> Result<(), Error> {
        let Some(mut spill) = self.spill.take() else { return Ok(()) };
        let loaded = self.load_from(&mut spill, hashes, keys);
        self.spill = Some(spill);
        loaded
    }

    fn load_from(&mut self, spill: &mut Spill, hashes: &[u64], keys: &Column) -> Result<(), Error> {
        let Some(live) = spill.live.clone() else { return Ok(()) };
        let mut wanted = std::mem::take(&mut spill.wanted);
        let (mut used, mut maps) = (0, Vec::new());
        let mut from = 0;
        for (&hash, end) in hashes.iter().zip(&keys.ends) {
            let key = &keys.data[from..(end & !ABSENT) as usize];
            from += key.len();
            let group = KeyGroup::of_hash(hash);
            if !spill.misses(group) || self.entries.find(hash, key).is_some() {
                continue;
            }
            spill.counts.missed += 1;
            for declared in &self.states {
                match declared.spec.kind {
                    Kind::Value => {
                        let to = slot(&mut wanted, used);
                        key::value(to, group, declared.spec.id, key);
                        used += 1;
                    }
                    Kind::Map => {
                        let mut prefix = Vec::new();
                        key::field(&mut prefix, group, declared.spec.id, key, &[]);
                        maps.push(prefix);
                    }
                }
            }
        }
        // A key that the batch has twice is asked for twice; both answers are the same.
        let found = live.get(&wanted[..used], |at, value| self.load(&wanted[at], value));
        spill.wanted = wanted;
        found?;
        maps.sort_unstable();
        maps.dedup();
        live.scan(&maps, |key, value| self.load(key, value))
    }
}

/// Whether what was copied out last at epoch `copied` (its low bits) is in a database that has all up to `ingested`. Safe
/// where it cannot be told: an entry stays.
fn is_in(copied: u16, ingested: Epoch) -> bool {
    (ingested.0 as u16).wrapping_sub(copied) < 1 << 15
}

/// An empty buffer at this place.
fn slot(buffers: &mut Vec<Vec<u8>>, at: usize) -> &mut Vec<u8> {
    if buffers.len() == at {
        buffers.push(Vec::new());
    }
    buffers[at].clear();
    &mut buffers[at]
}

#[cfg(test)]
mod tests;
