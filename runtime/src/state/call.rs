//! The call protocol of the working set: begin over a batch or over due timers, commit or discard. Owns ordinals, and
//! what a call leaves behind; what is read and written within it is in `keyed`.

use std::ops::Range;

use weir_core::record::{ABSENT, Column};

use super::entries::Entries;
use super::keyed::KeyedState;
use super::timers::DueTimers;

#[derive(Debug, Default)]
pub(super) struct Call {
    open: bool,
    stamp: u32,
    pub(super) distinct: u32,
    /// The ordinal of each slot.
    pub(super) ordinals: Vec<u32>,
    /// The entry of each ordinal; as long as there are slots.
    pub(super) entries: Vec<u32>,
    /// Entries that nothing may keep once the call has ended: new ones, and those whose last thing went.
    doubtful: Vec<u32>,
}

impl Call {
    /// The number of the last call, as entries are stamped with it.
    pub(super) fn stamp(&self) -> u32 {
        self.stamp
    }
}

/// How far ahead of the look-up an entry is asked for; the index twice as far.
const AHEAD: usize = 8;

impl KeyedState {
    /// Starts a call over a batch: dense ordinals by key, in order of first appearance. `hashes[i]` is
    /// `weir_core::key_group::hash` of key i; an absent key counts as the empty one.
    pub fn begin_call(&mut self, hashes: &[u64], keys: &Column) {
        self.open_call(hashes.len());
        if self.entries.fit_in_cache() {
            self.name_keys::<false>(hashes, keys);
        } else {
            self.name_keys::<true>(hashes, keys);
        }
    }

    /// Starts a call over `due[range]`: slot i and ordinal i stand for timer `range.start + i`. Its timers are gone
    /// within the call, and for good once it is committed; one that the call sets again stays.
    pub fn begin_due(&mut self, due: &DueTimers, range: Range<usize>) {
        self.open_call(range.len());
        for (slot, at) in range.clone().enumerate() {
            if let Some(&later) = due.hashes[..range.end].get(at + AHEAD) {
                self.prefetch(later);
            }
            self.name_key(slot, due.hashes[at], due.keys.get(at).unwrap_or_default(), None);
        }
        for (slot, at) in range.enumerate() {
            let ord = self.call.ordinals[slot];
            self.timer_unset(ord, due.times[at], due.tags[at]);
        }
    }

    /// The call returned well: what it wrote stands.
    pub fn commit_call(&mut self) {
        self.values.commit();
        self.maps.commit();
        self.timers.commit();
        self.close_call();
    }

    /// The call did not happen: everything is as it was before it.
    pub fn discard_call(&mut self) {
        let Self { entries, call, .. } = self;
        let mut held = |entry, change| count(entries, &mut call.doubtful, entry, change);
        self.timers.discard(&mut held);
        self.maps.discard(&mut held);
        self.values.discard(&mut held);
        self.close_call();
    }

    fn open_call(&mut self, slots: usize) {
        debug_assert!(!self.call.open, "a call ends before the next one starts");
        self.next_stamp();
        self.entries.reserve(slots);
        self.call.open = true;
        self.call.distinct = 0;
        self.call.ordinals.resize(slots, 0);
        self.call.entries.resize(slots, 0);
    }

    fn close_call(&mut self) {
        self.call.open = false;
        for entry in self.call.doubtful.drain(..) {
            self.entries.drop_if_empty(entry);
        }
    }

    pub(super) fn next_stamp(&mut self) -> u32 {
        self.call.stamp = self.call.stamp.wrapping_add(1);
        if self.call.stamp == 0 {
            self.entries.forget_stamps();
            self.call.stamp = 1;
        }
        self.call.stamp
    }

    fn name_keys<const PREFETCH: bool>(&mut self, hashes: &[u64], keys: &Column) {
        let mut soon = [None; AHEAD];
        if PREFETCH {
            for hash in hashes.iter().take(2 * AHEAD) {
                self.entries.prefetch_index(*hash);
            }
            for (at, hash) in hashes.iter().take(AHEAD).enumerate() {
                soon[at] = self.prefetch(*hash);
            }
        }
        let mut from = 0;
        for (slot, (&hash, end)) in hashes.iter().zip(&keys.ends).enumerate() {
            let to = (end & !ABSENT) as usize;
            let likely = soon[slot % AHEAD];
            if PREFETCH && let Some(&later) = hashes.get(slot + AHEAD) {
                soon[slot % AHEAD] = self.prefetch(later);
                if let Some(&later) = hashes.get(slot + 2 * AHEAD) {
                    self.entries.prefetch_index(later);
                }
            }
            self.name_key(slot, hash, &keys.data[from..to], likely);
            from = to;
        }
    }

    #[inline(always)]
    fn prefetch(&self, hash: u64) -> Option<u32> {
        let entry = self.entries.prefetch_entry(hash)?;
        self.values.prefetch(entry);
        self.timers.prefetch(entry);
        Some(entry)
    }

    /// Slot `slot` has this key. `likely` is the entry that its hash pointed at a moment ago, in this call.
    #[inline(always)]
    fn name_key(&mut self, slot: usize, hash: u64, key: &[u8], likely: Option<u32>) {
        let number = match likely {
            Some(number) if self.entries.is(number, hash, key) => number,
            _ => match self.entries.find(hash, key) {
                Some(number) => number,
                None => self.add_for_call(hash, key),
            },
        };
        let stamp = self.call.stamp;
        let entry = self.entries.get_mut(number);
        if entry.stamp != stamp {
            entry.stamp = stamp;
            entry.ord = self.call.distinct;
            self.call.entries[self.call.distinct as usize] = number;
            self.call.distinct += 1;
        }
        self.call.ordinals[slot] = entry.ord;
    }

    #[cold]
    fn add_for_call(&mut self, hash: u64, key: &[u8]) -> u32 {
        let number = self.add_key(hash, key);
        self.call.doubtful.push(number);
        number
    }

    /// A key that is not there. Room in the index has been made.
    pub(super) fn add_key(&mut self, hash: u64, key: &[u8]) -> u32 {
        let number = self.entries.insert(hash, key);
        self.values.cover(number);
        self.maps.cover(number);
        number
    }

    /// Something of this entry is about to be written: what a barrier closed and nobody has copied out is copied first.
    #[inline(always)]
    pub(super) fn before_write(&mut self, number: u32) {
        if self.generations.closed_has(self.entries.get(number).listed) {
            self.copy_out(number);
        }
    }

    #[cold]
    fn copy_out(&mut self, number: u32) {
        let held = self.seal_entry(number);
        if held != 0 {
            count(&mut self.entries, &mut self.call.doubtful, number, held);
        }
    }

    /// Something of this entry was written.
    #[inline(always)]
    pub(super) fn changed(&mut self, number: u32, held: i32) {
        let entry = self.entries.get_mut(number);
        if !self.generations.open_has(entry.listed) {
            entry.listed = self.generations.list(number);
        }
        if held != 0 {
            count(&mut self.entries, &mut self.call.doubtful, number, held);
        }
    }
}

/// Counts what keeps an entry, and remembers one that nothing keeps any more.
#[inline]
fn count(entries: &mut Entries, doubtful: &mut Vec<u32>, number: u32, change: i32) {
    let entry = entries.get_mut(number);
    entry.held = entry.held.wrapping_add_signed(change);
    if entry.held == 0 {
        doubtful.push(number);
    }
}
