//! Finds a key's entry by its hash: open addressing, eight bytes a slot, so that a look-up costs one cache line which a
//! batch can ask for in advance (hashbrown offers no prefetch). Knows numbers of entries, never keys.

use super::array::Array;
use super::prefetch::prefetch;

/// A slot is empty (0) or the low half of the hash above the entry's number + 1. The place follows from the low half
/// alone, so growing and removing never touch an entry. Bits 40 to 46, which are equal for all keys of a key group,
/// are not in it.
#[derive(Debug)]
pub(super) struct Index {
    slots: Array<u64>,
    used: usize,
}

const FEWEST: usize = 64;

impl Index {
    pub(super) fn new() -> Index {
        Index { slots: empty(FEWEST), used: 0 }
    }

    #[inline(always)]
    fn mask(&self) -> usize {
        self.slots.len() - 1
    }

    /// Asks for the line that a look-up of this hash will read.
    #[inline(always)]
    pub(super) fn prefetch(&self, hash: u64) {
        prefetch(&self.slots, hash as u32 as usize & self.mask());
    }

    /// The entry whose hash agrees in its low half and of which `is_it` is true.
    #[inline(always)]
    pub(super) fn find(&self, hash: u64, mut is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        let (tag, mask) = (hash as u32, self.mask());
        let mut at = tag as usize & mask;
        loop {
            let slot = self.slots[at];
            if slot == 0 {
                return None;
            }
            if (slot >> 32) as u32 == tag {
                let entry = slot as u32 - 1;
                if is_it(entry) {
                    return Some(entry);
                }
            }
            at = (at + 1) & mask;
        }
    }

    /// Makes room for `more` entries, so that what follows does not grow.
    pub(super) fn reserve(&mut self, more: usize) {
        let needed = (self.used + more) * 8 / 5 + 1;
        if needed > self.slots.len() {
            let old = std::mem::replace(&mut self.slots, empty(needed.next_power_of_two().max(FEWEST)));
            for slot in old.iter().filter(|slot| **slot != 0) {
                self.place(*slot);
            }
        }
    }

    /// Adds an entry that is not there. There is room: see [`Index::reserve`].
    #[inline]
    pub(super) fn insert(&mut self, hash: u64, entry: u32) {
        debug_assert!(self.used < self.slots.len() - 1, "a full table would never end a search");
        self.used += 1;
        self.place(hash << 32 | u64::from(entry + 1));
    }

    #[inline]
    fn place(&mut self, slot: u64) {
        let mask = self.mask();
        let mut at = (slot >> 32) as usize & mask;
        while self.slots[at] != 0 {
            at = (at + 1) & mask;
        }
        self.slots[at] = slot;
    }

    /// Removes an entry that is there, and moves later ones of the run forward: no tombstones.
    pub(super) fn remove(&mut self, hash: u64, entry: u32) {
        let mask = self.mask();
        let wanted = hash << 32 | u64::from(entry + 1);
        let mut hole = hash as u32 as usize & mask;
        while self.slots[hole] != wanted {
            debug_assert!(self.slots[hole] != 0, "only an entry that is in the index is removed");
            hole = (hole + 1) & mask;
        }
        let mut at = hole;
        loop {
            at = (at + 1) & mask;
            let slot = self.slots[at];
            if slot == 0 {
                break;
            }
            let home = (slot >> 32) as usize & mask;
            if (at.wrapping_sub(home) & mask) >= (at.wrapping_sub(hole) & mask) {
                self.slots[hole] = slot;
                hole = at;
            }
        }
        self.slots[hole] = 0;
        self.used -= 1;
    }

    pub(super) fn bytes(&self) -> usize {
        self.slots.capacity() * 8
    }
}

fn empty(slots: usize) -> Array<u64> {
    let mut all = Array::new();
    all.cover(slots, || 0);
    all
}
