//! The working set of one operator subtask: every key with its values, maps and timers, in host memory. Owns the call
//! protocol (begin, read and write, commit or discard); touches no disk.
//!
//! A call writes in place and remembers what it replaced, so that a read within the call sees its writes without a second
//! look-up, committing costs next to nothing, and discarding puts everything back.

use std::ops::Range;

use weir_core::key_group::KEY_GROUPS;

use super::call::Call;
use super::entries::Entries;
use super::generation::Generations;
use super::maps::Maps;
use super::spill::Spill;
use super::timers::{DueTimers, Timers};
use super::values::Values;

/// What a declared state is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One value per key.
    Value,
    /// An ordered map per key.
    Map,
}

impl Kind {
    /// As in a descriptor and in a manifest.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Value => "value",
            Kind::Map => "map",
        }
    }
}

/// A declared state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateSpec {
    /// Its name, for messages and the manifest.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// Version of its schema.
    pub version: u32,
    /// Its id in the keys of the database: unique there, given out for ever.
    pub id: u16,
}

/// The working set of one operator subtask.
///
/// Everything between `begin_call` or `begin_due` and `commit_call` or `discard_call` is one call. States are named by
/// declaration index, keys by ordinal; the caller has checked both against the declaration and [`KeyedState::distinct`]
/// (a guest chooses them), and the kind of the state.
#[derive(Debug)]
pub struct KeyedState {
    pub(super) states: Vec<Declared>,
    pub(super) timers_id: u16,
    /// The key groups that are kept here.
    pub(super) groups: Range<u16>,
    pub(super) entries: Entries,
    pub(super) values: Values,
    pub(super) maps: Maps,
    pub(super) timers: Timers,
    /// What has changed since the last barrier, and what the one before it changed, as far as it is not copied out.
    pub(super) generations: Generations,
    pub(super) call: Call,
    /// How it stays within a budget of memory.
    pub(super) spill: Option<Box<Spill>>,
}

/// A state and its number among those of its kind.
#[derive(Debug)]
pub(super) struct Declared {
    pub(super) spec: StateSpec,
    pub(super) place: usize,
}

impl KeyedState {
    /// An empty working set of all key groups. `timers_id` stands for the timers in the keys of the database.
    pub fn new(states: Vec<StateSpec>, timers_id: u16) -> Self {
        KeyedState::of_groups(states, timers_id, 0..KEY_GROUPS)
    }

    /// The same of these key groups only: one subtask's.
    pub fn of_groups(states: Vec<StateSpec>, timers_id: u16, groups: Range<u16>) -> Self {
        let (mut values, mut maps) = (0, 0);
        let mut declare = |spec: StateSpec| {
            let count = if spec.kind == Kind::Value { &mut values } else { &mut maps };
            *count += 1;
            Declared { place: *count - 1, spec }
        };
        let states = states.into_iter().map(&mut declare).collect();
        KeyedState {
            states,
            timers_id,
            groups,
            entries: Entries::new(),
            values: Values::new(values),
            maps: Maps::new(maps),
            timers: Timers::default(),
            generations: Generations::default(),
            call: Call::default(),
            spill: None,
        }
    }

    /// The states as declared, in order.
    pub fn specs(&self) -> impl Iterator<Item = &StateSpec> {
        self.states.iter().map(|s| &s.spec)
    }

    /// The id of the timers in the keys of the database.
    pub fn timers_id(&self) -> u16 {
        self.timers_id
    }

    /// Ordinal of each slot.
    pub fn ordinals(&self) -> &[u32] {
        &self.call.ordinals
    }

    /// The name of a declared state.
    pub fn name(&self, state: usize) -> Option<&str> {
        self.states.get(state).map(|declared| declared.spec.name.as_str())
    }

    /// The kind of a declared state.
    #[inline]
    pub fn kind(&self, state: usize) -> Option<Kind> {
        self.states.get(state).map(|declared| declared.spec.kind)
    }

    /// How many ordinals the call has.
    pub fn distinct(&self) -> u32 {
        self.call.distinct
    }

    /// The key of an ordinal.
    pub fn key(&self, ord: u32) -> &[u8] {
        self.entries.key(self.call.entries[ord as usize])
    }

    /// The value, with the call's own writes.
    #[inline]
    pub fn value_get(&self, state: usize, ord: u32) -> Option<&[u8]> {
        self.values.get(self.call.entries[ord as usize], self.states[state].place)
    }

    /// Writes the value; `None` clears it.
    #[inline]
    pub fn value_put(&mut self, state: usize, ord: u32, value: Option<&[u8]>) {
        let entry = self.call.entries[ord as usize];
        self.before_write(entry);
        let held = self.values.put(entry, self.states[state].place, value);
        self.changed(entry, held);
    }

    /// One field of a map, with the call's own writes.
    pub fn map_get(&self, state: usize, ord: u32, field: &[u8]) -> Option<&[u8]> {
        self.maps.get(self.call.entries[ord as usize], self.states[state].place, field)
    }

    /// Writes a field; `None` removes it.
    pub fn map_put(&mut self, state: usize, ord: u32, field: &[u8], value: Option<&[u8]>) {
        let entry = self.call.entries[ord as usize];
        self.before_write(entry);
        let held = self.maps.put(entry, self.states[state].place, field, value);
        self.changed(entry, held);
    }

    /// Hands on fields with first <= field < end in byte order, until `f` answers false.
    pub fn map_scan(
        &self,
        state: usize,
        ord: u32,
        first: &[u8],
        end: Option<&[u8]>,
        f: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) {
        self.maps.scan(self.call.entries[ord as usize], self.states[state].place, first, end, f);
    }

    /// Removes fields with first <= field < end.
    pub fn map_remove_range(&mut self, state: usize, ord: u32, first: &[u8], end: Option<&[u8]>) {
        let entry = self.call.entries[ord as usize];
        self.before_write(entry);
        let held = self.maps.remove_range(entry, self.states[state].place, first, end);
        self.changed(entry, held);
    }

    /// Sets an event-time timer. One that is set already stays.
    #[inline]
    pub fn timer_set(&mut self, ord: u32, time: i64, tag: u64) {
        let entry = self.call.entries[ord as usize];
        self.before_write(entry);
        if let Some(held) = self.timers.set(entry, time, tag) {
            self.changed(entry, held);
        }
    }

    /// Unsets an event-time timer, if it is set.
    pub fn timer_unset(&mut self, ord: u32, time: i64, tag: u64) {
        let entry = self.call.entries[ord as usize];
        self.before_write(entry);
        if let Some(held) = self.timers.unset(entry, time, tag) {
            self.changed(entry, held);
        }
    }

    /// Lists timers with time <= `watermark`: at most one per key, its first by (time, tag), at most `max`, in order of
    /// time; a later timer of a key comes in a later round. The order is the same whenever the history is the same.
    /// Removes none. False if there is none.
    pub fn due(&mut self, watermark: i64, max: usize, out: &mut DueTimers) -> bool {
        out.clear();
        let stamp = self.next_stamp();
        let Self { entries, timers, .. } = self;
        timers.due(watermark, |number, later| {
            if out.len() >= max {
                return false;
            }
            if let Some(later) = later {
                entries.prefetch(later);
            }
            let entry = entries.get_mut(number);
            if entry.stamp != stamp
                && let Some((time, tag)) = timers.first(number)
            {
                entry.stamp = stamp;
                out.hashes.push(entry.hash);
                out.times.push(time);
                out.tags.push(tag);
                out.keys.push(Some(entries.key(number)));
            }
            true
        });
        !out.is_empty()
    }

    /// Drops a timer outside a call, as the policy `skip` asks for. The database forgets it at the next seal.
    pub fn drop_timer(&mut self, hash: u64, key: &[u8], time: i64, tag: u64) {
        let Some(entry) = self.entries.find(hash, key) else { return };
        self.before_write(entry);
        if let Some(held) = self.timers.unset(entry, time, tag) {
            self.changed(entry, held);
        }
        self.commit_call();
    }

    /// Memory of the working set, in bytes.
    pub fn bytes(&self) -> usize {
        self.entries.bytes() + self.values.bytes() + self.maps.bytes() + self.timers.bytes() + self.generations.bytes()
    }

    /// Values and map fields that are there.
    pub fn entries(&self) -> usize {
        self.values.present() + self.maps.present()
    }

    /// Keys that something is kept for.
    pub fn keys(&self) -> usize {
        self.entries.live()
    }

    /// Timers that are set.
    pub fn timers_pending(&self) -> usize {
        self.timers.pending()
    }
}
