//! The live database as both sides see it: the snapshot thread brings it up to date, subtasks read from it what they have
//! evicted. Owns the handle and the word up to which epoch it is up to date; decides nothing.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{RwLock, RwLockReadGuard};

use rocksdb::{DB, ReadOptions};
use weir_core::ids::Epoch;

use super::Error;
use super::options::{failed_live, options};

/// See the module.
#[derive(Debug, Default)]
pub struct Live {
    db: RwLock<Option<DB>>,
    /// The newest epoch whose changes are all in it.
    ingested: AtomicU64,
    /// Somebody reads from it, or soon will.
    wanted: AtomicBool,
}

impl Live {
    /// Asks that it be kept up to date from now on.
    pub(super) fn want(&self) {
        self.wanted.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_wanted(&self) -> bool {
        self.wanted.load(Ordering::Relaxed)
    }

    /// What a generation of this epoch or an older one has changed can be read. Nothing can while no database is open.
    pub(super) fn ingested(&self) -> Epoch {
        Epoch(self.ingested.load(Ordering::Acquire))
    }

    pub(super) fn set_ingested(&self, epoch: Epoch) {
        self.ingested.store(epoch.0, Ordering::Release);
    }

    /// Waits for readers that are at work.
    pub(super) fn replace(&self, db: Option<DB>) {
        *self.db.write().unwrap_or_else(|poisoned| poisoned.into_inner()) = db;
    }

    /// The database, for as long as it is held.
    pub(super) fn read(&self) -> RwLockReadGuard<'_, Option<DB>> {
        self.db.read().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Looks up keys, and hands on the number and the value of each that is there.
    pub(super) fn get(
        &self,
        keys: &[Vec<u8>],
        mut found: impl FnMut(usize, &[u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let guard = self.read();
        let db = guard.as_ref().ok_or_else(closed)?;
        let family = db.cf_handle(FAMILY).ok_or_else(closed)?;
        for (at, value) in db.batched_multi_get_cf(&family, keys, false).into_iter().enumerate() {
            if let Some(value) = value.map_err(|e| failed_live("reading", db.path(), e))? {
                found(at, &value)?;
            }
        }
        Ok(())
    }

    /// Hands on every entry whose key starts with one of `prefixes`. One cursor serves for all of them: to make one costs more
    /// than to move it, and least where they are sorted.
    pub(super) fn scan(
        &self,
        prefixes: &[Vec<u8>],
        mut entry: impl FnMut(&[u8], &[u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        if prefixes.is_empty() {
            return Ok(());
        }
        let guard = self.read();
        let db = guard.as_ref().ok_or_else(closed)?;
        let mut cursor = db.raw_iterator();
        for prefix in prefixes {
            cursor.seek(prefix);
            while let Some((key, value)) = cursor.item()
                && key.starts_with(prefix)
            {
                entry(key, value)?;
                cursor.next();
            }
            cursor.status().map_err(|e| failed_live("reading", db.path(), e))?;
        }
        Ok(())
    }
}

/// The one column family. Named, since only what is opened by name can be read in batches.
const FAMILY: &str = rocksdb::DEFAULT_COLUMN_FAMILY_NAME;

/// It tidies nothing up before [`tidy`] is called: a restore has no use for it, and would wait for it.
pub(super) fn open(path: &Path) -> Result<DB, Error> {
    let mut options = options(true);
    options.set_disable_auto_compactions(true);
    DB::open_cf_with_opts(&options, path, [(FAMILY, options.clone())]).map_err(|e| failed_live("opening", path, e))
}

/// From now on what was written over is tidied up, in the background.
pub(super) fn tidy(db: &DB) -> Result<(), Error> {
    let set = db.set_options(&[("disable_auto_compactions", "false")]);
    set.map_err(|e| failed_live("setting an option of", db.path(), e))
}

/// To say that a key is not there would be to lose it.
fn closed() -> Error {
    Error::Entry("it was evicted, and the database that it lies in is not open".to_owned())
}

/// Hands on every entry of a database whose key starts with `prefix`, in order.
pub(super) fn scan(
    db: &DB,
    mut read: ReadOptions,
    prefix: &[u8],
    mut entry: impl FnMut(&[u8], &[u8]) -> Result<(), Error>,
) -> Result<(), Error> {
    if let Some(end) = behind(prefix) {
        read.set_iterate_upper_bound(end);
    }
    let mut cursor = db.raw_iterator_opt(read);
    cursor.seek(prefix);
    while let Some((key, value)) = cursor.item() {
        entry(key, value)?;
        cursor.next();
    }
    cursor.status().map_err(|e| failed_live("reading", db.path(), e))
}

/// For reading much, once.
pub(super) fn in_bulk() -> ReadOptions {
    let mut read = ReadOptions::default();
    read.fill_cache(false);
    read.set_readahead_size(2 << 20);
    read
}

/// The first key behind all that start with `prefix`; `None` if there is none.
fn behind(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != 0xff)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end)
}
