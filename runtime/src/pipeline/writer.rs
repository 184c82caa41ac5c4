//! The snapshot thread: writes deltas and manifests, publishes staged parts, retires what was replaced. Everything that may
//! wait for a disk happens here, in the order in which it was asked for. Decides nothing: lists come from the protocol.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use weir_core::checkpoint::manifest::{
    CommitKind, Manifest, NodeSnapshot, SnapshotRef, SourcePositions, StagedPart, StateId, VERSION,
};
use weir_core::domain::{Class, Fact, Failure, Inventory, Retire};
use weir_core::ids::{Epoch, Name, Token};
use weir_core::key_group::KEY_GROUPS;

use super::assemble::sink_folders;
use super::job::Job;
use super::snapshot_store::{Error, SnapshotStore};
use crate::clock;
use crate::connector::file::Folders;
use crate::guest::Descriptor;
use crate::state::{Database, KeyedState, Kind, SealedState, StateSpec};

/// How a node's timers are called among its states. No declared state can have this name.
const TIMERS: &str = "@timers";

/// What is asked of the thread.
enum Task {
    Write(Box<WriteJob>),
    Publish(SnapshotRef),
    Committed(SnapshotRef),
    Retire(Retire),
}

/// A snapshot to be written.
pub(super) struct WriteJob {
    pub(super) epoch: Epoch,
    pub(super) token: Token,
    pub(super) kind: CommitKind,
    pub(super) sources: BTreeMap<Name, SourcePositions>,
    pub(super) nodes: BTreeMap<Name, NodeSnapshot>,
    pub(super) sealed: Vec<SealedState>,
    pub(super) parts: Vec<StagedPart>,
}

/// State ids per node: what the manifest maps, append-only.
type StateIds = BTreeMap<Name, BTreeMap<String, StateId>>;

/// What a restore gives back.
#[derive(Default)]
pub(super) struct Restored {
    pub(super) sources: BTreeMap<Name, SourcePositions>,
    states: BTreeMap<Name, (KeyedState, i64)>,
}

impl Restored {
    /// Entries of all nodes.
    pub(super) fn entries(&self) -> usize {
        self.states.values().map(|(state, _)| state.entries()).sum()
    }

    /// A node's state and watermark.
    pub(super) fn take_state(&mut self, node: &Name) -> Option<(KeyedState, i64)> {
        self.states.remove(node)
    }
}

/// The door to the thread.
pub(super) struct Writer {
    store: SnapshotStore,
    folders: Folders,
    pipeline: Name,
    lineage: String,
    report: Arc<dyn Fn(Fact) + Send + Sync>,
    bytes: Arc<AtomicU64>,
    thread: Option<(SyncSender<Task>, JoinHandle<()>)>,
}

impl Writer {
    /// A writer for an attempt. Its thread starts with the restore, which gives it the database.
    pub(super) fn new(job: &Job, report: impl Fn(Fact) + Send + Sync + 'static) -> Writer {
        Writer {
            store: job.store.clone(),
            folders: sink_folders(job),
            pipeline: job.pipeline().name.clone(),
            lineage: job.folder.lineage().to_owned(),
            report: Arc::new(report),
            bytes: Arc::default(),
            thread: None,
        }
    }

    /// What the store holds.
    pub(super) fn list(&self) -> Result<Inventory, Failure> {
        self.store.inventory().map_err(|e| failure(&e))
    }

    /// Bytes of state and parts that the newest snapshot wrote.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Loads a snapshot into working sets, publishes its parts once more, and starts the thread on its database.
    pub(super) fn restore(
        &mut self,
        job: &Job,
        snapshot: Option<&SnapshotRef>,
        token: Token,
    ) -> Result<Restored, Failure> {
        let loaded = snapshot.map(|snapshot| self.store.load(snapshot)).transpose().map_err(|e| failure(&e))?;
        let manifest = loaded.as_ref().map(|loaded| &loaded.manifest);
        if let Some(manifest) = manifest {
            self.refuse_foreign(manifest)?;
            self.folders.publish(&manifest.parts).map_err(|e| io(&e))?;
        }
        self.folders.sweep(token).map_err(|e| io(&e))?;
        self.store.remove_temporary(token).map_err(|e| failure(&e))?;
        let ids = state_ids(job, manifest)?;
        let mut states = BTreeMap::new();
        for (node, operator) in &job.checked.operators {
            let watermark = manifest.and_then(|m| m.nodes.get(node)).map_or(i64::MIN, |node| node.watermark);
            states.insert(node.clone(), (keyed_state(operator.descriptor(), &ids[node]), watermark));
        }
        let (files, live) = (job.folder.files(), job.folder.live());
        let database = match &loaded {
            None => Database::create(&files, &live, token),
            Some(loaded) => {
                let mut nodes: Vec<&mut KeyedState> = states.values_mut().map(|(state, _)| state).collect();
                Database::restore(&files, &live, token, &loaded.files, &mut nodes, |id| {
                    loaded.manifest.name_of_state(id)
                })
            }
        };
        let database = database.map_err(|e| failure(&e))?;
        let worker = Worker {
            store: self.store.clone(),
            folders: self.folders.clone(),
            pipeline: self.pipeline.clone(),
            lineage: self.lineage.clone(),
            database,
            ids,
            parts: Vec::new(),
            report: Arc::clone(&self.report),
            bytes: Arc::clone(&self.bytes),
        };
        // One snapshot is under way at a time; the rest are notes about the one before.
        let (tasks, inbox) = sync_channel(64);
        let thread = std::thread::Builder::new().name("snapshots".to_owned()).spawn(move || worker.run(inbox));
        self.thread = Some((tasks, thread.map_err(|e| io(&e))?));
        let sources = manifest.map(|manifest| manifest.sources.clone()).unwrap_or_default();
        Ok(Restored { sources, states })
    }

    fn refuse_foreign(&self, manifest: &Manifest) -> Result<(), Failure> {
        let halt = |why: String| Err(Failure { class: Class::Halt, why });
        let id = format!("checkpoint {}-{}", manifest.epoch, manifest.token);
        if manifest.pipeline != self.pipeline {
            return halt(format!("{id} is of pipeline `{}`, not of `{}`", manifest.pipeline, self.pipeline));
        }
        if manifest.key_groups != KEY_GROUPS {
            return halt(format!("{id} has {} key groups; this weir has {KEY_GROUPS}", manifest.key_groups));
        }
        Ok(())
    }

    pub(super) fn write(&self, job: WriteJob) {
        self.ask(Task::Write(Box::new(job)));
    }

    /// Renames the snapshot's staged parts to their final names.
    pub(super) fn publish(&self, snapshot: SnapshotRef) -> Result<(), Failure> {
        if self.thread.is_some() {
            self.ask(Task::Publish(snapshot));
            return Ok(());
        }
        // Nothing was restored: the pipeline has ended before, maybe killed between its last commit and the renames.
        if self.folders.is_empty() {
            return Ok(());
        }
        let loaded = self.store.load(&snapshot).map_err(|e| failure(&e))?;
        self.refuse_foreign(&loaded.manifest)?;
        self.folders.publish(&loaded.manifest.parts).map_err(|e| io(&e))
    }

    /// Notes that a snapshot is committed; now and then a new base is made behind it.
    pub(super) fn committed(&self, snapshot: SnapshotRef) {
        self.ask(Task::Committed(snapshot));
    }

    /// Deletes exactly what the list names.
    pub(super) fn retire(&self, retire: Retire) {
        match &self.thread {
            Some(_) => self.ask(Task::Retire(retire)),
            None => collect(&self.store, &retire, None),
        }
    }

    fn ask(&self, task: Task) {
        // A thread that is gone has reported why.
        if let Some((tasks, _)) = &self.thread {
            let _ = tasks.send(task);
        }
    }

    /// Waits until everything that was asked for is done, and ends the thread.
    pub(super) fn drain(&mut self) {
        if let Some((tasks, thread)) = self.thread.take() {
            drop(tasks);
            if thread.join().is_err() {
                tracing::error!("the snapshot thread panicked");
            }
        }
    }
}

struct Worker {
    store: SnapshotStore,
    folders: Folders,
    pipeline: Name,
    lineage: String,
    database: Database,
    ids: StateIds,
    /// Parts that no commit covers yet: those of a declined epoch go into the next manifest.
    parts: Vec<(Epoch, StagedPart)>,
    report: Arc<dyn Fn(Fact) + Send + Sync>,
    bytes: Arc<AtomicU64>,
}

impl Worker {
    fn run(mut self, tasks: Receiver<Task>) {
        for task in tasks {
            match task {
                Task::Write(job) => {
                    let fact = self.write(*job);
                    (self.report)(fact);
                }
                Task::Publish(snapshot) => self.publish(&snapshot),
                Task::Committed(snapshot) => {
                    if let Err(e) = self.store.mark_committed(&snapshot) {
                        tracing::warn!("{e}");
                    }
                    match self.database.fold() {
                        Ok(_) => {}
                        // The chain stays as it is; a later epoch tries again.
                        Err(e @ Error::NoSpace { .. }) => tracing::warn!("no new base: {e}"),
                        Err(e) => (self.report)(Fact::Failed(failure(&e))),
                    }
                }
                Task::Retire(retire) => collect(&self.store, &retire, Some(&self.database)),
            }
        }
    }

    fn write(&mut self, job: WriteJob) -> Fact {
        let epoch = job.epoch;
        match self.try_write(job) {
            Ok(fact) => fact,
            Err(Error::NoSpace { action, path }) => {
                Fact::NoSpace { epoch, why: format!("no space left while {action} {}", path.display()) }
            }
            Err(error) => Fact::Failed(failure(&error)),
        }
    }

    fn try_write(&mut self, job: WriteJob) -> Result<Fact, Error> {
        let WriteJob { epoch, token, kind, sources, mut nodes, sealed, parts } = job;
        let mut bytes = 0;
        for mut part in parts {
            self.folders.complete(&mut part).map_err(|e| Error::write("completing", part.staged.as_ref(), e))?;
            bytes += part.bytes;
            self.parts.push((epoch, part));
        }
        let before = self.database.files().deltas.len();
        let state = self.database.write(sealed)?;
        bytes += state.deltas.iter().skip(before).map(|file| file.bytes).sum::<u64>();
        for (name, node) in &mut nodes {
            node.states = self.ids.get(name).cloned().unwrap_or_default();
        }
        let manifest = Manifest {
            version: VERSION,
            pipeline: self.pipeline.clone(),
            lineage: self.lineage.clone(),
            epoch,
            token,
            kind,
            created_at: (clock::now_millis() / 1000) as u64,
            key_groups: KEY_GROUPS,
            sources,
            nodes,
            state,
            parts: self.parts.iter().map(|(_, part)| part.clone()).collect(),
        };
        let prepared = self.store.prepare(&manifest)?;
        self.bytes.store(bytes, Ordering::Relaxed);
        Ok(Fact::Prepared {
            snapshot: prepared.snapshot().clone(),
            files: manifest.files().map(|file| file.stored.clone()).collect(),
            positions: positions(&manifest),
        })
    }

    fn publish(&mut self, snapshot: &SnapshotRef) {
        let (committed, waiting): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.parts).into_iter().partition(|(epoch, _)| *epoch <= snapshot.epoch);
        self.parts = waiting;
        let parts: Vec<StagedPart> = committed.into_iter().map(|(_, part)| part).collect();
        if let Err(e) = self.folders.publish(&parts) {
            // Committed, and not visible yet: the next start renames them.
            (self.report)(Fact::Failed(io(&e)));
        }
    }
}

/// Next positions, short form, for the COMMIT record.
fn positions(manifest: &Manifest) -> BTreeMap<String, i64> {
    let splits = |(source, positions): (&Name, &SourcePositions)| {
        let source = source.clone();
        positions.splits.iter().map(move |s| (format!("{source}:{}", s.split), s.position)).collect::<Vec<_>>()
    };
    manifest.sources.iter().flat_map(splits).collect()
}

fn collect(store: &SnapshotStore, retire: &Retire, database: Option<&Database>) {
    if let Err(e) = store.remove(&retire.manifests, &retire.files, database.map(Database::files)) {
        // What stays is an orphan that the next start collects.
        tracing::warn!("cannot delete an old checkpoint: {e}");
    }
}

/// Ids of all states of the pipeline: those of the manifest, and new ones behind them.
fn state_ids(job: &Job, manifest: Option<&Manifest>) -> Result<StateIds, Failure> {
    let mut ids: StateIds = manifest
        .map(|manifest| manifest.nodes.iter().map(|(name, node)| (name.clone(), node.states.clone())).collect())
        .unwrap_or_default();
    let used = ids.values().flat_map(|states| states.values()).map(|state| state.id).max();
    let mut next = used.map_or(Some(0), |id| id.checked_add(1));
    for (node, operator) in &job.checked.operators {
        let known = ids.entry(node.clone()).or_default();
        let declared = operator.descriptor().states.iter().map(|s| (s.name.as_str(), s.kind.as_str(), s.version));
        for (name, kind, version) in declared.chain([(TIMERS, "timers", 1)]) {
            match known.get(name) {
                None => {
                    let id = next.ok_or_else(|| Failure {
                        class: Class::Halt,
                        why: "the pipeline has had 65,536 states: no id is left for another".to_owned(),
                    })?;
                    known.insert(name.to_owned(), StateId { id, kind: kind.to_owned(), version });
                    next = id.checked_add(1);
                }
                Some(state) if state.kind == kind && state.version == version => {}
                Some(state) => {
                    let why = format!(
                        "the checkpoint has state `{node}.{name}` as {} v{}, the operator declares {kind} v{version}; migrations come later: use the operator that wrote it, or start with --from empty --rewind",
                        state.kind, state.version
                    );
                    return Err(Failure { class: Class::Halt, why });
                }
            }
        }
    }
    Ok(ids)
}

fn keyed_state(descriptor: &Descriptor, ids: &BTreeMap<String, StateId>) -> KeyedState {
    let spec = |state: &crate::guest::StateDecl| StateSpec {
        name: state.name.clone(),
        kind: if state.kind == "map" { Kind::Map } else { Kind::Value },
        version: state.version,
        id: ids[&state.name].id,
    };
    KeyedState::new(descriptor.states.iter().map(spec).collect(), ids[TIMERS].id)
}

fn failure(error: &Error) -> Failure {
    let class = match error {
        Error::NoSpace { .. } | Error::Fatal { .. } => Class::Io,
        _ => Class::Halt,
    };
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
    Failure { class, why: format!("{error}{cause}") }
}

fn io(error: &std::io::Error) -> Failure {
    Failure { class: Class::Io, why: error.to_string() }
}
