//! Snapshots in a local folder: a manifest per snapshot, written last, and the state files that manifests share. Only a
//! manifest that is durable here makes a [`Prepared`], so no commit can name one that is not. Deleting is in `collect`.

mod collect;
mod inventory;

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use weir_core::checkpoint::manifest::{FileRef, Manifest, SnapshotRef, VERSION};
use weir_core::ids::{Epoch, Token};

pub use crate::state::Error;
use crate::state::{VerifiedFiles, list_dir, parse_token, sync_dir, verify, verify_file};
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

/// A snapshot as found in the folder. Its state files were not looked at.
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

/// Snapshots below `checkpoints/`.
#[derive(Debug, Clone)]
pub struct SnapshotStore {
    dir: PathBuf,
    files: PathBuf,
}

const MANIFEST: &str = "manifest";
const TEMPORARY: &str = "manifest.tmp";
const COMMITTED: &str = "committed";

impl SnapshotStore {
    /// The store in a state folder's `checkpoints/`, which is there.
    pub fn new(checkpoints: &Path) -> SnapshotStore {
        SnapshotStore { dir: checkpoints.to_owned(), files: checkpoints.join("files") }
    }

    /// Makes a snapshot durable. Its state files were written and fsynced by `state::Database`.
    ///
    /// On [`Error::NoSpace`] nothing of it remains and the epoch is declined. After any other error the process ends.
    pub fn prepare(&self, manifest: &Manifest) -> Result<Prepared, Error> {
        let dir = self.folder(manifest.epoch, manifest.token);
        let bytes = encode(manifest, &dir)?;
        for file in manifest.files() {
            let path = self.files.join(&file.stored);
            if !fs::metadata(&path).is_ok_and(|found| found.len() == file.bytes) {
                return Err(Error::Missing { what: "state file", path });
            }
        }
        // Order: the names of the files are durable before the manifest that names them, and its content before its name.
        sync_dir(&self.files)?;
        crash::point("snapshot.files_fsynced");
        fs::create_dir(&dir).map_err(|e| Error::write("creating", &dir, e))?;
        let temporary = dir.join(TEMPORARY);
        let file = match File::create(&temporary).and_then(|mut f| f.write_all(&bytes).map(|()| f)) {
            Ok(file) => file,
            Err(e) => {
                let _ = fs::remove_file(&temporary);
                let _ = fs::remove_dir(&dir);
                return Err(Error::write("writing", &temporary, e));
            }
        };
        crash::point("manifest.tmp_written");
        file.sync_all().map_err(|e| Error::fatal("fsync of", &temporary, e))?;
        crash::point("manifest.fsynced");
        let path = dir.join(MANIFEST);
        fs::rename(&temporary, &path).map_err(|e| Error::fatal("renaming", &temporary, e))?;
        crash::point("manifest.renamed");
        sync_dir(&dir)?;
        sync_dir(&self.dir)?;
        crash::point("dir.fsynced");
        let sha256 = hex::sha256(&bytes);
        Ok(Prepared(SnapshotRef { epoch: manifest.epoch, token: manifest.token, sha256 }))
    }

    /// Reads the snapshot that a COMMIT names and checks all of it. Changes nothing.
    pub fn load(&self, snapshot: &SnapshotRef) -> Result<Snapshot, Error> {
        let (_, manifest) = self.read(snapshot)?;
        crash::point("restore.manifest_read");
        let files = verify(&self.files, &manifest.state)?;
        Ok(Snapshot { manifest, files })
    }

    /// The manifest that a COMMIT names, and its bytes. Its files are not looked at.
    pub fn read(&self, snapshot: &SnapshotRef) -> Result<(Vec<u8>, Manifest), Error> {
        let dir = self.folder(snapshot.epoch, snapshot.token);
        let Found { bytes, sha256, manifest } = read(&dir)?;
        let damaged = |detail: String| Error::Damaged { what: "manifest", path: dir.join(MANIFEST), detail };
        if sha256 != snapshot.sha256 {
            return Err(damaged(format!("its sha256 is {sha256}, the commit names {}", snapshot.sha256)));
        }
        let manifest = manifest?;
        if (manifest.epoch, manifest.token) != (snapshot.epoch, snapshot.token) {
            return Err(damaged(format!("it is the manifest of {}-{}", manifest.epoch, manifest.token)));
        }
        Ok((bytes, manifest))
    }

    /// Where a stored file lies.
    pub fn file(&self, file: &FileRef) -> PathBuf {
        self.files.join(&file.stored)
    }

    /// All snapshots, newest first. Folders without a manifest are none.
    pub fn list(&self) -> Result<Vec<Listed>, Error> {
        let mut found = Vec::new();
        for (epoch, token) in self.folders()? {
            let dir = self.folder(epoch, token);
            match read(&dir) {
                Ok(Found { manifest, sha256, .. }) => {
                    let mark = fs::read(dir.join(COMMITTED)).ok();
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
        let path = self.folder(snapshot.epoch, snapshot.token).join(COMMITTED);
        fs::write(&path, format!("{}\n", snapshot.sha256)).map_err(|e| Error::write("writing", &path, e))
    }

    /// Checks every state file of a manifest, by length and sha256: what is wrong with each. Changes nothing.
    pub fn damage(&self, manifest: &Manifest) -> Vec<Error> {
        manifest.files().filter_map(|file| verify_file(&self.files, file).err()).collect()
    }

    /// The state folder around it.
    pub fn state_folder(&self) -> &Path {
        self.dir.parent().unwrap_or(&self.dir)
    }

    /// `checkpoints/<epoch>-<token>`.
    pub fn folder(&self, epoch: Epoch, token: Token) -> PathBuf {
        self.dir.join(format!("{epoch}-{token}"))
    }

    fn folders(&self) -> Result<Vec<(Epoch, Token)>, Error> {
        Ok(list_dir(&self.dir)?.iter().filter_map(|name| parse_id(name)).collect())
    }
}

fn encode(manifest: &Manifest, dir: &Path) -> Result<Vec<u8>, Error> {
    let mut bytes =
        serde_json::to_vec_pretty(manifest).map_err(|e| Error::fatal("encoding the manifest of", dir, e))?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// A manifest as it lies there.
struct Found {
    bytes: Vec<u8>,
    sha256: String,
    /// What it says, as far as it can be read.
    manifest: Result<Manifest, Error>,
}

fn read(dir: &Path) -> Result<Found, Error> {
    #[derive(Deserialize)]
    struct Version {
        version: u32,
    }
    let path = dir.join(MANIFEST);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Err(Error::Missing { what: MANIFEST, path });
        }
        Err(e) => return Err(Error::fatal("reading", &path, e)),
    };
    let damaged = |e: serde_json::Error| Error::Damaged { what: MANIFEST, path: path.clone(), detail: e.to_string() };
    let manifest = match serde_json::from_slice(&bytes) {
        Ok(Version { version }) if version > VERSION => {
            Err(Error::Newer { what: MANIFEST, path: path.clone(), found: version, known: VERSION })
        }
        Ok(_) => serde_json::from_slice(&bytes).map_err(damaged),
        Err(e) => Err(damaged(e)),
    };
    let sha256 = hex::sha256(&bytes);
    Ok(Found { bytes, sha256, manifest })
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
