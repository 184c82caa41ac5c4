//! What others may know about a running pipeline: its state, its newest checkpoint, its restarts, its problem. Written by
//! the service, read by the status line, the probes, the metrics and the API.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use weir_core::ids::Epoch;

use super::pace::{Pace, Rate};
use super::statistics::{self, History, Subtask};
use crate::clock;
use crate::dataflow::Metrics;
use crate::journal::{self, Journal, Then, What};

/// Where a pipeline stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Default)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Known, never started.
    #[default]
    Created,
    /// Fencing, restoring.
    Starting,
    /// Reading.
    Running,
    /// At rest until it is resumed, everything committed.
    Paused,
    /// Committing its last checkpoint.
    Stopping,
    /// At rest, everything committed.
    Stopped,
    /// An operator is needed.
    Failed,
    /// The same failure came three times.
    CircuitOpen,
}

impl State {
    /// As users read it.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Created => "created",
            State::Starting => "starting",
            State::Running => "running",
            State::Paused => "paused",
            State::Stopping => "stopping",
            State::Stopped => "stopped",
            State::Failed => "failed",
            State::CircuitOpen => "circuit-open",
        }
    }
}

/// A committed checkpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checkpointed {
    /// Its epoch.
    pub epoch: Epoch,
    /// Milliseconds since 1970.
    pub completed_at: i64,
    /// From barrier to commit.
    pub duration: Duration,
    /// How long the data path stood still.
    pub pause: Duration,
    /// How long a channel waited for the others, in the subtask where that was longest.
    pub alignment: Duration,
    /// Bytes of state and parts written for it.
    pub bytes: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Facts {
    /// Where the pipeline stands.
    pub state: State,
    /// Its newest checkpoint.
    pub last_checkpoint: Option<Checkpointed>,
    /// Attempts after the first.
    pub restarts: u64,
    /// Why it does not run.
    pub problem: Option<String>,
    /// Between two checkpoints, as it was asked for.
    pub interval: Duration,
    /// Checkpoints by outcome: committed, declined.
    pub committed: u64,
    /// See `committed`.
    pub declined: u64,
    /// The newest attempts at a checkpoint.
    pub history: History,
    /// Counters of the running attempt; they go on over restarts.
    pub metrics: Arc<Metrics>,
    pace: Pace,
}

/// What somebody outside may have waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// It stands elsewhere now.
    State(State),
    /// It has committed something, for the first time in this process.
    FirstCommit,
}

/// Hears of every turn, on the thread that brought it about and under no lock.
pub(super) type Observer = Box<dyn Fn(Turn) + Send + Sync>;

#[derive(Default)]
struct Inner {
    facts: Mutex<Facts>,
    observer: OnceLock<Observer>,
    journal: Arc<Journal>,
    /// By when whoever supervises the pipeline turns again, if that can be said.
    due: Mutex<Option<Instant>>,
}

/// A cheap handle to a pipeline's facts.
#[derive(Clone, Default)]
pub struct Status(Arc<Inner>);

impl Status {
    /// Of a pipeline that tells this journal what happens.
    pub(super) fn new(journal: Arc<Journal>) -> Status {
        Status(Arc::new(Inner { journal, ..Inner::default() }))
    }

    /// What is kept of the pipeline, over this run and those before it.
    pub fn journal(&self) -> &Arc<Journal> {
        &self.0.journal
    }

    /// Whoever supervises the pipeline turns again within this time, or with nothing, who knows when.
    pub(super) fn promise(&self, within: Option<Duration>) {
        // A time that is out of reach is none.
        let due = within.and_then(|within| clock::now().checked_add(within));
        *self.0.due.lock().unwrap_or_else(PoisonError::into_inner) = due;
    }

    /// Whether that promise is broken: nobody supervises it any more, and only another process can.
    pub fn is_stuck(&self, now: Instant) -> bool {
        self.0.due.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|due| now > due)
    }

    /// Reads.
    pub fn read<R>(&self, read: impl FnOnce(&Facts) -> R) -> R {
        read(&self.0.facts.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes.
    pub(super) fn update(&self, change: impl FnOnce(&mut Facts)) {
        let mut facts = self.0.facts.lock().unwrap_or_else(PoisonError::into_inner);
        let (before, committed) = (facts.state, facts.committed);
        change(&mut facts);
        let (now, Facts { state, metrics, pace, problem, .. }) = (clock::now(), &mut *facts);
        pace.look(metrics, now);
        let moved = (*state != before).then_some(Turn::State(*state));
        if let Some(Turn::State(state)) = moved {
            let why = problem.clone().filter(|_| matches!(state, State::Failed | State::CircuitOpen));
            // Under the lock, so that states are told in the order in which they come.
            self.0.journal.tell(clock::now_millis(), What::State { state: state.as_str(), why });
        }
        let first = (committed == 0 && facts.committed > 0).then_some(Turn::FirstCommit);
        drop(facts);
        if let Some(observer) = self.0.observer.get() {
            [moved, first].into_iter().flatten().for_each(observer);
        }
    }

    /// The counters of the running attempt, and what its nodes did of late.
    pub(super) fn look(&self, now: Instant) -> (Arc<Metrics>, Option<Vec<Rate>>) {
        let mut facts = self.0.facts.lock().unwrap_or_else(PoisonError::into_inner);
        let Facts { metrics, pace, .. } = &mut *facts;
        pace.look(metrics, now);
        (Arc::clone(metrics), pace.rates(metrics, now))
    }

    /// The checkpoint that is under way comes to nothing, if there is one. Whose barrier was missing comes back.
    pub(super) fn fail_checkpoint(&self, why: &str, all: &[Subtask]) -> Vec<Subtask> {
        let (now, wall) = (clock::now(), clock::now_millis());
        let (mut failed, mut waiting) = (None, Vec::new());
        self.update(|facts| {
            let newest = facts.history.newest_first().next();
            let pending = newest.filter(|it| matches!(it.status, statistics::Status::InProgress));
            failed = pending.map(|it| (it.epoch, now.saturating_duration_since(it.started())));
            waiting = facts.history.fail(why, all, now, wall);
        });
        if let Some((epoch, duration)) = failed {
            self.0.journal.tell(wall, What::CheckpointFailed { epoch, duration, why: why.to_owned() });
        }
        waiting
    }

    /// An attempt has failed; what follows is decided.
    pub(super) fn fail(&self, failure: journal::Failure) {
        if let Then::Restart(after) = failure.then {
            let number = self.read(|facts| facts.restarts);
            self.0.journal.tell(failure.at, What::Restart { number, after, why: failure.why.clone() });
        }
        self.0.journal.fail(failure);
    }

    /// Tells `observer` of every turn from now on. There is one, who came first.
    pub(super) fn observe(&self, observer: Observer) {
        let _ = self.0.observer.set(observer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipeline_is_stuck_when_a_promise_is_broken_and_not_where_none_was_made() {
        let (status, now) = (Status::default(), clock::now());
        let later = now + Duration::from_secs(3600);
        assert!(!status.is_stuck(later));
        status.promise(Some(Duration::from_secs(600)));
        assert!(!status.is_stuck(now + Duration::from_secs(599)) && status.is_stuck(later));
        for never in [None, Some(Duration::MAX)] {
            status.promise(never);
            assert!(!status.is_stuck(later));
        }
    }
}
