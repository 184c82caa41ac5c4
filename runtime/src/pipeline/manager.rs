//! All pipelines of a server: what was asked for, kept durably, and what runs. One thread per pipeline carries out changes
//! in order, so that two applies never run two services of one name. Knows no HTTP.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use weir_core::domain::Start;
use weir_core::graph::fault::Fault;
use weir_core::graph::spec::{FilePath, OperatorRef, Pipeline, SinkKind, SourceKind};
use weir_core::ids::Name;

use super::job::{Checked, Job};
use super::service::{Handle, Service, Settings};
use super::status::{Checkpointed, State};
use crate::registry::Registry;
use crate::settings::{self, Diagnostics, Environment, Format, Style};

/// What was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Desired {
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

/// What is kept of a pipeline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    name: Name,
    revision: u64,
    desired: Desired,
    language: Language,
    text: String,
}

/// What a reader sees of a pipeline.
#[derive(Debug, Clone)]
pub struct View {
    /// Name.
    pub name: Name,
    /// Where it stands.
    pub state: State,
    /// How often it was applied.
    pub revision: u64,
    /// Its newest checkpoint.
    pub last_checkpoint: Option<Checkpointed>,
    /// Attempts after the first.
    pub restarts: u64,
    /// Why it does not run.
    pub problem: Option<String>,
}

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
    /// The disk.
    #[error("{path}: {source}")]
    Io {
        /// File or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

struct Entry {
    record: Record,
    /// The door to its service; stays when the service has ended, for its last words.
    handle: Option<Handle>,
    thread: Option<std::thread::JoinHandle<()>>,
    /// Why it could not even be started.
    problem: Option<String>,
    /// Its files are going: it stays in the list so that nobody starts a new one in the same folder.
    is_being_deleted: bool,
}

impl Entry {
    fn new(record: Record) -> Entry {
        Entry { record, handle: None, thread: None, problem: None, is_being_deleted: false }
    }

    /// Whether something of it still works on its state folder.
    fn is_live(&self) -> bool {
        let works = self.thread.as_ref().is_some_and(|thread| !thread.is_finished());
        // A service at rest may need another moment to give its folder back; whoever needs the folder joins the thread.
        works && !self.handle.as_ref().is_some_and(|handle| handle.status.read(|facts| is_final(facts.state)))
    }
}

/// See the module.
#[derive(Clone)]
pub struct Manager(Arc<Inner>);

struct Inner {
    data: PathBuf,
    registry: Arc<Registry>,
    entries: Mutex<BTreeMap<Name, Entry>>,
    /// Changed only under the lock of `entries`: from then on nothing is started.
    is_shutting_down: AtomicBool,
}

impl Manager {
    /// Opens `DIR/pipelines` and starts what was running.
    pub fn open(data: &Path, registry: Arc<Registry>) -> Result<Manager, Error> {
        let specs = data.join("specs");
        fs::create_dir_all(&specs).map_err(|source| Error::Io { path: specs.clone(), source })?;
        let manager = Manager(Arc::new(Inner {
            data: data.to_owned(),
            registry,
            entries: Mutex::default(),
            is_shutting_down: AtomicBool::new(false),
        }));
        let io = |source| Error::Io { path: specs.clone(), source };
        for file in fs::read_dir(&specs).map_err(io)? {
            let path = file.map_err(io)?.path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            let bytes = fs::read(&path).map_err(io)?;
            let record: Record = serde_json::from_slice(&bytes).map_err(|e| Error::Io { path, source: e.into() })?;
            let name = record.name.clone();
            let mut entry = Entry::new(record);
            let mut entries = manager.entries();
            if entry.record.desired == Desired::Running {
                manager.start(&mut entry);
            }
            entries.insert(name, entry);
        }
        Ok(manager)
    }

    fn entries(&self) -> MutexGuard<'_, BTreeMap<Name, Entry>> {
        self.0.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Applies a pipeline: checks it, keeps it, (re)starts it. Returns whether it is new.
    pub fn apply(
        &self,
        name: &Name,
        language: Language,
        text: &str,
        if_match: Option<u64>,
    ) -> Result<(View, bool), Error> {
        drop(self.check(name, language, text)?);
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
        let created = revision.is_none();
        let record = Record {
            name: name.clone(),
            revision: revision.unwrap_or(0) + 1,
            desired: Desired::Running,
            language,
            text: text.to_owned(),
        };
        self.keep(&record)?;
        crate::crash::point("deploy.switched");
        let entry = entries.entry(name.clone()).or_insert_with(|| Entry::new(record.clone()));
        entry.record = record;
        self.start(entry);
        Ok((view(entry), created))
    }

    /// Parses and checks without keeping anything.
    fn check(&self, name: &Name, language: Language, text: &str) -> Result<Checked, Error> {
        let (format, file) = match language {
            Language::Toml => (Format::Toml, format!("{name}.toml")),
            Language::Json => (Format::Json, format!("{name}.json")),
        };
        // The server's own environment and files are not for those who may apply a pipeline.
        let environment = Environment { variable: &|_| None, file: None, base: None };
        let loaded = settings::parse(text, &file, format, &environment).map_err(Error::Invalid)?;
        if loaded.spec.name != *name {
            return Err(Error::OtherName { path: name.clone(), file: loaded.spec.name.clone() });
        }
        let misfits = misfits(&loaded.spec);
        if !misfits.is_empty() {
            return Err(Error::Invalid(loaded.faults(misfits)));
        }
        let registry = Arc::clone(&self.0.registry);
        let lookup = move |name: &Name, version: &str| registry.lookup(name, version);
        Checked::new(loaded.spec.clone(), self.0.registry.engine(), Some(&lookup))
            .map_err(|faults| Error::Invalid(loaded.faults(faults)))
    }

    /// All pipelines, by name.
    pub fn list(&self) -> Vec<View> {
        self.entries().values().map(view).collect()
    }

    /// One pipeline.
    pub fn get(&self, name: &str) -> Result<View, Error> {
        self.entries().get(name).map(view).ok_or_else(|| Error::Unknown(name.to_owned()))
    }

    /// The text of a pipeline.
    pub fn text(&self, name: &str) -> Result<(Language, String), Error> {
        let entries = self.entries();
        let entry = entries.get(name).ok_or_else(|| Error::Unknown(name.to_owned()))?;
        Ok((entry.record.language, entry.record.text.clone()))
    }

    /// The doors to all running pipelines, for metrics and probes.
    pub fn handles(&self) -> Vec<(Name, Handle)> {
        let entries = self.entries();
        entries.iter().filter_map(|(name, entry)| Some((name.clone(), entry.handle.clone()?))).collect()
    }

    /// Asks for a last checkpoint and the end. Kept durably: a stop survives a kill of the server.
    pub fn stop(&self, name: &str) -> Result<View, Error> {
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
            self.keep(&record)?;
            entry.record = record;
        }
        // Without a handle it is still being started: `run` sees the record and does not go on.
        if let Some(handle) = &entry.handle {
            handle.stop();
        }
        Ok(view(entry))
    }

    /// Deletes a stopped pipeline: the reset is committed first, then its files go.
    pub fn delete(&self, name: &str) -> Result<(), Error> {
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
            self.keep(&record)?;
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
        for path in [self.state(name), self.spec(name)] {
            let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            match removed {
                Err(source) if source.kind() != io::ErrorKind::NotFound => return Err(Error::Io { path, source }),
                _ => {}
            }
        }
        Ok(())
    }

    fn reset(&self, record: &Record) -> Result<(), Error> {
        if !self.state(&record.name).exists() {
            return Ok(());
        }
        let checked = self.check(&record.name, record.language, &record.text)?;
        let job = Job::open(checked, &self.state(&record.name)).map_err(|e| Error::NotReset(e.to_string()))?;
        let (service, _) = Service::new(job, Settings { start: Start::Delete, takeover: true });
        let outcome = service.run();
        match outcome.class {
            weir_core::domain::Class::Ended | weir_core::domain::Class::Stopped => Ok(()),
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

    /// Starts what the record says, after what runs now has stopped.
    fn start(&self, entry: &mut Entry) {
        let before = entry.thread.take();
        if let Some(handle) = entry.handle.take() {
            handle.stop();
        }
        entry.problem = None;
        let (record, manager) = (entry.record.clone(), self.clone());
        let spawned = std::thread::Builder::new().name(format!("pipeline {}", record.name)).spawn(move || {
            if let Some(before) = before {
                let _ = before.join();
            }
            manager.run(&record);
        });
        match spawned {
            Ok(thread) => entry.thread = Some(thread),
            Err(e) => entry.problem = Some(format!("cannot start a thread: {e}")),
        }
    }

    fn run(&self, record: &Record) {
        let started = self
            .check(&record.name, record.language, &record.text)
            .map_err(|e| match e {
                Error::Invalid(faults) => faults.render(Style::Plain),
                e => e.to_string(),
            })
            .and_then(|checked| Job::open(checked, &self.state(&record.name)).map_err(|e| e.to_string()));
        match started {
            Ok(job) => {
                let (service, handle) = Service::new(job, Settings::default());
                {
                    let mut entries = self.entries();
                    match entries.get_mut(&record.name) {
                        // Stopped or applied again while it was being checked: the newer wish counts.
                        Some(entry) if entry.record == *record && !self.is_shutting_down() => {
                            entry.handle = Some(handle)
                        }
                        _ => return,
                    }
                }
                let outcome = service.run();
                tracing::info!("pipeline {}: {}", record.name, outcome.why);
            }
            Err(problem) => {
                tracing::error!("pipeline {}: {problem}", record.name);
                // The problem of an older revision is nobody's any more.
                if let Some(entry) = self.entries().get_mut(&record.name)
                    && entry.record == *record
                {
                    entry.problem = Some(problem);
                }
            }
        }
    }

    fn keep(&self, record: &Record) -> Result<(), Error> {
        let path = self.spec(&record.name);
        let json = serde_json::to_vec_pretty(record).expect("a record is strings and numbers");
        crate::durable::write(&path, &json).map_err(|source| Error::Io { path, source })
    }

    fn spec(&self, name: &Name) -> PathBuf {
        self.0.data.join("specs").join(format!("{name}.json"))
    }

    fn state(&self, name: &Name) -> PathBuf {
        self.0.data.join("pipelines").join(name.as_str())
    }
}

/// States out of which only an apply leads.
fn is_final(state: State) -> bool {
    matches!(state, State::Stopped | State::Failed | State::CircuitOpen)
}

fn view(entry: &Entry) -> View {
    let mut view = said(entry);
    let is_finished = entry.thread.as_ref().is_some_and(std::thread::JoinHandle::is_finished);
    if is_final(view.state) {
        // A stop that came while it started: the thread before it may still commit.
        if view.state == State::Stopped && entry.handle.is_none() && entry.is_live() {
            view.state = State::Stopping;
        }
    } else if is_finished {
        view.state = State::Failed;
        view.problem = Some("its thread ended without a word, which is a bug of weir: apply it again".to_owned());
    } else if entry.record.desired == Desired::Stopped {
        view.state = State::Stopping;
    }
    view
}

/// What record and service say.
fn said(entry: &Entry) -> View {
    let record = &entry.record;
    let plain = |state, problem| View {
        name: record.name.clone(),
        state,
        revision: record.revision,
        last_checkpoint: None,
        restarts: 0,
        problem,
    };
    match (&entry.handle, &entry.problem) {
        (_, Some(problem)) => plain(State::Failed, Some(problem.clone())),
        (Some(handle), None) => handle.status.read(|facts| View {
            state: facts.state,
            last_checkpoint: facts.last_checkpoint.clone(),
            restarts: facts.restarts,
            problem: facts.problem.clone(),
            ..plain(State::Created, None)
        }),
        (None, None) if record.desired == Desired::Stopped => plain(State::Stopped, None),
        (None, None) => plain(State::Starting, None),
    }
}

/// What a server does not allow. Files are the server's: a path means what it says only when it is absolute, and operators
/// come from the registry.
fn misfits(pipeline: &Pipeline) -> Vec<Fault> {
    let mut faults = Vec::new();
    for node in &pipeline.nodes {
        if let OperatorRef::Path(path) = &node.operator {
            let message = format!("{} is a path, and a server takes operators from its registry only", path.written);
            let fault = Fault::error("weir::server::operator_path", format!("nodes.{}.operator", node.name), message);
            faults.push(
                fault.help("upload it with PUT /api/v1/operators/NAME/versions/VERSION and write NAME@VERSION here"),
            );
        }
    }
    let mut relative = |at: String, path: &FilePath| {
        if !Path::new(&path.written).is_absolute() {
            let message =
                format!("{} is relative, and over HTTP there is no folder that it could be relative to", path.written);
            faults.push(
                Fault::error("weir::server::relative_path", at, message)
                    .help("write an absolute path of the server's machine"),
            );
        }
    };
    for source in &pipeline.sources {
        if let SourceKind::File { path } = &source.kind {
            relative(format!("sources.{}.path", source.name), path);
        }
    }
    for sink in &pipeline.sinks {
        if let SinkKind::File { path } = &sink.kind {
            relative(format!("sinks.{}.path", sink.name), path);
        }
    }
    for source in pipeline.sources.iter().filter(|source| matches!(source.kind, SourceKind::Stdin)) {
        let at = format!("sources.{}.type", source.name);
        faults.push(Fault::error("weir::server::stdin", at, "a server has no stdin to read"));
    }
    faults
}
