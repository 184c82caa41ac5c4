//! Wakes a shard that has nothing to do. Whoever gives it something (a command, a row in a ring, room, a connector's word)
//! rings; a shard that is awake looks around once more before it sleeps. Owns no queue.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::queue::RunQueue;

/// The shard has a turn, or waits for one; so it does before it is started.
const QUEUED: u8 = 0;
/// The same, and something came meanwhile: it has another turn behind that.
const RUNG: u8 = 1;
/// It has nothing to do.
const ASLEEP: u8 = 2;

/// See the module.
#[derive(Default)]
pub struct Bell {
    state: AtomicU8,
    /// Where the shard has its turns; nowhere before it is started.
    place: Mutex<Option<Place>>,
    /// Nobody waits for what the shard still does.
    is_over: AtomicBool,
}

/// A queue, and the shard's slot in it.
type Place = (Arc<RunQueue>, usize);

impl Bell {
    /// Wakes the shard, if it sleeps.
    pub fn ring(&self) {
        // Whoever finds it asleep, and nobody else, puts it into the queue: it is never there twice.
        if self.state.swap(RUNG, Ordering::AcqRel) == ASLEEP
            && let Some((queue, slot)) = self.place()
        {
            queue.wake(slot);
        }
    }

    /// The shard is about to hold its thread for longer than others should wait: they go on without it. To be called in its
    /// turn.
    pub fn leave(&self) {
        if let Some((queue, slot)) = self.place() {
            queue.hand_over(slot);
        }
    }

    /// The shard is told to stop: a step that would go on for long is given up.
    pub(super) fn end(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }

    /// Whether nobody waits for what the shard still does.
    pub fn has_ended(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    /// Whether the shard has nothing to do. It may be wrong by a moment, in both directions.
    pub(in crate::dataflow) fn is_asleep(&self) -> bool {
        self.state.load(Ordering::Relaxed) == ASLEEP
    }

    /// Its shard has its turns there from now on. Not while it sleeps.
    pub(super) fn hang(&self, queue: Arc<RunQueue>, slot: usize) {
        *self.place.lock().unwrap_or_else(PoisonError::into_inner) = Some((queue, slot));
    }

    /// A turn begins: it sees all that was there when the bell rang.
    pub(super) fn begin_turn(&self) {
        self.state.swap(QUEUED, Ordering::AcqRel);
    }

    /// There was nothing to do. `false`: something has come meanwhile.
    pub(super) fn try_sleep(&self) -> bool {
        self.state.compare_exchange(QUEUED, ASLEEP, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// Its time has come. `false`: somebody rings right now, and puts it into the queue.
    pub(super) fn try_wake(&self) -> bool {
        self.state.compare_exchange(ASLEEP, QUEUED, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    fn place(&self) -> Option<Place> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
