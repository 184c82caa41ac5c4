//! Map states: per entry and state an ordered map from field to value. Knows which fields the database holds and which have
//! changed since the last seal.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

#[derive(Debug, Default)]
struct Map {
    fields: BTreeMap<Box<[u8]>, Field>,
    /// Fields that are there and have changed since the last seal.
    dirty: BTreeSet<Box<[u8]>>,
    /// Fields that are gone and that the database still holds.
    gone: BTreeSet<Box<[u8]>>,
}

#[derive(Debug)]
struct Field {
    value: Box<[u8]>,
    stored: bool,
    dirty: bool,
}

/// A write of the running call, to be taken back if it fails.
#[derive(Debug)]
struct Before {
    at: usize,
    field: Box<[u8]>,
    value: Option<Box<[u8]>>,
}

#[derive(Debug, Default)]
pub(super) struct Maps {
    /// Map states of the operator.
    states: usize,
    maps: Vec<Option<Box<Map>>>,
    fields: usize,
    bytes: usize,
    before: Vec<Before>,
}

/// What a field costs beside its bytes, roughly.
const FIELD_BYTES: usize = 64;

impl Maps {
    pub(super) fn new(states: usize) -> Maps {
        Maps { states, ..Maps::default() }
    }

    /// Entry `entry` may be asked for from now on.
    #[inline]
    pub(super) fn cover(&mut self, entry: u32) {
        let needed = (entry as usize + 1) * self.states;
        if self.maps.len() < needed {
            self.maps.resize_with(needed, || None);
        }
    }

    fn map(&self, entry: u32, state: usize) -> Option<&Map> {
        self.maps[entry as usize * self.states + state].as_deref()
    }

    pub(super) fn get(&self, entry: u32, state: usize, field: &[u8]) -> Option<&[u8]> {
        self.map(entry, state)?.fields.get(field).map(|f| &*f.value)
    }

    /// Entries with first <= field < end, in order, until `f` answers false.
    pub(super) fn scan(
        &self,
        entry: u32,
        state: usize,
        first: &[u8],
        end: Option<&[u8]>,
        f: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) {
        let Some(map) = self.map(entry, state) else { return };
        if end.is_some_and(|end| end <= first) {
            return;
        }
        let range = (Bound::Included(first), end.map_or(Bound::Unbounded, Bound::Excluded));
        for (field, Field { value, .. }) in map.fields.range::<[u8], _>(range) {
            if !f(field, value) {
                return;
            }
        }
    }

    /// Writes, and remembers what was there until the call ends. Returns by how much the entry's `held` changes.
    pub(super) fn put(&mut self, entry: u32, state: usize, field: &[u8], value: Option<&[u8]>) -> i32 {
        let at = entry as usize * self.states + state;
        let (held, old) = self.write(at, field, value.map(Box::from));
        if old.is_some() || value.is_some() {
            self.before.push(Before { at, field: field.into(), value: old });
        }
        held
    }

    pub(super) fn remove_range(&mut self, entry: u32, state: usize, first: &[u8], end: Option<&[u8]>) -> i32 {
        let mut fields = Vec::new();
        self.scan(entry, state, first, end, &mut |field, _| {
            fields.push(Box::<[u8]>::from(field));
            true
        });
        fields.iter().map(|field| self.put(entry, state, field, None)).sum()
    }

    /// Returns the change of `held` and what was there.
    fn write(&mut self, at: usize, field: &[u8], value: Option<Box<[u8]>>) -> (i32, Option<Box<[u8]>>) {
        let Some(value) = value else { return self.remove(at, field) };
        let map = self.maps[at].get_or_insert_default();
        self.bytes += value.len();
        match map.fields.get_mut(field) {
            Some(there) => {
                if !there.dirty {
                    there.dirty = true;
                    map.dirty.insert(field.into());
                }
                let old = std::mem::replace(&mut there.value, value);
                self.bytes -= old.len();
                (0, Some(old))
            }
            None => {
                // A tombstone that had to follow gives way to the new value: one thing is held before and after.
                let stored = map.gone.remove(field);
                map.fields.insert(field.into(), Field { value, stored, dirty: true });
                map.dirty.insert(field.into());
                self.fields += 1;
                self.bytes += field.len() + FIELD_BYTES;
                (i32::from(!stored), None)
            }
        }
    }

    fn remove(&mut self, at: usize, field: &[u8]) -> (i32, Option<Box<[u8]>>) {
        let Some(map) = self.maps[at].as_deref_mut() else { return (0, None) };
        let Some((name, there)) = map.fields.remove_entry(field) else { return (0, None) };
        self.fields -= 1;
        self.bytes -= there.value.len() + field.len() + FIELD_BYTES;
        if there.dirty {
            map.dirty.remove(field);
        }
        if there.stored {
            map.gone.insert(name);
        } else if map.fields.is_empty() && map.gone.is_empty() {
            self.maps[at] = None;
        }
        (-i32::from(!there.stored), Some(there.value))
    }

    /// The call stands.
    pub(super) fn commit(&mut self) {
        self.before.clear();
    }

    /// The call did not happen. `held` is told each entry and by how much its count changes.
    pub(super) fn discard(&mut self, mut held: impl FnMut(u32, i32)) {
        while let Some(Before { at, field, value }) = self.before.pop() {
            held((at / self.states) as u32, self.write(at, &field, value).0);
        }
    }

    /// A field from the database.
    pub(super) fn load(&mut self, entry: u32, state: usize, field: &[u8], value: &[u8]) -> i32 {
        let at = entry as usize * self.states + state;
        let (held, _) = self.write(at, field, Some(value.into()));
        if let Some(map) = self.maps[at].as_deref_mut() {
            map.dirty.remove(field);
            if let Some(there) = map.fields.get_mut(field) {
                (there.stored, there.dirty) = (true, false);
            }
        }
        held
    }

    /// Hands dirty fields and tombstones to `write` and takes them as stored. Returns by how much `held` changes.
    pub(super) fn seal(&mut self, entry: u32, state: usize, mut write: impl FnMut(&[u8], Option<&[u8]>)) -> i32 {
        let at = entry as usize * self.states + state;
        let Some(map) = self.maps[at].as_deref_mut() else { return 0 };
        for field in std::mem::take(&mut map.dirty) {
            if let Some(there) = map.fields.get_mut(&field) {
                write(&field, Some(&there.value));
                (there.stored, there.dirty) = (true, false);
            }
        }
        let gone = std::mem::take(&mut map.gone);
        gone.iter().for_each(|field| write(field, None));
        if map.fields.is_empty() {
            self.maps[at] = None;
        }
        -(gone.len() as i32)
    }

    /// Forgets what the database holds too.
    pub(super) fn evict(&mut self, entry: u32) {
        let first = entry as usize * self.states;
        for map in self.maps[first..first + self.states].iter_mut().filter_map(Option::take) {
            self.fields -= map.fields.len();
            self.bytes -= map.fields.iter().map(|(name, f)| name.len() + f.value.len() + FIELD_BYTES).sum::<usize>();
        }
    }

    /// What an entry takes here, beside its fields.
    pub(super) fn entry_bytes(&self) -> usize {
        self.states * size_of::<Option<Box<Map>>>()
    }

    pub(super) fn field_bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn present(&self) -> usize {
        self.fields
    }

    pub(super) fn bytes(&self) -> usize {
        self.maps.capacity() * size_of::<Option<Box<Map>>>() + self.bytes
    }
}
