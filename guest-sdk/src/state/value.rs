//! One value per key. A dense cache by ordinal stands before the host: one `value-get` for all keys of the call at the
//! first use, one `value-put` of what changed at its end. Values are decoded when they are first read, into the memory
//! that the value in the same place used in an earlier call.

use std::marker::PhantomData;

use super::{Cached, Codec, rewrite};
use crate::column::{Column, ColumnBuf};
use crate::{Failure, host};

/// A value per key, as a constant with its place in the descriptor:
/// `const COUNT: ValueState<u64> = ValueState::new(0, "count");`
#[derive(Debug)]
pub struct ValueState<T> {
    pub(crate) index: u32,
    pub(crate) name: &'static str,
    pub(crate) version: u32,
    pub(crate) ttl: Option<&'static str>,
    ty: PhantomData<fn() -> T>,
}

impl<T> Clone for ValueState<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for ValueState<T> {}

impl<T> ValueState<T> {
    /// A state with its place in the descriptor. The name is its identity in snapshots.
    pub const fn new(index: u32, name: &'static str) -> ValueState<T> {
        ValueState { index, name, version: 1, ttl: None, ty: PhantomData }
    }

    /// The version of the schema, 1 unless said.
    pub const fn version(mut self, version: u32) -> ValueState<T> {
        self.version = version;
        self
    }

    /// How long a value lives after its last write, in processing time: a duration ("1h"), or a JSON pointer into the
    /// configuration ("/ttl").
    pub const fn ttl(mut self, ttl: &'static str) -> ValueState<T> {
        self.ttl = Some(ttl);
        self
    }

    /// Whether `migrate` is about this state.
    pub const fn is(self, state: u32) -> bool {
        self.index == state
    }

    /// In `migrate`: reads a value of an older schema version as what it was then, and gives what it is now; `None` removes it.
    pub fn rewrite<Old: Codec>(self, value: &[u8], f: impl FnOnce(Old) -> Option<T>) -> Result<Option<Vec<u8>>, Failure>
    where
        T: Codec,
    {
        rewrite(self.name, value, f)
    }
}

/// The value of one key.
pub struct ValueEntry<'a, T> {
    cache: &'a mut Cache<T>,
    ord: usize,
}

impl<'a, T: Codec> ValueEntry<'a, T> {
    #[inline]
    pub(crate) fn new(cache: &'a mut Cache<T>, ord: u32) -> ValueEntry<'a, T> {
        let ord = ord as usize;
        if ord >= cache.marks.len() {
            cache.load(ord);
        }
        if cache.marks[ord] == Mark::Unread {
            cache.read(ord);
        }
        ValueEntry { cache, ord }
    }

    /// The value, if there is one.
    #[inline]
    pub fn get(self) -> Option<&'a T> {
        match self.cache.marks[self.ord] {
            Mark::Clean | Mark::Dirty => self.cache.values[self.ord].as_ref(),
            _ => None,
        }
    }

    /// Replaces the value.
    #[inline]
    pub fn set(self, value: T) {
        self.cache.values[self.ord] = Some(value);
        self.cache.mark(self.ord, Mark::Dirty);
    }

    /// Removes the value.
    #[inline]
    pub fn clear(self) {
        self.cache.mark(self.ord, Mark::Cleared);
    }

    /// The value to change in place; the default if there is none. It is written back at the end of the call.
    #[inline]
    pub fn or_default(self) -> &'a mut T
    where
        T: Default,
    {
        let Cache { marks, values, .. } = self.cache;
        let value = values[self.ord].get_or_insert_with(T::default);
        if matches!(marks[self.ord], Mark::Absent | Mark::Cleared) {
            value.reset();
        }
        self.cache.mark(self.ord, Mark::Dirty);
        self.cache.values[self.ord].as_mut().expect("it was just put there")
    }
}

/// What is known about the value of a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mark {
    /// In the column, not decoded yet.
    Unread,
    Absent,
    Clean,
    Dirty,
    Cleared,
}

pub(crate) struct Cache<T> {
    state: ValueState<T>,
    /// As it came, for this call.
    column: Column<'static>,
    marks: Vec<Mark>,
    /// By ordinal. What an earlier call left stays for its memory; only `marks` says what is true.
    values: Vec<Option<T>>,
    /// Ordinals that were written, in the order of the first write.
    dirty: Vec<u32>,
    encoded: ColumnBuf,
}

impl<T: Codec> Cache<T> {
    pub(super) fn new(state: ValueState<T>) -> Cache<T> {
        Cache {
            state,
            column: Column::default(),
            marks: Vec::new(),
            values: Vec::new(),
            dirty: Vec::new(),
            encoded: ColumnBuf::default(),
        }
    }

    #[cold]
    fn load(&mut self, ord: usize) {
        self.column = host::value_get(self.state.index, &[]);
        assert!(ord < self.column.len(), "the host gives a value for each key of the call");
        self.marks.resize(self.column.len(), Mark::Unread);
        if self.values.len() < self.marks.len() {
            self.values.resize_with(self.marks.len(), || None);
        }
    }

    fn read(&mut self, ord: usize) {
        let Some(mut bytes) = self.column.get(ord) else {
            self.marks[ord] = Mark::Absent;
            return;
        };
        let read = match &mut self.values[ord] {
            Some(value) => value.decode_into(&mut bytes),
            none => T::decode(&mut bytes).map(|value| *none = Some(value)),
        };
        if read.is_err() || !bytes.is_empty() {
            panic!(
                "state `{}` (schema version {}) holds bytes that its type does not read: was the type changed without a new version?",
                self.state.name, self.state.version
            );
        }
        self.marks[ord] = Mark::Clean;
    }

    #[inline]
    fn mark(&mut self, ord: usize, mark: Mark) {
        if !matches!(self.marks[ord], Mark::Dirty | Mark::Cleared) {
            self.dirty.push(ord as u32);
        }
        self.marks[ord] = mark;
    }
}

impl<T: Codec + 'static> Cached for Cache<T> {
    fn begin(&mut self) {
        self.column = Column::default();
        self.marks.clear();
        self.dirty.clear();
        self.encoded.clear();
    }

    fn flush(&mut self) {
        if self.dirty.is_empty() {
            return;
        }
        for ord in &self.dirty {
            match (self.marks[*ord as usize], &self.values[*ord as usize]) {
                (Mark::Dirty, Some(value)) => {
                    value.encode(self.encoded.tail());
                    self.encoded.end_item();
                }
                _ => self.encoded.end_absent(),
            }
        }
        // All keys of the call, in order: then the ordinals need not cross.
        let all = self.dirty.len() == self.marks.len() && self.dirty.iter().zip(0..).all(|(ord, i)| *ord == i);
        host::value_put(self.state.index, if all { &[] } else { &self.dirty }, self.encoded.items());
        self.begin();
    }
}
