//! The input side of a subtask under at-least-once: barriers are counted, and no channel ever waits. What comes behind the
//! barrier of a fast channel is in the snapshot although its source reads it again: that is the "more than once". The rules
//! are those of Flink's `CheckpointBarrierTracker`.
//!
//! Several attempts may be counted at once, [`TRACKED_MAX`] at most; one that completes ends all before it.

use std::collections::VecDeque;

use super::alignment::{AbortReason, Action, Error};
use crate::ids::Epoch;

/// Attempts that are counted at once; of more the oldest is dropped.
pub const TRACKED_MAX: usize = 50;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Counting {
    ended: Vec<bool>,
    /// Oldest first.
    pending: VecDeque<Count>,
    /// The newest attempt seen, whatever became of it.
    newest: Option<Epoch>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Count {
    epoch: Epoch,
    got: Vec<bool>,
}

impl Counting {
    /// All channels open, nothing seen.
    pub fn new(channels: usize) -> Counting {
        Counting { ended: vec![false; channels], pending: VecDeque::new(), newest: None }
    }

    /// The newest attempt that waits for more barriers.
    pub fn collecting(&self) -> Option<Epoch> {
        self.pending.back().map(|count| count.epoch)
    }

    /// Attempts that wait for more barriers.
    pub fn tracked(&self) -> usize {
        self.pending.len()
    }

    /// A barrier was read from a channel.
    pub fn on_barrier(&mut self, channel: usize, epoch: Epoch) -> Result<Vec<Action>, Error> {
        self.check(channel)?;
        let mut actions = Vec::new();
        let at = match self.pending.iter().position(|count| count.epoch == epoch) {
            Some(at) => at,
            // One that is over: stale.
            None if self.newest >= Some(epoch) => return Ok(actions),
            None => {
                self.newest = Some(epoch);
                self.pending.push_back(Count { epoch, got: vec![false; self.ended.len()] });
                if self.pending.len() > TRACKED_MAX {
                    self.drop_first(1, epoch, &mut actions);
                }
                self.pending.len() - 1
            }
        };
        self.pending[at].got[channel] = true;
        self.complete_newest(&mut actions);
        Ok(actions)
    }

    /// The coordinator has given the attempt up. So it has those before it.
    pub fn on_given_up(&mut self, epoch: Epoch) -> Vec<Action> {
        let mut actions = Vec::new();
        let older = self.pending.iter().take_while(|count| count.epoch < epoch).count();
        self.drop_first(older, epoch, &mut actions);
        let is_counted = self.pending.front().is_some_and(|count| count.epoch == epoch);
        if is_counted {
            self.pending.pop_front();
        }
        if is_counted || self.newest < Some(epoch) {
            self.newest = self.newest.max(Some(epoch));
            actions.push(Action::Abort { epoch, reason: AbortReason::Cancelled });
        }
        actions
    }

    /// The channel has ended: it counts as one that delivered every barrier.
    pub fn on_end(&mut self, channel: usize) -> Result<Vec<Action>, Error> {
        self.check(channel)?;
        self.ended[channel] = true;
        let mut actions = Vec::new();
        self.complete_newest(&mut actions);
        Ok(actions)
    }

    /// Whether something may come from the channel.
    pub(super) fn check(&self, channel: usize) -> Result<(), Error> {
        match self.ended.get(channel) {
            None => Err(Error::NoSuchChannel(channel)),
            Some(true) => Err(Error::Ended(channel)),
            Some(false) => Ok(()),
        }
    }

    /// The newest attempt that has all its barriers completes, and those before it are over.
    fn complete_newest(&mut self, actions: &mut Vec<Action>) {
        let is_whole = |count: &Count| count.got.iter().zip(&self.ended).all(|(got, ended)| *got || *ended);
        let Some(at) = self.pending.iter().rposition(is_whole) else { return };
        let epoch = self.pending[at].epoch;
        self.drop_first(at, epoch, actions);
        self.pending.pop_front();
        actions.push(Action::Complete(epoch));
    }

    fn drop_first(&mut self, count: usize, by: Epoch, actions: &mut Vec<Action>) {
        let dropped = self.pending.drain(..count);
        actions.extend(dropped.map(|it| Action::Abort { epoch: it.epoch, reason: AbortReason::Subsumed { by } }));
    }
}
