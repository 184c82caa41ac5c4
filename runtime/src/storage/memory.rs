//! A store in the memory of this process: gone with it. Two that hold one [`Memory`] share it. What is brought out is written
//! to a file.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Entry, Error, Storage};
use crate::hex;

/// See the module.
#[derive(Debug)]
pub struct Memory {
    id: String,
    staging: PathBuf,
    bytes: Mutex<BTreeMap<String, Arc<[u8]>>>,
}

impl Memory {
    /// An empty one. Files that it takes in are written into `staging`.
    pub fn new(staging: &Path) -> io::Result<Memory> {
        Ok(Memory { id: hex::random::<16>()?, staging: staging.to_owned(), bytes: Mutex::default() })
    }

    /// Random: tells it from that of every other process.
    pub fn id(&self) -> &str {
        &self.id
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Arc<[u8]>>> {
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, name: &str) -> Result<Arc<[u8]>, Error> {
        self.lock().get(name).map(Arc::clone).ok_or_else(|| Error::Missing(self.place(name)))
    }
}

impl Storage for Memory {
    fn put_new(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let mut all = self.lock();
        if all.contains_key(name) {
            return Err(Error::Exists(self.place(name)));
        }
        all.insert(name.to_owned(), bytes.into());
        Ok(())
    }

    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        self.lock().insert(name.to_owned(), bytes.into());
        Ok(())
    }

    fn adopt(&self, file: &Path, name: &str) -> Result<(), Error> {
        let bytes = fs::read(file).map_err(|e| Error::read(file, e))?;
        self.lock().insert(name.to_owned(), bytes.into());
        fs::remove_file(file).map_err(|e| Error::fatal("removing", file, e))
    }

    fn sync(&self, _: &str) -> Result<(), Error> {
        Ok(())
    }

    fn length(&self, name: &str) -> Result<Option<u64>, Error> {
        Ok(self.lock().get(name).map(|bytes| bytes.len() as u64))
    }

    fn get(&self, name: &str) -> Result<Vec<u8>, Error> {
        self.find(name).map(|bytes| bytes.to_vec())
    }

    fn get_range(&self, name: &str, range: Range<u64>) -> Result<Vec<u8>, Error> {
        let bytes = self.find(name)?;
        let at = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
        Ok(bytes[at(range.start)..at(range.end.max(range.start))].to_vec())
    }

    fn list(&self, folder: &str) -> Result<Vec<Entry>, Error> {
        let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        let mut found: BTreeMap<String, Option<u64>> = BTreeMap::new();
        for (name, bytes) in self.lock().range(prefix.clone()..) {
            let Some(rest) = name.strip_prefix(&prefix) else { break };
            match rest.split_once('/') {
                Some((folder, _)) => found.insert(folder.to_owned(), None),
                None => found.insert(rest.to_owned(), Some(bytes.len() as u64)),
            };
        }
        Ok(found.into_iter().map(|(name, bytes)| Entry { name, bytes }).collect())
    }

    fn delete(&self, name: &str) -> Result<bool, Error> {
        Ok(self.lock().remove(name).is_some())
    }

    fn delete_folder(&self, _: &str) -> Result<(), Error> {
        Ok(())
    }

    fn bring_out(&self, name: &str, to: &Path) -> Result<(), Error> {
        let bytes = self.find(name)?;
        // The lock is not held: this waits for a disk.
        let written =
            File::create_new(to).and_then(|mut file| file.write_all(&bytes).inspect_err(|_| drop(fs::remove_file(to))));
        written.map_err(|e| Error::write("writing", to, e))
    }

    fn staging(&self) -> &Path {
        &self.staging
    }

    fn place(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("memory:{name}"))
    }
}
