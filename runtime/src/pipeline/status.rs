//! What others may know about a running pipeline: its state, its newest checkpoint, its restarts, its problem. Written by
//! the service, read by the status line, the probes, the metrics and the API.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use serde::Serialize;
use weir_core::ids::Epoch;

use super::statistics::History;
use crate::dataflow::Metrics;

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
}

/// A cheap handle to a pipeline's facts.
#[derive(Clone, Default)]
pub struct Status(Arc<Inner>);

impl Status {
    /// Reads.
    pub fn read<R>(&self, read: impl FnOnce(&Facts) -> R) -> R {
        read(&self.0.facts.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes.
    pub(super) fn update(&self, change: impl FnOnce(&mut Facts)) {
        let mut facts = self.0.facts.lock().unwrap_or_else(PoisonError::into_inner);
        let (state, committed) = (facts.state, facts.committed);
        change(&mut facts);
        let moved = (facts.state != state).then_some(Turn::State(facts.state));
        let first = (committed == 0 && facts.committed > 0).then_some(Turn::FirstCommit);
        drop(facts);
        if let Some(observer) = self.0.observer.get() {
            [moved, first].into_iter().flatten().for_each(observer);
        }
    }

    /// Tells `observer` of every turn from now on. There is one, who came first.
    pub(super) fn observe(&self, observer: Observer) {
        let _ = self.0.observer.set(observer);
    }
}
