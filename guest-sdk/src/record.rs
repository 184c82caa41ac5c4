//! What a call brings: records of one input, or timers that are due, read in place from the columns of the contract.

use std::cell::OnceCell;

use crate::column::Column;
use crate::host;

/// No record or timer: rows of `on_watermark` and `on_end`.
pub(crate) const NONE: u32 = u32::MAX;

/// The records of one call, all of one input.
pub struct Batch<'a> {
    pub(crate) input: u32,
    pub(crate) ords: &'a [u32],
    pub(crate) times: &'a [i64],
    pub(crate) keys: Column<'a>,
    pub(crate) values: Column<'a>,
    headers: OnceCell<Column<'static>>,
    origins: OnceCell<(&'static [u32], &'static [i64])>,
}

impl<'a> Batch<'a> {
    pub(crate) fn new(
        input: u32,
        ords: &'a [u32],
        times: &'a [i64],
        keys: Column<'a>,
        values: Column<'a>,
    ) -> Batch<'a> {
        Batch { input, ords, times, keys, values, headers: OnceCell::new(), origins: OnceCell::new() }
    }

    /// How many records.
    pub fn len(&self) -> usize {
        self.times.len()
    }

    /// Never true in a call of the host.
    pub fn is_empty(&self) -> bool {
        self.times.is_empty()
    }

    /// Index of the input in the descriptor.
    pub fn input(&self) -> u32 {
        self.input
    }

    /// The record in `slot`. Panics past the end.
    pub fn record(&self, slot: u32) -> Record<'_> {
        assert!((slot as usize) < self.len(), "slot {slot} of a batch of {}", self.len());
        Record { batch: self, slot }
    }

    /// The records in order.
    pub fn records(&self) -> impl Iterator<Item = Record<'_>> {
        (0..self.len() as u32).map(|slot| Record { batch: self, slot })
    }

    fn headers(&self) -> Column<'a> {
        *self.headers.get_or_init(host::headers)
    }
}

/// One record, borrowed from its batch.
#[derive(Clone, Copy)]
pub struct Record<'a> {
    batch: &'a Batch<'a>,
    slot: u32,
}

impl<'a> Record<'a> {
    /// The key, empty if it is null. The input must ask for "keys".
    #[inline]
    pub fn key(&self) -> &'a [u8] {
        self.batch.keys.bytes(self.slot as usize)
    }

    /// The key, `None` if it is null, which is not the same as empty.
    #[inline]
    pub fn key_opt(&self) -> Option<&'a [u8]> {
        self.batch.keys.get(self.slot as usize)
    }

    /// The value, empty if it is null. The input must ask for "values".
    #[inline]
    pub fn value(&self) -> &'a [u8] {
        self.batch.values.bytes(self.slot as usize)
    }

    /// The value, `None` if it is null (a tombstone), which is not the same as empty.
    #[inline]
    pub fn value_opt(&self) -> Option<&'a [u8]> {
        self.batch.values.get(self.slot as usize)
    }

    /// Event time in milliseconds since 1970.
    #[inline]
    pub fn time(&self) -> i64 {
        self.batch.times[self.slot as usize]
    }

    /// Index of the input in the descriptor.
    #[inline]
    pub fn input(&self) -> u32 {
        self.batch.input
    }

    /// Index of the record in its batch.
    #[inline]
    pub fn slot(&self) -> u32 {
        self.slot
    }

    /// Dense number of the key within this call, `None` when the input is not keyed.
    #[inline]
    pub fn ord(&self) -> Option<u32> {
        self.batch.ords.get(self.slot as usize).copied()
    }

    /// Kafka headers: names, and values that may be null. The first use in a call fetches those of the whole batch.
    pub fn headers(&self) -> Headers<'a> {
        let headers = self.batch.headers();
        Headers { rest: if headers.is_empty() { &[] } else { headers.bytes(self.slot as usize) } }
    }

    /// Partition and offset, where the source has them. The first use in a call fetches those of the whole batch.
    pub fn origin(&self) -> Option<(u32, i64)> {
        let (partitions, offsets) = *self.batch.origins.get_or_init(host::origins);
        Some((*partitions.get(self.slot as usize)?, *offsets.get(self.slot as usize)?))
    }
}

/// The headers of a record, in order.
pub struct Headers<'a> {
    rest: &'a [u8],
}

#[cfg(not(target_family = "wasm"))]
impl<'a> Headers<'a> {
    pub(crate) fn read(encoded: &'a [u8]) -> Headers<'a> {
        Headers { rest: encoded }
    }
}

impl<'a> Iterator for Headers<'a> {
    type Item = (&'a str, Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        let (name_len, rest) = self.rest.split_first_chunk::<2>()?;
        let (name, rest) = rest.split_at_checked(u16::from_le_bytes(*name_len) as usize)?;
        let (value_len, rest) = rest.split_first_chunk::<4>()?;
        let value_len = u32::from_le_bytes(*value_len);
        let (value, rest) = match value_len {
            u32::MAX => (None, rest),
            len => rest.split_at_checked(len as usize).map(|(value, rest)| (Some(value), rest))?,
        };
        self.rest = rest;
        Some((std::str::from_utf8(name).unwrap_or("\u{fffd}"), value))
    }
}

/// Event time or processing time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Domain {
    /// Moves with the watermark.
    Event = 0,
    /// Moves with the host's clock.
    Processing = 1,
}

/// The timers of one call: at most one per key.
pub(crate) struct DueBatch<'a> {
    pub(crate) domain: Domain,
    pub(crate) ords: &'a [u32],
    pub(crate) times: &'a [i64],
    pub(crate) tags: &'a [u64],
    pub(crate) keys: Column<'a>,
}

impl DueBatch<'_> {
    pub(crate) fn timers(&self) -> impl Iterator<Item = Due<'_>> {
        (0..self.times.len() as u32).map(|slot| Due { batch: self, slot })
    }
}

/// One timer that is due.
#[derive(Clone, Copy)]
pub struct Due<'a> {
    batch: &'a DueBatch<'a>,
    slot: u32,
}

impl<'a> Due<'a> {
    /// The time for which it was set.
    #[inline]
    pub fn time(&self) -> i64 {
        self.batch.times[self.slot as usize]
    }

    /// The tag with which it was set.
    #[inline]
    pub fn tag(&self) -> u64 {
        self.batch.tags[self.slot as usize]
    }

    /// The key. An input must ask for "keys".
    #[inline]
    pub fn key(&self) -> &'a [u8] {
        self.batch.keys.bytes(self.slot as usize)
    }

    /// Event time or processing time.
    pub fn domain(&self) -> Domain {
        self.batch.domain
    }

    pub(crate) fn slot(&self) -> u32 {
        self.slot
    }

    pub(crate) fn ord(&self) -> u32 {
        self.batch.ords[self.slot as usize]
    }
}
