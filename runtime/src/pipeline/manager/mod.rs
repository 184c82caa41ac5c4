//! All pipelines of a server: what was asked for, kept durably, and what runs. One thread per pipeline carries out changes
//! in order, so that two applies never run two services of one name. Knows no HTTP.

mod check;
mod entry;
mod record;
mod run;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use weir_core::domain::{Class, Start};
use weir_core::ids::Name;

use self::check::{check, check_to_delete};
use self::entry::Entry;
pub use self::entry::View;
pub use self::record::Language;
use self::record::{Damaged, Desired, Found, Record, Records};
use super::job::Job;
use super::service::{Handle, Service, Settings};
use super::status::State;
use crate::crash;
use crate::registry::Registry;
use crate::settings::Diagnostics;
use crate::state::Budget;
use crate::storage::Memory;

/// Why a wish was refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is none of this name.
    #[error("there is no pipeline `{0}`")]
    Unknown(String),
    /// The text is wrong.
    #[error("the pipeline is not valid")]
    Invalid(Diagnostics),
    /// It says another name than its path.
    #[error("the path says `{path}`, the pipeline says `{file}`")]
    OtherName {
        /// In the path.
        path: Name,
        /// In the text.
        file: Name,
    },
    /// What deleting commits first could not be committed.
    #[error("the reset could not be committed, nothing was deleted: {0}")]
    NotReset(String),
    /// Somebody deletes it right now.
    #[error("pipeline `{0}` is being deleted: try again when it is gone")]
    Deleting(Name),
    /// It was told to stop and commits its last checkpoint.
    #[error("pipeline `{0}` is still stopping: try again when its state is `stopped`")]
    Stopping(Name),
    /// The server stops.
    #[error("the server is stopping: try again when it is back")]
    ShuttingDown,
    /// `If-Match` names another revision.
    #[error("the pipeline is at revision {0}")]
    Changed(u64),
    /// It must be stopped first.
    #[error("pipeline `{0}` runs: stop it first")]
    Running(Name),
    /// What is kept about it cannot be read; nothing of it is touched.
    #[error("{0}")]
    Damaged(String),
    /// The disk.
    #[error("{path}: {source}")]
    Io {
        /// File or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// See the module.
#[derive(Clone)]
pub struct Manager(Arc<Inner>);

/// Opens a door of its own to a pipeline whose state folder is locked, for as long as what it returns lives.
pub type OpenDoor = Box<dyn Fn(&Manager, &Path) -> io::Result<Box<dyn Send>> + Send + Sync>;

struct Inner {
    open_door: OpenDoor,
    data: PathBuf,
    records: Records,
    registry: Arc<Registry>,
    /// Memory for the state of all pipelines.
    budget: Arc<Budget>,
    entries: Mutex<BTreeMap<Name, Entry>>,
    /// Pipelines whose record cannot be read, as the start found them.
    damaged: BTreeMap<Name, Damaged>,
    /// Changed only under the lock of `entries`: from then on nothing is started.
    is_shutting_down: AtomicBool,
}

impl Manager {
    /// Opens what is kept below `DIR` and starts what was running.
    pub fn open(
        data: &Path,
        registry: Arc<Registry>,
        budget: Arc<Budget>,
        open_door: OpenDoor,
    ) -> Result<Manager, Error> {
        let (records, Found { whole, damaged }) = Records::open(data)?;
        damaged.iter().for_each(|damaged| tracing::error!("{damaged}"));
        let manager = Manager(Arc::new(Inner {
            open_door,
            data: data.to_owned(),
            records,
            registry,
            budget,
            entries: Mutex::default(),
            damaged: damaged.into_iter().filter_map(|damaged| Some((damaged.name.clone()?, damaged))).collect(),
            is_shutting_down: AtomicBool::new(false),
        }));
        for record in whole {
            let mut entry = Entry::new(record);
            let name = entry.record.name.clone();
            entry.before = entry::last_checkpoint(&manager.state(&name));
            // Held over the start: its thread finds the entry.
            let mut entries = manager.entries();
            if entry.record.desired == Desired::Running && entry.record.ended.is_none() {
                manager.start(&mut entry, None);
            }
            entries.insert(name, entry);
        }
        Ok(manager)
    }

    fn entries(&self) -> MutexGuard<'_, BTreeMap<Name, Entry>> {
        self.0.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Applies a pipeline: checks it, keeps it, (re)starts it. Returns whether it is new. The same text for one whose bounded
    /// input has ended changes nothing.
    pub fn apply(
        &self,
        name: &Name,
        language: Language,
        text: &str,
        if_match: Option<u64>,
    ) -> Result<(View, bool), Error> {
        self.is_whole(name.as_str())?;
        let checked = check((&self.0.registry, &self.0.data), name, language, text)?;
        let mut entries = self.entries();
        if self.is_shutting_down() {
            return Err(Error::ShuttingDown);
        }
        if entries.get(name).is_some_and(|entry| entry.is_being_deleted) {
            return Err(Error::Deleting(name.clone()));
        }
        let revision = entries.get(name).map(|entry| entry.record.revision);
        if let Some(wanted) = if_match
            && revision != Some(wanted)
        {
            return Err(Error::Changed(revision.unwrap_or(0)));
        }
        if let Some(entry) = entries.get(name)
            && entry.record.ended.is_some()
            && (entry.record.language, entry.record.text.as_str()) == (language, text)
        {
            return Ok((entry.view(), false));
        }
        let created = revision.is_none();
        let record = Record {
            name: name.clone(),
            revision: revision.unwrap_or(0) + 1,
            desired: Desired::Running,
            language,
            text: text.to_owned(),
            ended: None,
        };
        self.0.records.keep(&record)?;
        crash::point("deploy.switched");
        let entry = entries.entry(name.clone()).or_insert_with(|| Entry::new(record.clone()));
        entry.record = record;
        self.start(entry, Some(checked));
        Ok((entry.view(), created))
    }

    /// All pipelines, by name.
    pub fn list(&self) -> Vec<View> {
        let damaged = self.0.damaged.iter().map(|(name, damaged)| View {
            name: name.clone(),
            state: State::Failed,
            revision: 0,
            last_checkpoint: None,
            restarts: 0,
            problem: Some(damaged.to_string()),
        });
        let mut views: Vec<View> = self.entries().values().map(Entry::view).chain(damaged).collect();
        views.sort_by(|a, b| a.name.cmp(&b.name));
        views
    }

    /// What is damaged is neither shown as something else nor written over.
    fn is_whole(&self, name: &str) -> Result<(), Error> {
        match self.0.damaged.iter().find(|(damaged, _)| damaged.as_str() == name) {
            Some((_, damaged)) => Err(Error::Damaged(damaged.to_string())),
            None => Ok(()),
        }
    }

    /// One pipeline.
    pub fn get(&self, name: &str) -> Result<View, Error> {
        self.is_whole(name)?;
        self.entries().get(name).map(Entry::view).ok_or_else(|| Error::Unknown(name.to_owned()))
    }

    /// The doors to all running pipelines, for metrics and probes.
    pub fn handles(&self) -> Vec<(Name, Handle)> {
        let entries = self.entries();
        entries.iter().filter_map(|(name, entry)| Some((name.clone(), entry.handle.clone()?))).collect()
    }

    /// Asks for a last checkpoint and the end. Kept durably: a stop survives a kill of the server.
    pub fn stop(&self, name: &str) -> Result<View, Error> {
        self.end(name, Handle::stop)
    }

    /// Ends it at once; nothing more is committed. Kept as a stop is.
    pub fn cancel(&self, name: &str) -> Result<View, Error> {
        self.end(name, Handle::cancel)
    }

    fn end(&self, name: &str, how: impl FnOnce(&Handle)) -> Result<View, Error> {
        self.is_whole(name)?;
        let mut entries = self.entries();
        if self.is_shutting_down() {
            return Err(Error::ShuttingDown);
        }
        let entry = entries.get_mut(name).ok_or_else(|| Error::Unknown(name.to_owned()))?;
        if entry.is_being_deleted {
            return Err(Error::Deleting(entry.record.name.clone()));
        }
        if entry.record.desired != Desired::Stopped {
            let record = Record { desired: Desired::Stopped, ..entry.record.clone() };
            self.0.records.keep(&record)?;
            entry.record = record;
        }
        // Without a handle it is still being started: `run` sees the record and does not go on.
        if let Some(handle) = &entry.handle {
            how(handle);
        }
        Ok(entry.view())
    }

    /// Deletes a stopped pipeline: the reset is committed first, then its files go.
    pub fn delete(&self, name: &str) -> Result<(), Error> {
        self.is_whole(name)?;
        let (record, thread) = {
            let mut entries = self.entries();
            if self.is_shutting_down() {
                return Err(Error::ShuttingDown);
            }
            let entry = entries.get_mut(name).ok_or_else(|| Error::Unknown(name.to_owned()))?;
            let name = entry.record.name.clone();
            match (entry.is_being_deleted, entry.is_live(), entry.record.desired) {
                (true, ..) => return Err(Error::Deleting(name)),
                (false, true, Desired::Running) => return Err(Error::Running(name)),
                (false, true, Desired::Stopped) => return Err(Error::Stopping(name)),
                (false, false, _) => {}
            }
            // Durable before anything goes: a kill half-way must not let it run again from nothing.
            let record = Record { desired: Desired::Stopped, ..entry.record.clone() };
            self.0.records.keep(&record)?;
            entry.record = record;
            entry.is_being_deleted = true;
            (entry.record.clone(), entry.thread.take())
        };
        if let Some(thread) = thread {
            // It has ended, or is about to: its status says so.
            let _ = thread.join();
        }
        let deleted = self.reset(&record).and_then(|()| self.remove(&record.name));
        let mut entries = self.entries();
        match (&deleted, entries.get_mut(name)) {
            (Ok(()), _) => drop(entries.remove(name)),
            // It can be tried again: what is left of it is still known.
            (Err(_), Some(entry)) => entry.is_being_deleted = false,
            (Err(_), None) => {}
        }
        deleted
    }

    /// The state first: whatever stops this half-way, the next start still knows the pipeline and deletes it again.
    fn remove(&self, name: &Name) -> Result<(), Error> {
        let path = self.state(name);
        match fs::remove_dir_all(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => return Err(Error::Io { path, source }),
            _ => {}
        }
        self.0.records.remove(name)
    }

    fn reset(&self, record: &Record) -> Result<(), Error> {
        if !self.state(&record.name).exists() {
            return Ok(());
        }
        let checked = check_to_delete(&self.0.registry, &record.name, record.language, &record.text)?;
        let kept = self.memory(&record.name);
        let job =
            Job::open_again(checked, &self.state(&record.name), kept).map_err(|e| Error::NotReset(e.to_string()))?;
        let (service, _) = Service::new(job, Settings { start: Start::Delete, takeover: true });
        let outcome = service.run();
        match outcome.class {
            Class::Ended | Class::Stopped => Ok(()),
            _ => Err(Error::NotReset(outcome.why)),
        }
    }

    /// Stops every pipeline gracefully and waits; they run again at the next start.
    pub fn shut_down(&self) {
        let mut threads = Vec::new();
        {
            let mut entries = self.entries();
            self.0.is_shutting_down.store(true, Ordering::SeqCst);
            for entry in entries.values_mut() {
                if let Some(handle) = &entry.handle {
                    handle.stop();
                }
                threads.extend(entry.thread.take());
            }
        }
        for thread in threads {
            // A thread that panicked has stopped too.
            let _ = thread.join();
        }
    }

    fn is_shutting_down(&self) -> bool {
        self.0.is_shutting_down.load(Ordering::SeqCst)
    }

    /// What holds a pipeline's checkpoints, where they are in memory.
    fn memory(&self, name: &Name) -> Option<Arc<Memory>> {
        self.entries().get(name)?.memory.clone()
    }

    /// Where a pipeline keeps its state.
    pub fn state_folder(&self, name: &Name) -> PathBuf {
        self.state(name)
    }

    fn state(&self, name: &Name) -> PathBuf {
        self.0.data.join("pipelines").join(name.as_str())
    }
}
