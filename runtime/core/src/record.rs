//! What flows: batches of records in columns, and the marks between them. Owns the layout; knows no source, sink or guest.
//!
//! A column is laid out as in `wit/operator.wit`, so that it crosses to a guest without being rebuilt.

use std::ops::Range;

use crate::ids::Epoch;

/// Bit 31 of an end says that the item is absent, which is not the same as empty.
pub const ABSENT: u32 = 1 << 31;

/// In `Batch::partitions`: this row goes where its key says.
pub const BY_KEY: u32 = u32::MAX;

/// A column of byte strings, one behind the other. `ends[i]` is the end of item i in its low 31 bits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Column {
    /// The end of each item in `data`, with [`ABSENT`] set where there is none.
    pub ends: Vec<u32>,
    /// All items, one behind the other.
    pub data: Vec<u8>,
}

impl Column {
    /// Number of items.
    #[inline]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether the column has no items, as a column that nobody asked for.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Appends an item. `data` stays below 2 GiB: the makers of batches close them at 1 MiB.
    #[inline]
    pub fn push(&mut self, item: Option<&[u8]>) {
        match item {
            Some(bytes) => {
                self.data.extend_from_slice(bytes);
                self.ends.push(self.data.len() as u32);
            }
            None => self.ends.push(self.data.len() as u32 | ABSENT),
        }
    }

    /// Where item `i` lies in `data`.
    #[inline]
    pub fn span(&self, i: usize) -> Range<usize> {
        let start = if i == 0 { 0 } else { (self.ends[i - 1] & !ABSENT) as usize };
        start..(self.ends[i] & !ABSENT) as usize
    }

    /// Item `i`, `None` where it is absent.
    #[inline]
    pub fn get(&self, i: usize) -> Option<&[u8]> {
        if self.ends[i] & ABSENT != 0 { None } else { Some(&self.data[self.span(i)]) }
    }

    /// Items in order.
    pub fn iter(&self) -> impl Iterator<Item = Option<&[u8]>> {
        (0..self.len()).map(|i| self.get(i))
    }

    /// Appends items `range` of another column.
    pub fn extend_from(&mut self, other: &Column, range: Range<usize>) {
        if range.is_empty() {
            return;
        }
        let from = other.span(range.start).start;
        let to = other.span(range.end - 1).end;
        let base = self.data.len() as u32;
        self.data.extend_from_slice(&other.data[from..to]);
        let shift = |end: &u32| ((end & !ABSENT) - from as u32 + base) | (end & ABSENT);
        self.ends.extend(other.ends[range].iter().map(shift));
    }

    /// Appends single items of another column.
    pub fn extend_slots(&mut self, other: &Column, slots: &[u32]) {
        // Copied at a fixed length and cut: a copy of some bytes costs less than asking how many.
        const SHORT: usize = 32;
        self.ends.reserve(slots.len());
        for slot in slots.iter().map(|slot| *slot as usize) {
            let Range { start, end } = other.span(slot);
            let len = self.data.len() + end - start;
            match other.data[start..].first_chunk::<SHORT>() {
                Some(bytes) if end - start <= SHORT => {
                    self.data.extend_from_slice(bytes);
                    self.data.truncate(len);
                }
                _ => self.data.extend_from_slice(&other.data[start..end]),
            }
            self.ends.push(len as u32 | other.ends[slot] & ABSENT);
        }
    }

    /// Forgets the items and keeps the memory.
    pub fn clear(&mut self) {
        self.ends.clear();
        self.data.clear();
    }
}

impl<'a> FromIterator<Option<&'a [u8]>> for Column {
    fn from_iter<I: IntoIterator<Item = Option<&'a [u8]>>>(items: I) -> Column {
        let mut column = Column::default();
        items.into_iter().for_each(|item| column.push(item));
        column
    }
}

/// Records that came from one partition with consecutive offsets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// Index of the split in its source's list of splits.
    pub split: u32,
    /// Partition (of a Kafka topic; 0 for a source with one split).
    pub partition: i32,
    /// Offset of the first record of the run.
    pub first_offset: i64,
    /// Records in the run.
    pub count: u32,
}

/// Records in columns: one item per slot in `times`, `keys` and `values`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    /// Event time of each slot, milliseconds since 1970.
    pub times: Vec<i64>,
    /// Keys as they came in (of the Kafka record) or as an operator emitted them.
    pub keys: Column,
    /// Values.
    pub values: Column,
    /// Headers, encoded as `rows.headers` in the contract. Empty when no slot has any.
    pub headers: Column,
    /// Explicit output partitions, [`BY_KEY`] where a row has none. Empty when no row has one.
    pub partitions: Vec<u32>,
    /// Where the slots came from. Empty where they came from no source.
    pub origins: Vec<Run>,
}

impl Batch {
    /// Number of slots.
    #[inline]
    pub fn len(&self) -> usize {
        self.times.len()
    }

    /// Whether there are no slots.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.times.is_empty()
    }

    /// Bytes of keys, values and headers.
    pub fn bytes(&self) -> usize {
        self.keys.data.len() + self.values.data.len() + self.headers.data.len()
    }

    /// Forgets the records and keeps the memory.
    pub fn clear(&mut self) {
        self.times.clear();
        self.keys.clear();
        self.values.clear();
        self.headers.clear();
        self.partitions.clear();
        self.origins.clear();
    }

    /// Appends single slots of another batch, in rising order. A column that only one side has is filled with absent items.
    pub fn extend_slots(&mut self, other: &Batch, slots: &[u32]) {
        let had = self.len();
        let each = || slots.iter().map(|slot| *slot as usize);
        self.times.extend(each().map(|slot| other.times[slot]));
        self.keys.extend_slots(&other.keys, slots);
        self.values.extend_slots(&other.values, slots);
        if !other.headers.is_empty() || !self.headers.is_empty() {
            while self.headers.len() < had {
                self.headers.push(None);
            }
            let header = |slot| if other.headers.is_empty() { None } else { other.headers.get(slot) };
            each().for_each(|slot| self.headers.push(header(slot)));
        }
        if !other.partitions.is_empty() || !self.partitions.is_empty() {
            self.partitions.resize(had, BY_KEY);
            self.partitions.extend(each().map(|slot| other.partitions.get(slot).copied().unwrap_or(BY_KEY)));
        }
        if other.origins.is_empty() {
            return;
        }
        let (mut run, mut first) = (0, 0);
        for slot in each() {
            while slot >= first + other.origins[run].count as usize {
                first += other.origins[run].count as usize;
                run += 1;
            }
            let Run { split, partition, first_offset, .. } = other.origins[run];
            let offset = first_offset + (slot - first) as i64;
            match self.origins.last_mut() {
                Some(last)
                    if (last.split, last.partition) == (split, partition)
                        && last.first_offset + i64::from(last.count) == offset =>
                {
                    last.count += 1;
                }
                _ => self.origins.push(Run { split, partition, first_offset: offset, count: 1 }),
            }
        }
    }

    /// Appends slots `range` of another batch. A column that only one side has is filled with absent items.
    pub fn extend_from(&mut self, other: &Batch, range: Range<usize>) {
        let had = self.len();
        self.times.extend_from_slice(&other.times[range.clone()]);
        self.keys.extend_from(&other.keys, range.clone());
        self.values.extend_from(&other.values, range.clone());
        if !other.headers.is_empty() {
            while self.headers.len() < had {
                self.headers.push(None);
            }
            self.headers.extend_from(&other.headers, range.clone());
        } else if !self.headers.is_empty() {
            range.clone().for_each(|_| self.headers.push(None));
        }
        if !other.partitions.is_empty() {
            self.partitions.resize(had, BY_KEY);
            self.partitions.extend_from_slice(&other.partitions[range.clone()]);
        } else if !self.partitions.is_empty() {
            self.partitions.resize(had + range.len(), BY_KEY);
        }
        let mut slot = 0;
        for run in &other.origins {
            let (first, end) = (slot, slot + run.count as usize);
            let (from, to) = (first.max(range.start), end.min(range.end));
            if from < to {
                let skipped = (from - first) as i64;
                self.origins.push(Run {
                    split: run.split,
                    partition: run.partition,
                    first_offset: run.first_offset + skipped,
                    count: (to - from) as u32,
                });
            }
            slot = end;
        }
    }

    /// Partition and offset of a slot, where the source has them.
    pub fn origin(&self, slot: usize) -> Option<(i32, i64)> {
        let mut first = 0;
        for run in &self.origins {
            let count = run.count as usize;
            if slot < first + count {
                return Some((run.partition, run.first_offset + (slot - first) as i64));
            }
            first += count;
        }
        None
    }

    /// Index of the split that a slot came from, where the source has them.
    pub fn split(&self, slot: usize) -> Option<u32> {
        let mut end = 0;
        self.origins.iter().find_map(|run| {
            end += run.count as usize;
            (slot < end).then_some(run.split)
        })
    }

    /// Notes where the next slot came from, extending the last run where it is consecutive.
    #[inline]
    pub fn push_origin(&mut self, split: u32, partition: i32, offset: i64) {
        match self.origins.last_mut() {
            Some(run) if run.split == split && run.first_offset + i64::from(run.count) == offset => run.count += 1,
            _ => self.origins.push(Run { split, partition, first_offset: offset, count: 1 }),
        }
    }
}

/// Marks between batches. Each travels in order with the records of its channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// No record with an earlier event time is expected.
    Watermark(i64),
    /// The channel leaves the minimum of watermarks until it speaks again.
    Idle,
    /// Records before it belong to this epoch, those behind it to the next.
    Barrier(Epoch),
    /// The checkpoint of this epoch is given up.
    Cancel(Epoch),
    /// Nothing follows.
    EndOfInput,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_column_gives_back_what_was_pushed(items: Vec<Option<Vec<u8>>>, cut in 0usize..20) {
            let column: Column = items.iter().map(|i| i.as_deref()).collect();
            let cut = cut.min(items.len());
            let mut copy = Column::default();
            copy.extend_from(&column, 0..cut);
            copy.extend_from(&column, cut..items.len());
            prop_assert_eq!(&copy, &column);
            let back: Vec<Option<Vec<u8>>> = column.iter().map(|i| i.map(<[u8]>::to_vec)).collect();
            prop_assert_eq!(back, items);
        }
    }

    proptest! {
        #[test]
        fn items_that_are_picked_are_what_they_were(items: Vec<Option<Vec<u8>>>, picked: Vec<prop::sample::Index>) {
            let column: Column = items.iter().map(|i| i.as_deref()).collect();
            let slots: Vec<u32> = match items.len() {
                0 => Vec::new(),
                len => picked.iter().map(|index| index.index(len) as u32).collect(),
            };
            let mut some = Column::default();
            some.extend_slots(&column, &slots);
            let wanted: Vec<_> = slots.iter().map(|slot| items[*slot as usize].as_deref()).collect();
            prop_assert_eq!(some.iter().collect::<Vec<_>>(), wanted);
        }
    }

    #[test]
    fn single_slots_are_what_they_were_in_the_other_batch() {
        let mut batch = Batch::default();
        for (slot, (partition, offset)) in [(0, 5), (0, 6), (0, 9), (1, 0), (1, 1)].into_iter().enumerate() {
            batch.times.push(offset);
            batch.keys.push((slot % 2 == 0).then_some(&[slot as u8]));
            batch.values.push(Some(&vec![b'v'; slot]));
            batch.headers.push((slot == 3).then_some(b"h"));
            batch.partitions.push(if slot == 1 { 7 } else { BY_KEY });
            batch.push_origin(partition as u32, partition, offset);
        }
        let (mut once, mut ranges) = (Batch::default(), Batch::default());
        let slots = [0, 1, 3, 4];
        once.extend_slots(&batch, &slots);
        slots.iter().for_each(|slot| ranges.extend_from(&batch, *slot as usize..*slot as usize + 1));
        let origins = |batch: &Batch| (0..4).map(|slot| batch.origin(slot)).collect::<Vec<_>>();
        assert_eq!(origins(&once), [Some((0, 5)), Some((0, 6)), Some((1, 0)), Some((1, 1))]);
        assert_eq!(once.origins.len(), 2, "what follows on is one run");
        assert_eq!(origins(&ranges), origins(&once));
        ranges.origins = once.origins.clone();
        assert_eq!(once, ranges);
    }

    #[test]
    fn origins_survive_a_cut() {
        let mut batch = Batch::default();
        for (partition, offset) in [(0, 5), (0, 6), (0, 9), (1, 0), (1, 1)] {
            batch.times.push(offset);
            batch.keys.push(None);
            batch.values.push(Some(b"v"));
            batch.push_origin(partition as u32, partition, offset);
        }
        let mut part = Batch::default();
        part.extend_from(&batch, 1..4);
        let origins: Vec<_> = (0..4).map(|slot| part.origin(slot)).collect();
        assert_eq!(origins, [Some((0, 6)), Some((0, 9)), Some((1, 0)), None]);
    }
}
