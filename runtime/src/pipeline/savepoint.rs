//! A savepoint on disk: a committed checkpoint in a folder of its own that needs nothing else and can be moved anywhere. It
//! belongs to its user: nothing here ever deletes one that is whole. Owns its layout; knows no protocol.
//!
//! | | |
//! |---|---|
//! | `format` | `{"version":1,"manifest":"<sha256 of manifest>","check":"<sha256 of that digest>"}`: what the folder is |
//! | `files/<token>-<sha256>` | the state files that the manifest names |
//! | `manifest` | that of the checkpoint, byte for byte; written last |

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use weir_core::checkpoint::manifest::{self, FileRef, Manifest, SnapshotRef, Unreadable};
use weir_core::ids::Name;
use weir_core::key_group::KEY_GROUPS;

use super::compatibility::{self, Fit, Verdict};
use super::job::Checked;
use super::snapshot_store::{self, SnapshotStore};
use crate::state::FILES;
use crate::storage::{Local, Storage};
use crate::{durable, hex, state};

/// The version of the layout that this build writes, and the newest that it reads.
pub const VERSION: u32 = 1;

const FORMAT: &str = "format";
const MANIFEST: &str = "manifest";
/// Below the state folder: where savepoints go unless the user names another place.
const DEFAULT_TO: &str = "savepoints";
/// Beginning of the names below [`DEFAULT_TO`] under which files wait to be copied.
const PIN: &str = ".copying-";

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Format {
    version: u32,
    manifest: String,
    /// Tells a damaged digest from a damaged manifest.
    check: String,
}

/// A checkpoint whose files cannot go until this is dropped.
#[derive(Debug)]
pub(super) struct Source {
    snapshot: SnapshotRef,
    manifest: Vec<u8>,
    files: Vec<FileRef>,
    pinned: Pinned,
    /// The folder to be.
    path: PathBuf,
}

/// Files that may be retired, in a folder aside: second links to them, where they lie on disk.
#[derive(Debug)]
struct Pinned(PathBuf);

impl Drop for Pinned {
    fn drop(&mut self) {
        // What stays is removed by the next start.
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Source {
    /// Takes hold of a committed checkpoint's files: of those on disk in a time that does not depend on their size. `to` is
    /// the folder into which the savepoint's own comes.
    pub(super) fn pin(store: &SnapshotStore, snapshot: &SnapshotRef, to: Option<PathBuf>) -> Result<Source, String> {
        let (bytes, manifest) = store.read(snapshot).map_err(|e| format!("no savepoint: {e}"))?;
        let home = store.state_folder().join(DEFAULT_TO);
        let name = format!("{}-{}", manifest.pipeline, snapshot.id());
        let path = to.unwrap_or_else(|| home.clone()).join(name);
        let path = std::path::absolute(&path).map_err(failed("finding", &path))?;
        if path.exists() {
            return Err(format!("no savepoint: {} is there already", path.display()));
        }
        let pins = home.join(format!("{PIN}{}-{}", snapshot.id(), hex::random::<4>().unwrap_or_default()));
        fs::create_dir_all(&pins).map_err(failed("creating", &pins))?;
        let pinned = Pinned(pins);
        let mut files: Vec<FileRef> = manifest.files().cloned().collect();
        files.sort();
        files.dedup();
        for file in &files {
            store
                .bring_out(file, &pinned.0.join(&file.stored))
                .map_err(|e| format!("no savepoint: {}", e.sentence()))?;
        }
        Ok(Source { snapshot: snapshot.clone(), manifest: bytes, files, pinned, path })
    }

    pub(super) fn snapshot(&self) -> &SnapshotRef {
        &self.snapshot
    }

    /// Makes the savepoint and returns its folder. All of it is durable then; on an error nothing of it stays.
    pub(super) fn copy(&self) -> Result<PathBuf, String> {
        let id = self.snapshot.id();
        let done = self.make_folder().and_then(|()| {
            // The folder is ours from here on.
            self.fill_folder().inspect_err(|_| drop(fs::remove_dir_all(&self.path)))
        });
        done.map(|()| self.path.clone())
            .map_err(|why| format!("checkpoint {id} is committed, but there is no savepoint of it: {why}"))
    }

    fn make_folder(&self) -> Result<(), String> {
        let parent = self.path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(parent).map_err(failed("creating", parent))?;
        fs::create_dir(&self.path).map_err(failed("creating", &self.path))
    }

    fn fill_folder(&self) -> Result<(), String> {
        let files = self.path.join(FILES);
        fs::create_dir(&files).map_err(failed("creating", &files))?;
        let manifest = self.snapshot.sha256.clone();
        let format = Format { version: VERSION, check: hex::sha256(manifest.as_bytes()), manifest };
        let format = serde_json::to_vec(&format).map_err(|e| e.to_string())?;
        write(&self.path.join(FORMAT), &format)?;
        for file in &self.files {
            copy_checked(&self.pinned.0.join(&file.stored), &files.join(&file.stored), file)?;
        }
        durable::sync_folder(&files).map_err(failed("fsync of", &files))?;
        // Order: a folder with a manifest is a whole savepoint, so everything else is durable before.
        write(&self.path.join(MANIFEST), &self.manifest)?;
        durable::sync_folder(&self.path).map_err(failed("fsync of", &self.path))?;
        let parent = self.path.parent().unwrap_or(Path::new("."));
        durable::sync_folder(parent).map_err(failed("fsync of", parent))
    }
}

/// What a checkpoint holds that the pipeline has no place for, each by its name.
pub(super) fn strays(manifest: &Manifest, checked: &Checked, verdicts: &[Verdict]) -> Vec<String> {
    let states = verdicts.iter().filter(|verdict| verdict.fit == Fit::NotDeclared).map(Verdict::name);
    let sources = manifest.sources.keys().filter(|name| checked.pipeline.source(name.as_str()).is_none());
    states.chain(sources.map(|name| format!("positions of source `{name}`"))).collect()
}

/// Whether something can be written into `to`, which is made if need be: better known before a pipeline stops than behind it.
pub(super) fn check_target(to: &Path) -> Result<(), String> {
    fs::create_dir_all(to).map_err(failed("creating", to))?;
    tempfile::tempfile_in(to).map(drop).map_err(failed("writing into", to))
}

/// What a start of before left half copied. Only while nothing runs on the state folder.
pub(super) fn remove_leftovers(state: &Path) {
    let Ok(entries) = fs::read_dir(state.join(DEFAULT_TO)) else { return };
    for entry in entries.flatten() {
        if entry.file_name().to_string_lossy().starts_with(PIN) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> String {
    let path = path.to_owned();
    move |e| format!("{action} {} failed: {e}", path.display())
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), String> {
    let written = File::create_new(path).and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()));
    written.map_err(failed("writing", path))
}

/// Copies a file, fsynced, and checks on the way that it is what the manifest names. Never a link: what becomes of the copy
/// is its owner's affair.
pub(super) fn copy_checked(from: &Path, to: &Path, file: &FileRef) -> Result<(), String> {
    let mut source = File::open(from).map_err(failed("reading", from))?;
    let mut copy = File::create_new(to).map_err(failed("creating", to))?;
    let (sha256, bytes) = hex::copy_hashed(&mut source, &mut copy).map_err(failed("copying", from))?;
    if (bytes, &sha256) != (file.bytes, &file.sha256) {
        return Err(format!("{} is damaged: its sha256 is {sha256}", from.display()));
    }
    copy.sync_all().map_err(failed("fsync of", to))
}

/// Why a folder is no savepoint to start from. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A node was renamed from a name that the savepoint does not know.
    #[error("{}: {why}", path.display())]
    PreviousName {
        /// The savepoint.
        path: PathBuf,
        /// Which.
        why: String,
    },
    /// Neither a savepoint nor a checkpoint.
    #[error("{} is neither a savepoint nor a checkpoint: name the folder that `weir savepoint` printed", .0.display())]
    Neither(PathBuf),
    /// A whole state folder.
    #[error(
        "{path} is a state folder: name one of its checkpoints, {path}/checkpoints/ID (`weir checkpoint list` shows them), or a savepoint",
        path = .0.display()
    )]
    StateFolder(PathBuf),
    /// A savepoint whose making or moving was cut off.
    #[error("the savepoint {} is incomplete: it has no {what}; copy the whole folder again", path.display())]
    Incomplete {
        /// The folder.
        path: PathBuf,
        /// What is not there.
        what: String,
    },
    /// A newer weir wrote it.
    #[error("{} has format {found}, this weir reads up to {known}: use the newer weir that wrote it", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// Ours.
        known: u32,
    },
    /// A file is not what was written.
    #[error("{} is damaged: {detail}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// How that shows.
        detail: String,
    },
    /// Another pipeline's.
    #[error("{} is of pipeline `{found}`, not of `{wanted}`", path.display())]
    OtherPipeline {
        /// The folder.
        path: PathBuf,
        /// Whose it is.
        found: Name,
        /// Who asked.
        wanted: Name,
    },
    /// It was taken with another number of key groups.
    #[error("{} has {found} key groups; this weir has {KEY_GROUPS}", path.display())]
    KeyGroups {
        /// The folder.
        path: PathBuf,
        /// Theirs.
        found: u16,
    },
    /// What it holds has no place in the pipeline.
    #[error(
        "{} holds {}, for which the pipeline has no place: declare it again, or leave it out with --allow-non-restored",
        path.display(), names.join(", ")
    )]
    Strays {
        /// The folder.
        path: PathBuf,
        /// What it is.
        names: Vec<String>,
    },
    /// A state is of another kind or version than the operator declares.
    #[error("{}: {why}", path.display())]
    States {
        /// The folder.
        path: PathBuf,
        /// Which, and what to do.
        why: String,
    },
    /// The file system.
    #[error("reading {} failed: {source}", path.display())]
    Io {
        /// File or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// A savepoint, or a checkpoint in its state folder, whose every file was checked.
#[derive(Debug)]
pub struct Opened {
    manifest: Manifest,
    storage: Local,
}

impl Opened {
    /// Checks all of it. Changes nothing.
    pub fn open(path: &Path, pipeline: &Name) -> Result<Opened, Error> {
        if path.join("lock").is_file() && path.join("checkpoints").is_dir() {
            return Err(Error::StateFolder(path.to_owned()));
        }
        let is_savepoint = path.join(FORMAT).is_file();
        let manifest_path = path.join(MANIFEST);
        let incomplete = |what: String| Error::Incomplete { path: path.to_owned(), what };
        if !is_savepoint && !manifest_path.is_file() {
            return Err(match path.join(FILES).is_dir() {
                true => incomplete(FORMAT.to_owned()),
                false => Error::Neither(path.to_owned()),
            });
        }
        let (expected, root) = match is_savepoint {
            true => (Some(read_format(&path.join(FORMAT))?), path),
            false if path.join(FILES).is_dir() => return Err(incomplete(FORMAT.to_owned())),
            false => (snapshot_store::marked(path), path.parent().unwrap_or(path)),
        };
        let storage = Local::new(root);
        let bytes = match fs::read(&manifest_path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(incomplete(MANIFEST.to_owned())),
            Err(source) => return Err(Error::Io { path: manifest_path, source }),
        };
        let damaged = |detail| Error::Damaged { path: manifest_path.clone(), detail };
        let sha256 = hex::sha256(&bytes);
        if let Some(expected) = expected.filter(|expected| *expected != sha256) {
            return Err(damaged(format!("its sha256 is {sha256}, {expected} was written")));
        }
        let manifest = Manifest::decode(&bytes).map_err(|unreadable| match unreadable {
            Unreadable::Newer(found) => Error::Newer { path: manifest_path.clone(), found, known: manifest::VERSION },
            Unreadable::Damaged(e) => damaged(e.to_string()),
        })?;
        if manifest.pipeline != *pipeline {
            let (path, wanted) = (path.to_owned(), pipeline.clone());
            return Err(Error::OtherPipeline { path, found: manifest.pipeline, wanted });
        }
        if manifest.key_groups != KEY_GROUPS {
            return Err(Error::KeyGroups { path: path.to_owned(), found: manifest.key_groups });
        }
        for file in manifest.files() {
            state::verify_file(&storage, file).map_err(|error| match error {
                state::Error::Missing { .. } => incomplete(format!("{FILES}/{}", file.stored)),
                state::Error::Damaged { path, detail, .. } => Error::Damaged { path, detail },
                other => Error::Damaged { path: storage.place(&state::stored_name(file)), detail: other.to_string() },
            })?;
        }
        Ok(Opened { manifest, storage })
    }

    /// Refuses a state that its operator cannot read, names that the savepoint lacks, and by name what the pipeline has no
    /// place for, unless that is left out.
    pub fn check_names(&self, path: &Path, checked: &Checked, allows_non_restored: bool) -> Result<(), Error> {
        let verdicts = compatibility::check(&self.manifest, checked)
            .map_err(|why| Error::PreviousName { path: path.to_owned(), why })?;
        if let Some(why) = compatibility::refusal(&verdicts) {
            return Err(Error::States { path: path.to_owned(), why });
        }
        if allows_non_restored {
            return Ok(());
        }
        let names = strays(&self.manifest, checked, &verdicts);
        if names.is_empty() { Ok(()) } else { Err(Error::Strays { path: path.to_owned(), names }) }
    }

    /// What it holds.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    pub(super) fn file(&self, file: &FileRef) -> PathBuf {
        self.storage.place(&state::stored_name(file))
    }
}

fn read_format(path: &Path) -> Result<String, Error> {
    let bytes = fs::read(path).map_err(|source| Error::Io { path: path.to_owned(), source })?;
    let damaged = |detail: String| Error::Damaged { path: path.to_owned(), detail };
    let Format { version, manifest, check } = serde_json::from_slice(&bytes).map_err(|e| damaged(e.to_string()))?;
    match version {
        VERSION if check == hex::sha256(manifest.as_bytes()) => Ok(manifest),
        VERSION => Err(damaged("its check does not fit".to_owned())),
        newer if newer > VERSION => Err(Error::Newer { path: path.to_owned(), found: newer, known: VERSION }),
        _ => Err(damaged(format!("there is no format {version}"))),
    }
}
