//! What is kept of a pipeline over every end of the server: its text, its revision, whether it is to run, and that it has
//! ended. One file per pipeline, replaced whole.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use weir_core::ids::Name;

use super::Error;
use crate::durable;

/// What was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Desired {
    Running,
    Stopped,
}

/// How the text of a pipeline is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Language {
    /// As a file on disk.
    Toml,
    /// The same model.
    Json,
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) name: Name,
    pub(super) revision: u64,
    pub(super) desired: Desired,
    pub(super) language: Language,
    pub(super) text: String,
    /// Its bounded input was committed to the end, in these words: this revision never runs again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) ended: Option<String>,
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
    pub(super) whole: Vec<Record>,
    pub(super) damaged: Vec<Damaged>,
}

/// The records in `DIR/specs`.
pub(super) struct Records(PathBuf);

impl Records {
    /// Opens or makes the folder, and reads all that is in it. One that cannot be read is no reason to stop the others.
    pub(super) fn open(data: &Path) -> Result<(Records, Found), Error> {
        let folder = data.join("specs");
        let io = |source| Error::Io { path: folder.clone(), source };
        fs::create_dir_all(&folder).map_err(io)?;
        let mut found = Found::default();
        for file in fs::read_dir(&folder).map_err(io)? {
            let path = file.map_err(io)?.path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            let name = path.file_stem().and_then(|stem| Name::new(stem.to_str()?).ok());
            let read = fs::read(&path).map_err(|e| e.to_string());
            let read = read.and_then(|bytes| serde_json::from_slice::<Record>(&bytes).map_err(|e| e.to_string()));
            match read {
                Ok(record) if Some(&record.name) == name.as_ref() => found.whole.push(record),
                Ok(record) => {
                    let why = format!("it holds the pipeline `{}`, which is not its name", record.name);
                    found.damaged.push(Damaged { name, path, why });
                }
                Err(why) => found.damaged.push(Damaged { name, path, why }),
            }
        }
        Ok((Records(folder), found))
    }

    /// Replaces a record. When it returns, the new one survives a power cut.
    pub(super) fn keep(&self, record: &Record) -> Result<(), Error> {
        let path = self.path(&record.name);
        let json = serde_json::to_vec_pretty(record).expect("a record is strings and numbers");
        durable::write(&path, &json).map_err(|source| Error::Io { path, source })
    }

    /// Forgets one.
    pub(super) fn remove(&self, name: &Name) -> Result<(), Error> {
        let path = self.path(name);
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(Error::Io { path, source }),
            _ => Ok(()),
        }
    }

    fn path(&self, name: &Name) -> PathBuf {
        self.0.join(format!("{name}.json"))
    }
}
