//! When the barriers of an epoch came to a subtask, and how long it copies at once what they closed. Some readings of the
//! clock a barrier, none a record. Owns no rule of alignment.

use std::time::{Duration, Instant};

use weir_core::ids::Epoch;

use crate::clock;

/// How long a subtask copies at least what a barrier closed, between two of its steps.
pub(super) const SLICE: Duration = Duration::from_micros(200);

/// How long it copies behind a step that took so long. Half of that keeps pace with operators that need long for a batch: were
/// it always the same, each snapshot would have to copy all that had changed while the one before it was copied, and more.
pub(super) fn slice_behind(step: Duration) -> Duration {
    SLICE.max(step / 2)
}

/// An epoch on its way through a subtask.
#[derive(Debug, Clone, Copy)]
pub(super) struct Passage {
    epoch: Epoch,
    first: Instant,
    last: Instant,
    /// Since when a channel waits for the others.
    blocked: Option<Instant>,
    /// When the barrier had gone through the nodes: their state was closed.
    sealed: Instant,
    /// When the last slice of it was copied.
    copied: Instant,
    /// The longest time in one piece that the subtask did nothing else.
    pause: Duration,
}

/// How an epoch passed through a subtask.
#[derive(Debug, Clone, Copy)]
pub struct Passed {
    /// When its first barrier was met.
    pub arrived: Instant,
    /// How long a channel waited for the others.
    pub alignment: Duration,
    /// How long the subtask stood still in one piece, at most.
    pub pause: Duration,
    /// From when its state was closed until all of it was copied, between its other work.
    pub copying: Duration,
}

impl Passage {
    /// A barrier was met. One of an older epoch says nothing about the newest.
    pub(super) fn on_barrier(seen: &mut Option<Passage>, epoch: Epoch) {
        let now = clock::now();
        match seen {
            Some(known) if known.epoch == epoch => known.last = now,
            Some(known) if known.epoch > epoch => {}
            _ => {
                let (pause, blocked) = (Duration::ZERO, None);
                *seen = Some(Passage { epoch, first: now, last: now, blocked, sealed: now, copied: now, pause });
            }
        }
    }

    /// The barrier has gone through the nodes. `is_blocked`: the channel that delivered it waits behind it.
    pub(super) fn on_passed(&mut self, is_blocked: bool) {
        self.sealed = clock::now();
        self.pause = self.pause.max(self.sealed - self.last);
        if is_blocked {
            self.blocked.get_or_insert(self.last);
        }
    }

    /// State was copied, from then for so long.
    pub(super) fn on_slice(&mut self, since: Instant, took: Duration) {
        self.pause = self.pause.max(took);
        self.copied = since + took;
    }

    /// Everything of this epoch is cut and copied.
    pub(super) fn passed(seen: Option<Passage>, epoch: Epoch) -> Passed {
        match seen.filter(|known| known.epoch == epoch) {
            Some(Passage { first, last, blocked, sealed, copied, pause, .. }) => Passed {
                arrived: first,
                alignment: blocked.map_or(Duration::ZERO, |since| last - since),
                pause,
                copying: copied.saturating_duration_since(sealed),
            },
            None => {
                let (now, none) = (clock::now(), Duration::ZERO);
                Passed { arrived: now, alignment: none, pause: none, copying: none }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Found with ten million keys and a slow operator: checkpoints took longer and longer until all of them expired.
    #[test]
    fn copying_has_a_third_of_the_time_however_long_a_batch_takes() {
        for millis in [1, 6, 50] {
            let step = Duration::from_millis(millis);
            assert_eq!(slice_behind(step) * 2, step);
        }
        assert_eq!(slice_behind(Duration::ZERO), SLICE);
    }
}
