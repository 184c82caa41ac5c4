//! What is kept of a pipeline over every end of the server: which revision counts, what is wanted of it, how it came to rest,
//! and what was last asked of it. One file per pipeline, replaced whole; its revisions lie beside it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use weir_core::ids::Name;

use super::Error;
use super::operation::Operation;
use super::origin::Origin;
use super::revision::Revision;
use super::trial::Trial;
use crate::crash;
use crate::durable;

/// What was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Desired {
    Running,
    Paused,
    Stopped,
}

/// How this revision came to rest by itself: it does not run again before somebody wants it to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Rest {
    /// Its bounded input was committed to the end, in these words: this revision never runs again.
    Ended(String),
    /// It cannot go on, and why.
    Failed(String),
    /// The same failure came three times.
    CircuitOpen(String),
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) name: Name,
    /// The one that counts.
    pub(super) revision: u64,
    /// The one that counted before it, to which a roll-back leads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) before: Option<u64>,
    pub(super) desired: Desired,
    /// The token that brought it here.
    pub(super) by: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) rest: Option<Rest>,
    /// The revision is on trial: see there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) trial: Option<Trial>,
    /// Where it starts from, if that was said: see there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) origin: Option<Origin>,
    /// That the server went back to an earlier revision by itself, and why; until somebody applies another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) taken_back: Option<String>,
    /// The newest ones, oldest first.
    #[serde(default)]
    pub(super) operations: Vec<Operation>,
}

/// A record that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error(
    "{} is damaged: {why}; it is left as it is, and its pipeline does not run: put a good copy there, or move it away, and \
     start the server again",
    path.display()
)]
pub(super) struct Damaged {
    /// Whose it is, where its file's name tells.
    pub(super) name: Option<Name>,
    path: PathBuf,
    why: String,
}

/// What a start finds.
#[derive(Default)]
pub(super) struct Found {
    pub(super) whole: Vec<(Record, Revision)>,
    pub(super) damaged: Vec<Damaged>,
}

/// The records in `DIR/specs`: `NAME.json`, and `NAME/REVISION.json`.
pub(super) struct Records(PathBuf);

impl Records {
    /// Opens or makes the folder, and reads all that is in it. One that cannot be read is no reason to stop the others.
    pub(super) fn open(data: &Path) -> Result<(Records, Found), Error> {
        let folder = data.join("specs");
        let io = |source| Error::Io { path: folder.clone(), source };
        fs::create_dir_all(&folder).and_then(|()| durable::remove_leftovers(&folder)).map_err(io)?;
        let (mut found, records) = (Found::default(), Records(folder.clone()));
        for file in fs::read_dir(&folder).map_err(io)? {
            let path = file.map_err(io)?.path();
            if path.is_dir() {
                durable::remove_leftovers(&path).map_err(io)?;
            }
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            let name = path.file_stem().and_then(|stem| Name::new(stem.to_str()?).ok());
            let read = read_json::<Record>(&path);
            let damaged = |path, why| Damaged { name: name.clone(), path, why };
            match read {
                Ok(record) if Some(&record.name) == name.as_ref() => {
                    let path = records.revision_path(&record.name, record.revision);
                    match read_json::<Revision>(&path) {
                        Ok(revision) => found.whole.push((record, revision)),
                        Err(why) => found.damaged.push(damaged(path, why)),
                    }
                }
                Ok(record) => {
                    let why = format!("it holds the pipeline `{}`, which is not its name", record.name);
                    found.damaged.push(damaged(path, why));
                }
                Err(why) => found.damaged.push(damaged(path, why)),
            }
        }
        Ok((records, found))
    }

    /// Replaces a record. When it returns, the new one survives a power cut.
    pub(super) fn keep(&self, record: &Record) -> Result<(), Error> {
        let path = self.path(&record.name);
        write_json(&path, record)
    }

    /// Keeps a revision, before any record names it. One that was never named is written over.
    pub(super) fn keep_revision(&self, name: &Name, revision: &Revision) -> Result<(), Error> {
        let path = self.revision_path(name, revision.number);
        let folder = self.0.join(name.as_str());
        if revision.number == 1 {
            // What is left of one of this name that was deleted.
            match fs::remove_dir_all(&folder) {
                Err(source) if source.kind() != io::ErrorKind::NotFound => {
                    return Err(Error::Io { path: folder, source });
                }
                _ => {}
            }
        }
        let made = fs::create_dir_all(&folder).and_then(|()| durable::sync_folder(&self.0));
        made.map_err(|source| Error::Io { path: folder, source })?;
        write_json(&path, revision)?;
        crash::point("revision.written");
        Ok(())
    }

    /// A revision that was kept.
    pub(super) fn revision(&self, name: &Name, number: u64) -> Result<Revision, Error> {
        let path = self.revision_path(name, number);
        if !path.exists() {
            return Err(Error::UnknownRevision { name: name.clone(), number });
        }
        read_json(&path).map_err(|why| Error::Damaged(format!("{} is damaged: {why}", path.display())))
    }

    /// Forgets one. The record goes first: what is left of a pipeline without one is swept by the next of its name.
    pub(super) fn remove(&self, name: &Name) -> Result<(), Error> {
        for (path, removed) in [
            (self.path(name), fs::remove_file(self.path(name)).and_then(|()| durable::sync_folder(&self.0))),
            (self.0.join(name.as_str()), fs::remove_dir_all(self.0.join(name.as_str()))),
        ] {
            match removed {
                Err(source) if source.kind() != io::ErrorKind::NotFound => return Err(Error::Io { path, source }),
                _ => {}
            }
        }
        Ok(())
    }

    fn path(&self, name: &Name) -> PathBuf {
        self.0.join(format!("{name}.json"))
    }

    fn revision_path(&self, name: &Name, number: u64) -> PathBuf {
        self.0.join(name.as_str()).join(format!("{number}.json"))
    }
}

fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, String> {
    let bytes = fs::read(path).map_err(|e| e.to_string())?;
    serde_json::from_slice(&bytes).map_err(|e| e.to_string())
}

fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<(), Error> {
    let json = serde_json::to_vec_pretty(value).expect("strings, numbers and plain values");
    durable::write(path, &json).map_err(|source| Error::Io { path: path.to_owned(), source })
}
