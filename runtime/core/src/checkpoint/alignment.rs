//! The input side of a subtask: which channels wait at a barrier, and when the subtask takes its snapshot. The rules
//! are those of Flink's aligned mode (`SingleCheckpointBarrierHandler`); at-least-once counts barriers instead:
//! [`counting`](super::counting). Owns no queue and reads nothing: the caller blocks, unblocks and broadcasts.
//!
//! One attempt collects at a time, and a barrier with a higher number always wins, so the order of numbers is the only
//! clock. A channel that has ended counts as one that delivered its barrier.

use crate::ids::Epoch;

/// What the caller does, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Read no more from this channel; its queue fills, which holds back the sender.
    Block(usize),
    /// Read from this channel again.
    Unblock(usize),
    /// Every open channel has delivered the barrier: send it on, then take the snapshot. Comes before the unblocking.
    Complete(Epoch),
    /// The attempt is over without a snapshot: send a cancel marker of this epoch on. Later barriers of it are stale. The
    /// coordinator need not hear of it: it has one attempt at a time, and gave this one up before anything here could.
    Abort {
        /// Epoch.
        epoch: Epoch,
        /// Why.
        reason: AbortReason,
    },
}

/// Why an attempt was given up here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AbortReason {
    /// A barrier with a higher number came first.
    Subsumed {
        /// That number.
        by: Epoch,
    },
    /// A cancel marker came, or the coordinator gave it up.
    Cancelled,
}

/// A caller that broke the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// There are fewer channels.
    #[error("channel {0} does not exist")]
    NoSuchChannel(usize),
    /// Something came from a channel behind its end.
    #[error("channel {0} has ended and still delivers")]
    Ended(usize),
    /// A barrier came from a channel that is blocked, so it must have been read past its barrier.
    #[error("channel {channel} delivers barrier {epoch} although it is blocked")]
    ReadWhileBlocked {
        /// Channel.
        channel: usize,
        /// Epoch of the barrier.
        epoch: Epoch,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Channel {
    ended: bool,
    /// Has delivered the barrier of the pending attempt, or ended meanwhile.
    got: bool,
    blocked: bool,
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Alignment {
    channels: Vec<Channel>,
    /// The newest attempt seen.
    current: Option<Epoch>,
    /// The newest attempt that completed or was aborted here.
    done: Option<Epoch>,
}

impl Alignment {
    /// All channels open, nothing seen.
    pub fn new(channels: usize) -> Alignment {
        Alignment { channels: vec![Channel::default(); channels], current: None, done: None }
    }

    /// The attempt that waits for more barriers.
    pub fn collecting(&self) -> Option<Epoch> {
        self.current.filter(|_| self.current != self.done)
    }

    /// Whether the channel waits at a barrier.
    pub fn is_blocked(&self, channel: usize) -> bool {
        self.channels.get(channel).is_some_and(|channel| channel.blocked)
    }

    /// Whether every channel has ended.
    pub fn is_ended(&self) -> bool {
        self.channels.iter().all(|channel| channel.ended)
    }

    /// A barrier was read from a channel.
    pub fn on_barrier(&mut self, channel: usize, epoch: Epoch) -> Result<Vec<Action>, Error> {
        self.check(channel)?;
        if self.channels[channel].blocked {
            return Err(Error::ReadWhileBlocked { channel, epoch });
        }
        let mut actions = Vec::new();
        if self.current > Some(epoch) || (self.current == Some(epoch) && self.collecting().is_none()) {
            return Ok(actions);
        }
        if self.current < Some(epoch) {
            if let Some(subsumed) = self.collecting() {
                self.abort(subsumed, AbortReason::Subsumed { by: epoch }, &mut actions);
            }
            self.current = Some(epoch);
        }
        self.channels[channel].got = true;
        self.channels[channel].blocked = true;
        actions.push(Action::Block(channel));
        self.complete_if_all(&mut actions);
        Ok(actions)
    }

    /// The coordinator has given the attempt up: nothing waits for its barriers any more, however slow they are, and those
    /// that come are stale. An attempt that is over here stays as it is.
    pub fn on_given_up(&mut self, epoch: Epoch) -> Vec<Action> {
        let mut actions = Vec::new();
        if self.current < Some(epoch) || self.collecting() == Some(epoch) {
            self.abort(epoch, AbortReason::Cancelled, &mut actions);
        }
        actions
    }

    /// The channel has ended: nothing will come from it any more.
    pub fn on_end(&mut self, channel: usize) -> Result<Vec<Action>, Error> {
        self.check(channel)?;
        let ending = &mut self.channels[channel];
        *ending = Channel { ended: true, got: true, blocked: false };
        let mut actions = Vec::new();
        if self.collecting().is_some() {
            self.complete_if_all(&mut actions);
        }
        Ok(actions)
    }

    /// Whether something may come from the channel.
    pub(super) fn check(&self, channel: usize) -> Result<(), Error> {
        match self.channels.get(channel) {
            None => Err(Error::NoSuchChannel(channel)),
            Some(Channel { ended: true, .. }) => Err(Error::Ended(channel)),
            Some(_) => Ok(()),
        }
    }

    fn complete_if_all(&mut self, actions: &mut Vec<Action>) {
        if let Some(epoch) = self.collecting()
            && self.channels.iter().all(|channel| channel.got || channel.ended)
        {
            self.done = Some(epoch);
            actions.push(Action::Complete(epoch));
            self.release(actions);
        }
    }

    fn abort(&mut self, epoch: Epoch, reason: AbortReason, actions: &mut Vec<Action>) {
        self.current = self.current.max(Some(epoch));
        self.done = self.done.max(Some(epoch));
        actions.push(Action::Abort { epoch, reason });
        self.release(actions);
    }

    fn release(&mut self, actions: &mut Vec<Action>) {
        for (index, channel) in self.channels.iter_mut().enumerate() {
            channel.got = false;
            if std::mem::take(&mut channel.blocked) {
                actions.push(Action::Unblock(index));
            }
        }
    }
}
