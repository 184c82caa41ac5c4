//! What a subtask does with barriers, by the guarantee of its pipeline: it aligns them, or it counts them. Owns the choice
//! and no rule.

use super::alignment::{Action, Alignment, Error};
use super::counting::Counting;
use crate::ids::Epoch;

/// The input side of a subtask.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Barriers {
    /// Exactly once: a channel waits at its barrier for the others.
    Aligned(Alignment),
    /// At least once: nothing waits.
    Counted(Counting),
}

impl Barriers {
    /// Whether the channel waits at a barrier.
    pub fn is_blocked(&self, channel: usize) -> bool {
        match self {
            Barriers::Aligned(it) => it.is_blocked(channel),
            Barriers::Counted(_) => false,
        }
    }

    /// The newest attempt that waits for more barriers.
    pub fn collecting(&self) -> Option<Epoch> {
        match self {
            Barriers::Aligned(it) => it.collecting(),
            Barriers::Counted(it) => it.collecting(),
        }
    }

    /// A barrier was read from a channel.
    pub fn on_barrier(&mut self, channel: usize, epoch: Epoch) -> Result<Vec<Action>, Error> {
        match self {
            Barriers::Aligned(it) => it.on_barrier(channel, epoch),
            Barriers::Counted(it) => it.on_barrier(channel, epoch),
        }
    }

    /// A cancel marker was read from a channel.
    pub fn on_cancel(&mut self, channel: usize, epoch: Epoch) -> Result<Vec<Action>, Error> {
        match self {
            Barriers::Aligned(it) => it.check(channel)?,
            Barriers::Counted(it) => it.check(channel)?,
        }
        Ok(self.on_given_up(epoch))
    }

    /// A cancel marker came, or the coordinator has given the attempt up.
    pub fn on_given_up(&mut self, epoch: Epoch) -> Vec<Action> {
        match self {
            Barriers::Aligned(it) => it.on_given_up(epoch),
            Barriers::Counted(it) => it.on_given_up(epoch),
        }
    }

    /// The channel has ended: nothing will come from it any more.
    pub fn on_end(&mut self, channel: usize) -> Result<Vec<Action>, Error> {
        match self {
            Barriers::Aligned(it) => it.on_end(channel),
            Barriers::Counted(it) => it.on_end(channel),
        }
    }
}

#[cfg(test)]
mod tests;
