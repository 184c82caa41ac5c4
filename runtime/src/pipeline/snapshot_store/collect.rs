//! Deleting: exactly the snapshots and files that a list names, and temporary files of dead attempts by their token; never
//! "everything but".

use std::fs;
use std::io;
use std::path::Path;

use weir_core::checkpoint::manifest::StateFiles;
use weir_core::ids::{Epoch, Token};

use super::{COMMITTED, Error, MANIFEST, SnapshotStore, TEMPORARY};
use crate::crash;
use crate::state::{list_dir, parse_temporary};

impl SnapshotStore {
    /// Removes these snapshots, then these files, but for those that `in_use` (what the database will name next) names.
    /// What is gone already is no error: a list may be carried out again.
    pub fn remove(
        &self,
        manifests: &[(Epoch, Token)],
        files: &[String],
        in_use: Option<&StateFiles>,
    ) -> Result<(), Error> {
        let used = |name: &String| {
            in_use.is_some_and(|state| state.base.values().chain(&state.deltas).any(|file| file.stored == *name))
        };
        let mut is_first = true;
        // Order: a manifest goes before its files. If we die between the two, the files are orphans with a token, which a
        // later start collects; the other way round, a manifest would name what is gone.
        for (epoch, token) in manifests {
            let dir = self.folder(*epoch, *token);
            for name in [MANIFEST, TEMPORARY, COMMITTED] {
                unlink(&dir.join(name), &mut is_first)?;
            }
            match fs::remove_dir(&dir) {
                // Something that is not ours stays, and so does its folder.
                Err(e) if !matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::DirectoryNotEmpty) => {
                    return Err(Error::fatal("removing", &dir, e));
                }
                _ => {}
            }
        }
        for name in files.iter().filter(|name| !used(name)) {
            unlink(&self.files.join(name), &mut is_first)?;
        }
        crash::point("gc.done");
        Ok(())
    }

    /// Removes temporary files of attempts before `own`: no manifest ever names one.
    pub fn remove_temporary(&self, own: Token) -> Result<(), Error> {
        for name in list_dir(&self.files)? {
            if parse_temporary(&name).is_some_and(|token| token < own) {
                let path = self.files.join(name);
                fs::remove_file(&path).map_err(|e| Error::fatal("removing", &path, e))?;
            }
        }
        Ok(())
    }
}

fn unlink(path: &Path, is_first: &mut bool) -> Result<(), Error> {
    match fs::remove_file(path) {
        Ok(()) => {
            if std::mem::take(is_first) {
                crash::point("gc.first_unlink");
            }
            Ok(())
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(Error::fatal("removing", path, e)),
    }
}
