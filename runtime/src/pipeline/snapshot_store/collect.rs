//! Deleting: exactly the snapshots and files that a list names, and temporary files of dead attempts by their token; never
//! "everything but".

use std::fs;

use weir_core::checkpoint::manifest::StateFiles;
use weir_core::ids::{Epoch, Token};

use super::{COMMITTED, Error, MANIFEST, SnapshotStore, TEMPORARY, named};
use crate::crash;
use crate::state::{FILES, list_dir, parse_temporary};

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
        let mut delete = |name: &str| -> Result<(), Error> {
            if self.storage.delete(name)? && std::mem::take(&mut is_first) {
                crash::point("gc.first_unlink");
            }
            Ok(())
        };
        // Order: a manifest goes before its files. If we die between the two, the files are orphans with a token, which a
        // later start collects; the other way round, a manifest would name what is gone.
        for (epoch, token) in manifests {
            for name in [MANIFEST, TEMPORARY, COMMITTED] {
                delete(&named(*epoch, *token, name))?;
            }
            self.storage.delete_folder(&format!("{epoch}-{token}"))?;
        }
        for name in files.iter().filter(|name| !used(name)) {
            delete(&format!("{FILES}/{name}"))?;
        }
        crash::point("gc.done");
        Ok(())
    }

    /// Removes temporary files of attempts before `own`: no manifest ever names one.
    pub fn remove_temporary(&self, own: Token) -> Result<(), Error> {
        let staging = self.storage.staging();
        for name in list_dir(staging)? {
            if parse_temporary(&name).is_some_and(|token| token < own) {
                let path = staging.join(name);
                fs::remove_file(&path).map_err(|e| Error::fatal("removing", &path, e))?;
            }
        }
        Ok(())
    }
}
