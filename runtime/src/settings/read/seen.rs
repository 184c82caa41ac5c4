//! Which keys the readers of this thread have asked for, so that a test can compare them with the reference. Only in tests.

use std::cell::RefCell;

thread_local! {
    static SEEN: RefCell<Vec<(String, Vec<&'static str>)>> = const { RefCell::new(Vec::new()) };
}

/// A table was read to its end.
pub(super) fn note(path: &str, known: &[&'static str]) {
    SEEN.with_borrow_mut(|seen| seen.push((path.to_owned(), known.to_vec())));
}

pub(in crate::settings) fn clear() {
    SEEN.with_borrow_mut(Vec::clear);
}

/// The path of each table that was read, and the keys that it may have.
pub(in crate::settings) fn all() -> Vec<(String, Vec<&'static str>)> {
    SEEN.with_borrow(Clone::clone)
}
