//! Snapshots in a store: a manifest per snapshot, written last, and the state files that manifests share. Only a manifest
//! that is durable there makes a [`Prepared`], so no commit can name one that is not. Deleting is in `collect`.
//!
//! | name | |
//! |---|---|
//! | `<epoch>-<token>/manifest` | what makes a snapshot |
//! | `<epoch>-<token>/committed` | the digest of the manifest, once it is known to be committed; may be lost |
//! | `files/<token>-<sha256>` | state files |

mod collect;
mod inventory;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use weir_core::checkpoint::manifest::{FileRef, Manifest, SnapshotRef, Unreadable, VERSION};
use weir_core::ids::{Epoch, Token};

pub use crate::state::Error;
use crate::state::{FILES, VerifiedFiles, parse_token, stored_name, verify, verify_file};
use crate::storage::{self, Local, Storage};
use crate::{crash, hex};

/// Proof that a snapshot is durable: manifest, files and their names. Nobody else can make one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prepared(SnapshotRef);

impl Prepared {
    /// What a COMMIT names.
    pub fn snapshot(&self) -> &SnapshotRef {
        &self.0
    }
}

/// A snapshot whose manifest and files were all checked.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The manifest.
    pub manifest: Manifest,
    /// Its state files: what a database is restored from.
    pub files: VerifiedFiles,
}

/// A snapshot as found in the store. Its state files were not looked at.
#[derive(Debug)]
pub struct Listed {
    /// Its name and the digest of its manifest.
    pub snapshot: SnapshotRef,
    /// Its manifest, as far as it can be read.
    pub manifest: Result<Manifest, Error>,
    /// It was seen to be committed. Without the mark it may still be: the authority decides.
    pub committed: bool,
    /// The digest of its manifest as the mark has it; marks of old have none.
    pub marked: Option<String>,
}

/// The snapshots of one pipeline. Cheap to clone.
#[derive(Debug, Clone)]
pub struct SnapshotStore {
    storage: Arc<dyn Storage>,
    state: PathBuf,
}

const MANIFEST: &str = "manifest";
/// What a process that dies over a manifest leaves in a local folder.
const TEMPORARY: &str = "manifest.tmp";
const COMMITTED: &str = "committed";

/// Where the snapshots of a state folder lie.
const CHECKPOINTS: &str = "checkpoints";

impl SnapshotStore {
    /// The snapshots in `storage` of the pipeline whose state folder is `state`.
    pub fn new(storage: Arc<dyn Storage>, state: &Path) -> SnapshotStore {
        SnapshotStore { storage, state: state.to_owned() }
    }

    /// Those below `checkpoints/` of a state folder.
    pub fn local(state: &Path) -> SnapshotStore {
        SnapshotStore::new(Arc::new(Local::new(&state.join(CHECKPOINTS))), state)
    }

    /// Makes a snapshot durable. Its state files were stored by `state::Database`, and are durable but for their names.
    ///
    /// On [`Error::NoSpace`] nothing of it remains and the epoch is declined. After any other error the process ends.
    pub fn prepare(&self, manifest: &Manifest) -> Result<Prepared, Error> {
        let name = named(manifest.epoch, manifest.token, MANIFEST);
        let failed = |e: serde_json::Error| Error::fatal("encoding the manifest of", &self.storage.place(&name), e);
        let bytes = manifest.encode().map_err(failed)?;
        for file in manifest.files() {
            let stored = stored_name(file);
            if self.storage.length(&stored)? != Some(file.bytes) {
                return Err(Error::Missing { what: "state file", path: self.storage.place(&stored) });
            }
        }
        // Order: the names of the files are durable before the manifest that names them.
        self.storage.sync(FILES)?;
        crash::point("snapshot.files_fsynced");
        self.storage.put_new(&name, &bytes)?;
        let sha256 = hex::sha256(&bytes);
        Ok(Prepared(SnapshotRef { epoch: manifest.epoch, token: manifest.token, sha256 }))
    }

    /// Reads the snapshot that a COMMIT names and checks all of it. Changes nothing.
    pub fn load(&self, snapshot: &SnapshotRef) -> Result<Snapshot, Error> {
        let (_, manifest) = self.read(snapshot)?;
        crash::point("restore.manifest_read");
        let files = verify(&*self.storage, &manifest.state)?;
        Ok(Snapshot { manifest, files })
    }

    /// The manifest that a COMMIT names, and its bytes. Its files are not looked at.
    pub fn read(&self, snapshot: &SnapshotRef) -> Result<(Vec<u8>, Manifest), Error> {
        let Found { bytes, sha256, manifest } = self.find(snapshot.epoch, snapshot.token)?;
        let path = || self.place_of_manifest(snapshot.epoch, snapshot.token);
        let damaged = |detail: String| Error::Damaged { what: MANIFEST, path: path(), detail };
        if sha256 != snapshot.sha256 {
            return Err(damaged(format!("its sha256 is {sha256}, the commit names {}", snapshot.sha256)));
        }
        let manifest = manifest?;
        if (manifest.epoch, manifest.token) != (snapshot.epoch, snapshot.token) {
            return Err(damaged(format!("it is the manifest of {}-{}", manifest.epoch, manifest.token)));
        }
        Ok((bytes, manifest))
    }

    /// Gives a stored file a path outside of the store. Nobody changes what lies there.
    pub fn bring_out(&self, file: &FileRef, to: &Path) -> Result<(), Error> {
        Ok(self.storage.bring_out(&stored_name(file), to)?)
    }

    /// All snapshots, newest first. Folders without a manifest are none.
    pub fn list(&self) -> Result<Vec<Listed>, Error> {
        let mut found = Vec::new();
        for (epoch, token) in self.folders()? {
            match self.find(epoch, token) {
                Ok(Found { manifest, sha256, .. }) => {
                    let mark = self.storage.get(&named(epoch, token, COMMITTED)).ok();
                    found.push(Listed {
                        snapshot: SnapshotRef { epoch, token, sha256 },
                        manifest,
                        committed: mark.is_some(),
                        marked: mark.as_deref().and_then(parse_mark),
                    });
                }
                Err(Error::Missing { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        found.sort_by_key(|l| std::cmp::Reverse((l.snapshot.epoch, l.snapshot.token)));
        Ok(found)
    }

    /// Notes that a snapshot is known to be committed, and the digest of its manifest: for lists, for `weir checkpoint
    /// verify` and for `retain` after a restart. Decides nothing, and may be lost.
    pub fn mark_committed(&self, snapshot: &SnapshotRef) -> Result<(), Error> {
        let name = named(snapshot.epoch, snapshot.token, COMMITTED);
        Ok(self.storage.put(&name, format!("{}\n", snapshot.sha256).as_bytes())?)
    }

    /// Checks every state file of a manifest, by length and sha256: what is wrong with each. Changes nothing.
    pub fn damage(&self, manifest: &Manifest) -> Vec<Error> {
        manifest.files().filter_map(|file| verify_file(&*self.storage, file).err()).collect()
    }

    /// The pipeline's state folder.
    pub fn state_folder(&self) -> &Path {
        &self.state
    }

    /// Where the bytes lie.
    pub(super) fn storage(&self) -> &Arc<dyn Storage> {
        &self.storage
    }

    /// Whether there is a snapshot of this id, whole or not.
    pub(super) fn has(&self, epoch: Epoch, token: Token) -> Result<bool, Error> {
        Ok(self.storage.length(&named(epoch, token, MANIFEST))?.is_some())
    }

    /// What a manifest is called in messages.
    pub(super) fn place_of_manifest(&self, epoch: Epoch, token: Token) -> PathBuf {
        self.storage.place(&named(epoch, token, MANIFEST))
    }

    /// What the folder of a snapshot is called in messages.
    pub(super) fn place_of(&self, snapshot: &SnapshotRef) -> PathBuf {
        self.storage.place(&snapshot.id())
    }

    fn folders(&self) -> Result<Vec<(Epoch, Token)>, Error> {
        let entries = self.storage.list("")?;
        Ok(entries.iter().filter(|entry| entry.bytes.is_none()).filter_map(|entry| parse_id(&entry.name)).collect())
    }

    fn find(&self, epoch: Epoch, token: Token) -> Result<Found, Error> {
        let path = self.place_of_manifest(epoch, token);
        let bytes = match self.storage.get(&named(epoch, token, MANIFEST)) {
            Err(storage::Error::Missing(path)) => return Err(Error::Missing { what: MANIFEST, path }),
            bytes => bytes?,
        };
        let manifest = Manifest::decode(&bytes).map_err(|unreadable| match unreadable {
            Unreadable::Newer(found) => Error::Newer { what: MANIFEST, path: path.clone(), found, known: VERSION },
            Unreadable::Damaged(e) => Error::Damaged { what: MANIFEST, path: path.clone(), detail: e.to_string() },
        });
        let sha256 = hex::sha256(&bytes);
        Ok(Found { bytes, sha256, manifest })
    }
}

/// A manifest as it lies there.
struct Found {
    bytes: Vec<u8>,
    sha256: String,
    /// What it says, as far as it can be read.
    manifest: Result<Manifest, Error>,
}

fn named(epoch: Epoch, token: Token, name: &str) -> String {
    format!("{epoch}-{token}/{name}")
}

/// The digest that a mark holds. One that a power cut left empty says only that the snapshot was committed.
fn parse_mark(bytes: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok()?.trim_end();
    let is_digest = text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit());
    is_digest.then(|| text.to_owned())
}

/// The digest that the mark in a snapshot's folder has of its manifest.
pub fn marked(folder: &Path) -> Option<String> {
    parse_mark(&fs::read(folder.join(COMMITTED)).ok()?)
}

/// Epoch and token of a snapshot's id.
pub fn parse_id(name: &str) -> Option<(Epoch, Token)> {
    let (epoch, token) = name.split_once('-')?;
    Some((Epoch(parse_token(epoch)?.0 as u64), parse_token(token)?))
}

#[cfg(test)]
mod tests;
