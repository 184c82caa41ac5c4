//! What is known of the newest checkpoints of a running pipeline, whatever became of them: how long each part took, in which
//! subtask, and why one failed. Written once a barrier, never once a record; kept over restarts within the process.

use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant};

use weir_core::checkpoint::manifest::CommitKind;
use weir_core::ids::{Epoch, Token};

/// Checkpoints that are remembered.
pub const KEPT: usize = 20;

/// A subtask of a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subtask {
    /// Its nodes, head first: `requests > count`.
    pub chain: String,
    /// Which one.
    pub index: u32,
    /// Of how many.
    pub of: u32,
}

impl fmt::Display for Subtask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.of {
            1 => write!(f, "`{}`", self.chain),
            of => write!(f, "`{}` {} of {of}", self.chain, self.index),
        }
    }
}

/// What a subtask did for a checkpoint.
#[derive(Debug, Clone)]
pub struct SubtaskPart {
    /// Which subtask.
    pub subtask: Subtask,
    /// From the trigger to its first barrier.
    pub start_delay: Duration,
    /// How long a channel waited for the others.
    pub alignment: Duration,
    /// How long it stood still.
    pub sync: Duration,
    /// How long it copied what it had closed, between its other work.
    pub r#async: Duration,
    /// From the trigger until it was done.
    pub total: Duration,
    /// Bytes of its working set.
    pub state_bytes: u64,
    /// Bytes of what has changed in it since the checkpoint before, and how many entries.
    pub new_bytes: u64,
    /// See `new_bytes`.
    pub new_entries: u64,
    /// Records that it has taken in since the barrier before.
    pub records: u64,
}

/// How a checkpoint ended, or that it did not yet.
#[derive(Debug, Clone)]
pub enum Status {
    /// Under way.
    InProgress,
    /// Committed.
    Completed,
    /// Given up.
    Failed {
        /// Why.
        why: String,
        /// Whose barrier was still missing.
        waiting: Vec<Subtask>,
    },
}

/// One attempt at a checkpoint.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    /// Epoch.
    pub epoch: Epoch,
    /// Token of the pipeline's attempt.
    pub token: Token,
    /// What it is for.
    pub kind: CommitKind,
    /// Milliseconds since 1970.
    pub triggered_at: i64,
    /// The same; once it is over.
    pub ended_at: Option<i64>,
    /// From the trigger to the end, or up to now.
    pub duration: Duration,
    /// From the last subtask's answer until the snapshot was durable.
    pub r#async: Option<Duration>,
    /// From then until it was committed.
    pub commit: Option<Duration>,
    /// Bytes of state that the snapshot names, and of state and parts that were written for it.
    pub full_bytes: u64,
    /// See `full_bytes`.
    pub new_bytes: u64,
    /// How it stands.
    pub status: Status,
    /// The subtasks that are done, in the order in which they were.
    pub subtasks: Vec<SubtaskPart>,
    started: Instant,
    prepared: Option<Instant>,
}

impl Checkpoint {
    pub(super) fn new(epoch: Epoch, token: Token, kind: CommitKind, now: Instant, wall: i64) -> Checkpoint {
        Checkpoint {
            epoch,
            token,
            kind,
            triggered_at: wall,
            ended_at: None,
            duration: Duration::ZERO,
            r#async: None,
            commit: None,
            full_bytes: 0,
            new_bytes: 0,
            status: Status::InProgress,
            subtasks: Vec::new(),
            started: now,
            prepared: None,
        }
    }

    /// `<epoch>-<token>`.
    pub fn id(&self) -> String {
        format!("{}-{}", self.epoch, self.token)
    }

    /// When it was triggered.
    pub(super) fn started(&self) -> Instant {
        self.started
    }

    /// The longest of something over all subtasks.
    pub fn longest(&self, of: impl Fn(&SubtaskPart) -> Duration) -> Duration {
        self.subtasks.iter().map(of).max().unwrap_or_default()
    }

    /// The subtask that was done last.
    pub fn slowest(&self) -> Option<&SubtaskPart> {
        self.subtasks.iter().max_by_key(|part| part.total)
    }

    pub(super) fn on_prepared(&mut self, now: Instant, full_bytes: u64, new_bytes: u64) {
        let cut = self.started + self.longest(|part| part.total);
        self.r#async = Some(now.saturating_duration_since(cut));
        self.prepared = Some(now);
        (self.full_bytes, self.new_bytes) = (full_bytes, new_bytes);
    }

    pub(super) fn on_committed(&mut self, now: Instant, wall: i64) {
        self.commit = self.prepared.map(|prepared| now - prepared);
        self.end(Status::Completed, now, wall);
    }

    fn end(&mut self, status: Status, now: Instant, wall: i64) {
        self.duration = now - self.started;
        (self.status, self.ended_at) = (status, Some(wall));
    }
}

/// The newest checkpoints, at most [`KEPT`].
#[derive(Debug, Clone, Default)]
pub struct History(VecDeque<Checkpoint>);

impl History {
    /// Newest first.
    pub fn newest_first(&self) -> impl Iterator<Item = &Checkpoint> {
        self.0.iter().rev()
    }

    pub(super) fn begin(&mut self, checkpoint: Checkpoint) {
        if self.0.len() == KEPT {
            self.0.pop_front();
        }
        self.0.push_back(checkpoint);
    }

    /// The one of this epoch, if it is the newest and not over. A late answer changes nothing.
    pub(super) fn pending(&mut self, epoch: Epoch) -> Option<&mut Checkpoint> {
        let newest = self.0.back_mut()?;
        (newest.epoch == epoch && matches!(newest.status, Status::InProgress)).then_some(newest)
    }

    /// What is under way is over. `all`: whoever should have answered.
    pub(super) fn fail(&mut self, why: &str, all: &[Subtask], now: Instant, wall: i64) -> Vec<Subtask> {
        let Some(newest) = self.0.back_mut().filter(|it| matches!(it.status, Status::InProgress)) else {
            return Vec::new();
        };
        let is_done = |subtask: &&Subtask| newest.subtasks.iter().any(|part| part.subtask == **subtask);
        let waiting: Vec<Subtask> = all.iter().filter(|subtask| !is_done(subtask)).cloned().collect();
        newest.end(Status::Failed { why: why.to_owned(), waiting: waiting.clone() }, now, wall);
        waiting
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    fn subtask(index: u32) -> Subtask {
        Subtask { chain: "a > b".to_owned(), index, of: 2 }
    }

    fn part(index: u32, total: u64) -> SubtaskPart {
        let zero = Duration::ZERO;
        SubtaskPart {
            subtask: subtask(index),
            start_delay: zero,
            alignment: zero,
            sync: Duration::from_millis(total / 2),
            r#async: zero,
            total: Duration::from_millis(total),
            state_bytes: 0,
            new_bytes: 0,
            new_entries: 0,
            records: 0,
        }
    }

    fn begun(history: &mut History, epoch: u64) -> Instant {
        let now = clock::now();
        history.begin(Checkpoint::new(Epoch(epoch), Token(7), CommitKind::Checkpoint, now, 1_000));
        now
    }

    #[test]
    fn the_last_twenty_are_kept_failed_ones_too() {
        let mut history = History::default();
        for epoch in 1..=25 {
            let now = begun(&mut history, epoch);
            match epoch % 2 {
                0 => history.pending(Epoch(epoch)).unwrap().on_committed(now, 1_001),
                _ => drop(history.fail("no space", &[], now, 1_001)),
            }
        }
        let epochs: Vec<u64> = history.newest_first().map(|it| it.epoch.0).collect();
        assert_eq!(epochs, (6..=25).rev().collect::<Vec<_>>());
        assert!(matches!(history.newest_first().next().unwrap().status, Status::Failed { .. }));
    }

    #[test]
    fn a_failure_names_whose_barrier_was_missing_and_late_answers_change_nothing() {
        let mut history = History::default();
        let now = begun(&mut history, 1);
        history.pending(Epoch(1)).unwrap().subtasks.push(part(0, 4));
        let waiting = history.fail("it took too long", &[subtask(0), subtask(1)], now, 2_000);
        assert_eq!(waiting, [subtask(1)]);
        assert!(history.pending(Epoch(1)).is_none());
        assert_eq!(history.fail("again", &[subtask(1)], now, 2_000), [], "over once");
    }

    #[test]
    fn the_slowest_subtask_is_the_one_that_was_done_last() {
        let mut history = History::default();
        let now = begun(&mut history, 1);
        let pending = history.pending(Epoch(1)).unwrap();
        pending.subtasks.extend([part(1, 9), part(0, 4)]);
        pending.on_prepared(now + Duration::from_millis(20), 100, 10);
        pending.on_committed(now + Duration::from_millis(25), 2_000);
        let it = history.newest_first().next().unwrap();
        assert_eq!(it.slowest().unwrap().subtask, subtask(1));
        let parts = [it.r#async.unwrap(), it.commit.unwrap(), it.duration, it.longest(|part| part.sync)];
        assert_eq!(parts.map(|part| part.as_millis()), [11, 5, 25, 4]);
        assert_eq!((it.id().as_str(), it.full_bytes, it.new_bytes), ("1-7", 100, 10));
    }
}
