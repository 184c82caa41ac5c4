//! The snapshot thread itself: writes deltas and manifests, publishes staged parts, retires what was replaced, in the order
//! in which it was asked. What it says comes as facts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Receiver;

use weir_core::checkpoint::manifest::{Manifest, SnapshotRef, SourcePositions, StagedPart, VERSION};
use weir_core::domain::{Fact, Failure, Retire};
use weir_core::ids::{Epoch, Name};
use weir_core::key_group::KEY_GROUPS;

use super::restore::StateIds;
use super::{Task, WriteJob, failure, not_visible};
use crate::clock;
use crate::connector::file::Folders;
use crate::pipeline::snapshot_store::{Error, SnapshotStore};
use crate::state::Database;

/// The thread, and all that it needs.
pub(super) struct Worker {
    pub(super) store: SnapshotStore,
    pub(super) folders: Folders,
    pub(super) pipeline: Name,
    pub(super) lineage: String,
    pub(super) database: Database,
    pub(super) ids: StateIds,
    /// States that were left out: every later manifest says so.
    pub(super) dropped: BTreeSet<u16>,
    /// Parts that no commit covers yet: those of a declined epoch go into the next manifest.
    pub(super) parts: Vec<(Epoch, StagedPart)>,
    pub(super) report: Arc<dyn Fn(Fact) + Send + Sync>,
    pub(super) bytes: Arc<AtomicU64>,
    pub(super) full_bytes: Arc<AtomicU64>,
}

impl Worker {
    /// Until nobody asks any more. Returns why committed rows are not visible, if they are not: it may come too late to be
    /// heard as a fact.
    pub(super) fn run(mut self, tasks: Receiver<Task>) -> Option<Failure> {
        let mut hidden = None;
        for task in tasks {
            match task {
                Task::Write(job) => {
                    let fact = self.write(*job);
                    (self.report)(fact);
                }
                Task::Publish(snapshot) => {
                    if let Err(failure) = self.publish(&snapshot) {
                        hidden.get_or_insert(failure.clone());
                        (self.report)(Fact::Failed(failure));
                    }
                }
                Task::Committed(snapshot) => {
                    if let Err(e) = self.store.mark_committed(&snapshot) {
                        tracing::warn!("{e}");
                    }
                    match self.database.settle() {
                        Ok(_) => {}
                        // The chain stays as it is; a later epoch tries again.
                        Err(e @ Error::NoSpace { .. }) => tracing::warn!("no new base: {e}"),
                        Err(e) => (self.report)(Fact::Failed(failure(&e))),
                    }
                }
                Task::Afterwards(task) => task(&self.store),
                Task::Retire(retire) => collect(&self.store, &retire, Some(&self.database)),
            }
        }
        hidden
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
            // Order: whatever fails here comes with a fsync or behind it, also a lack of space: no epoch is declined for it.
            self.folders.complete(&mut part).map_err(|e| Error::fatal("completing", part.staged.as_ref(), e))?;
            bytes += part.bytes;
            self.parts.push((epoch, part));
        }
        let before = self.database.files().deltas.len();
        let state = self.database.write(epoch, sealed)?;
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
            dropped: self.dropped.clone(),
            parts: self.parts.iter().map(|(_, part)| part.clone()).collect(),
        };
        let prepared = self.store.prepare(&manifest)?;
        self.bytes.store(bytes, Ordering::Relaxed);
        self.full_bytes.store(manifest.files().map(|file| file.bytes).sum(), Ordering::Relaxed);
        Ok(Fact::Prepared {
            snapshot: prepared.snapshot().clone(),
            files: manifest.files().map(|file| file.stored.clone()).collect(),
            positions: positions(&manifest),
        })
    }

    fn publish(&mut self, snapshot: &SnapshotRef) -> Result<(), Failure> {
        let (committed, waiting): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.parts).into_iter().partition(|(epoch, _)| *epoch <= snapshot.epoch);
        self.parts = waiting;
        let parts: Vec<StagedPart> = committed.into_iter().map(|(_, part)| part).collect();
        self.folders.publish(&parts, &snapshot.id()).map_err(|e| not_visible(&e))
    }
}

/// Next positions, short form, for the COMMIT record.
pub(super) fn positions(manifest: &Manifest) -> BTreeMap<String, i64> {
    let splits = |(source, positions): (&Name, &SourcePositions)| {
        let source = source.clone();
        positions.splits.iter().map(move |s| (format!("{source}:{}", s.split), s.position)).collect::<Vec<_>>()
    };
    manifest.sources.iter().flat_map(splits).collect()
}

pub(super) fn collect(store: &SnapshotStore, retire: &Retire, database: Option<&Database>) {
    if let Err(e) = store.remove(&retire.manifests, &retire.files, database.map(Database::files)) {
        // What stays is an orphan that the next start collects.
        tracing::warn!("cannot delete an old checkpoint: {e}");
    }
}
