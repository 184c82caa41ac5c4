//! Closing a generation and copying it out: everything that has changed since the barrier before, as entries of the database
//! in owned buffers, so that the background side can sort and write them while the subtask goes on.
//!
//! Closing takes constant time. The copy is made between calls, a slice at a time; a call that writes to an entry which is
//! still to be copied copies it first.

use weir_core::ids::Epoch;
use weir_core::key_group::KeyGroup;

use super::entries::UNLISTED;
use super::key;
use super::keyed::{KeyedState, Kind};
use super::sealed::SealedState;

/// How far ahead of its turn the lines of an entry are asked for.
const AHEAD: usize = 16;
/// Entries between two questions for the time.
const STRIDE: usize = if cfg!(test) { 1 } else { 16 };

impl KeyedState {
    /// A barrier: what was written until now is one generation, what is written from now on another. Between calls. Order:
    /// the generation before has been taken.
    pub fn close_generation(&mut self, epoch: Epoch) {
        self.entries.closed_epoch = epoch.0 as u16;
        self.generations.close();
    }

    /// Copies out of the closed generation until all of it is, or `is_over` says so: it is asked now and then. Between
    /// calls. Returns whether all of it is copied.
    pub fn copy_generation(&mut self, mut is_over: impl FnMut() -> bool) -> bool {
        let mut until_asked = STRIDE;
        while let Some((number, later)) = self.generations.next(AHEAD) {
            if let Some(later) = later {
                self.entries.prefetch(later);
                self.values.prefetch(later);
                self.timers.prefetch(later);
            }
            if self.generations.closed_has(self.entries.get(number).listed) {
                let held = self.seal_entry(number);
                let entry = self.entries.get_mut(number);
                entry.held = entry.held.wrapping_add_signed(held);
                self.entries.drop_if_empty(number);
            }
            until_asked -= 1;
            if until_asked == 0 {
                if is_over() {
                    break;
                }
                until_asked = STRIDE;
            }
        }
        self.generations.is_copied()
    }

    /// The closed generation, all of it copied. What it holds counts as stored from now on: it must reach the database, in
    /// this epoch or, if that one is declined, together with the next.
    pub fn take_generation(&mut self) -> SealedState {
        debug_assert!(self.generations.is_copied(), "a generation is taken whole");
        std::mem::take(&mut self.generations.out)
    }

    /// Copies an entry out of the closed generation. Returns by how much its `held` changes.
    #[inline]
    pub(super) fn seal_entry(&mut self, number: u32) -> i32 {
        let Self { states, entries, values, maps, timers, timers_id, generations, .. } = self;
        let out = &mut generations.out;
        let closed = entries.closed_epoch;
        let entry = entries.get_mut(number);
        (entry.listed, entry.epoch) = (UNLISTED, closed);
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
