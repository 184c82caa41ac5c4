//! The state folder of one pipeline: its layout, its lock and its `format` file. Refuses a folder that is not this
//! pipeline's, before it touches anything. Knows nothing of what the snapshots hold.

mod error;
mod memory;

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};
use weir_core::graph::spec::Guarantee;
use weir_core::ids::Name;

pub use self::error::Error;
use self::error::io_error;
use super::savepoint;
use crate::lock::{self, Lock};
use crate::{clock, durable, hex};

/// The version of the layout that this build writes, and the newest that it reads.
pub const VERSION: u32 = 1;

/// The control socket of whoever has the folder.
pub const SOCKET: &str = "control.sock";

/// A locked state folder. The lock is held for as long as this lives, and ends with the process in any case.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    /// At a first start: the folder and those above it, as far as they were not there; innermost first.
    made: Option<Vec<PathBuf>>,
    lineage: String,
    process: String,
    _lock: File,
}

/// What `format` holds.
#[derive(Debug, Serialize, Deserialize)]
struct Format {
    version: u32,
    pipeline: Name,
    /// Milliseconds since 1970, for people.
    created: i64,
    /// Random: tells this pipeline from another of its name.
    lineage: String,
    #[serde(flatten)]
    terms: Terms,
    /// The id of the memory that the snapshots lie in; where there is none they lie in `checkpoints/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    memory: Option<String>,
}

/// What the commits of a state folder were made under; unknown in folders of old, and before the first start got so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// Who decides what is committed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decides: Option<Decides>,
    /// What was promised.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guarantee: Option<Guarantee>,
}

/// Who decides what of a state folder is committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decides {
    /// The transaction of a Kafka sink.
    Kafka,
    /// The file `CURRENT`.
    Current,
}

/// Read before anything else of the file is.
#[derive(Deserialize)]
struct Version {
    version: u32,
}

impl Folder {
    /// Takes the folder of `pipeline`; makes it if it is not there. Nothing is touched unless it is this pipeline's, or
    /// new, or empty.
    pub fn open(path: &Path, pipeline: &Name) -> Result<Folder, Error> {
        Folder::open_as(path, pipeline, None)
    }

    /// The same; one that is new continues the history of this lineage.
    pub fn open_as(path: &Path, pipeline: &Name, lineage: Option<&str>) -> Result<Folder, Error> {
        let known = Folder::inspect(path, pipeline)?;
        let is_missing = |folder: &&Path| !folder.as_os_str().is_empty() && !folder.exists();
        let folders = path.ancestors().take_while(is_missing).map(Path::to_owned).collect();
        let mut made = None;
        fs::create_dir_all(path).map_err(io_error("creating", path))?;
        let lock = take_lock(path)?;
        // Another process may have made the folder its own between the look and the lock.
        if !known && !Folder::inspect(path, pipeline)? {
            write_format(path, &new_format(path, pipeline, lineage)?)?;
            made = Some(folders);
        }
        let io = io_error("reading", path);
        let process = hex::random::<16>().map_err(io)?;
        let folder = Folder { path: path.to_owned(), made, lineage: read_format(path)?.lineage, process, _lock: lock };
        for dir in [folder.checkpoints(), folder.files(), folder.live()] {
            fs::create_dir_all(&dir).map_err(io_error("creating", &dir))?;
        }
        folder.remove_leftovers().and_then(|()| durable::sync_folder(path)).map_err(io_error("tidying", path))?;
        savepoint::remove_leftovers(path);
        Ok(folder)
    }

    /// Removes the folder if this start made it and no state came into it; also the folders above it that it made. What
    /// cannot be removed stays, and the next start takes it as its own.
    pub fn take_back(self) {
        let Some(made) = &self.made else { return };
        // Order: a snapshot or a state file makes the first of these fail, and everything stays. `format` goes behind all
        // that it vouches for, the lock last.
        let removed = fs::remove_dir(self.files())
            .and_then(|()| fs::remove_dir(self.checkpoints()))
            .and_then(|()| fs::remove_dir_all(self.live()));
        let files = [SOCKET, "admin-token", "CURRENT", "format", "lock"].map(|name| self.path.join(name));
        let removed = files.iter().fold(removed, |removed, file| {
            removed.and_then(|()| match fs::remove_file(file) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
                _ => Ok(()),
            })
        });
        let removed = made.iter().fold(removed, |removed, folder| removed.and_then(|()| fs::remove_dir(folder)));
        if let Err(e) = removed {
            tracing::debug!("the state folder {} stays: {e}", self.path.display());
        }
    }

    /// Temporary files of a process that was killed while it wrote one. Nobody else writes here: the lock is held.
    fn remove_leftovers(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            if is_leftover(&entry.file_name()) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    /// Whether the folder is this pipeline's (true) or may become so (false). Touches nothing and takes no lock.
    pub fn inspect(path: &Path, pipeline: &Name) -> Result<bool, Error> {
        let format = path.join("format");
        let bytes = match fs::read(&format) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return refuse_foreign(path).map(|()| false),
            Err(e) if e.kind() == io::ErrorKind::NotADirectory => {
                return Err(Error::Foreign { path: path.to_owned(), found: "a file".into() });
            }
            Err(e) => return Err(io_error("reading", &format)(e)),
        };
        let damaged = |e: serde_json::Error| Error::Damaged { path: format.clone(), detail: e.to_string() };
        let Version { version } = serde_json::from_slice(&bytes).map_err(damaged)?;
        if version > VERSION {
            return Err(Error::Newer { path: path.to_owned(), found: version });
        }
        let Format { pipeline: found, .. } = serde_json::from_slice(&bytes).map_err(damaged)?;
        if found != *pipeline {
            return Err(Error::OtherPipeline { path: path.to_owned(), found, wanted: pipeline.clone() });
        }
        Ok(true)
    }

    /// What the commits in a state folder were made under, as far as that is known.
    pub fn terms(path: &Path) -> Result<Terms, Error> {
        let noted = read_format(path)?.terms;
        let decides = noted.decides.or_else(|| path.join("CURRENT").exists().then_some(Decides::Current));
        Ok(Terms { decides, ..noted })
    }

    /// What tells the pipeline of a state folder from another of its name.
    pub fn lineage_of(path: &Path) -> Result<String, Error> {
        Ok(read_format(path)?.lineage)
    }

    /// Notes under what they are made from now on.
    pub fn note_terms(&self, terms: Terms) -> Result<(), Error> {
        let format = read_format(&self.path)?;
        write_format(&self.path, &Format { terms, ..format })
    }

    /// Whether this is the first start that has it.
    pub fn is_new(&self) -> bool {
        self.made.is_some()
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Random id of the pipeline's first start.
    pub fn lineage(&self) -> &str {
        &self.lineage
    }

    /// Random id of this process' hold on the folder.
    pub fn process(&self) -> &str {
        &self.process
    }

    /// One folder per snapshot, and `files`.
    pub fn checkpoints(&self) -> PathBuf {
        self.path.join("checkpoints")
    }

    /// State files, by token and content.
    pub fn files(&self) -> PathBuf {
        self.checkpoints().join("files")
    }

    /// Disposable: rebuilt at each start.
    pub fn live(&self) -> PathBuf {
        self.path.join("live")
    }

    /// What file sinks have published last.
    pub fn published(&self) -> PathBuf {
        self.path.join("published")
    }

    /// The file of the authority `CURRENT`.
    pub fn current(&self) -> PathBuf {
        self.path.join("CURRENT")
    }
}

/// The socket goes before the lock does, so that nobody removes a successor's.
impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_file(self.path.join(SOCKET));
    }
}

/// A folder without `format` is ours to take if it is empty, or if we died while we took it.
fn refuse_foreign(path: &Path) -> Result<(), Error> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) if e.kind() == io::ErrorKind::NotADirectory => {
            return Err(Error::Foreign { path: path.to_owned(), found: "a file".into() });
        }
        Err(e) => return Err(io_error("listing", path)(e)),
    };
    for entry in entries {
        let name = entry.map_err(io_error("listing", path))?.file_name();
        // A disk of its own has the second one.
        if name != "lock" && name != "lost+found" && !is_leftover(&name) {
            return Err(Error::Foreign { path: path.to_owned(), found: name.to_string_lossy().into_owned() });
        }
    }
    Ok(())
}

/// What `durable` leaves of `format` or `CURRENT` when it is killed.
fn is_leftover(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    (name.starts_with("format.") || name.starts_with("CURRENT.")) && name.ends_with(".tmp")
}

fn take_lock(folder: &Path) -> Result<File, Error> {
    let path = folder.join("lock");
    match lock::take(&path, clock::pause).map_err(io_error("locking", &path))? {
        Lock::Ours(file) => Ok(file),
        Lock::Held(pid) => Err(Error::Locked { path: folder.to_owned(), pid }),
    }
}

/// Where a path leads: links followed and `..` taken, as far as it exists; what is behind that would be made.
pub(super) fn resolved(path: &Path) -> PathBuf {
    let mut at = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(at.pop()),
            part => at.push(part),
        }
        at = at.canonicalize().unwrap_or(at);
    }
    at
}

fn new_format(folder: &Path, pipeline: &Name, lineage: Option<&str>) -> Result<Format, Error> {
    let random = || hex::random::<16>().map_err(io_error("writing", &folder.join("format")));
    let lineage = lineage.map_or_else(random, |lineage| Ok(lineage.to_owned()))?;
    let (pipeline, created) = (pipeline.clone(), clock::now_millis());
    Ok(Format { version: VERSION, pipeline, created, lineage, terms: Terms::default(), memory: None })
}

fn write_format(folder: &Path, format: &Format) -> Result<(), Error> {
    let mut bytes = serde_json::to_vec(format).map_err(|e| Error::Io {
        action: "writing",
        path: folder.join("format"),
        source: e.into(),
    })?;
    bytes.push(b'\n');
    let path = folder.join("format");
    durable::write(&path, &bytes).map_err(io_error("writing", &path))
}

fn read_format(folder: &Path) -> Result<Format, Error> {
    let path = folder.join("format");
    let bytes = fs::read(&path).map_err(io_error("reading", &path))?;
    serde_json::from_slice(&bytes).map_err(|e| Error::Damaged { path: path.clone(), detail: e.to_string() })
}

#[cfg(test)]
mod tests;
