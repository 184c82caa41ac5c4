//! Where a revision starts from, if not from what is committed: said with its apply, kept with the record, and done with its first
//! commit. A kill before that commit starts from there again, one behind it never does.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use weir_core::domain::Start;
use weir_core::ids::Name;

use super::entry::Entry;
use super::folders::folders;
use super::record::Record;
use super::{Error, Manager};
use crate::pipeline::checkpoints::Checkpoints;
use crate::pipeline::job::{Checked, Job};
use crate::pipeline::savepoint::{self, Opened};
use crate::storage::Memory;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// From where.
    pub from: From,
    /// Forget the state that is there, or go back behind it.
    pub rewind: bool,
    /// Leave out state that the text has no place for.
    pub allow_non_restored: bool,
    /// The newest commit when it first ran, [`NONE`] for none: where there is another one, it is done.
    #[serde(default)]
    begun: Option<String>,
}

/// Where from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum From {
    /// The newest commit, though it was made under another guarantee or authority.
    Latest,
    /// Nothing.
    Empty,
    /// A savepoint on the server's machine.
    Savepoint(PathBuf),
}

const NONE: &str = "none";

impl Origin {
    /// One that has not begun.
    pub fn new(from: From, rewind: bool, allow_non_restored: bool) -> Origin {
        Origin { from, rewind, allow_non_restored, begun: None }
    }

    /// Reads all of a savepoint, and whether its state has a place in the pipeline.
    fn open(&self, checked: &Checked) -> Result<Option<Opened>, savepoint::Error> {
        let From::Savepoint(folder) = &self.from else { return Ok(None) };
        let opened = Opened::open(folder, &checked.pipeline.name)?;
        opened.check_names(folder, checked, self.allow_non_restored)?;
        Ok(Some(opened))
    }
}

/// The pipeline with its state folder, and where it starts.
pub(super) fn open(
    origin: Option<&Origin>,
    checked: Checked,
    state: &Path,
    kept: Option<Arc<Memory>>,
) -> Result<(Job, Start), String> {
    let Some(origin) = origin else {
        let job = Job::open_again(checked, state, kept).map_err(|e| e.to_string())?;
        return Ok((job, Start::Newest));
    };
    let opened = origin.open(&checked).map_err(|e| e.to_string())?;
    let opened = match opened {
        Some(savepoint) => Job::open_from(checked, state, savepoint),
        None => Job::open_again(checked, state, kept),
    };
    let mut job = opened.map_err(|e| e.to_string())?;
    (job.origin_is_given, job.allows_non_restored) = (true, origin.allow_non_restored);
    let start = match origin.from {
        From::Latest => Start::Newest,
        From::Empty => Start::Empty { rewind: origin.rewind },
        From::Savepoint(_) => job.start_from_origin(origin.rewind),
    };
    Ok((job, start))
}

impl Manager {
    /// Refuses what cannot be started from, before anything stops for it.
    pub(super) fn can_start(&self, origin: Option<&Origin>, checked: &Checked) -> Result<(), Error> {
        let name = &checked.pipeline.name;
        let Some(origin) = origin else {
            self.check_folders(name, &folders(&checked.pipeline), false)?;
            return self.fits(name, checked, None);
        };
        let opened = match origin.from {
            From::Latest => return self.fits(name, checked, Some(origin)),
            From::Empty | From::Savepoint(_) => {
                self.check_folders(name, &folders(&checked.pipeline), true)?;
                origin.open(checked).map_err(Error::Origin)?
            }
        };
        // The authority decides again at the start: this is what is known here.
        let Some(newest) = self.newest(name).filter(|_| !origin.rewind) else { return Ok(()) };
        let refuse = |why: &str| Err(Error::NeedsRewind(name.clone(), newest.id(), why.to_owned()));
        match opened.as_ref().map(Opened::manifest) {
            None => refuse("it would be forgotten"),
            Some(it) if it.lineage != newest.manifest.lineage => refuse("the savepoint is of another history"),
            Some(it) if (it.epoch, it.token) < (newest.manifest.epoch, newest.manifest.token) => {
                refuse("the savepoint is older: the rows of the epochs since then would be emitted a second time")
            }
            Some(_) => Ok(()),
        }
    }

    /// Where it is to start, if that was said and is not done. What is committed then is noted before it runs.
    pub(super) fn begin_origin(&self, entry: &mut Entry) -> Option<Origin> {
        let origin = entry.record.origin.clone()?;
        let name = &entry.record.name;
        let newest = newest(&self.state(name), name);
        match &origin.begun {
            Some(begun) if *begun != newest => {
                self.end_origin(entry);
                None
            }
            Some(_) => Some(origin),
            None => {
                let origin = Origin { begun: Some(newest), ..origin };
                self.keep(entry, Record { origin: Some(origin.clone()), ..entry.record.clone() });
                Some(origin)
            }
        }
    }

    /// It has committed: from now on it goes on from that.
    pub(super) fn end_origin(&self, entry: &mut Entry) {
        if entry.record.origin.is_some() {
            self.keep(entry, Record { origin: None, ..entry.record.clone() });
        }
    }
}

/// The newest snapshot that is known here to be committed. What a commit topic says is not known before its pipeline runs: a
/// kill between a commit there and the mark here leaves one that was imported and is refused as newer than its savepoint, which
/// loses nothing and is over with the next apply.
fn newest(state: &Path, pipeline: &Name) -> String {
    let committed = Checkpoints::open(state, pipeline).ok().and_then(|checkpoints| checkpoints.committed().ok());
    let newest = committed.and_then(|found| found.into_iter().next());
    newest.map_or_else(|| NONE.to_owned(), |found| found.snapshot.id())
}
