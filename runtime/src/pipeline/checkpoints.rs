//! The checkpoints of a pipeline, for people and tools: which there are, what they hold, whether they are whole. Of those in a
//! state folder whether or not the pipeline runs; takes no lock and changes nothing.

use std::path::{Path, PathBuf};

use weir_core::checkpoint::manifest::{CommitKind, Manifest, SnapshotRef};
use weir_core::ids::Name;

use super::current;
use super::folder::{self, Folder};
use super::snapshot_store::{Listed, SnapshotStore, parse_id};
use crate::state;

/// Why a question about checkpoints has no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The folder is another pipeline's, newer or damaged.
    #[error(transparent)]
    Folder(#[from] folder::Error),
    /// Nothing ever ran there.
    #[error("{} is no state folder of pipeline `{pipeline}`: name it with --state DIR, or give the pipeline file", path.display())]
    None {
        /// The folder.
        path: PathBuf,
        /// Whose it should be.
        pipeline: Name,
    },
    /// They are in the memory of another process.
    #[error(
        "the checkpoints of {} are in memory (`storage = \"memory\"`), and gone with the process that runs the pipeline: while it runs, `weir checkpoint list` and `show` ask it",
        .0.display()
    )]
    InMemory(PathBuf),
    /// There is no checkpoint of this id.
    #[error("there is no checkpoint {id:?}; {}", those(known))]
    Unknown {
        /// As asked for.
        id: String,
        /// Those that are there.
        known: Vec<String>,
    },
    /// A manifest or a state file.
    #[error(transparent)]
    State(#[from] state::Error),
}

fn those(ids: &[String]) -> String {
    match ids {
        [] => "there is none at all".to_owned(),
        ids => format!("there are {}", ids.join(", ")),
    }
}

/// A committed checkpoint.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    /// Its name and the digest of its manifest.
    pub snapshot: SnapshotRef,
    /// What it holds.
    pub manifest: Manifest,
}

impl Checkpoint {
    /// `<epoch>-<token>`.
    pub fn id(&self) -> String {
        self.snapshot.id()
    }

    /// Milliseconds since 1970.
    pub fn completed_at(&self) -> i64 {
        i64::try_from(self.manifest.created_at).unwrap_or(i64::MAX).saturating_mul(1000)
    }

    /// Bytes of its state, files that it shares with others included.
    pub fn bytes(&self) -> u64 {
        self.manifest.files().map(|file| file.bytes).sum()
    }

    /// Why it was committed.
    pub fn kind(&self) -> CommitKind {
        self.manifest.kind
    }
}

/// The checkpoints of one pipeline.
#[derive(Debug)]
pub struct Checkpoints(SnapshotStore);

impl Checkpoints {
    pub(super) fn of(store: SnapshotStore) -> Checkpoints {
        Checkpoints(store)
    }

    /// Those of `pipeline` in its state folder.
    pub fn open(state: &Path, pipeline: &Name) -> Result<Checkpoints, Error> {
        if !state.is_dir() || !Folder::inspect(state, pipeline)? {
            return Err(Error::None { path: state.to_owned(), pipeline: pipeline.clone() });
        }
        match Folder::is_in_memory(state)? {
            true => Err(Error::InMemory(state.to_owned())),
            false => Ok(Checkpoints(SnapshotStore::local(state))),
        }
    }

    /// The committed ones, newest first, and what is wrong with those of which no more than that is known.
    pub fn list(&self) -> Result<(Vec<Checkpoint>, Vec<state::Error>), Error> {
        let (mut whole, mut damaged) = (Vec::new(), Vec::new());
        for found in self.committed()? {
            match self.checked(found) {
                Ok(checkpoint) => whole.push(checkpoint),
                Err(error) => damaged.push(error),
            }
        }
        Ok((whole, damaged))
    }

    /// One of them.
    pub fn get(&self, id: &str) -> Result<Checkpoint, Error> {
        let committed = self.committed()?;
        let known = committed.iter().map(|found| found.snapshot.id()).collect();
        let wanted = parse_id(id);
        let found = committed.into_iter().find(|found| Some((found.snapshot.epoch, found.snapshot.token)) == wanted);
        match found {
            Some(found) => Ok(self.checked(found)?),
            None => Err(Error::Unknown { id: id.to_owned(), known }),
        }
    }

    /// Reads every file of a checkpoint and says what is wrong with each. None: it is whole.
    pub fn verify(&self, id: &str) -> Result<(Checkpoint, Vec<state::Error>), Error> {
        let checkpoint = self.get(id)?;
        let damage = self.0.damage(&checkpoint.manifest);
        if !damage.is_empty() {
            // A running pipeline may have retired it meanwhile: then it is not damaged, but gone.
            self.get(id)?;
        }
        Ok((checkpoint, damage))
    }

    pub(super) fn store(&self) -> &SnapshotStore {
        &self.0
    }

    /// Newest first: those with the mark, and the one that `CURRENT` names: a kill may have come before its mark.
    pub(super) fn committed(&self) -> Result<Vec<Listed>, state::Error> {
        // Where it cannot be read the marks still can; a start says what is wrong with it.
        let named = current::named(&self.0.state_folder().join("CURRENT")).unwrap_or_default();
        let mut listed = self.0.list()?;
        for found in &mut listed {
            if let Some(named) = &named
                && (named.epoch, named.token) == (found.snapshot.epoch, found.snapshot.token)
            {
                found.committed = true;
                found.marked = Some(named.sha256.clone());
            }
        }
        listed.retain(|found| found.committed);
        Ok(listed)
    }

    /// Its manifest, if it is the one that was written.
    fn checked(&self, found: Listed) -> Result<Checkpoint, state::Error> {
        let Listed { snapshot, manifest, marked, .. } = found;
        let damaged = |detail| state::Error::Damaged {
            what: "manifest",
            path: self.0.place_of_manifest(snapshot.epoch, snapshot.token),
            detail,
        };
        if let Some(written) = marked.filter(|written| *written != snapshot.sha256) {
            return Err(damaged(format!("its sha256 is {}, {written} was written", snapshot.sha256)));
        }
        let manifest = manifest?;
        if (manifest.epoch, manifest.token) != (snapshot.epoch, snapshot.token) {
            return Err(damaged(format!("it is the manifest of {}-{}", manifest.epoch, manifest.token)));
        }
        Ok(Checkpoint { snapshot, manifest })
    }
}
