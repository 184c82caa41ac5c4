//! Deleting a checkpoint because a user wants it gone. A running pipeline does it itself, since it alone knows what it is
//! about to name; of one that does not run the state folder is locked meanwhile. Never the newest commit, and never a file
//! that another manifest names.

use std::path::Path;
use std::sync::mpsc::SyncSender;

use weir_core::domain::Kept;
use weir_core::ids::{Epoch, Name, Token};

use super::checkpoints::{self, Checkpoints};
use super::folder::Folder;
use super::snapshot_store::{Listed, SnapshotStore};

/// Why a checkpoint is still there.
#[derive(Debug, thiserror::Error)]
pub enum Stays {
    /// The next start restores it.
    #[error("checkpoint {0} is the newest commit, which the next start restores: it can go once there is a newer one")]
    Newest(String),
    /// There is no such checkpoint.
    #[error("there is no committed checkpoint {0}: `weir checkpoint list` shows those that there are")]
    Unknown(String),
    /// Nobody runs it any more who could do it.
    #[error("the pipeline has ended: {0}")]
    Ended(String),
    /// It could not be deleted.
    #[error("checkpoint {id} could not be deleted: {why}")]
    Failed {
        /// Which.
        id: String,
        /// Why.
        why: String,
    },
    /// The state folder cannot be had, or is not this pipeline's.
    #[error(transparent)]
    Folder(#[from] checkpoints::Error),
}

/// A wish to a running pipeline.
#[derive(Debug)]
pub(super) struct Removal {
    pub(super) epoch: Epoch,
    pub(super) token: Token,
    pub(super) answer: SyncSender<Result<(), Stays>>,
}

impl Removal {
    fn id(&self) -> String {
        format!("{}-{}", self.epoch, self.token)
    }

    pub(super) fn refuse(self, why: Kept) {
        let stays = match why {
            Kept::Newest => Stays::Newest(self.id()),
            Kept::Unknown => Stays::Unknown(self.id()),
            Kept::NotYet => Stays::Failed { id: self.id(), why: "the pipeline is only starting".to_owned() },
        };
        let _ = self.answer.try_send(Err(stays));
    }

    /// Behind the deletion, on the thread that carried it out.
    pub(super) fn done(self, store: &SnapshotStore) {
        let result = match store.has(self.epoch, self.token) {
            Ok(false) => Ok(()),
            Ok(true) => Err(Stays::Failed { id: self.id(), why: "the log says why".to_owned() }),
            Err(e) => Err(Stays::Failed { id: self.id(), why: e.to_string() }),
        };
        let _ = self.answer.try_send(result);
    }

    pub(super) fn has_ended(self, why: &str) {
        let _ = self.answer.try_send(Err(Stays::Ended(why.to_owned())));
    }
}

/// Deletes a checkpoint of a pipeline that does not run here, under the lock of its state folder.
pub fn remove_at_rest(state: &Path, pipeline: &Name, id: &str) -> Result<(), Stays> {
    // Looks first: a folder that is none is not made one.
    let found = Checkpoints::open(state, pipeline)?;
    let _locked = Folder::open(state, pipeline).map_err(checkpoints::Error::from)?;
    let committed = found.committed().map_err(checkpoints::Error::from)?;
    let is_asked_for = |listed: &&Listed| listed.snapshot.id() == id;
    let Some(asked) = committed.iter().find(is_asked_for) else { return Err(Stays::Unknown(id.to_owned())) };
    // The mark of the newest commit may be lost, as Kafka alone knows it for sure: then it is not in the list at all, and the
    // newest that is listed stays too.
    if committed.first().is_some_and(|newest| newest.snapshot == asked.snapshot) {
        return Err(Stays::Newest(id.to_owned()));
    }
    let (store, failed) =
        (found.store(), |e: crate::state::Error| Stays::Failed { id: id.to_owned(), why: e.to_string() });
    let others = store.list().map_err(failed)?.into_iter().filter(|listed| listed.snapshot != asked.snapshot);
    let others: Option<Vec<_>> = others.map(|listed| listed.manifest.ok()).collect();
    let files: Vec<String> = match (&asked.manifest, &others) {
        (Ok(manifest), Some(others)) => {
            let is_needed = |name: &String| others.iter().flat_map(|it| it.files()).any(|file| file.stored == *name);
            manifest.files().map(|file| file.stored.clone()).filter(|name| !is_needed(name)).collect()
        }
        // Nobody knows what an unreadable one needs: files without a manifest are for the next start.
        _ => Vec::new(),
    };
    store.remove(&[(asked.snapshot.epoch, asked.snapshot.token)], &files, None).map_err(failed)
}
