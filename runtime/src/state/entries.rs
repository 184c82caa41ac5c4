//! The keys that have state or are named by the running call: one entry a key, numbered. What a key holds lies under the
//! same number in `values`, `maps` and `timers`.

use super::array::Array;
use super::heap::Heap;
use super::index::Index;
use super::prefetch::prefetch;
use super::small;

/// In no list of dirty entries.
pub(super) const UNLISTED: u8 = 0;

/// Keys up to this length lie in the entry: a UUID as text fits.
const INLINE: usize = 36;

/// One cache line.
#[derive(Debug, Clone)]
#[repr(C, align(64))]
pub(super) struct Entry {
    pub(super) hash: u64,
    /// The call that named this key last, and its ordinal there.
    pub(super) stamp: u32,
    pub(super) ord: u32,
    /// How many things keep the entry: values, map fields and timers, tombstones included.
    pub(super) held: u32,
    /// The generation in whose list of dirty entries it is, or [`UNLISTED`]. Belongs to the number, not to the key: an entry
    /// may be dropped while listed.
    pub(super) listed: u8,
    live: bool,
    /// The low bits of the epoch at which it was copied out last. A working set that stays within no budget ignores it.
    pub(super) epoch: u16,
    key_len: u32,
    key: [u8; INLINE],
}

#[derive(Debug)]
pub(super) struct Entries {
    index: Index,
    entries: Array<Entry>,
    free: Vec<u32>,
    long_keys: Heap,
    /// The low bits of the last epoch that a barrier closed.
    pub(super) closed_epoch: u16,
}

impl Entry {
    /// Whether it has a key now.
    pub(super) fn is_live(&self) -> bool {
        self.live
    }
}

impl Entries {
    pub(super) fn new() -> Entries {
        const { assert!(size_of::<Entry>() == 64) };
        Entries {
            index: Index::new(),
            entries: Array::new(),
            free: Vec::new(),
            long_keys: Heap::default(),
            closed_epoch: 0,
        }
    }

    /// Numbers that were ever given out.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// What one takes here, beside a long key.
    pub(super) fn entry_bytes(&self) -> usize {
        size_of::<Entry>()
    }

    /// What long keys take.
    pub(super) fn heap_bytes(&self) -> usize {
        self.long_keys.held()
    }

    /// Entries that hold a key now.
    pub(super) fn live(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    /// So few that asking for cache lines in advance costs more than it saves.
    pub(super) fn fit_in_cache(&self) -> bool {
        self.entries.len() <= 4096
    }

    #[inline(always)]
    pub(super) fn get(&self, entry: u32) -> &Entry {
        &self.entries[entry as usize]
    }

    #[inline(always)]
    pub(super) fn get_mut(&mut self, entry: u32) -> &mut Entry {
        &mut self.entries[entry as usize]
    }

    #[inline]
    pub(super) fn key(&self, entry: u32) -> &[u8] {
        let e = &self.entries[entry as usize];
        match e.key_len as usize {
            len if len <= INLINE => &e.key[..len],
            _ => self.long_keys.get(long(&e.key)),
        }
    }

    #[inline(always)]
    pub(super) fn prefetch(&self, entry: u32) {
        prefetch(&self.entries, entry as usize);
    }

    #[inline(always)]
    pub(super) fn prefetch_index(&self, hash: u64) {
        self.index.prefetch(hash);
    }

    /// The entry that this hash most likely belongs to, with its line asked for.
    #[inline(always)]
    pub(super) fn prefetch_entry(&self, hash: u64) -> Option<u32> {
        let entry = self.index.find(hash, |_| true)?;
        prefetch(&self.entries, entry as usize);
        Some(entry)
    }

    #[inline(always)]
    pub(super) fn find(&self, hash: u64, key: &[u8]) -> Option<u32> {
        self.index.find(hash, |entry| self.is(entry, hash, key))
    }

    /// Whether this live entry has that key.
    #[inline(always)]
    pub(super) fn is(&self, entry: u32, hash: u64, key: &[u8]) -> bool {
        let e = &self.entries[entry as usize];
        e.hash == hash
            && e.key_len as usize == key.len()
            && if key.len() <= INLINE { small::same(&e.key, key) } else { self.long_keys.get(long(&e.key)) == key }
    }

    /// Before a batch: what is inserted until the next call does not grow the index.
    pub(super) fn reserve(&mut self, more: usize) {
        self.index.reserve(more);
    }

    /// Adds a key that is not there.
    pub(super) fn insert(&mut self, hash: u64, key: &[u8]) -> u32 {
        let mut inline = [0; INLINE];
        if key.len() <= INLINE {
            inline[..key.len()].copy_from_slice(key);
        } else {
            inline[..4].copy_from_slice(&self.long_keys.put(key).to_ne_bytes());
        }
        let number = self.free.pop().unwrap_or(self.entries.len() as u32);
        let listed = self.entries.get(number as usize).map_or(UNLISTED, |e| e.listed);
        let (epoch, key_len) = (self.closed_epoch, key.len() as u32);
        let entry = Entry { hash, stamp: 0, ord: 0, held: 0, listed, live: true, epoch, key_len, key: inline };
        match self.entries.get_mut(number as usize) {
            Some(place) => *place = entry,
            None => self.entries.push(entry),
        }
        self.index.insert(hash, number);
        number
    }

    /// Drops the entry if nothing keeps it.
    #[inline]
    pub(super) fn drop_if_empty(&mut self, entry: u32) {
        let e = &mut self.entries[entry as usize];
        if e.live && e.held == 0 {
            e.live = false;
            let (hash, long_key) = (e.hash, (e.key_len as usize > INLINE).then(|| long(&e.key)));
            // It may still be listed as dirty: whoever comes to it finds no key and nothing to write.
            e.key_len = 0;
            if let Some(block) = long_key {
                self.long_keys.free(block);
            }
            self.index.remove(hash, entry);
            self.free.push(entry);
        }
    }

    /// Before the counter of calls starts again.
    pub(super) fn forget_stamps(&mut self) {
        self.entries.iter_mut().for_each(|e| e.stamp = 0);
    }

    pub(super) fn bytes(&self) -> usize {
        self.index.bytes()
            + self.entries.capacity() * size_of::<Entry>()
            + self.free.capacity() * 4
            + self.long_keys.bytes()
    }
}

fn long(key: &[u8; INLINE]) -> u32 {
    u32::from_ne_bytes([key[0], key[1], key[2], key[3]])
}
