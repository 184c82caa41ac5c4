//! Waiting for a condition with a deadline: the only place where a test lets time pass. Never a fixed pause.

use std::thread;
use std::time::Duration;

/// How often a condition is asked. Short against what tests wait for, long against what asking costs.
const STEP: Duration = Duration::from_millis(5);

/// Returns as soon as `condition` holds; panics with `what` when it does not within `deadline`.
#[track_caller]
pub fn wait_until(deadline: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    wait_for(deadline, what, || condition().then_some(()));
}

/// As [`wait_until`], and returns what `probe` found.
#[track_caller]
pub fn wait_for<T>(deadline: Duration, what: &str, probe: impl FnMut() -> Option<T>) -> T {
    match try_wait_for(deadline, probe) {
        Some(found) => found,
        None => panic!("waited {deadline:?} in vain: {what}"),
    }
}

/// As [`wait_for`], for callers that have something to say about a condition that never came.
pub fn try_wait_for<T>(deadline: Duration, mut probe: impl FnMut() -> Option<T>) -> Option<T> {
    let end = weir::clock::now() + deadline;
    loop {
        if let Some(found) = probe() {
            return Some(found);
        }
        if weir::clock::now() >= end {
            return None;
        }
        thread::park_timeout(STEP);
    }
}
