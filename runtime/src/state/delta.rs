//! One delta: what an epoch changed, sorted, as one table file that RocksDB can ingest. Runs on the background side.

use std::cmp::Ordering;
use std::path::Path;

use rocksdb::SstFileWriter;

use super::options::{failed, options};
use super::{Error, SealedState};

/// Writes a delta of what several generations sealed, oldest first: of one key the newest entry counts. Returns whether
/// there was anything to write. The file is fsynced by RocksDB.
pub(super) fn write(sealed: &[SealedState], path: &Path) -> Result<bool, Error> {
    let order = sort(sealed);
    if order.is_empty() {
        return Ok(false);
    }
    let options = options();
    let mut writer = SstFileWriter::create(&options);
    writer.open(path).map_err(|e| failed("creating", path, e))?;
    for (i, at) in order.iter().enumerate() {
        if let Some(later) = order.get(i + AHEAD) {
            later.prefetch(sealed);
        }
        let put = match at.get(sealed) {
            (key, Some(value)) => writer.put(key, value),
            (key, None) => writer.delete(key),
        };
        put.map_err(|e| failed("writing", path, e))?;
    }
    writer.finish().map_err(|e| failed("finishing", path, e))?;
    Ok(true)
}

/// An entry's place, with what decides most comparisons.
#[derive(Clone, Copy)]
struct At {
    prefix: [u64; 2],
    generation: u32,
    item: u32,
}

/// In the order of keys the entries lie anywhere in what was sealed: each is asked for this many entries before its turn.
const AHEAD: usize = 8;

impl At {
    fn prefetch(self, sealed: &[SealedState]) {
        sealed[self.generation as usize].prefetch(self.item as usize);
    }

    fn get(self, sealed: &[SealedState]) -> (&[u8], Option<&[u8]>) {
        sealed[self.generation as usize].get(self.item as usize)
    }
}

/// All entries by key, of each key only the newest.
fn sort(sealed: &[SealedState]) -> Vec<At> {
    let mut order = Vec::with_capacity(sealed.iter().map(SealedState::len).sum());
    for (generation, state) in sealed.iter().enumerate() {
        order.extend((0..state.len()).map(|item| {
            let prefix = prefix(state.get(item).0);
            At { prefix, generation: generation as u32, item: item as u32 }
        }));
    }
    let by_key = |a: &At, b: &At| match a.prefix.cmp(&b.prefix) {
        Ordering::Equal => a.get(sealed).0.cmp(b.get(sealed).0),
        unequal => unequal,
    };
    order.sort_unstable_by(|a, b| by_key(a, b).then(b.generation.cmp(&a.generation)));
    order.dedup_by(|later, first| by_key(later, first) == Ordering::Equal);
    order
}

/// The first sixteen bytes. The first four, key group and state, are the same in many keys: what is behind them decides,
/// and a comparison that has to look at the keys themselves waits for memory.
fn prefix(key: &[u8]) -> [u64; 2] {
    let mut bytes = [0; 16];
    let len = key.len().min(16);
    bytes[..len].copy_from_slice(&key[..len]);
    let bits = u128::from_be_bytes(bytes);
    [(bits >> 64) as u64, bits as u64]
}
