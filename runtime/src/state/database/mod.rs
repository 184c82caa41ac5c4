//! The durable side of one pipeline's state: a chain of a base and deltas in a store, and behind it a live
//! RocksDB that makes the next base. Owned by the pipeline's snapshot thread; every call blocks. Knows no manifest.
//!
//! The commit path writes one delta an epoch and nothing else. The live database serves to fold deltas into a base, away from
//! that path, and holds what was evicted from memory; it is thrown away at every start, so it needs no log.

mod fill;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rocksdb::checkpoint::Checkpoint;
use rocksdb::{DB, IngestExternalFileOptions};
use weir_core::checkpoint::manifest::{FileRef, StateFiles};
use weir_core::ids::{Epoch, Token};

use super::files::{Files, VerifiedFiles, list_dir};
use super::options::failed_live;
use super::{Error, KeyedState, Live, Migrate, SealedState, delta, live, migrate};
use crate::crash;
use crate::storage::Storage;

/// More deltas than this make a new base.
const DELTAS_MAX: usize = 16;
/// So do deltas of more bytes than this and than half of the base.
const DELTA_BYTES_MIN: u64 = 64 << 20;

/// The state of one pipeline on disk.
#[derive(Debug)]
pub struct Database {
    files: Files,
    /// Where live databases lie: a new one each time that one had to be given up.
    dir: PathBuf,
    places: u32,
    /// The one that is open, with those who read from it.
    live: Arc<Live>,
    /// Whether it is as good as the chain, up to `ingested`; else a new one is made before it is used again.
    is_sound: bool,
    /// A new one is laid out and not yet opened.
    is_placed: bool,
    /// The one that is open tidies up what was written over.
    is_tidy: bool,
    /// What the next manifest names, beside the delta that is still to come.
    chain: StateFiles,
    /// How many of the chain's deltas the live database has.
    ingested: usize,
    /// Sealed generations of declined epochs: the next delta holds them too.
    declined: Vec<SealedState>,
    /// The epoch up to which the chain has everything.
    written: Epoch,
}

/// What a snapshot is restored into.
pub struct Restoring<'a, 'b> {
    /// The working sets of all subtasks.
    pub nodes: &'a mut [&'b mut KeyedState],
    /// Decides about entries of a state id that nobody declares: they are left out, or the restore fails with the name that
    /// it gives.
    pub stray: &'a dyn Fn(u16) -> Result<(), String>,
    /// Rewrites values of older schema versions, before any of them is loaded.
    pub migrate: Option<&'a mut dyn Migrate>,
}

impl Database {
    /// An empty one, for a first start. `dir` is thrown away and made anew; `live` is the door for those who read.
    pub fn create(storage: Arc<dyn Storage>, dir: &Path, token: Token, live: Arc<Live>) -> Result<Database, Error> {
        Database::over(storage, dir, token, live, StateFiles::default())
    }

    /// Rebuilds the live database from a snapshot of this epoch and fills the working sets from it, as far as their budget
    /// goes; the rest stays in the database. A database of an earlier attempt in this process is dropped before. What is
    /// migrated is one more delta of the chain: each later snapshot names it, or a base that was made behind it.
    pub fn restore(
        storage: Arc<dyn Storage>,
        dir: &Path,
        token: Token,
        live: Arc<Live>,
        (epoch, snapshot): (Epoch, &VerifiedFiles),
        mut into: Restoring<'_, '_>,
    ) -> Result<Database, Error> {
        let mut database = Database::over(storage, dir, token, live, snapshot.files().clone())?;
        database.written = epoch;
        into.nodes.iter_mut().for_each(|node| node.restored_at(epoch));
        if database.chain != StateFiles::default() {
            database.place()?;
            crash::point("restore.files_linked");
            database.ingest()?;
            crash::point("restore.db_opened");
            if let Some(by) = into.migrate.take() {
                database.migrate(by)?;
            }
            // Read twice at once below, by this thread: nobody waits to write yet.
            let live = database.live.read();
            fill::fill(live.as_ref().expect("restore has opened the database"), into)?;
            drop(live);
        }
        Ok(database)
    }

    /// Rewrites values in the live database. Nothing durable names what is written before the next snapshot does.
    fn migrate(&mut self, by: &mut dyn Migrate) -> Result<(), Error> {
        let temporary = self.files.temporary();
        let live = self.live.read();
        let written = migrate::write(live.as_ref().expect("restore has opened the database"), by, &temporary);
        drop(live);
        match written {
            Ok(true) => {
                let file = self.files.keep(&temporary)?;
                self.chain.deltas.push(file);
                crash::point("migrate.written");
                self.ingest()
            }
            Ok(false) => Ok(()),
            Err(error) => {
                let _ = fs::remove_file(&temporary);
                Err(error)
            }
        }
    }

    fn over(
        storage: Arc<dyn Storage>,
        dir: &Path,
        token: Token,
        live: Arc<Live>,
        chain: StateFiles,
    ) -> Result<Database, Error> {
        empty_dir(dir)?;
        let staging = storage.staging();
        fs::create_dir_all(staging).map_err(|e| Error::write("creating", staging, e))?;
        Ok(Database {
            files: Files::new(storage, token),
            dir: dir.to_owned(),
            places: 0,
            live,
            is_sound: false,
            is_placed: false,
            is_tidy: false,
            chain,
            ingested: 0,
            declined: Vec::new(),
            written: Epoch(0),
        })
    }

    /// Writes the delta of an epoch from what its subtasks sealed, and returns what the epoch's manifest names. The files
    /// are fsynced; their names become durable by [`Database::sync`] or by `SnapshotStore::prepare`.
    ///
    /// On [`Error::NoSpace`] the epoch is declined: nothing is lost, the next delta holds what was sealed.
    pub fn write(&mut self, epoch: Epoch, sealed: Vec<SealedState>) -> Result<StateFiles, Error> {
        self.declined.extend(sealed);
        let temporary = self.files.temporary();
        let written = delta::write(&self.declined, &temporary, self.live.is_wanted()).and_then(|any| {
            crash::point("state.written");
            any.then(|| self.files.keep(&temporary)).transpose()
        });
        match written {
            Ok(file) => {
                self.declined.clear();
                self.chain.deltas.extend(file);
                self.written = epoch;
                crash::point("snapshot.linked");
                Ok(self.chain.clone())
            }
            Err(error) => {
                let _ = fs::remove_file(&temporary);
                Err(error)
            }
        }
    }

    /// Behind the commit: where somebody reads from the live database, brings it up to date; now and then folds the deltas
    /// into a new base, which the next manifest names. Returns whether it did. On [`Error::NoSpace`] the chain stays as it
    /// is, and a later call tries again.
    pub fn settle(&mut self) -> Result<bool, Error> {
        let size = |files: &mut dyn Iterator<Item = &FileRef>| files.map(|f| f.bytes).sum::<u64>();
        let (base, deltas) = (size(&mut self.chain.base.values()), size(&mut self.chain.deltas.iter()));
        let folds = self.chain.deltas.len() > DELTAS_MAX || deltas > DELTA_BYTES_MIN.max(base / 2);
        if !folds && !self.live.is_wanted() {
            return Ok(false);
        }
        let settled =
            self.ingest().and_then(|()| self.tidy()).and_then(|()| if folds { self.give_base() } else { Ok(()) });
        // What RocksDB was doing when the disk filled up is not worth asking: a new one starts again from the chain. Who
        // reads from the old one may go on.
        self.is_sound &= settled.is_ok();
        settled.map(|()| folds)
    }

    /// What the next manifest will name, beside its own delta. None of it may be retired.
    pub fn files(&self) -> &StateFiles {
        &self.chain
    }

    /// Makes the names of all files written so far durable.
    pub fn sync(&self) -> Result<(), Error> {
        self.files.sync()
    }

    /// Where the newest live database lies.
    fn place_of_live(&self) -> PathBuf {
        self.dir.join(format!("db-{}", self.places))
    }

    /// Lays out the base for a new live database.
    fn place(&mut self) -> Result<(), Error> {
        self.places += 1;
        let db = self.place_of_live();
        empty_dir(&db)?;
        for (name, file) in &self.chain.base {
            let to = db.join(name);
            // RocksDB never changes a table file; the others it appends to.
            if is_table(name) { self.files.bring_out(file, &to)? } else { self.files.copy_out(file, &to)? }
        }
        self.is_placed = true;
        Ok(())
    }

    /// Brings the live database up to the end of the chain; makes a new one where there is none, or none that is sound.
    fn ingest(&mut self) -> Result<(), Error> {
        if !self.is_sound {
            if !self.is_placed {
                self.place()?;
            }
            self.is_placed = false;
            let path = self.place_of_live();
            let db = live::open(&path)?;
            ingest(&db, &self.files, &self.chain.deltas, &self.dir)?;
            let old = self.places - 1;
            self.live.replace(Some(db));
            remove_dir(&self.dir.join(format!("db-{old}")))?;
            (self.is_sound, self.is_tidy, self.ingested) = (true, false, self.chain.deltas.len());
        } else if let Some(db) = self.live.read().as_ref() {
            ingest(db, &self.files, &self.chain.deltas[self.ingested..], &self.dir)?;
            self.ingested = self.chain.deltas.len();
        }
        self.live.set_ingested(self.written);
        Ok(())
    }

    fn tidy(&mut self) -> Result<(), Error> {
        if let Some(db) = self.live.read().as_ref().filter(|_| !self.is_tidy) {
            live::tidy(db)?;
            self.is_tidy = true;
        }
        Ok(())
    }

    /// A snapshot of the live database becomes the base. Tables that the base before had are not hashed again.
    fn give_base(&mut self) -> Result<(), Error> {
        let path = self.dir.join("base");
        remove_dir(&path)?;
        let live = self.live.read();
        let db = live.as_ref().expect("a base is given by an open database");
        let taken = Checkpoint::new(db).and_then(|c| c.create_checkpoint(&path));
        drop(live);
        taken.map_err(|e| failed_live("taking a snapshot into", &path, e))?;
        let mut base = BTreeMap::new();
        // Without a log there is nothing in its files.
        for name in list_dir(&path)?.into_iter().filter(|name| !name.ends_with(".log")) {
            let from = path.join(&name);
            let file = match self.chain.base.get(&name) {
                Some(known) if is_table(&name) => known.clone(),
                _ if is_table(&name) => self.files.link(&from)?,
                _ => self.files.copy(&from)?,
            };
            base.insert(name, file);
        }
        self.files.sync()?;
        self.chain = StateFiles { base, deltas: Vec::new() };
        self.ingested = 0;
        remove_dir(&path)
    }
}

/// Takes deltas into a live database, oldest first.
fn ingest(db: &DB, files: &Files, deltas: &[FileRef], dir: &Path) -> Result<(), Error> {
    let mut options = IngestExternalFileOptions::default();
    options.set_move_files(true);
    for file in deltas {
        let to = dir.join("delta.sst");
        // A link of our own is moved: the stored file keeps its name. RocksDB leaves its content alone.
        files.bring_out(file, &to)?;
        db.ingest_external_file_opts(&options, vec![&to])
            .map_err(|e| failed_live("ingesting", &files.place(file), e))?;
        if let Err(e) = fs::remove_file(&to)
            && e.kind() != io::ErrorKind::NotFound
        {
            return Err(Error::write("removing", &to, e));
        }
    }
    Ok(())
}

fn is_table(name: &str) -> bool {
    name.ends_with(".sst")
}

fn remove_dir(dir: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(dir) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(Error::fatal("clearing", dir, e)),
        _ => Ok(()),
    }
}

fn empty_dir(dir: &Path) -> Result<(), Error> {
    remove_dir(dir)?;
    fs::create_dir_all(dir).map_err(|e| Error::write("creating", dir, e))
}

#[cfg(test)]
mod tests;
