//! Value states: one cell per entry and state, small values inline. Knows which cells the database holds and which have
//! changed since the last seal.

use super::array::Array;
use super::heap::Heap;
use super::prefetch::prefetch;
use super::small;

const INLINE: usize = 30;

/// There is a value.
pub(super) const PRESENT: u8 = 1;
/// The database holds one for this key, as of the last seal.
pub(super) const STORED: u8 = 2;
/// Changed since the last seal.
pub(super) const DIRTY: u8 = 4;
/// The value lies in the heap.
const LONG: u8 = 8;

/// Half a cache line.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(32))]
pub(super) struct Cell {
    flags: u8,
    len: u8,
    data: [u8; INLINE],
}

const VACANT: Cell = Cell { flags: 0, len: 0, data: [0; INLINE] };

impl Cell {
    fn block(&self) -> Option<u32> {
        (self.flags & LONG != 0).then(|| u32::from_ne_bytes([self.data[0], self.data[1], self.data[2], self.data[3]]))
    }

    /// Whether it keeps its entry: a value, or a value of the database that a tombstone must follow.
    #[inline]
    fn holds(&self) -> bool {
        self.flags & (PRESENT | STORED) != 0
    }
}

#[derive(Debug, Default)]
pub(super) struct Values {
    /// Value states of the operator.
    states: usize,
    cells: Array<Cell>,
    heap: Heap,
    present: usize,
    /// The cells that the running call has written, as they were, oldest first.
    before: Vec<(usize, Cell)>,
    /// One of them lies in the heap.
    before_long: bool,
}

impl Values {
    pub(super) fn new(states: usize) -> Values {
        const { assert!(size_of::<Cell>() == 32) };
        Values { states, ..Values::default() }
    }

    /// Entry `entry` may be asked for from now on.
    #[inline]
    pub(super) fn cover(&mut self, entry: u32) {
        self.cells.cover((entry as usize + 1) * self.states, || VACANT);
    }

    #[inline(always)]
    pub(super) fn prefetch(&self, entry: u32) {
        prefetch(&self.cells, entry as usize * self.states);
    }

    #[inline(always)]
    pub(super) fn get(&self, entry: u32, state: usize) -> Option<&[u8]> {
        let cell = &self.cells[entry as usize * self.states + state];
        match cell.flags & (PRESENT | LONG) {
            PRESENT => Some(&cell.data[..cell.len as usize]),
            0 => None,
            _ => cell.block().map(|block| self.heap.get(block)),
        }
    }

    /// Writes, and remembers what was there until the call ends. Returns by how much the entry's `held` changes.
    #[inline(always)]
    pub(super) fn put(&mut self, entry: u32, state: usize, value: Option<&[u8]>) -> i32 {
        let at = entry as usize * self.states + state;
        let cell = &mut self.cells[at];
        let held = cell.holds();
        self.present -= usize::from(cell.flags & PRESENT != 0);
        self.before.push((at, *cell));
        self.before_long |= cell.flags & LONG != 0;
        let flags = cell.flags & STORED | DIRTY;
        match value {
            Some(value) if value.len() <= INLINE => {
                cell.flags = flags | PRESENT;
                cell.len = value.len() as u8;
                small::copy(&mut cell.data, value);
            }
            Some(value) => {
                cell.flags = flags | PRESENT | LONG;
                cell.data[..4].copy_from_slice(&self.heap.put(value).to_ne_bytes());
            }
            None => cell.flags = flags,
        }
        self.present += usize::from(value.is_some());
        i32::from(cell.holds()) - i32::from(held)
    }

    /// The call stands: frees what it replaced.
    pub(super) fn commit(&mut self) {
        if self.before_long {
            for block in self.before.iter().filter_map(|(_, old)| old.block()) {
                self.heap.free(block);
            }
            self.before_long = false;
        }
        self.before.clear();
    }

    /// The call did not happen. `held` is told each entry and by how much its count changes.
    pub(super) fn discard(&mut self, mut held: impl FnMut(u32, i32)) {
        self.before_long = false;
        while let Some((at, old)) = self.before.pop() {
            let cell = &mut self.cells[at];
            if let Some(block) = cell.block() {
                self.heap.free(block);
            }
            self.present -= usize::from(cell.flags & PRESENT != 0);
            self.present += usize::from(old.flags & PRESENT != 0);
            held((at / self.states) as u32, i32::from(old.holds()) - i32::from(cell.holds()));
            // The entry stays in the list of dirty ones; a seal writes the same value again, which is harmless.
            *cell = Cell { flags: old.flags | (cell.flags & DIRTY), ..old };
        }
    }

    /// A value from the database.
    pub(super) fn load(&mut self, entry: u32, state: usize, value: &[u8]) -> i32 {
        let held = self.put(entry, state, Some(value));
        self.commit();
        let cell = &mut self.cells[entry as usize * self.states + state];
        cell.flags = cell.flags & !DIRTY | STORED;
        held
    }

    /// Hands a dirty cell to `write` and takes it as stored. Returns by how much `held` changes.
    #[inline]
    pub(super) fn seal(&mut self, entry: u32, state: usize, write: impl FnOnce(Option<&[u8]>)) -> i32 {
        let at = entry as usize * self.states + state;
        let flags = self.cells[at].flags;
        if flags & DIRTY == 0 {
            return 0;
        }
        let held = self.cells[at].holds();
        if flags & (PRESENT | STORED) != 0 {
            write(self.get(entry, state));
        }
        let cell = &mut self.cells[at];
        cell.flags = flags & (PRESENT | LONG) | if flags & PRESENT != 0 { STORED } else { 0 };
        i32::from(cell.holds()) - i32::from(held)
    }

    /// Forgets what the database holds too.
    pub(super) fn evict(&mut self, entry: u32) {
        let first = entry as usize * self.states;
        for cell in &mut self.cells[first..first + self.states] {
            self.present -= usize::from(cell.flags & PRESENT != 0);
            if let Some(block) = cell.block() {
                self.heap.free(block);
            }
            *cell = VACANT;
        }
    }

    /// What an entry takes here, beside long values.
    pub(super) fn entry_bytes(&self) -> usize {
        self.states * size_of::<Cell>()
    }

    /// What long values take.
    pub(super) fn heap_bytes(&self) -> usize {
        self.heap.held()
    }

    pub(super) fn present(&self) -> usize {
        self.present
    }

    pub(super) fn bytes(&self) -> usize {
        self.cells.capacity() * size_of::<Cell>()
            + self.heap.bytes()
            + self.before.capacity() * size_of::<(usize, Cell)>()
    }
}
