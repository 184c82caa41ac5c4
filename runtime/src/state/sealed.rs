//! What a generation leaves for the background side: entries of the database in owned buffers. Knows nothing of where they
//! came from.

use super::prefetch::prefetch;

/// What one subtask changed between two barriers: entries to put and entries to delete, each key at most once, unsorted.
#[derive(Debug, Clone, Default)]
pub struct SealedState {
    /// Bytes of entries one behind the other, in pieces, so that none is moved while it grows.
    chunks: Vec<Vec<u8>>,
    items: Vec<Place>,
}

/// Where an entry lies: the key, and behind it the value.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Place {
    chunk: u32,
    at: u32,
    key: u32,
    value: u32,
}

/// Length of the value of an entry that is to be deleted. No value is that long: a batch ends at 2 GiB.
const TOMBSTONE: u32 = u32::MAX;
/// Bytes of a chunk; it may be more by its last entry.
const CHUNK: usize = 1 << 20;

impl SealedState {
    pub(super) fn with_room_for(items: usize) -> SealedState {
        SealedState { chunks: Vec::new(), items: Vec::with_capacity(items) }
    }

    /// Entries, tombstones included.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether nothing has changed.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Bytes of keys and values.
    pub fn bytes(&self) -> usize {
        self.chunks.iter().map(Vec::len).sum()
    }

    /// Entry `i`: its key, and its value or `None` where it is to be deleted.
    pub fn get(&self, i: usize) -> (&[u8], Option<&[u8]>) {
        self.at(self.items[i])
    }

    pub(super) fn places(&self) -> &[Place] {
        &self.items
    }

    /// The entry that lies there.
    #[inline]
    pub(super) fn at(&self, Place { chunk, at, key, value }: Place) -> (&[u8], Option<&[u8]>) {
        let (at, chunk) = (at as usize, &self.chunks[chunk as usize]);
        let from = at + key as usize;
        (&chunk[at..from], (value != TOMBSTONE).then(|| &chunk[from..from + value as usize]))
    }

    /// Asks for the line on which the entry begins.
    #[inline]
    pub(super) fn prefetch(&self, place: Place) {
        prefetch(&self.chunks[place.chunk as usize], place.at as usize);
    }

    #[inline]
    pub(super) fn push(&mut self, value: Option<&[u8]>, key: impl FnOnce(&mut Vec<u8>)) {
        if self.chunks.last().is_none_or(|chunk| chunk.len() >= CHUNK) {
            self.chunks.push(Vec::with_capacity(CHUNK + CHUNK / 16));
        }
        let number = self.chunks.len() as u32 - 1;
        let Some(chunk) = self.chunks.last_mut() else { return };
        let at = chunk.len();
        key(chunk);
        let key = (chunk.len() - at) as u32;
        chunk.extend_from_slice(value.unwrap_or_default());
        let value = value.map_or(TOMBSTONE, |v| v.len() as u32);
        self.items.push(Place { chunk: number, at: at as u32, key, value });
    }
}
