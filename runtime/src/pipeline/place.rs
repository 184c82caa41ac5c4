//! Where the snapshots of a job lie: in its state folder, or in memory. Decides what becomes of a state folder when that
//! changes, or when the memory that it speaks of is gone with its process. Reads and writes no snapshot.

use std::sync::Arc;

use weir_core::graph::spec::Storage;

use super::folder::Folder;
use super::job::Error;
use super::snapshot_store::SnapshotStore;
use crate::storage::Memory;

/// The snapshots of a job, and the memory that they lie in, if in any.
pub(super) struct Place {
    pub(super) store: SnapshotStore,
    pub(super) memory: Option<Arc<Memory>>,
}

/// Finds or makes the place. `kept` is the memory of a run before this one in this process; `lineage` that of what a new
/// history continues. Changes nothing where it refuses.
pub(super) fn open(
    folder: &mut Folder,
    storage: Storage,
    kept: Option<Arc<Memory>>,
    lineage: Option<&str>,
) -> Result<Place, Error> {
    let local = SnapshotStore::local(folder.path());
    let memory = match (storage, kept) {
        (Storage::Local, _) => None,
        (Storage::Memory, Some(kept)) => Some(kept),
        (Storage::Memory, None) => Some(Arc::new(Memory::new(&folder.live()).map_err(Error::Random)?)),
    };
    let (noted, id) = (folder.memory()?, memory.as_ref().map(|memory| memory.id()));
    match &noted {
        noted if noted.as_deref() == id => {}
        Some(_) => {
            tracing::warn!(
                "what was committed in {} was in memory, and is gone with it: this is a first start",
                folder.path().display()
            );
            folder.begin_anew(id, lineage)?;
        }
        // Memory would never speak of them again, and nobody asked for their end.
        None if local.newest_token().map_err(Error::State)?.is_some() => {
            return Err(Error::OnDisk { state: folder.path().to_owned() });
        }
        None => folder.note_memory(id)?,
    }
    let store = match &memory {
        None => local,
        Some(memory) => SnapshotStore::new(Arc::clone(memory) as Arc<_>, folder.path()),
    };
    Ok(Place { store, memory })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use tempfile::tempdir;
    use weir_core::ids::Name;

    use super::*;

    fn take(path: &Path) -> Folder {
        Folder::open(path, &Name::new("a").unwrap()).unwrap()
    }

    fn commit(folder: &Folder) {
        fs::write(folder.current(), "what was committed").unwrap();
        fs::write(folder.published(), "3-1").unwrap();
    }

    #[test]
    fn a_memory_that_is_gone_makes_a_first_start_and_one_that_is_there_does_not() {
        let dir = tempdir().unwrap();
        let mut folder = take(dir.path());
        let kept = open(&mut folder, Storage::Memory, None, None).unwrap().memory;
        let lineage = folder.lineage().to_owned();
        commit(&folder);
        fs::write(folder.live().join("1-tmp-1"), "").unwrap();
        // Another run in this process.
        drop(folder);
        let mut folder = take(dir.path());
        let place = open(&mut folder, Storage::Memory, kept.clone(), None).unwrap();
        assert_eq!(place.memory.unwrap().id(), kept.unwrap().id());
        assert!(folder.current().exists() && folder.lineage() == lineage);
        // Another process; and one that would have checkpoints on disk.
        for storage in [Storage::Memory, Storage::Local] {
            drop(folder);
            folder = take(dir.path());
            let place = open(&mut folder, storage, None, None).unwrap();
            assert!(!folder.current().exists() && !folder.published().exists());
            assert_ne!(folder.lineage(), lineage, "parts of before are not its own");
            assert_eq!(place.store.newest_token().unwrap(), None);
            commit(&folder);
        }
        // From here on it is as any other.
        drop(folder);
        let mut folder = take(dir.path());
        open(&mut folder, Storage::Local, None, None).unwrap();
        assert!(folder.current().exists());
    }

    #[test]
    fn a_history_that_is_continued_keeps_its_lineage() {
        let dir = tempdir().unwrap();
        let mut folder = take(dir.path());
        open(&mut folder, Storage::Memory, None, None).unwrap();
        drop(folder);
        let mut folder = take(dir.path());
        open(&mut folder, Storage::Memory, None, Some("of the savepoint")).unwrap();
        assert_eq!(folder.lineage(), "of the savepoint");
        assert_eq!(take_again(folder, dir.path()), "of the savepoint");
    }

    fn take_again(folder: Folder, path: &Path) -> String {
        drop(folder);
        take(path).lineage().to_owned()
    }

    #[test]
    fn checkpoints_on_disk_are_not_left_behind_in_silence() {
        let dir = tempdir().unwrap();
        let mut folder = take(dir.path());
        let local = open(&mut folder, Storage::Local, None, None).unwrap().store;
        commit(&folder);
        local.storage().put_new("3-1/manifest", b"{}").unwrap();
        let refused = open(&mut folder, Storage::Memory, None, None).err().unwrap().to_string();
        assert!(refused.contains("holds checkpoints on disk"), "{refused}");
        assert!(folder.current().exists() && folder.memory().unwrap().is_none());
        open(&mut folder, Storage::Local, None, None).unwrap();
        assert!(folder.current().exists());
    }
}
