//! What the store holds, in the words of the protocol, and the deletion of exactly what the protocol listed.

use weir_core::checkpoint::manifest::StateFiles;
use weir_core::domain::{Inventory, Stored};
use weir_core::ids::{Epoch, Token};

use super::collect::Collector;
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

    /// Removes temporary files of attempts before `own`.
    pub fn remove_temporary(&self, own: Token) -> Result<(), Error> {
        let mut collector = Collector::default();
        for name in list_dir(&self.files)? {
            if parse_temporary(&name).is_some_and(|token| token < own) {
                collector.file(&self.files.join(name))?;
            }
        }
        Ok(())
    }

    /// Removes these snapshots, then these files, but for those that `in_use` names.
    pub fn remove(
        &self,
        manifests: &[(Epoch, Token)],
        files: &[String],
        in_use: Option<&StateFiles>,
    ) -> Result<(), Error> {
        let mut collector = Collector::default();
        // Order: a manifest goes before its files, so that no manifest ever names what is gone.
        for (epoch, token) in manifests {
            self.remove_folder(*epoch, *token, &mut collector)?;
        }
        let used = |name: &String| {
            in_use.is_some_and(|state| state.base.values().chain(&state.deltas).any(|file| file.stored == *name))
        };
        for name in files.iter().filter(|name| !used(name)) {
            collector.file(&self.files.join(name))?;
        }
        collector.done();
        Ok(())
    }
}
