//! All pipelines of a server: what was asked for, kept durably, and what runs. One thread per pipeline carries out changes
//! in order, so that two applies never run two services of one name. Knows no HTTP.

mod actions;
mod apply;
mod check;
mod delete;
mod entry;
mod error;
mod folders;
mod misfits;
mod operation;
mod origin;
mod record;
mod revision;
mod run;
mod trial;
mod upgrade;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use weir_core::ids::Name;

pub use self::apply::{Applied, Condition, Plan, Wanted};
use self::check::Ground;
use self::entry::Entry;
pub use self::entry::View;
pub use self::error::Error;
pub use self::operation::{Kind, Operation, Progress};
pub use self::origin::{From, Origin};
use self::record::{Damaged, Found, Records};
pub use self::revision::{Cause, Language, Pin, Revision};
pub use self::upgrade::GRACE_MAX;
use super::folder::resolved;
use super::graph::Graph;
use super::service::Handle;
use super::shards::Shards;
use super::status::State;
use crate::access::audit::Audit;
use crate::clock;
use crate::dataflow::ShardPool;
use crate::journal::Journal;
use crate::registry::Registry;
use crate::settings::{Files, Secrets};
use crate::state::Budget;
use crate::storage::Memory;

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
    /// What pipelines may refer to.
    secrets: Secrets,
    /// What they may read and write.
    files: Files,
    audit: Arc<Audit>,
    /// Memory for the state of all pipelines.
    budget: Arc<Budget>,
    /// Threads that run all of them.
    shards: Arc<ShardPool>,
    entries: Mutex<BTreeMap<Name, Entry>>,
    /// An operation of one of them has ended.
    ended: Condvar,
    /// Pipelines whose record cannot be read, as the start found them.
    damaged: BTreeMap<Name, Damaged>,
    /// Changed only under the lock of `entries`: from then on nothing is started.
    is_shutting_down: AtomicBool,
    /// Those that were to run when this process began, and have not run yet.
    starting: Mutex<BTreeSet<Name>>,
}

impl Manager {
    /// Opens what is kept below `DIR`. What was running is starting from then on, and [`Manager::start_all`] starts it.
    pub fn open(
        data: &Path,
        (registry, audit): (Arc<Registry>, Arc<Audit>),
        (secrets, files): (Secrets, Files),
        budget: Arc<Budget>,
        open_door: OpenDoor,
    ) -> Result<Manager, Error> {
        let (records, Found { whole, damaged }) = Records::open(data)?;
        damaged.iter().for_each(|damaged| tracing::error!("{damaged}"));
        let shards = Shards::pool().map_err(|source| Error::Io { path: data.to_owned(), source })?;
        let manager = Manager(Arc::new(Inner {
            open_door,
            data: data.to_owned(),
            records,
            registry,
            secrets,
            files,
            audit,
            budget,
            shards,
            entries: Mutex::default(),
            ended: Condvar::new(),
            damaged: damaged.into_iter().filter_map(|damaged| Some((damaged.name.clone()?, damaged))).collect(),
            is_shutting_down: AtomicBool::new(false),
            starting: Mutex::default(),
        }));
        for (record, revision) in whole {
            let mut entry = Entry::new(record, revision);
            let name = entry.record.name.clone();
            entry.before = entry::last_checkpoint(&manager.state(&name));
            if entry.is_due() {
                manager.starting().insert(name.clone());
            } else if operation::end(&mut entry.record.operations, Ok(())) {
                // It was told to rest, and rests: a kill came before that could be written down.
                manager.0.records.keep(&entry.record)?;
            }
            manager.entries().insert(name, entry);
        }
        Ok(manager)
    }

    /// Starts what was running when the last process ended, and has been neither stopped nor started since. Whoever answers
    /// probes does so before: a thousand threads that start leave little for the one that opens a server.
    pub fn start_all(&self) {
        let names: Vec<Name> = self.starting().iter().cloned().collect();
        // Held over all of them: whoever has begun waits, and takes no time from this.
        let mut entries = self.entries();
        for name in names {
            let is_due = |entry: &&mut Entry| entry.is_due() && !self.is_shutting_down();
            if let Some(entry) = entries.get_mut(&name).filter(is_due) {
                self.start(entry, None);
            }
        }
    }

    fn starting(&self) -> MutexGuard<'_, BTreeSet<Name>> {
        self.0.starting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn entries(&self) -> MutexGuard<'_, BTreeMap<Name, Entry>> {
        self.0.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All pipelines, by name.
    pub fn list(&self) -> Vec<View> {
        let damaged = self.0.damaged.iter().map(|(name, damaged)| View {
            name: name.clone(),
            state: State::Failed,
            revision: 0,
            last_checkpoint: None,
            restarts: 0,
            back_to: None,
            problem: Some(damaged.to_string()),
            pulse: None,
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

    /// Looks at an entry.
    fn read<R>(&self, name: &str, read: impl FnOnce(&Entry) -> R) -> Result<R, Error> {
        self.is_whole(name)?;
        self.entries().get(name).map(read).ok_or_else(|| Error::Unknown(name.to_owned()))
    }

    /// One pipeline.
    pub fn get(&self, name: &str) -> Result<View, Error> {
        self.read(name, Entry::view)
    }

    /// The revision that counts, with its text.
    pub fn current(&self, name: &str) -> Result<Revision, Error> {
        self.read(name, |entry| entry.revision.clone())
    }

    /// Any revision that was kept.
    pub fn revision(&self, name: &str, number: u64) -> Result<Revision, Error> {
        let name = self.read(name, |entry| entry.record.name.clone())?;
        self.0.records.revision(&name, number)
    }

    /// Sources, operators' nodes and sinks of the revision that counts.
    pub fn nodes(&self, name: &str) -> Result<Vec<Name>, Error> {
        let (name, revision) = self.read(name, |entry| (entry.record.name.clone(), entry.revision.clone()))?;
        check::nodes(self.ground(), &name, &revision)
    }

    /// How the revision that counts is laid out.
    pub fn graph(&self, name: &str) -> Result<Graph, Error> {
        let (name, revision) = self.read(name, |entry| (entry.record.name.clone(), entry.revision.clone()))?;
        let checked = check::check_again(self.ground(), &name, &revision, false)?;
        Ok(Graph::of(name.as_str(), &checked.plan))
    }

    /// What was asked of a pipeline, newest last.
    pub fn operations(&self, name: &str) -> Result<Vec<Operation>, Error> {
        self.read(name, |entry| entry.record.operations.clone())
    }

    /// Comes back when an operation has ended, whatever came of it, or the server stops.
    pub fn wait_for(&self, name: &Name, number: u64) {
        let is_under_way =
            |entry: &Entry| operation::current(&entry.record.operations).is_some_and(|it| it.number == number);
        let waits = |entries: &mut BTreeMap<Name, Entry>| {
            !self.is_shutting_down() && entries.get(name).is_some_and(is_under_way)
        };
        drop(self.0.ended.wait_while(self.entries(), waits));
    }

    /// What is kept of a pipeline for those who look, over its runs in this process.
    pub fn journal(&self, name: &str) -> Result<Arc<Journal>, Error> {
        self.read(name, |entry| Arc::clone(&entry.journal))
    }

    /// The doors to all running pipelines, for metrics and probes.
    pub fn handles(&self) -> Vec<(Name, Handle)> {
        let entries = self.entries();
        entries.iter().filter_map(|(name, entry)| Some((name.clone(), entry.handle.clone()?))).collect()
    }

    /// Stops every pipeline gracefully and waits until then; they run again at the next start. Gives back those that are not
    /// done: whatever they still do is cut off with the process, as by a kill.
    pub fn shut_down(&self, until: Instant) -> Vec<Name> {
        let mut threads = Vec::new();
        {
            let mut entries = self.entries();
            self.0.is_shutting_down.store(true, Ordering::SeqCst);
            self.0.ended.notify_all();
            for (name, entry) in entries.iter_mut() {
                match &entry.handle {
                    // Its trial goes on at the next start.
                    Some(handle) if self.on_trial(entry).is_some() => handle.give_up(),
                    Some(handle) => handle.stop(),
                    None => {}
                }
                threads.extend(entry.thread.take().map(|thread| (name.clone(), thread)));
            }
        }
        // A thread that panicked has stopped too.
        while threads.iter().any(|(_, thread)| !thread.is_finished()) && clock::now() < until {
            clock::pause(Duration::from_millis(5));
        }
        let left = threads.into_iter().filter(|(_, thread)| !thread.is_finished());
        left.map(|(name, _)| name).collect()
    }

    /// Whether every pipeline that the start of this process found running has come to run, or to rest, once.
    pub fn has_started(&self) -> bool {
        let entries = self.entries();
        let mut starting = self.starting();
        if !starting.is_empty() {
            starting.retain(|name| entries.get(name).is_some_and(Entry::is_at_start));
        }
        starting.is_empty()
    }

    /// It has begun to run, or come to rest.
    fn on_started(&self, name: &Name) {
        self.starting().remove(name);
    }

    /// Whether the end has begun.
    pub fn is_shutting_down(&self) -> bool {
        self.0.is_shutting_down.load(Ordering::SeqCst)
    }

    fn ground(&self) -> Ground<'_> {
        Ground { registry: &self.0.registry, files: &self.0.files, secrets: &self.0.secrets }
    }

    /// What holds a pipeline's checkpoints, where they are in memory.
    fn memory(&self, name: &Name) -> Option<Arc<Memory>> {
        self.entries().get(name)?.memory.clone()
    }

    /// Where a pipeline keeps its state.
    pub fn state_folder(&self, name: &Name) -> PathBuf {
        self.state(name)
    }

    /// Why a path is not for pipelines, by whatever name it is reached; nothing where it is.
    pub fn refuses_file(&self, path: &Path) -> Option<String> {
        self.0.files.refusal(&resolved(path))
    }

    fn state(&self, name: &Name) -> PathBuf {
        self.0.data.join("pipelines").join(name.as_str())
    }
}
