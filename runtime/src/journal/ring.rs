//! A bounded list of what happened, newest last, each with an id that only grows. Whoever reads remembers an id and comes back
//! for what is behind it; one that comes too late is told that something is missing. Nobody who reads holds up who writes.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

/// See the module.
#[derive(Debug)]
pub struct Ring<T> {
    kept: Mutex<Kept<T>>,
    changed: Notify,
    items_max: usize,
    bytes_max: usize,
}

#[derive(Debug)]
struct Kept<T> {
    /// Each with its size.
    items: VecDeque<(Arc<T>, usize)>,
    bytes: usize,
    /// Of the next item. Those that are there have the ids right before it.
    next: u64,
}

/// What is behind an id.
#[derive(Debug)]
pub struct Read<T> {
    /// Something between the id and the first item is gone.
    pub has_gap: bool,
    /// In order, with their ids.
    pub items: Vec<(u64, Arc<T>)>,
    /// Where to go on: everything up to here was looked at.
    pub to: u64,
    /// There is more behind that.
    pub has_more: bool,
}

impl<T> Ring<T> {
    /// An empty one. `first` is the id of the first item: greater than any that an earlier process gave out, so that whoever
    /// comes back with one of those hears of the gap.
    pub fn new(first: u64, items_max: usize, bytes_max: usize) -> Ring<T> {
        let kept = Kept { items: VecDeque::new(), bytes: 0, next: first.max(1) };
        Ring { kept: Mutex::new(kept), changed: Notify::new(), items_max, bytes_max }
    }

    /// Adds an item of this size. The oldest ones make room.
    pub fn push(&self, item: T, bytes: usize) {
        {
            let mut kept = self.kept();
            kept.items.push_back((Arc::new(item), bytes));
            kept.bytes += bytes;
            kept.next += 1;
            while kept.items.len() > self.items_max || (kept.bytes > self.bytes_max && kept.items.len() > 1) {
                if let Some((_, bytes)) = kept.items.pop_front() {
                    kept.bytes -= bytes;
                }
            }
        }
        self.changed.notify_waiters();
    }

    /// At most `max` items behind this id, or from the oldest one on. Of what is not wanted nothing comes, but it counts as
    /// looked at.
    pub fn after(&self, id: Option<u64>, max: usize, is_wanted: impl Fn(&T) -> bool) -> Read<T> {
        let kept = self.kept();
        let first = kept.next - kept.items.len() as u64;
        // An id that was never given out is that of another process.
        let id = id.map(|id| if id < kept.next { id } else { 0 });
        let has_gap = id.is_some_and(|id| id + 1 < first);
        let from = id.map_or(first, |id| (id + 1).max(first));
        let (mut items, mut to, mut has_more) = (Vec::new(), from - 1, false);
        for (at, (item, _)) in kept.items.iter().enumerate().skip((from - first) as usize) {
            if is_wanted(item) {
                if items.len() == max {
                    has_more = true;
                    break;
                }
                items.push((first + at as u64, Arc::clone(item)));
            }
            to = first + at as u64;
        }
        Read { has_gap, items, to, has_more }
    }

    /// Ends at the next item, or when somebody is to look up. What comes after this call is not missed.
    pub fn changed(&self) -> Notified<'_> {
        self.changed.notified()
    }

    /// Lets everybody who waits look up.
    pub(super) fn wake(&self) {
        self.changed.notify_waiters();
    }

    fn kept(&self) -> MutexGuard<'_, Kept<T>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(read: &Read<u32>) -> Vec<(u64, u32)> {
        read.items.iter().map(|(id, item)| (*id, **item)).collect()
    }

    fn ring(items: std::ops::Range<u32>) -> Ring<u32> {
        let ring = Ring::new(100, 5, 1000);
        items.for_each(|item| ring.push(item, 1));
        ring
    }

    #[test]
    fn whoever_comes_back_with_an_id_gets_what_is_behind_it_once() {
        let ring = ring(0..3);
        let first = ring.after(None, 2, |_| true);
        assert_eq!(ids(&first), [(100, 0), (101, 1)]);
        assert!(first.has_more && !first.has_gap);
        let rest = ring.after(Some(first.to), 10, |_| true);
        assert_eq!(ids(&rest), [(102, 2)]);
        assert!(!rest.has_more && !rest.has_gap);
        assert_eq!(ids(&ring.after(Some(rest.to), 10, |_| true)), []);
    }

    #[test]
    fn whoever_comes_too_late_hears_of_the_gap_also_from_an_earlier_process() {
        let ring = ring(0..8);
        for late in [101, 7, 5_000] {
            let read = ring.after(Some(late), 10, |_| true);
            assert!(read.has_gap, "{late}");
            assert_eq!(ids(&read)[0], (103, 3), "{late}");
        }
        assert!(!ring.after(Some(102), 10, |_| true).has_gap, "the next one is still there");
        assert!(!ring.after(None, 10, |_| true).has_gap, "nobody was promised anything");
    }

    #[test]
    fn what_is_not_wanted_counts_as_looked_at() {
        let ring = ring(0..4);
        let read = ring.after(None, 10, |item| *item == 1);
        assert_eq!((ids(&read), read.to), (vec![(101, 1)], 103));
        let read = ring.after(None, 1, |item| item % 2 == 1);
        assert_eq!((ids(&read), read.to, read.has_more), (vec![(101, 1)], 102, true));
    }

    #[test]
    fn the_oldest_make_room_by_number_and_by_size() {
        assert_eq!(ids(&ring(0..8).after(None, 10, |_| true)).len(), 5);
        let ring = Ring::new(1, 100, 10);
        (0..8).for_each(|item| ring.push(item, 4));
        assert_eq!(ids(&ring.after(None, 10, |_| true)), [(7, 6), (8, 7)]);
        ring.push(8, 1_000);
        assert_eq!(ids(&ring.after(None, 10, |_| true)), [(9, 8)], "the newest stays, whatever its size");
    }
}
