//! What the store holds, in the words of the protocol. Reads only.

use weir_core::domain::{Inventory, Stored};
use weir_core::ids::Token;

use super::{Error, MANIFEST, SnapshotStore};
use crate::state::{list_dir, parse_stored, parse_temporary};

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
        let unfinished = (self.folders()?.into_iter())
            .filter(|(epoch, token)| !self.folder(*epoch, *token).join(MANIFEST).exists())
            .collect();
        let ours = |name: &String| parse_stored(name).is_some();
        let files = list_dir(&self.files)?.into_iter().filter(ours).collect();
        Ok(Inventory { manifests, files, unfinished })
    }

    /// The highest token in any name, of snapshots, state files and temporary ones.
    pub fn newest_token(&self) -> Result<Option<Token>, Error> {
        let snapshots = self.folders()?.into_iter().map(|(_, token)| token);
        let names = list_dir(&self.files)?;
        let token_of = |name: &String| parse_stored(name).map(|(token, _)| token).or_else(|| parse_temporary(name));
        Ok(snapshots.chain(names.iter().filter_map(token_of)).max())
    }
}
