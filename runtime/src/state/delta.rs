//! One delta: what an epoch changed, sorted, as one table file that RocksDB can ingest. Runs on the background side.
//!
//! Entries lie in what was sealed in the order in which they were first changed, which is no order of keys: to look at them
//! in the order of keys is to wait for memory at each one. So all that decides the order is taken along while they are read
//! as they lie, and sorted key group by key group, each of which fits into a near cache.

use std::path::Path;

use rocksdb::SstFileWriter;
use weir_core::key_group::KEY_GROUPS;

use super::options::{failed, options};
use super::sealed::Place;
use super::{Error, SealedState, key};

/// Writes a delta of what several generations sealed, oldest first: of one key the newest entry counts. Returns whether
/// there was anything to write. The file is fsynced by RocksDB. With `filter` it can tell fast what it does not hold.
pub(super) fn write(sealed: &[SealedState], path: &Path, filter: bool) -> Result<bool, Error> {
    let rows = sorted(sealed)?;
    if rows.is_empty() {
        return Ok(false);
    }
    let options = options(filter);
    let mut writer = SstFileWriter::create(&options);
    writer.open(path).map_err(|e| failed("creating", path, e))?;
    for (number, row) in rows.iter().enumerate() {
        if let Some(later) = rows.get(number + AHEAD) {
            sealed[later.generation as usize].prefetch(later.place);
        }
        let (key, value) = row.get(sealed);
        // The one before has the same key, and is newer.
        if number > 0 && rows[number - 1].prefix == row.prefix && rows[number - 1].get(sealed).0 == key {
            continue;
        }
        let put = match value {
            Some(value) => writer.put(key, value),
            None => writer.delete(key),
        };
        put.map_err(|e| failed("writing", path, e))?;
    }
    writer.finish().map_err(|e| failed("finishing", path, e))?;
    Ok(true)
}

/// In the order of keys the entries lie anywhere in what was sealed: each is asked for this many entries before its turn.
const AHEAD: usize = 16;

/// An entry, with what decides most comparisons within its bucket.
#[derive(Debug, Clone, Copy, Default)]
struct Row {
    prefix: u64,
    place: Place,
    generation: u32,
}

impl Row {
    fn get<'s>(&self, sealed: &'s [SealedState]) -> (&'s [u8], Option<&'s [u8]>) {
        sealed[self.generation as usize].at(self.place)
    }
}

/// The entries of one key group and state.
#[derive(Debug, Clone, Default)]
struct Bucket<'s> {
    /// One of its keys, and how many bytes of it all others begin with too.
    first: &'s [u8],
    common: usize,
    /// How many there are; then, where the next one goes.
    rows: usize,
}

impl<'s> Bucket<'s> {
    fn count(&mut self, key: &'s [u8]) {
        if self.rows == 0 {
            (self.first, self.common) = (key, key.len());
        } else if !key.starts_with(&self.first[..self.common]) {
            self.common = key.iter().zip(self.first).take_while(|(a, b)| a == b).count();
        }
        self.rows += 1;
    }
}

/// Buckets of all key groups of the states that were seen.
#[derive(Default)]
struct Buckets<'s> {
    states: Vec<u16>,
    buckets: Vec<Bucket<'s>>,
}

impl<'s> Buckets<'s> {
    fn of(&mut self, key: &[u8]) -> Result<&mut Bucket<'s>, Error> {
        let (group, state, _) = key::split(key)?;
        let known = self.states.iter().position(|known| *known == state).unwrap_or_else(|| {
            self.states.push(state);
            self.buckets.resize(self.states.len() * usize::from(KEY_GROUPS), Bucket::default());
            self.states.len() - 1
        });
        Ok(&mut self.buckets[known * usize::from(KEY_GROUPS) + usize::from(group.0 % KEY_GROUPS)])
    }

    /// Gives each bucket its place among all rows, in the order of their keys. Returns where each ends, and how many there are.
    fn lay_out(&mut self) -> (Vec<usize>, usize) {
        let mut states: Vec<usize> = (0..self.states.len()).collect();
        states.sort_unstable_by_key(|state| self.states[*state]);
        let (mut ends, mut all) = (Vec::with_capacity(self.buckets.len()), 0);
        for group in 0..usize::from(KEY_GROUPS) {
            for state in &states {
                let bucket = &mut self.buckets[state * usize::from(KEY_GROUPS) + group];
                all += std::mem::replace(&mut bucket.rows, all);
                ends.push(all);
            }
        }
        (ends, all)
    }
}

/// All entries in the order of keys; of one key the newest generation first.
fn sorted(sealed: &[SealedState]) -> Result<Vec<Row>, Error> {
    let mut buckets = Buckets::default();
    for state in sealed {
        for place in state.places() {
            let key = state.at(*place).0;
            buckets.of(key)?.count(key);
        }
    }
    let (ends, all) = buckets.lay_out();
    let mut rows = vec![Row::default(); all];
    for (generation, state) in (0..).zip(sealed) {
        for place in state.places() {
            let key = state.at(*place).0;
            let bucket = buckets.of(key)?;
            rows[bucket.rows] = Row { prefix: prefix(&key[bucket.common..]), place: *place, generation };
            bucket.rows += 1;
        }
    }
    let mut begin = 0;
    for end in ends {
        let rows = &mut rows[begin..end];
        rows.sort_unstable_by_key(|row| row.prefix);
        for tied in rows.chunk_by_mut(|a, b| a.prefix == b.prefix).filter(|tied| tied.len() > 1) {
            let key = |row: &Row| row.get(sealed).0;
            tied.sort_unstable_by(|a, b| key(a).cmp(key(b)).then(b.generation.cmp(&a.generation)));
        }
        begin = end;
    }
    Ok(rows)
}

/// The first eight bytes.
fn prefix(key: &[u8]) -> u64 {
    if let Some(bytes) = key.first_chunk::<8>() {
        return u64::from_be_bytes(*bytes);
    }
    let mut bytes = [0; 8];
    bytes[..key.len()].copy_from_slice(key);
    u64::from_be_bytes(bytes)
}
