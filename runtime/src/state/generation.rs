//! Which entries have changed between which barriers: the open generation, that calls write into, and the closed one, that
//! is copied out bit by bit. Knows numbers of entries and where the copy stands, nothing of what an entry holds.

use super::entries::UNLISTED;
use super::sealed::SealedState;

/// See the module. At most one generation is closed and not yet taken.
#[derive(Debug)]
pub(super) struct Generations {
    /// What an entry of the open one is marked with: 1 or 2. The other mark is the closed one's.
    open: u8,
    /// Entries that the open one has changed, each once.
    dirty: Vec<u32>,
    closed: Vec<u32>,
    /// How far through `closed` the copy has come.
    next: usize,
    /// What is copied out of the closed one.
    pub(super) out: SealedState,
}

impl Default for Generations {
    fn default() -> Self {
        Generations { open: 1, dirty: Vec::new(), closed: Vec::new(), next: 0, out: SealedState::default() }
    }
}

impl Generations {
    /// Whether an entry with this mark is in the open one's list.
    #[inline(always)]
    pub(super) fn open_has(&self, mark: u8) -> bool {
        mark == self.open
    }

    /// Whether an entry with this mark is still to be copied out of the closed one.
    #[inline(always)]
    pub(super) fn closed_has(&self, mark: u8) -> bool {
        mark == 3 - self.open
    }

    /// Lists an entry in the open one; its mark from now on.
    #[inline(always)]
    pub(super) fn list(&mut self, number: u32) -> u8 {
        self.dirty.push(number);
        self.open
    }

    /// Closes the open one and opens the next, in constant time. Order: the one before has been taken.
    pub(super) fn close(&mut self) {
        debug_assert!(self.is_copied() && self.out.is_empty(), "a generation is taken before the next one closes");
        self.closed.clear();
        std::mem::swap(&mut self.dirty, &mut self.closed);
        self.next = 0;
        self.open = 3 - self.open;
        self.out = SealedState::with_room_for(self.closed.len());
    }

    /// Whether nothing of the closed one is left to copy.
    pub(super) fn is_copied(&self) -> bool {
        self.next == self.closed.len()
    }

    /// The next entry of the closed one, and the one whose turn comes `ahead` later.
    #[inline]
    pub(super) fn next(&mut self, ahead: usize) -> Option<(u32, Option<u32>)> {
        let number = *self.closed.get(self.next)?;
        self.next += 1;
        Some((number, self.closed.get(self.next + ahead - 1).copied()))
    }

    pub(super) fn bytes(&self) -> usize {
        (self.dirty.capacity() + self.closed.capacity()) * size_of::<u32>() + self.out.bytes()
    }
}

const _: () = assert!(UNLISTED == 0, "0 is neither mark");
