//! The shards of one thread: who is next, who sleeps and until when. Owns the order of turns and what a thread sleeps for;
//! runs none of them.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::thread::{self, Tenant};
use crate::clock;
use crate::dataflow::shard::Turn;

/// Who sleeps for longer than this wakes at a multiple of it: what is due at about the same time is due at once, and a thread
/// wakes a hundred times a second at most for however many shards.
const TICK: Duration = Duration::from_millis(10);

/// See the module.
pub(super) struct RunQueue {
    inner: Mutex<Inner>,
    /// The thread sleeps here.
    news: Condvar,
    /// From where ticks are counted.
    origin: Instant,
    /// Several pipelines have their turns here.
    is_shared: bool,
}

struct Inner {
    /// Shards by slot: `None` while one has its turn, and where there is none.
    tenants: Vec<Option<Box<Tenant>>>,
    free: Vec<usize>,
    /// Slots of those that wait for a turn.
    waiting: VecDeque<usize>,
    /// Those that sleep, by when they want to be woken.
    sleeping: BTreeSet<(Instant, usize)>,
    /// The slot whose turn it is.
    running: Option<usize>,
    /// The number of the thread whose queue it is; those before it have lost it.
    owner: u64,
    /// The thread sleeps and nobody has woken it.
    is_idle: bool,
    /// The thread ends when the last shard has gone.
    is_closed: bool,
}

impl RunQueue {
    /// An empty queue. Its thread ends when it is closed and the last shard has gone; one that is not shared is closed at
    /// once.
    pub(super) fn new(is_shared: bool) -> Arc<RunQueue> {
        let inner = Inner {
            tenants: Vec::new(),
            free: Vec::new(),
            waiting: VecDeque::new(),
            sleeping: BTreeSet::new(),
            running: None,
            owner: 0,
            is_idle: false,
            is_closed: !is_shared,
        };
        Arc::new(RunQueue { inner: Mutex::new(inner), news: Condvar::new(), origin: clock::now(), is_shared })
    }

    /// Takes in a shard: it has its first turn soon.
    pub(super) fn admit(self: &Arc<Self>, tenant: Box<Tenant>) {
        let slot = self.lock().slot();
        tenant.bell.hang(Arc::clone(self), slot);
        let mut inner = self.lock();
        inner.tenants[slot] = Some(tenant);
        inner.waiting.push_back(slot);
        self.tell(inner);
    }

    /// How many shards there are.
    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }

    /// The thread ends behind the last shard.
    pub(super) fn close(&self) {
        let mut inner = self.lock();
        inner.is_closed = true;
        self.tell(inner);
    }

    /// A shard that sleeps has something to do. Only for who found it asleep.
    pub(super) fn wake(&self, slot: usize) {
        let mut inner = self.lock();
        inner.rouse(slot);
        inner.waiting.push_back(slot);
        self.tell(inner);
    }

    /// Whose turn it is. Waits until it is somebody's; `None`: this thread is not needed any more.
    pub(super) fn next(&self, owner: u64) -> Option<(usize, Box<Tenant>)> {
        let mut inner = self.lock();
        loop {
            if inner.owner != owner {
                return None;
            }
            inner.running = None;
            inner.wake_due();
            if let Some(slot) = inner.waiting.pop_front() {
                inner.running = Some(slot);
                return Some((slot, inner.tenants[slot].take().expect("who waits for a turn is there")));
            }
            if inner.is_closed && inner.len() == 0 {
                return None;
            }
            inner.is_idle = true;
            inner = match inner.sleeping.first().map(|(due, _)| due.saturating_duration_since(clock::now())) {
                Some(wait) => self.news.wait_timeout(inner, wait).unwrap_or_else(PoisonError::into_inner).0,
                None => self.news.wait(inner).unwrap_or_else(PoisonError::into_inner),
            };
            inner.is_idle = false;
        }
    }

    /// A shard had its turn. It comes back to who is not its thread any more: the two go on alone.
    pub(super) fn put_back(
        &self,
        owner: u64,
        slot: usize,
        mut tenant: Box<Tenant>,
        turn: Turn,
    ) -> Result<(), Box<Tenant>> {
        let mut inner = self.lock();
        if inner.owner != owner {
            inner.free.push(slot);
            return Err(tenant);
        }
        match turn {
            // Order: under the lock, so that who rings from now on finds it where it sleeps.
            Turn::Rest(wait) if tenant.bell.try_sleep() => {
                let due = self.due(wait);
                tenant.due = Some(due);
                inner.sleeping.insert((due, slot));
            }
            _ => inner.waiting.push_back(slot),
        }
        inner.tenants[slot] = Some(tenant);
        Ok(())
    }

    /// A shard is over, and its bell is rung in vain from now on.
    pub(super) fn vacate(&self, slot: usize) {
        self.lock().free.push(slot);
    }

    /// The shard that has its turn keeps the thread; the others get a new one.
    pub(super) fn hand_over(self: &Arc<Self>, slot: usize) {
        let mut inner = self.lock();
        if !self.is_shared || inner.running != Some(slot) {
            return;
        }
        let owner = inner.owner + 1;
        match thread::start(Arc::clone(self), owner, false) {
            Ok(()) => {
                (inner.owner, inner.running) = (owner, None);
                drop(inner);
                // Whose turn it is calls this, on its thread, which is its own from here on.
                thread::give_way();
            }
            Err(e) => tracing::warn!("cannot start a thread, so a guest that takes long holds others up: {e}"),
        }
    }

    fn due(&self, wait: Duration) -> Instant {
        let due = clock::now() + wait;
        if wait < TICK {
            return due;
        }
        let tick = TICK.as_nanos();
        let ticks = due.saturating_duration_since(self.origin).as_nanos().div_ceil(tick);
        self.origin + Duration::from_nanos(u64::try_from(ticks * tick).unwrap_or(u64::MAX))
    }

    fn tell(&self, mut inner: MutexGuard<'_, Inner>) {
        let is_idle = std::mem::take(&mut inner.is_idle);
        drop(inner);
        if is_idle {
            self.news.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn slot(&mut self) -> usize {
        self.free.pop().unwrap_or_else(|| {
            self.tenants.push(None);
            self.tenants.len() - 1
        })
    }

    fn len(&self) -> usize {
        self.tenants.len() - self.free.len()
    }

    fn rouse(&mut self, slot: usize) {
        if let Some(due) = self.tenants[slot].as_mut().and_then(|tenant| tenant.due.take()) {
            self.sleeping.remove(&(due, slot));
        }
    }

    /// Who wanted to be woken by now waits for a turn, behind those that do already.
    fn wake_due(&mut self) {
        if self.sleeping.is_empty() {
            return;
        }
        let now = clock::now();
        while let Some((due, slot)) = self.sleeping.first().copied()
            && due <= now
        {
            self.rouse(slot);
            if self.tenants[slot].as_ref().is_some_and(|tenant| tenant.bell.try_wake()) {
                self.waiting.push_back(slot);
            }
        }
    }
}
