//! Whose the folders of file sinks are: one process writes into each, and none that another pipeline has written into since, or from
//! which something committed is missing, is taken for a pipeline's own. Publishes and deletes no part.

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use weir_core::checkpoint::manifest::StagedPart;
use weir_core::ids::{Epoch, Name};

use super::publish::{STAGING, any_part, is_part, part_name};

/// Whose folder it is: a file in the staging folder, locked by the process that writes there.
const OWNER: &str = "owner";

/// The epoch of the newest part that was published from a staging folder, in a file there: whoever reads the output may
/// take parts away.
pub(super) const NEWEST: &str = "newest";

/// Who was the last to write into a folder: the lineage of its state, and its name, which older files do not say.
fn owner(folder: &Path) -> Option<(String, String)> {
    let text = std::fs::read_to_string(folder.join(STAGING).join(OWNER)).ok()?;
    let (lineage, name) = text.split_once(' ').unwrap_or((&text, ""));
    // Empty for a moment, before it is a first owner's.
    (!lineage.is_empty()).then(|| (lineage.to_owned(), name.to_owned()))
}

/// A part in a folder into which a pipeline of another lineage was the last to write.
pub fn part_of_others(folder: &Path, lineage: &str) -> Option<String> {
    let is_of_others = owner(folder).is_some_and(|(last, _)| last != lineage);
    if is_of_others { any_part(folder).ok()? } else { None }
}

/// A part in a folder into which a pipeline of another name was the last to write: not even who begins anew may move it away.
pub fn part_of_strangers(folder: &Path, name: &Name) -> Option<String> {
    let is_of_strangers = owner(folder).is_some_and(|(_, last)| !last.is_empty() && last != name.as_str());
    if is_of_strangers { any_part(folder).ok()? } else { None }
}

/// The folders of a pipeline's file sinks.
#[derive(Debug, Clone)]
pub struct Folders {
    pub(super) folders: BTreeMap<Name, PathBuf>,
    pipeline: Name,
    /// Tells its state from another one of its name.
    lineage: String,
    /// A file that holds the id of the newest snapshot whose parts are all published.
    pub(super) note: PathBuf,
    /// Held as long as anyone writes here.
    locks: Arc<Vec<File>>,
}

impl Folders {
    /// Folders by sink, of the pipeline whose state has this lineage. `note` is where it keeps what was published last.
    pub fn new(folders: BTreeMap<Name, PathBuf>, (pipeline, lineage): (Name, &str), note: PathBuf) -> Folders {
        Folders { folders, pipeline, lineage: lineage.to_owned(), note, locks: Arc::default() }
    }

    /// Takes the folders for this process: two that wrote into one would take each other's staged parts for their own.
    pub fn lock(&mut self) -> std::io::Result<()> {
        let mut locks = Vec::new();
        for (sink, folder) in &self.folders {
            let staging = folder.join(STAGING);
            let failed = |what: &str, e: std::io::Error| {
                let said = format!("{what} {} of sink `{sink}` failed: {e}", staging.display());
                std::io::Error::new(e.kind(), said)
            };
            std::fs::create_dir_all(&staging).map_err(|e| failed("making", e))?;
            let mut options = File::options();
            let file = options.read(true).write(true).create(true).truncate(false).open(staging.join(OWNER));
            let mut file = file.map_err(|e| failed("opening the lock in", e))?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    return Err(std::io::Error::other(format!(
                        "another sink writes into {} now: give `{sink}` a `path` of its own",
                        folder.display()
                    )));
                }
                Err(TryLockError::Error(e)) => return Err(failed("locking", e)),
            }
            // Not written again where it stands: a disk that is full is no reason to lose it.
            if !self.is_ours(folder) {
                let _ = std::fs::remove_file(staging.join(NEWEST));
                let written = file
                    .set_len(0)
                    .and_then(|()| file.write_all(format!("{} {}", self.lineage, self.pipeline).as_bytes()));
                written.map_err(|e| failed("writing to", e))?;
            }
            locks.push(file);
        }
        self.locks = Arc::new(locks);
        Ok(())
    }

    /// Whether this pipeline has written into the folder before.
    fn is_ours(&self, folder: &Path) -> bool {
        owner(folder).is_some_and(|(lineage, _)| lineage == self.lineage)
    }

    /// Whether every committed part is still there, or was published from where it was: else the folder is not the one that
    /// the parts were written to. Before [`Folders::lock`]. Changes nothing.
    ///
    /// `id` is the snapshot's. Once its parts are known to be published, a sink may have another folder.
    pub fn check_committed(&self, parts: &[StagedPart], id: &str) -> std::io::Result<()> {
        if std::fs::read_to_string(&self.note).is_ok_and(|published| published == id) {
            return Ok(());
        }
        for part in parts {
            let folder = self.folder(part)?;
            let is_there = |path: PathBuf| path.symlink_metadata().is_ok();
            let known = is_there(folder.join(STAGING).join(&part.staged)) || is_there(folder.join(&part.published));
            // One that is neither may have been moved on by whoever reads the output.
            if !known && !self.is_ours(folder) {
                return Err(std::io::Error::other(format!(
                    "{} is not the folder that sink `{}` wrote to: {} is committed and neither there nor in its {STAGING}; \
                     set `path` back, or bring the folder back with its {STAGING}",
                    folder.display(),
                    part.sink,
                    part.published
                )));
            }
        }
        Ok(())
    }

    /// Refuses a folder that another pipeline has written into since this one did, if it ever did: what it adds would lie among
    /// what is there. Before [`Folders::lock`]. Changes nothing.
    pub fn check_others(&self) -> std::io::Result<()> {
        self.refuse(|folder| part_of_others(folder, &self.lineage))
    }

    /// The same for who begins anew, to whom the parts of an older state of its own are no others'.
    pub fn check_strangers(&self) -> std::io::Result<()> {
        self.refuse(|folder| part_of_strangers(folder, &self.pipeline))
    }

    fn refuse(&self, part: impl Fn(&Path) -> Option<String>) -> std::io::Result<()> {
        for (sink, folder) in &self.folders {
            if let Some(part) = part(folder) {
                return Err(std::io::Error::other(format!(
                    "{} holds {part}, and another pipeline was the last to write there: give the sink `{sink}` another `path`, or \
                     move the parts away",
                    folder.display()
                )));
            }
        }
        Ok(())
    }

    /// Refuses a start from a commit behind which parts were published: it comes from an older copy of the state folder,
    /// and what it made again would lie beside what is there. Changes nothing.
    pub fn check_newest(&self, committed: Epoch) -> std::io::Result<()> {
        let refused = |what: String| {
            Err(std::io::Error::other(format!(
                "{what}, and the newest commit of this state folder is of epoch {committed}: it is an older copy, or the folder \
                 is another pipeline's; bring the newest state folder back, or begin anew with --from empty --rewind"
            )))
        };
        // The better answer for parts that are of somebody else altogether.
        self.check_others()?;
        if let Some(part) = self.part_from(committed.next())? {
            return refused(format!("{} is there", part.display()));
        }
        for folder in self.folders.values().filter(|folder| self.is_ours(folder)) {
            let newest = std::fs::read_to_string(folder.join(STAGING).join(NEWEST)).ok();
            if let Some(epoch) = newest.and_then(|text| text.trim().parse().ok()).filter(|epoch| *epoch > committed.0) {
                return refused(format!("{} was published in {}", part_name(Epoch(epoch)), folder.display()));
            }
        }
        Ok(())
    }

    /// A step back that was asked for: what was published behind it is no reason to refuse any more.
    pub fn forget_newest(&self) {
        for folder in self.folders.values() {
            let _ = std::fs::remove_file(folder.join(STAGING).join(NEWEST));
        }
    }

    /// Whether the pipeline has no file sink.
    pub fn is_empty(&self) -> bool {
        self.folders.is_empty()
    }

    /// A part of this epoch or of a later one, where there is one.
    pub fn part_from(&self, epoch: Epoch) -> std::io::Result<Option<PathBuf>> {
        for folder in self.folders.values() {
            let Ok(entries) = std::fs::read_dir(folder) else { continue };
            for entry in entries {
                let name = entry?.file_name();
                // Names of parts are in the order of their epochs.
                if name.to_str().is_some_and(|name| is_part(name) && name >= part_name(epoch).as_str()) {
                    return Ok(Some(folder.join(name)));
                }
            }
        }
        Ok(None)
    }
}
