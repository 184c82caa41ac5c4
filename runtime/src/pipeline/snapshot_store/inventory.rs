//! What the store holds, in the words of the protocol. Reads only.

use weir_core::domain::{Inventory, Stored};
use weir_core::ids::Token;

use super::{Error, SnapshotStore};
use crate::state::{FILES, list_dir, parse_stored, parse_temporary};

impl SnapshotStore {
    /// Everything that may one day be deleted. A manifest that cannot be read is in no list: nothing touches it.
    pub fn inventory(&self) -> Result<Inventory, Error> {
        let listed = self.list()?;
        let mut manifests = Vec::new();
        for found in &listed {
            if let Ok(manifest) = &found.manifest {
                manifests.push(Stored {
                    epoch: manifest.epoch,
                    token: manifest.token,
                    files: manifest.files().map(|file| file.stored.clone()).collect(),
                    noted: found.committed,
                    pinned: false,
                });
            }
        }
        let mut unfinished = Vec::new();
        for (epoch, token) in self.folders()? {
            if !self.has(epoch, token)? {
                unfinished.push((epoch, token));
            }
        }
        Ok(Inventory { manifests, files: self.files()?, unfinished })
    }

    /// The highest token in any name, of snapshots, state files and temporary ones.
    pub fn newest_token(&self) -> Result<Option<Token>, Error> {
        let snapshots = self.folders()?.into_iter().map(|(_, token)| token);
        let files = self.files()?;
        let files = files.iter().filter_map(|name| parse_stored(name)).map(|(token, _)| token);
        let temporary = list_dir(self.storage.staging())?;
        Ok(snapshots.chain(files).chain(temporary.iter().filter_map(|name| parse_temporary(name))).max())
    }

    /// The names of all state files.
    fn files(&self) -> Result<Vec<String>, Error> {
        let names = self.storage.list(FILES)?.into_iter().map(|entry| entry.name);
        Ok(names.filter(|name| parse_stored(name).is_some()).collect())
    }
}
