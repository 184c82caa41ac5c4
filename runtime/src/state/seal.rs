//! Closing a generation: everything that has changed since the last seal, as entries of the database in owned buffers, so
//! that the background side can sort and write them while the subtask goes on.

use weir_core::key_group::KeyGroup;

use super::key;
use super::keyed::{KeyedState, Kind};
use super::prefetch::prefetch;

/// What one subtask changed between two barriers: entries to put and entries to delete, each key at most once, unsorted.
#[derive(Debug, Clone, Default)]
pub struct SealedState {
    bytes: Vec<u8>,
    items: Vec<Item>,
}

/// The key, and behind it the value.
#[derive(Debug, Clone, Copy)]
struct Item {
    at: usize,
    key: u32,
    value: u32,
}

/// Length of the value of an entry that is to be deleted. No value is that long: a batch ends at 2 GiB.
const TOMBSTONE: u32 = u32::MAX;

impl SealedState {
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
        self.bytes.len()
    }

    /// Entry `i`: its key, and its value or `None` where it is to be deleted.
    pub fn get(&self, i: usize) -> (&[u8], Option<&[u8]>) {
        let Item { at, key, value } = self.items[i];
        let (from, to) = (at + key as usize, at + key as usize + value as usize);
        (&self.bytes[at..from], (value != TOMBSTONE).then(|| &self.bytes[from..to]))
    }

    /// Asks for the line on which entry `i` begins.
    pub(super) fn prefetch(&self, i: usize) {
        prefetch(&self.bytes, self.items[i].at);
    }

    #[inline]
    fn push(&mut self, value: Option<&[u8]>, key: impl FnOnce(&mut Vec<u8>)) {
        let at = self.bytes.len();
        key(&mut self.bytes);
        let key = (self.bytes.len() - at) as u32;
        self.bytes.extend_from_slice(value.unwrap_or_default());
        self.items.push(Item { at, key, value: value.map_or(TOMBSTONE, |v| v.len() as u32) });
    }
}

/// How far ahead of its turn the lines of an entry are asked for.
const AHEAD: usize = 8;

impl KeyedState {
    /// Closes the generation. What it holds counts as stored from now on: it must reach the database, in this epoch or,
    /// if that one is declined, together with the next.
    pub fn seal(&mut self) -> SealedState {
        let mut out = SealedState::default();
        out.items.reserve(self.dirty.len());
        let mut dirty = std::mem::take(&mut self.dirty);
        for (at, &number) in dirty.iter().enumerate() {
            if let Some(&later) = dirty.get(at + AHEAD) {
                self.entries.prefetch(later);
                self.values.prefetch(later);
                self.timers.prefetch(later);
            }
            let held = self.seal_entry(number, &mut out);
            let entry = self.entries.get_mut(number);
            entry.listed = false;
            entry.held = entry.held.wrapping_add_signed(held);
            self.entries.drop_if_empty(number);
        }
        dirty.clear();
        self.dirty = dirty;
        out
    }

    #[inline]
    fn seal_entry(&mut self, number: u32, out: &mut SealedState) -> i32 {
        let Self { states, entries, values, maps, timers, timers_id, .. } = self;
        let key = entries.key(number);
        let group = KeyGroup::of_hash(entries.get(number).hash);
        let mut held = 0;
        for state in states.iter() {
            let id = state.spec.id;
            held += match state.spec.kind {
                Kind::Value => values.seal(number, state.place, |value| {
                    out.push(value, |to| key::value(to, group, id, key));
                }),
                Kind::Map => maps.seal(number, state.place, |field, value| {
                    out.push(value, |to| key::field(to, group, id, key, field));
                }),
            };
        }
        held + timers.seal(number, |time, tag, there| {
            out.push(there.then_some(&[]), |to| key::timer(to, group, *timers_id, key, time, tag));
        })
    }
}
