//! When the barriers of an epoch came to a subtask. Two readings of the clock a barrier, none a record. Owns no rule.

use std::time::{Duration, Instant};

use weir_core::ids::Epoch;

use crate::clock;

/// An epoch on its way through a subtask.
#[derive(Debug, Clone, Copy)]
pub(super) struct Passage {
    epoch: Epoch,
    first: Instant,
    last: Instant,
    /// Since when a channel waits for the others.
    blocked: Option<Instant>,
}

/// How an epoch passed through a subtask.
#[derive(Debug, Clone, Copy)]
pub struct Passed {
    /// When its first barrier was met.
    pub arrived: Instant,
    /// How long a channel waited for the others.
    pub alignment: Duration,
    /// How long the subtask stood still.
    pub pause: Duration,
}

impl Passage {
    /// A barrier was met. One of an older epoch says nothing about the newest.
    pub(super) fn on_barrier(seen: &mut Option<Passage>, epoch: Epoch) {
        let now = clock::now();
        match seen {
            Some(known) if known.epoch == epoch => known.last = now,
            Some(known) if known.epoch > epoch => {}
            _ => *seen = Some(Passage { epoch, first: now, last: now, blocked: None }),
        }
    }

    /// The channel that delivered the newest barrier waits behind it.
    pub(super) fn on_blocked(&mut self) {
        self.blocked.get_or_insert(self.last);
    }

    /// Everything of this epoch is cut.
    pub(super) fn passed(seen: Option<Passage>, epoch: Epoch) -> Passed {
        let now = clock::now();
        match seen.filter(|known| known.epoch == epoch) {
            Some(Passage { first, last, blocked, .. }) => Passed {
                arrived: first,
                alignment: blocked.map_or(Duration::ZERO, |since| last - since),
                pause: now - last,
            },
            None => Passed { arrived: now, alignment: Duration::ZERO, pause: Duration::ZERO },
        }
    }
}
