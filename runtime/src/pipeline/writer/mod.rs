//! The door to the snapshot thread, where everything that may wait for a disk happens, in the order in which it was asked
//! for; and what a start does with the disk before there is a thread. Decides nothing: lists come from the protocol.

mod import;
mod migrate;
mod restore;
mod thread;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

use weir_core::checkpoint::manifest::{CommitKind, Manifest, NodeSnapshot, SnapshotRef, SourcePositions, StagedPart};
use weir_core::domain::{Class, Fact, Failure, Inventory, Retire};
use weir_core::ids::{Epoch, Name, Token};

use self::restore::state_ids;
pub(super) use self::restore::{Restored, keyed_state};
use self::thread::{Worker, collect};
use super::authority::sink_folders;
use super::job::Job;
use super::snapshot_store::{Error, Snapshot};
use super::wishes::Afterwards;
use crate::connector::file::Folders;
use crate::durable;
use crate::state::SealedState;

/// What is asked of the thread.
enum Task {
    Write(Box<WriteJob>),
    Publish(SnapshotRef),
    Committed(SnapshotRef),
    Afterwards(Afterwards),
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

/// What an attempt starts from.
pub(super) enum From<'a> {
    /// Nothing was ever committed.
    Nothing,
    /// The newest COMMIT is this reset: what was published before is not part of what follows.
    Reset(Epoch),
    /// The snapshot that the newest COMMIT names.
    Snapshot(&'a SnapshotRef),
}

type Running = (SyncSender<Task>, JoinHandle<Option<Failure>>);

/// See the module.
pub(super) struct Writer<'a> {
    job: &'a Job,
    folders: Folders,
    report: Arc<dyn Fn(Fact) + Send + Sync>,
    bytes: Arc<AtomicU64>,
    full_bytes: Arc<AtomicU64>,
    /// A snapshot that proved whole before it was restored.
    verified: Option<(SnapshotRef, Snapshot)>,
    thread: Option<Running>,
}

impl<'a> Writer<'a> {
    /// A writer for an attempt. Its thread starts with the restore, which gives it the database.
    pub(super) fn new(job: &'a Job, report: impl Fn(Fact) + Send + Sync + 'static) -> Writer<'a> {
        let (report, folders) = (Arc::new(report), sink_folders(job));
        Writer { job, folders, report, bytes: Arc::default(), full_bytes: Arc::default(), verified: None, thread: None }
    }

    /// What the store holds.
    pub(super) fn list(&self) -> Result<Inventory, Failure> {
        self.job.store.inventory().map_err(|e| failure(&e))
    }

    /// Bytes of state and parts that the newest snapshot wrote.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Bytes of all state that the newest snapshot names.
    pub(super) fn full_bytes(&self) -> u64 {
        self.full_bytes.load(Ordering::Relaxed)
    }

    /// Checks a snapshot and every file of it, and that nothing newer was published; gives its manifest. Changes nothing.
    pub(super) fn verify(&mut self, snapshot: &SnapshotRef) -> Result<&Manifest, Failure> {
        let verified = restore::verify(self.job, snapshot)?;
        self.folders.check_newest(snapshot.epoch).map_err(|e| refused(&e))?;
        Ok(&self.verified.insert((snapshot.clone(), verified)).1.manifest)
    }

    fn take_verified(&mut self, snapshot: &SnapshotRef) -> Result<Snapshot, Failure> {
        match self.verified.take() {
            Some((known, verified)) if known == *snapshot => Ok(verified),
            _ => restore::verify(self.job, snapshot),
        }
    }

    /// Loads what was committed into working sets, makes its parts visible, and starts the thread on its database.
    pub(super) fn restore(&mut self, from: From<'_>, token: Token) -> Result<Restored, Failure> {
        let snapshot = match &from {
            From::Snapshot(snapshot) => Some(self.take_verified(snapshot)?),
            From::Nothing | From::Reset(_) => None,
        };
        let manifest = snapshot.as_ref().map(|snapshot| &snapshot.manifest);
        let ids = state_ids(&self.job.checked, manifest)?;
        let dropped = restore::dropped(self.job, manifest);
        let id = match &from {
            From::Snapshot(snapshot) => snapshot.id(),
            From::Nothing | From::Reset(_) => String::new(),
        };
        // A savepoint's parts were published where it was taken.
        let checked = match manifest {
            Some(manifest) if manifest.kind == CommitKind::Rewind => self.folders.check_others(),
            Some(manifest) => {
                let committed = self.folders.check_committed(&manifest.parts, &id);
                committed.and_then(|()| self.folders.check_newest(manifest.epoch))
            }
            None => self.folders.check_strangers(),
        };
        checked.map_err(|e| refused(&e))?;
        // Order: whatever may still refuse this start has been asked; only now something changes.
        self.folders.lock().map_err(|e| refused(&e))?;
        match (manifest, &from) {
            (Some(manifest), _) => self.folders.publish(&manifest.parts, &id).map_err(|e| not_visible(&e))?,
            (None, From::Reset(epoch)) => self.folders.set_aside(*epoch).map_err(|e| io(&e))?,
            (None, _) => {}
        }
        self.folders.sweep(token).map_err(|e| io(&e))?;
        self.job.store.remove_temporary(token).map_err(|e| failure(&e))?;
        // A kill may have come between the commit and its mark.
        if let From::Snapshot(snapshot) = from {
            self.job.store.mark_committed(snapshot).map_err(|e| failure(&e))?;
        }
        let (database, restored) = restore::load(self.job, snapshot.as_ref(), &ids, &dropped, token)?;
        let worker = Worker {
            store: self.job.store.clone(),
            folders: self.folders.clone(),
            pipeline: self.job.pipeline().name.clone(),
            lineage: self.job.folder.lineage().to_owned(),
            database,
            ids,
            dropped,
            parts: Vec::new(),
            report: Arc::clone(&self.report),
            bytes: Arc::clone(&self.bytes),
            full_bytes: Arc::clone(&self.full_bytes),
        };
        // One snapshot is under way at a time; the rest are notes about the one before.
        let (tasks, inbox) = sync_channel(64);
        let span = tracing::Span::current();
        let run = move || span.in_scope(|| worker.run(inbox));
        let thread = std::thread::Builder::new().name("snapshots".to_owned()).spawn(run);
        self.thread = Some((tasks, thread.map_err(|e| io(&e))?));
        Ok(restored)
    }

    pub(super) fn write(&self, job: WriteJob) {
        self.ask(Task::Write(Box::new(job)));
    }

    /// Renames the snapshot's staged parts to their final names.
    pub(super) fn publish(&mut self, snapshot: SnapshotRef) -> Result<(), Failure> {
        if self.thread.is_some() {
            self.ask(Task::Publish(snapshot));
            return Ok(());
        }
        // Nothing was restored: the pipeline has ended before, maybe killed between its last commit and the renames.
        if self.folders.is_empty() {
            return Ok(());
        }
        let verified = self.take_verified(&snapshot)?;
        self.folders.check_committed(&verified.manifest.parts, &snapshot.id()).map_err(|e| refused(&e))?;
        self.folders.publish(&verified.manifest.parts, &snapshot.id()).map_err(|e| not_visible(&e))
    }

    /// Notes that a snapshot is committed; now and then a new base is made behind it.
    pub(super) fn committed(&self, snapshot: SnapshotRef) {
        self.ask(Task::Committed(snapshot));
    }

    /// Does this behind all that was asked for until now.
    pub(super) fn afterwards(&self, task: Afterwards) {
        self.ask(Task::Afterwards(task));
    }

    /// Deletes exactly what the list names.
    pub(super) fn retire(&self, retire: Retire) {
        match &self.thread {
            Some(_) => self.ask(Task::Retire(retire)),
            None => collect(&self.job.store, &retire, None),
        }
    }

    fn ask(&self, task: Task) {
        // A thread that is gone has reported why.
        if let Some((tasks, _)) = &self.thread {
            let _ = tasks.send(task);
        }
    }

    /// Waits until everything that was asked for is done, and ends the thread. An error: rows that are committed are not
    /// visible.
    pub(super) fn drain(&mut self) -> Result<(), Failure> {
        let Some((tasks, thread)) = self.thread.take() else { return Ok(()) };
        drop(tasks);
        match thread.join() {
            Ok(hidden) => hidden.map_or(Ok(()), Err),
            Err(_) => Err(Failure { class: Class::Bug, why: "the snapshot thread panicked".to_owned() }),
        }
    }
}

fn failure(error: &Error) -> Failure {
    let class = match error {
        // Nothing was fsynced: a start that finds no room tries again.
        Error::NoSpace { .. } => Class::Transient,
        Error::Fatal { .. } => Class::Io,
        Error::NotMigrated(_) => Class::Guest,
        _ => Class::Halt,
    };
    Failure { class, why: error.sentence() }
}

fn io(error: &std::io::Error) -> Failure {
    Failure { class: Class::Io, why: error.to_string() }
}

fn refused(error: &std::io::Error) -> Failure {
    // A start that finds no room tries again.
    let class = if durable::is_no_space(error) { Class::Transient } else { Class::Halt };
    Failure { class, why: error.to_string() }
}

fn not_visible(error: &std::io::Error) -> Failure {
    let why = format!("{error}; these rows are committed: mend that and run again, and they become visible");
    Failure { class: Class::Io, why }
}
