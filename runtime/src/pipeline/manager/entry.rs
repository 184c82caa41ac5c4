//! One pipeline of a server: its record, what runs of it, and what a reader sees of both. Decides nothing.

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use weir_core::ids::Name;

use super::operation;
use super::record::{Desired, Record, Rest};
use super::revision::Revision;
use crate::clock;
use crate::journal::Journal;
use crate::pipeline::live::Pulse;
use crate::pipeline::service::Handle;
use crate::pipeline::snapshot_store::SnapshotStore;
use crate::pipeline::status::{Checkpointed, State};
use crate::storage::Memory;

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
    /// The revision that comes back where this one, which is on trial, fails.
    pub back_to: Option<u64>,
    /// Why it does not run, where nobody stopped it.
    pub problem: Option<String>,
    /// What it does at this moment, where it runs.
    pub pulse: Option<Pulse>,
}

pub(super) struct Entry {
    pub(super) record: Record,
    /// The revision that counts.
    pub(super) revision: Revision,
    /// Counts its runs in this process: what an older one still says is nobody's any more.
    pub(super) run: u64,
    /// The door to its service; stays when the service has ended, for its last words.
    pub(super) handle: Option<Handle>,
    pub(super) thread: Option<JoinHandle<()>>,
    /// What is kept of its runs for those who look.
    pub(super) journal: Arc<Journal>,
    /// Why it could not even be started.
    pub(super) problem: Option<String>,
    /// Its newest checkpoint before its service had one of its own.
    pub(super) before: Option<Checkpointed>,
    /// What holds its checkpoints, where they are in memory: for its next run in this process.
    pub(super) memory: Option<Arc<Memory>>,
    /// Its files are going: it stays in the list so that nobody starts a new one in the same folder.
    pub(super) is_being_deleted: bool,
}

impl Entry {
    /// What runs ends at once, and nothing more of it is committed.
    pub(super) fn give_up(&self) {
        if let Some(handle) = &self.handle {
            handle.give_up();
        }
    }

    pub(super) fn new(record: Record, revision: Revision) -> Entry {
        Entry {
            record,
            revision,
            run: 0,
            handle: None,
            thread: None,
            journal: Arc::new(Journal::new(clock::now_millis())),
            problem: None,
            before: None,
            memory: None,
            is_being_deleted: false,
        }
    }

    /// Whether something of it still works on its state folder.
    pub(super) fn is_live(&self) -> bool {
        let works = self.thread.as_ref().is_some_and(|thread| !thread.is_finished());
        // One at rest may need another moment to give its folder back; whoever needs the folder joins the thread.
        let is_at_rest = match &self.handle {
            Some(handle) => handle.status.read(|facts| is_final(facts.state)),
            // Told to stop while it started: over with what told it.
            None => self.record.desired != Desired::Running && operation::current(&self.record.operations).is_none(),
        };
        works && !is_at_rest
    }

    /// Whether it is to run, and the process has not come to starting it yet.
    pub(super) fn is_due(&self) -> bool {
        let is_wanted = self.record.desired == Desired::Running && self.record.rest.is_none();
        is_wanted && self.thread.is_none() && self.problem.is_none()
    }

    /// Takes the door out: nothing of it is shown any more but its newest checkpoint, until the next run knows its own.
    pub(super) fn take_handle(&mut self) -> Option<Handle> {
        let handle = self.handle.take()?;
        self.before = handle.status.read(|facts| facts.last_checkpoint.clone()).or(self.before.take());
        Some(handle)
    }

    /// Reads its newest checkpoint anew. What lay in memory nobody else knows.
    pub(super) fn look_for_checkpoint(&mut self, state: &Path) {
        if self.memory.is_none() {
            self.before = last_checkpoint(state);
        }
    }

    /// It has neither run nor met anything that it waits for.
    pub(super) fn is_at_start(&self) -> bool {
        let waits = self.handle.as_ref().is_some_and(|handle| handle.status.read(|facts| facts.problem.is_some()));
        self.view().state == State::Starting && !waits
    }

    pub(super) fn view(&self) -> View {
        let mut view = View { back_to: self.record.trial.as_ref().map(|trial| trial.back_to), ..self.said() };
        let is_finished = self.thread.as_ref().is_some_and(JoinHandle::is_finished);
        if matches!(view.state, State::Failed | State::CircuitOpen) && self.record.trial.is_some() {
            // The revision before it is about to come back.
            view.state = State::Starting;
        } else if is_final(view.state) {
            // A stop that came while it started: the thread before it may still commit.
            if view.state == State::Stopped && self.handle.is_none() && self.is_live() {
                view.state = State::Stopping;
            } else if view.state == State::Stopped && self.record.desired == Desired::Paused {
                view.state = State::Paused;
            }
        } else if is_finished {
            view.state = State::Failed;
            view.problem = Some("its thread ended without a word, which is a bug of weir: restart it".to_owned());
        } else if self.record.desired != Desired::Running {
            view.state = State::Stopping;
        } else if view.state == State::Created {
            // A new run whose service has not said a word yet. The pipeline was created before.
            view.state = State::Starting;
        }
        view
    }

    /// What record and service say.
    fn said(&self) -> View {
        let record = &self.record;
        let plain = |state, problem| View {
            name: record.name.clone(),
            state,
            revision: record.revision,
            last_checkpoint: self.before.clone(),
            restarts: 0,
            back_to: None,
            problem,
            pulse: None,
        };
        let ended = match &record.rest {
            Some(Rest::Ended(why)) => Some(why.clone()),
            _ => None,
        };
        match (&self.handle, &self.problem, &record.rest) {
            (_, Some(problem), _) => plain(State::Failed, Some(problem.clone())),
            (Some(handle), None, _) => {
                let said = handle.view(record.name.clone(), record.revision);
                View {
                    last_checkpoint: said.last_checkpoint.or_else(|| self.before.clone()),
                    problem: said.problem.or(ended).or_else(|| record.taken_back.clone()),
                    ..said
                }
            }
            (None, None, Some(Rest::Ended(why))) => plain(State::Stopped, Some(why.clone())),
            (None, None, Some(Rest::Failed(why))) => plain(State::Failed, Some(why.clone())),
            (None, None, Some(Rest::CircuitOpen(why))) => plain(State::CircuitOpen, Some(why.clone())),
            (None, None, None) if record.desired == Desired::Running => {
                plain(State::Starting, record.taken_back.clone())
            }
            (None, None, None) => plain(State::Stopped, record.taken_back.clone()),
        }
    }
}

/// States out of which only a wish leads.
fn is_final(state: State) -> bool {
    matches!(state, State::Stopped | State::Failed | State::CircuitOpen)
}

/// The newest snapshot in a state folder that is known to be committed, for display: the authority decides which one is.
pub(super) fn last_checkpoint(state: &Path) -> Option<Checkpointed> {
    let listed = SnapshotStore::local(state).list().ok()?;
    let manifest = listed.into_iter().find(|found| found.committed)?.manifest.ok()?;
    let completed_at = i64::try_from(manifest.created_at).ok()?.checked_mul(1000)?;
    Some(Checkpointed { epoch: manifest.epoch, completed_at, ..Checkpointed::default() })
}
