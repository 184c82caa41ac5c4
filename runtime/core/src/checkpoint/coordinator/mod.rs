//! When a checkpoint is tried, and when one is given up. Owns the numbering of epochs,
//! the one pending attempt, its expiry and the count of failures; never touches state, transactions or the clock (time is
//! passed in, monotonic, from any start). What completing means is the domain's: `crate::domain`.
//!
//! One attempt at a time (Flink's `max concurrent = 1`). Failures count while they are consecutive; a savepoint's failure
//! never counts, unless the pipeline waits for it to stop; a success resets. An epoch's number is used once, whatever became of it.

use std::collections::BTreeSet;
use std::time::Duration;

use super::manifest::CommitKind;
use crate::ids::Epoch;

/// Settings, fixed for an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Settings {
    /// Period, from trigger to trigger; `None`: only on request.
    pub interval: Option<Duration>,
    /// From the start to the first of them, where that is not a period too.
    pub first: Option<Duration>,
    /// Least time from a completion to the next periodic trigger.
    pub min_pause: Duration,
    /// An attempt that takes longer expires.
    pub timeout: Duration,
    /// Consecutive failures that are borne.
    pub tolerable_failures: u32,
    /// Participants that acknowledge an attempt.
    pub participants: u32,
}

/// An attempt to start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Trigger {
    /// Its number.
    pub epoch: Epoch,
    /// What it is for.
    pub kind: CommitKind,
    /// The pipeline stops behind it.
    pub last: bool,
}

/// What time brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// Start this attempt.
    Trigger(Trigger),
    /// The pending attempt took too long. It is still pending until [`Coordinator::on_failure`].
    Expired(Epoch),
}

/// What an acknowledgement means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ack {
    /// Others are missing.
    Waiting,
    /// It was the last one.
    Complete,
    /// It came twice: ignore.
    Duplicate,
    /// Of an attempt that is over: ignore.
    Late,
    /// Of an attempt that never was: a bug of the caller.
    Unknown,
}

/// What a failed attempt means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Tolerance {
    /// Go on; the next attempt covers it.
    Borne,
    /// One too many in a row.
    TooMany,
    /// Not the pending attempt: nothing happened.
    Stale,
}

/// The pending attempt.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Pending {
    trigger: Trigger,
    acked: BTreeSet<u32>,
    expires: Duration,
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Coordinator {
    settings: Settings,
    newest: Epoch,
    pending: Option<Pending>,
    /// No periodic trigger before this.
    due: Option<Duration>,
    /// No trigger at all before this: a failed attempt is not repeated in a hot loop.
    retry: Duration,
    failures: u32,
    wanted: Option<CommitKind>,
    stopping: Option<CommitKind>,
}

impl Coordinator {
    /// Starts after `newest`, the newest epoch that was ever committed (0: none), as [`Coordinator::restart`] says.
    pub fn new(settings: Settings, newest: Epoch, now: Duration) -> Coordinator {
        let mut coordinator = Coordinator {
            settings,
            newest,
            pending: None,
            due: None,
            retry: Duration::ZERO,
            failures: 0,
            wanted: None,
            stopping: None,
        };
        coordinator.restart(now);
        coordinator
    }

    /// The pipeline starts to run now: the first periodic attempt is due one interval from `now`, or when the settings say.
    pub fn restart(&mut self, now: Duration) {
        self.due = self.settings.interval.map(|interval| now + self.settings.first.unwrap_or(interval));
    }

    /// Uses up a number without an attempt, and returns it: for a commit that no barrier precedes. It is above `beyond` too.
    pub fn skip(&mut self, beyond: Epoch) -> Epoch {
        self.newest = self.newest.max(beyond).next();
        self.newest
    }

    /// A user asks for an attempt. While another one is pending the wish is kept; a savepoint outranks a checkpoint.
    pub fn request(&mut self, kind: CommitKind) {
        if self.wanted != Some(CommitKind::Savepoint) {
            self.wanted = Some(kind);
        }
    }

    /// Asks for the attempt behind which the pipeline stops: `Checkpoint` on a graceful stop, `Final` at the end of input.
    /// Whoever asks first decides the kind, except that the end of input outranks a stop that was not yet triggered.
    pub fn finish(&mut self, kind: CommitKind) {
        if self.stopping.is_none() || kind == CommitKind::Final {
            self.stopping = Some(kind);
        }
    }

    /// What is to be done now; to be called after every change and at [`Coordinator::wakeup`]. With `may_trigger` unset no
    /// attempt is started (the domain is not in RUN), and none is lost.
    pub fn poll(&mut self, now: Duration, may_trigger: bool) -> Option<Step> {
        if let Some(pending) = &self.pending {
            return (now >= pending.expires).then_some(Step::Expired(pending.trigger.epoch));
        }
        if !may_trigger || now < self.retry {
            return None;
        }
        let (kind, last) = match (self.stopping, self.wanted.take()) {
            // Stop with a savepoint.
            (Some(CommitKind::Checkpoint), Some(CommitKind::Savepoint)) => (CommitKind::Savepoint, true),
            (Some(kind), _) => (kind, true),
            (None, Some(kind)) => (kind, false),
            (None, None) if self.due.is_some_and(|due| now >= due) => (CommitKind::Checkpoint, false),
            (None, None) => return None,
        };
        self.newest = self.newest.next();
        let trigger = Trigger { epoch: self.newest, kind, last };
        self.due = self.settings.interval.map(|interval| now + interval);
        self.pending = Some(Pending { trigger, acked: BTreeSet::new(), expires: now + self.settings.timeout });
        Some(Step::Trigger(trigger))
    }

    /// When to call [`Coordinator::poll`] next, if nothing else happens.
    pub fn wakeup(&self, may_trigger: bool) -> Option<Duration> {
        match &self.pending {
            Some(pending) => Some(pending.expires),
            None if !may_trigger => None,
            None if self.stopping.is_some() || self.wanted.is_some() => Some(self.retry),
            None => self.due.map(|due| due.max(self.retry)),
        }
    }

    /// A participant has done its part of the pending attempt.
    pub fn on_ack(&mut self, participant: u32, epoch: Epoch) -> Ack {
        if epoch > self.newest || participant >= self.settings.participants {
            return Ack::Unknown;
        }
        match &mut self.pending {
            Some(pending) if pending.trigger.epoch == epoch => {
                if !pending.acked.insert(participant) {
                    Ack::Duplicate
                } else if pending.acked.len() == self.settings.participants as usize {
                    Ack::Complete
                } else {
                    Ack::Waiting
                }
            }
            _ => Ack::Late,
        }
    }

    /// The attempt was declined, expired, or could not be stored.
    pub fn on_failure(&mut self, now: Duration, epoch: Epoch) -> Tolerance {
        let Some(pending) = self.pending.take_if(|pending| pending.trigger.epoch == epoch) else {
            return Tolerance::Stale;
        };
        self.retry = now + self.settings.interval.unwrap_or_default().max(self.settings.min_pause);
        if pending.trigger.kind == CommitKind::Savepoint {
            if !pending.trigger.last {
                return Tolerance::Borne;
            }
            // A stop with a savepoint ends with one or fails: a plain checkpoint is not what was asked for.
            self.wanted = Some(CommitKind::Savepoint);
        }
        self.failures += 1;
        if self.failures > self.settings.tolerable_failures { Tolerance::TooMany } else { Tolerance::Borne }
    }

    /// The pending attempt is committed. Returns it.
    pub fn on_complete(&mut self, now: Duration) -> Option<Trigger> {
        let pending = self.pending.take()?;
        self.failures = 0;
        self.due = self.due.map(|due| due.max(now + self.settings.min_pause));
        Some(pending.trigger)
    }

    /// The pending attempt.
    pub fn pending(&self) -> Option<Trigger> {
        self.pending.as_ref().map(|pending| pending.trigger)
    }

    /// The newest number given out.
    pub fn newest(&self) -> Epoch {
        self.newest
    }

    /// The number of the next attempt.
    pub fn upcoming(&self) -> Epoch {
        self.pending.as_ref().map_or(self.newest.next(), |pending| pending.trigger.epoch)
    }

    /// Consecutive failures so far.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// The attempt now pending or to come is the last one.
    pub fn is_stopping(&self) -> bool {
        self.stopping.is_some()
    }
}

#[cfg(test)]
mod tests;
