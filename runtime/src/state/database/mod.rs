//! The durable side of one pipeline's state: a chain of a base and deltas in `checkpoints/files/`, and behind it a live
//! RocksDB that makes the next base. Owned by the pipeline's snapshot thread; every call blocks. Knows no manifest.
//!
//! The commit path writes one delta an epoch and nothing else. The live database only serves to fold deltas into a base,
//! away from that path; it is thrown away at every start, so it needs no log.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rocksdb::checkpoint::Checkpoint;
use rocksdb::{DB, IngestExternalFileOptions, IteratorMode, ReadOptions};
use weir_core::checkpoint::manifest::{FileRef, StateFiles};
use weir_core::ids::Token;

use super::files::{Files, VerifiedFiles, list_dir};
use super::options::{failed_live, options};
use super::{Error, KeyedState, SealedState, delta, key};
use crate::crash;

/// More deltas than this make a new base.
const DELTAS_MAX: usize = 16;
/// So do deltas of more bytes than this and than half of the base.
const DELTA_BYTES_MIN: u64 = 64 << 20;

/// The state of one pipeline on disk.
#[derive(Debug)]
pub struct Database {
    files: Files,
    live: PathBuf,
    db: Option<DB>,
    /// What the next manifest names, beside the delta that is still to come.
    chain: StateFiles,
    /// How many of the chain's deltas the live database has.
    ingested: usize,
    /// Sealed generations of declined epochs: the next delta holds them too.
    declined: Vec<SealedState>,
}

impl Database {
    /// An empty one, for a first start. `files` is `checkpoints/files/`, `live` is thrown away and made anew.
    pub fn create(files: &Path, live: &Path, token: Token) -> Result<Database, Error> {
        Database::over(files, live, token, StateFiles::default())
    }

    /// Rebuilds the live database from a snapshot and fills the working sets from it. `stray` decides about entries of a
    /// state id that nobody here declares: they are left out, or the restore fails with the name that it gives. `live` is thrown away and made anew; a database of an
    /// earlier attempt in this process is dropped before.
    pub fn restore(
        files: &Path,
        live: &Path,
        token: Token,
        snapshot: &VerifiedFiles,
        nodes: &mut [&mut KeyedState],
        stray: impl Fn(u16) -> Result<(), String>,
    ) -> Result<Database, Error> {
        let mut database = Database::over(files, live, token, snapshot.files().clone())?;
        if database.chain != StateFiles::default() {
            database.place()?;
            crash::point("restore.files_linked");
            database.open()?;
            crash::point("restore.db_opened");
            database.load(nodes, stray)?;
        }
        Ok(database)
    }

    fn over(files: &Path, live: &Path, token: Token, chain: StateFiles) -> Result<Database, Error> {
        fs::create_dir_all(files).map_err(|e| Error::write("creating", files, e))?;
        empty_dir(live)?;
        let files = Files::new(files, token);
        Ok(Database { files, live: live.to_owned(), db: None, chain, ingested: 0, declined: Vec::new() })
    }

    /// Writes the delta of an epoch from what its subtasks sealed, and returns what the epoch's manifest names. The files
    /// are fsynced; their names become durable by [`Database::sync`] or by `SnapshotStore::prepare`.
    ///
    /// On [`Error::NoSpace`] the epoch is declined: nothing is lost, the next delta holds what was sealed.
    pub fn write(&mut self, sealed: Vec<SealedState>) -> Result<StateFiles, Error> {
        self.declined.extend(sealed);
        let temporary = self.files.temporary();
        let written = delta::write(&self.declined, &temporary).and_then(|any| {
            crash::point("state.written");
            any.then(|| self.files.keep(&temporary)).transpose()
        });
        match written {
            Ok(file) => {
                self.declined.clear();
                self.chain.deltas.extend(file);
                crash::point("snapshot.linked");
                Ok(self.chain.clone())
            }
            Err(error) => {
                let _ = fs::remove_file(&temporary);
                Err(error)
            }
        }
    }

    /// Behind the commit: now and then folds the deltas into a new base, which the next manifest names. Returns whether
    /// it did. On [`Error::NoSpace`] the chain stays as it is, and a later call tries again.
    pub fn fold(&mut self) -> Result<bool, Error> {
        let size = |files: &mut dyn Iterator<Item = &FileRef>| files.map(|f| f.bytes).sum::<u64>();
        let (base, deltas) = (size(&mut self.chain.base.values()), size(&mut self.chain.deltas.iter()));
        if self.chain.deltas.len() <= DELTAS_MAX && deltas <= DELTA_BYTES_MIN.max(base / 2) {
            return Ok(false);
        }
        let placed = if self.db.is_none() { self.place() } else { Ok(()) };
        let folded = placed.and_then(|()| self.open()).and_then(|()| self.give_base());
        if folded.is_err() {
            // What RocksDB was doing when the disk filled up is not worth asking: it starts again from the chain.
            self.db = None;
        }
        folded.map(|()| true)
    }

    /// What the next manifest will name, beside its own delta. None of it may be retired.
    pub fn files(&self) -> &StateFiles {
        &self.chain
    }

    /// Makes the names of all files written so far durable.
    pub fn sync(&self) -> Result<(), Error> {
        self.files.sync()
    }

    /// Lays out the base for a database that is not open.
    fn place(&mut self) -> Result<(), Error> {
        let db = self.live.join("db");
        empty_dir(&self.live)?;
        fs::create_dir(&db).map_err(|e| Error::write("creating", &db, e))?;
        for (name, file) in &self.chain.base {
            let (from, to) = (self.files.path(file), db.join(name));
            // RocksDB never changes a table file; the others it appends to.
            let placed = if is_table(name) { fs::hard_link(&from, &to) } else { fs::copy(&from, &to).map(drop) };
            placed.map_err(|e| Error::write("placing", &to, e))?;
        }
        self.ingested = 0;
        Ok(())
    }

    /// Brings the live database, whose base is laid out, up to the end of the chain.
    fn open(&mut self) -> Result<(), Error> {
        let db = match self.db.take() {
            Some(db) => db,
            None => {
                let path = self.live.join("db");
                DB::open(&options(), &path).map_err(|e| failed_live("opening", &path, e))?
            }
        };
        let db = self.db.insert(db);
        let mut link = IngestExternalFileOptions::default();
        link.set_move_files(true);
        for file in &self.chain.deltas[self.ingested..] {
            let (from, to) = (self.files.path(file), self.live.join("delta.sst"));
            // A link of our own is moved: the stored file keeps its name. RocksDB leaves its content alone.
            fs::hard_link(&from, &to).map_err(|e| Error::write("linking", &to, e))?;
            db.ingest_external_file_opts(&link, vec![&to]).map_err(|e| failed_live("ingesting", &from, e))?;
            if let Err(e) = fs::remove_file(&to)
                && e.kind() != io::ErrorKind::NotFound
            {
                return Err(Error::write("removing", &to, e));
            }
            self.ingested += 1;
        }
        Ok(())
    }

    /// A snapshot of the live database becomes the base. Tables that the base before had are not hashed again.
    fn give_base(&mut self) -> Result<(), Error> {
        let db = self.db.as_ref().expect("a base is given by an open database");
        let path = self.live.join("base");
        remove_dir(&path)?;
        let taken = Checkpoint::new(db).and_then(|c| c.create_checkpoint(&path));
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

    fn load(&self, nodes: &mut [&mut KeyedState], stray: impl Fn(u16) -> Result<(), String>) -> Result<(), Error> {
        let db = self.db.as_ref().expect("restore has opened the database");
        let mut read = ReadOptions::default();
        read.fill_cache(false);
        read.set_readahead_size(2 << 20);
        // Entries come sorted by key group and state: mostly the node of the entry before is asked.
        let mut at = 0;
        for entry in db.iterator_opt(IteratorMode::Start, read) {
            let (key, value) = entry.map_err(|e| failed_live("reading", &self.live, e))?;
            let (group, id, _) = key::split(&key)?;
            if !nodes.get(at).is_some_and(|n| n.owns(group, id)) {
                let Some(owner) = nodes.iter().position(|n| n.owns(group, id)) else {
                    stray(id).map_err(|name| Error::UnknownState { name })?;
                    continue;
                };
                at = owner;
            }
            nodes[at].load(&key, &value)?;
        }
        Ok(())
    }
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
