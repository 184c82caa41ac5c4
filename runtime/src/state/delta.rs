//! One delta: what an epoch changed, sorted, as one table file that RocksDB can ingest. Runs on the background side.

use std::path::Path;

use rocksdb::SstFileWriter;

use super::options::{failed, options};
use super::{Error, SealedState};

/// Writes a delta of what several generations sealed, oldest first: of one key the newest entry counts. Returns whether
/// there was anything to write. The file is fsynced by RocksDB. With `filter` it can tell fast what it does not hold.
pub(super) fn write(sealed: &[SealedState], path: &Path, filter: bool) -> Result<bool, Error> {
    let mut order = by_prefix(sealed);
    if order.is_empty() {
        return Ok(false);
    }
    let options = options(filter);
    let mut writer = SstFileWriter::create(&options);
    writer.open(path).map_err(|e| failed("creating", path, e))?;
    let (mut from, mut asked) = (0, 0);
    while from < order.len() {
        while asked < order.len().min(from + AHEAD) {
            order[asked].prefetch(sealed);
            asked += 1;
        }
        for at in settle_run(sealed, &mut order, &mut from) {
            let put = match at.get(sealed) {
                (key, Some(value)) => writer.put(key, value),
                (key, None) => writer.delete(key),
            };
            put.map_err(|e| failed("writing", path, e))?;
        }
    }
    writer.finish().map_err(|e| failed("finishing", path, e))?;
    Ok(true)
}

/// An entry's place, with what decides most comparisons.
#[derive(Debug, Clone, Copy)]
struct At {
    prefix: [u64; 2],
    generation: u32,
    item: u32,
}

/// In the order of keys the entries lie anywhere in what was sealed: each is asked for this many entries before its turn.
const AHEAD: usize = 16;

impl At {
    fn prefetch(self, sealed: &[SealedState]) {
        sealed[self.generation as usize].prefetch(self.item as usize);
    }

    fn get(self, sealed: &[SealedState]) -> (&[u8], Option<&[u8]>) {
        sealed[self.generation as usize].get(self.item as usize)
    }
}

/// All entries in the order of their prefixes. Looks at no key: a comparison that had to would wait for memory.
fn by_prefix(sealed: &[SealedState]) -> Vec<At> {
    let mut order = Vec::with_capacity(sealed.iter().map(SealedState::len).sum());
    for (generation, state) in sealed.iter().enumerate() {
        order.extend((0..state.len()).map(|item| {
            let prefix = prefix(state.get(item).0);
            At { prefix, generation: generation as u32, item: item as u32 }
        }));
    }
    order.sort_unstable_by_key(|at| at.prefix);
    order
}

/// The entries of one prefix, from `from` on, by whole keys and of each key only the newest. Moves `from` behind them.
fn settle_run<'o>(sealed: &[SealedState], order: &'o mut [At], from: &mut usize) -> impl Iterator<Item = At> + use<'o> {
    let run = &mut order[*from..];
    let len = run.iter().take_while(|at| at.prefix == run[0].prefix).count();
    *from += len;
    let run = &mut run[..len];
    let mut kept = len;
    if len > 1 {
        let key = |at: &At| at.get(sealed).0;
        run.sort_unstable_by(|a, b| key(a).cmp(key(b)).then(b.generation.cmp(&a.generation)));
        kept = 1;
        for next in 1..len {
            if key(&run[next]) != key(&run[kept - 1]) {
                run[kept] = run[next];
                kept += 1;
            }
        }
    }
    run[..kept].iter().copied()
}

/// The first sixteen bytes. The first four, key group and state, are the same in many keys: what is behind them decides.
fn prefix(key: &[u8]) -> [u64; 2] {
    let mut bytes = [0; 16];
    let len = key.len().min(16);
    bytes[..len].copy_from_slice(&key[..len]);
    let bits = u128::from_be_bytes(bytes);
    [(bits >> 64) as u64, bits as u64]
}
