//! How much memory the state of all pipelines of the process may take, and how much of it each subtask takes now. Owns the
//! count; what is given up to stay within it is decided in `spill`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The memory that the working sets of one process share.
#[derive(Debug)]
pub struct Budget {
    limit: usize,
    used: AtomicUsize,
}

impl Budget {
    /// So many bytes.
    pub fn new(limit: usize) -> Arc<Budget> {
        Arc::new(Budget { limit, used: AtomicUsize::new(0) })
    }

    /// Half of the memory that the process may use: its control group's limit, or the machine's.
    pub fn of_machine() -> Arc<Budget> {
        // SAFETY: asks for two numbers.
        let (pages, page) = unsafe { (libc::sysconf(libc::_SC_PHYS_PAGES), libc::sysconf(libc::_SC_PAGESIZE)) };
        let machine = pages.max(1) as usize * page.max(1) as usize;
        let group = std::fs::read_to_string("/sys/fs/cgroup/memory.max").ok();
        let group = group.and_then(|text| text.trim().parse().ok()).unwrap_or(usize::MAX);
        Budget::new(machine.min(group) / 2)
    }

    /// In bytes.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// In bytes.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }
}

/// What one subtask takes of the budget. It is given back when the subtask goes.
#[derive(Debug)]
pub(super) struct Share {
    budget: Arc<Budget>,
    mine: usize,
}

/// A share that has changed by less is not counted anew: the count is shared between threads.
const GRAIN: usize = 64 << 10;

impl Share {
    pub(super) fn new(budget: &Arc<Budget>) -> Share {
        Share { budget: Arc::clone(budget), mine: 0 }
    }

    pub(super) fn budget(&self) -> &Budget {
        &self.budget
    }

    /// The subtask takes so much now.
    pub(super) fn set(&mut self, bytes: usize) {
        if bytes.abs_diff(self.mine) < GRAIN {
            return;
        }
        match bytes.checked_sub(self.mine) {
            Some(more) => self.budget.used.fetch_add(more, Ordering::Relaxed),
            None => self.budget.used.fetch_sub(self.mine - bytes, Ordering::Relaxed),
        };
        self.mine = bytes;
    }

    /// Bytes that this subtask should give up: its part of what is used above `part` of the limit.
    pub(super) fn excess(&self, part: Part) -> usize {
        let (used, allowed) = (self.budget.used(), part.of(self.budget.limit));
        match used.checked_sub(allowed) {
            Some(over) if used > 0 => (over as u128 * self.mine as u128 / used as u128) as usize,
            _ => 0,
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.mine, Ordering::Relaxed);
    }
}

/// How far the budget may be used for what.
#[derive(Debug, Clone, Copy)]
pub(super) enum Part {
    /// All of it: what is above is evicted.
    Whole,
    /// From here on the database is kept ready to be read from, since it will be.
    Nearly,
    /// As far as a restore fills memory: room is left for what comes in.
    Restored,
}

impl Part {
    fn of(self, limit: usize) -> usize {
        match self {
            Part::Whole => limit,
            Part::Nearly => limit / 4 * 3,
            Part::Restored => limit / 8 * 7,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_subtask_gives_up_in_proportion_and_gives_all_back_when_it_goes() {
        let budget = Budget::new(10 << 20);
        let (mut small, mut large) = (Share::new(&budget), Share::new(&budget));
        small.set(5 << 20);
        large.set(15 << 20);
        assert_eq!((small.excess(Part::Whole), large.excess(Part::Whole)), (5 << 19, 15 << 19));
        drop(large);
        assert_eq!((small.excess(Part::Whole), budget.used()), (0, 5 << 20));
        small.set((5 << 20) + 1);
        assert_eq!(budget.used(), 5 << 20, "a small change is not worth a word between threads");
    }
}
