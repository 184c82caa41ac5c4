//! A map per key. Entries that a call has read or written are cached by (ordinal, field), and written back in one
//! `map-put` at its end.

use std::collections::HashMap;
use std::marker::PhantomData;

use super::{Codec, Field, rewrite};
use crate::column::ColumnBuf;
use crate::{Failure, host};

/// A map per key, as a constant with its place in the descriptor:
/// `const SEEN: MapState<String, u64> = MapState::new(1, "seen");`
#[derive(Debug)]
pub struct MapState<F, V> {
    pub(crate) index: u32,
    pub(crate) name: &'static str,
    pub(crate) version: u32,
    pub(crate) ttl: Option<&'static str>,
    ty: PhantomData<fn() -> (F, V)>,
}

impl<F, V> Clone for MapState<F, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<F, V> Copy for MapState<F, V> {}

impl<F, V> MapState<F, V> {
    /// A state with its place in the descriptor. The name is its identity in snapshots.
    pub const fn new(index: u32, name: &'static str) -> MapState<F, V> {
        MapState { index, name, version: 1, ttl: None, ty: PhantomData }
    }

    /// The version of the schema, 1 unless said.
    pub const fn version(mut self, version: u32) -> MapState<F, V> {
        self.version = version;
        self
    }

    /// How long an entry lives after its last write, in processing time: a duration ("1h"), or a JSON pointer into the
    /// configuration ("/ttl").
    pub const fn ttl(mut self, ttl: &'static str) -> MapState<F, V> {
        self.ttl = Some(ttl);
        self
    }

    /// Whether `migrate` is about this state.
    pub const fn is(self, state: u32) -> bool {
        self.index == state
    }

    /// In `migrate`: reads the value of a field of an older schema version as what it was then, and gives what it is now; `None`
    /// removes the field. Fields stay as they are.
    pub fn rewrite<Old: Codec>(self, value: &[u8], f: impl FnOnce(Old) -> Option<V>) -> Result<Option<Vec<u8>>, Failure>
    where
        V: Codec,
    {
        rewrite(self.name, value, f)
    }
}

/// The map of one key.
pub struct MapEntry<'a, F, V> {
    cache: &'a mut Cache,
    ord: u32,
    name: &'static str,
    ty: PhantomData<fn() -> (F, V)>,
}

impl<'a, F: Field, V: Codec> MapEntry<'a, F, V> {
    pub(crate) fn new(cache: &'a mut Cache, ord: u32, name: &'static str) -> MapEntry<'a, F, V> {
        MapEntry { cache, ord, name, ty: PhantomData }
    }

    /// The value of a field, if there is one.
    pub fn get(&mut self, field: &F) -> Option<V> {
        let mut bytes = self.cache.get(self.ord, field)?;
        match V::decode(&mut bytes) {
            Ok(value) if bytes.is_empty() => Some(value),
            _ => panic!("state `{}` holds bytes that its type does not read", self.name),
        }
    }

    /// Removes a field and returns its value, if there was one.
    pub fn take(&mut self, field: &F) -> Option<V> {
        let value = self.get(field)?;
        self.remove(field);
        Some(value)
    }

    /// Sets the value of a field.
    pub fn put(&mut self, field: &F, value: &V) {
        self.cache.put(self.ord, field, |out| {
            value.encode(out);
            true
        });
    }

    /// Removes a field.
    pub fn remove(&mut self, field: &F) {
        self.cache.put(self.ord, field, |_| false);
    }
}

/// Entries by ordinal and bytes of the field.
pub(crate) struct Cache {
    state: u32,
    entries: HashMap<(u32, Vec<u8>), Entry>,
    dirty: Vec<(u32, Vec<u8>)>,
    scratch: (u32, Vec<u8>),
}

struct Entry {
    value: Option<Vec<u8>>,
    dirty: bool,
}

impl Cache {
    pub(super) fn new(state: u32) -> Cache {
        Cache { state, entries: HashMap::new(), dirty: Vec::new(), scratch: (0, Vec::new()) }
    }

    fn seek<F: Field>(&mut self, ord: u32, field: &F) {
        self.scratch.0 = ord;
        self.scratch.1.clear();
        field.encode_field(&mut self.scratch.1);
    }

    fn get<F: Field>(&mut self, ord: u32, field: &F) -> Option<&[u8]> {
        self.seek(ord, field);
        if !self.entries.contains_key(&self.scratch) {
            let mut fields = ColumnBuf::default();
            fields.push(Some(&self.scratch.1));
            let value = host::map_get(self.state, &[ord], fields.items()).get(0).map(<[u8]>::to_vec);
            self.entries.insert(self.scratch.clone(), Entry { value, dirty: false });
        }
        self.entries[&self.scratch].value.as_deref()
    }

    fn put<F: Field>(&mut self, ord: u32, field: &F, write: impl FnOnce(&mut Vec<u8>) -> bool) {
        self.seek(ord, field);
        let mut value = Vec::new();
        let value = write(&mut value).then_some(value);
        let entry = self.entries.entry(self.scratch.clone()).or_insert(Entry { value: None, dirty: false });
        entry.value = value;
        if !std::mem::replace(&mut entry.dirty, true) {
            self.dirty.push(self.scratch.clone());
        }
    }

    pub(super) fn begin(&mut self) {
        self.entries.clear();
        self.dirty.clear();
    }

    pub(super) fn flush(&mut self) {
        if self.dirty.is_empty() {
            return;
        }
        let ords: Vec<u32> = self.dirty.iter().map(|(ord, _)| *ord).collect();
        let (mut fields, mut values) = (ColumnBuf::default(), ColumnBuf::default());
        for key in &self.dirty {
            fields.push(Some(&key.1));
            values.push(self.entries[key].value.as_deref());
        }
        host::map_put(self.state, &ords, fields.items(), values.items());
        self.begin();
    }
}
