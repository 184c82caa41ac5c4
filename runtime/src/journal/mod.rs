//! What is kept of a pipeline for those who look at it: events, log lines of its guests, problems, failed attempts. All of it is
//! bounded, in memory, and goes on over its runs in one process. Those who write it never wait for those who read.

mod event;
mod line;
mod problems;
mod ring;
mod safe;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use weir_core::domain::Class;
use weir_core::ids::Name;

pub use event::{Event, What};
pub use line::{Level, Line, LogCounts, Logger};
pub use problems::{Fate, Group, Kind, Part, Report, Sample};
pub use ring::{Read, Ring};
pub use safe::{Safe, hide};

/// Events that are kept, and their bytes.
const EVENTS_MAX: usize = 1_000;
const EVENT_BYTES_MAX: usize = 1 << 20;
/// Log lines that are kept, and their bytes.
const LINES_MAX: usize = 1_000;
const LINE_BYTES_MAX: usize = 256 << 10;
/// Bytes of a problem's message in its event.
const MESSAGE_BYTES_MAX: usize = 1024;
/// Failed attempts that are kept.
const FAILURES_MAX: usize = 16;
/// Ids that one millisecond has room for: a process that starts later begins with a greater one.
const IDS_PER_MILLI: u64 = 1_000;

/// An attempt that failed.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    /// Milliseconds since 1970.
    pub at: i64,
    /// What kind of failure it was.
    pub class: Class,
    /// What it failed of.
    pub why: String,
    /// Where, if that is known.
    pub node: Option<Name>,
    /// What followed.
    pub then: Then,
}

/// What follows a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// Another attempt, after this wait.
    Restart(Duration),
    /// Nothing: it does not go away by itself, or the restart strategy says so.
    GaveUp,
    /// Nothing: the same failure came too often.
    CircuitOpen,
}

/// See the module.
#[derive(Debug)]
pub struct Journal {
    /// What happened.
    pub events: Ring<Event>,
    /// What its guests logged.
    pub logs: Ring<Line>,
    problems: Mutex<problems::Problems>,
    /// Newest first.
    failures: Mutex<VecDeque<Failure>>,
    is_closed: AtomicBool,
}

impl Default for Journal {
    fn default() -> Journal {
        Journal::new(0)
    }
}

impl Journal {
    /// An empty one that begins now, in milliseconds since 1970.
    pub fn new(now: i64) -> Journal {
        let first = u64::try_from(now).unwrap_or_default() * IDS_PER_MILLI;
        Journal {
            events: Ring::new(first, EVENTS_MAX, EVENT_BYTES_MAX),
            logs: Ring::new(first, LINES_MAX, LINE_BYTES_MAX),
            problems: Mutex::default(),
            failures: Mutex::default(),
            is_closed: AtomicBool::new(false),
        }
    }

    /// Something happened.
    pub fn tell(&self, at: i64, what: What) {
        let bytes = what.bytes();
        self.events.push(Event { at, what }, bytes);
    }

    /// A guest logged something.
    fn log(&self, line: Line) {
        let fields: usize = line.fields.iter().map(|(name, value)| name.len() + value.len() + 48).sum();
        let bytes = line.message.len() + fields + 128;
        self.logs.push(line, bytes);
    }

    /// Something went wrong. The first of its group is an event, and only of that a sample is taken.
    pub fn report(&self, report: &Report<'_>, at: i64, sample: impl FnOnce() -> Option<Sample>) {
        if lock(&self.problems).add(report, at, sample) {
            let (node, code) = (report.node.cloned(), report.code.to_owned());
            let message = report.message[..report.message.floor_char_boundary(MESSAGE_BYTES_MAX)].to_owned();
            self.tell(at, What::Problem { node, code, message });
        }
    }

    /// Problems, the one that was seen last first.
    pub fn problems(&self) -> Vec<Group> {
        lock(&self.problems).groups()
    }

    /// An attempt has failed.
    pub fn fail(&self, failure: Failure) {
        let mut failures = lock(&self.failures);
        failures.push_front(failure);
        failures.truncate(FAILURES_MAX);
    }

    /// The newest failed attempts, newest first.
    pub fn failures(&self) -> Vec<Failure> {
        lock(&self.failures).iter().cloned().collect()
    }

    /// The pipeline is gone: nothing follows.
    pub fn close(&self) {
        self.is_closed.store(true, Ordering::SeqCst);
        self.events.wake();
        self.logs.wake();
    }

    /// Whether nothing follows.
    pub fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::SeqCst)
    }
}

fn lock<T>(it: &Mutex<T>) -> MutexGuard<'_, T> {
    it.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_process_begins_with_greater_ids() {
        let (first, later) = (Journal::new(1_000), Journal::new(1_001));
        (0..900).for_each(|_| first.tell(0, What::State { state: "running", why: None }));
        let end = first.events.after(None, 10_000, |_| true).to;
        later.tell(0, What::State { state: "running", why: None });
        let read = later.events.after(Some(end), 10, |_| true);
        assert!(read.has_gap && read.items[0].0 > end);
    }

    #[test]
    fn the_newest_failures_are_kept_newest_first() {
        let journal = Journal::new(0);
        for at in 0..20 {
            let why = format!("failure {at}");
            journal.fail(Failure { at, class: Class::Guest, why, node: None, then: Then::GaveUp });
        }
        let failures = journal.failures();
        assert_eq!((failures.len(), failures[0].at, failures[15].at), (16, 19, 4));
    }
}
