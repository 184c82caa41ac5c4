//! Event-time timers of one subtask: one per (key, time, tag). Owns two views of them, both exact: per entry a short list, so
//! that setting one again is a look into one cache line, and per time a bucket, so that what is due is found without
//! looking at the rest. They are state: the database holds them beside the values.

use std::collections::BTreeMap;

use weir_core::record::Column;

use super::array::Array;
use super::prefetch::prefetch;

/// Timers that are due, one per key, in the order in which they fire.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DueTimers {
    /// Hash of each key.
    pub hashes: Vec<u64>,
    /// The keys.
    pub keys: Column,
    /// When each was to fire.
    pub times: Vec<i64>,
    /// Their tags.
    pub tags: Vec<u64>,
}

impl DueTimers {
    /// Number of timers.
    pub fn len(&self) -> usize {
        self.times.len()
    }

    /// Whether none is due.
    pub fn is_empty(&self) -> bool {
        self.times.is_empty()
    }

    /// Forgets the timers and keeps the memory.
    pub fn clear(&mut self) {
        self.hashes.clear();
        self.keys.clear();
        self.times.clear();
        self.tags.clear();
    }
}

const PRESENT: u32 = 1;
const STORED: u32 = 2;
const DIRTY: u32 = 4;

#[derive(Debug, Clone, Copy, Default)]
struct Timer {
    time: i64,
    tag: u64,
    /// Its place in its bucket, while it is present.
    place: u32,
    flags: u32,
}

/// One cache line per entry: a key has mostly one or two timers.
#[derive(Debug, Default)]
#[repr(C, align(64))]
struct List {
    inline: [Timer; 2],
    #[allow(clippy::box_collection, reason = "one word, so that a list stays one cache line")]
    more: Option<Box<Vec<Timer>>>,
    len: u32,
}

impl List {
    fn get(&self, at: usize) -> &Timer {
        if at < 2 {
            &self.inline[at]
        } else {
            &self.more.as_deref().expect("a list of more than two has the rest")[at - 2]
        }
    }

    fn get_mut(&mut self, at: usize) -> &mut Timer {
        match at {
            0 | 1 => &mut self.inline[at],
            _ => &mut self.more.as_deref_mut().expect("a list of more than two has the rest")[at - 2],
        }
    }

    fn iter(&self) -> impl Iterator<Item = &Timer> {
        let inline = &self.inline[..(self.len as usize).min(2)];
        inline.iter().chain(self.more.iter().flat_map(|more| more.iter()))
    }

    #[inline]
    fn find(&self, time: i64, tag: u64) -> Option<usize> {
        let is_it = |t: &Timer| t.time == time && t.tag == tag;
        let inline = self.inline.iter().take(self.len as usize).position(is_it);
        inline.or_else(|| Some(self.more.as_ref()?.iter().position(is_it)? + 2))
    }

    fn push(&mut self, timer: Timer) {
        match self.len {
            at @ (0 | 1) => self.inline[at as usize] = timer,
            _ => self.more.get_or_insert_default().push(timer),
        }
        self.len += 1;
    }

    fn swap_remove(&mut self, at: usize) {
        self.len -= 1;
        let last = *self.get(self.len as usize);
        *self.get_mut(at) = last;
        if let Some(more) = &mut self.more {
            more.pop();
            if more.is_empty() {
                self.more = None;
            }
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Timers {
    lists: Array<List>,
    /// Present timers by time; an empty bucket is removed.
    buckets: BTreeMap<i64, Vec<(u32, u64)>>,
    /// Memory of buckets that were emptied.
    spare: Vec<Vec<(u32, u64)>>,
    pending: usize,
    /// What the running call did, oldest first: set (true) or unset.
    before: Vec<(u32, i64, u64, bool)>,
}

const SPARE: usize = 4;
/// How far ahead of its turn the line of a timer that is due is asked for.
const AHEAD: usize = 8;

impl Timers {
    #[inline(always)]
    pub(super) fn prefetch(&self, entry: u32) {
        prefetch(&self.lists, entry as usize);
    }

    /// Sets, and remembers it until the call ends. Returns by how much the entry's `held` changes; `None` if nothing changed.
    #[inline]
    pub(super) fn set(&mut self, entry: u32, time: i64, tag: u64) -> Option<i32> {
        let held = self.put(entry, time, tag)?;
        self.before.push((entry, time, tag, true));
        Some(held)
    }

    /// Unsets, and remembers it until the call ends.
    pub(super) fn unset(&mut self, entry: u32, time: i64, tag: u64) -> Option<i32> {
        let held = self.remove(entry, time, tag)?;
        self.before.push((entry, time, tag, false));
        Some(held)
    }

    #[inline]
    fn put(&mut self, entry: u32, time: i64, tag: u64) -> Option<i32> {
        self.lists.cover(entry as usize + 1, List::default);
        let list = &mut self.lists[entry as usize];
        let found = list.find(time, tag);
        if found.is_some_and(|at| list.get(at).flags & PRESENT != 0) {
            return None;
        }
        let bucket = self.buckets.entry(time).or_insert_with(|| self.spare.pop().unwrap_or_default());
        let place = bucket.len() as u32;
        bucket.push((entry, tag));
        self.pending += 1;
        match found {
            // Its tombstone was still to be written: the database holds it already.
            Some(at) => {
                let timer = list.get_mut(at);
                timer.place = place;
                timer.flags |= PRESENT | DIRTY;
                Some(0)
            }
            None => {
                list.push(Timer { time, tag, place, flags: PRESENT | DIRTY });
                Some(1)
            }
        }
    }

    fn remove(&mut self, entry: u32, time: i64, tag: u64) -> Option<i32> {
        let list = self.lists.get_mut(entry as usize)?;
        let at = list.find(time, tag)?;
        let timer = list.get_mut(at);
        if timer.flags & PRESENT == 0 {
            return None;
        }
        let (place, stored) = (timer.place as usize, timer.flags & STORED != 0);
        if stored {
            timer.flags = STORED | DIRTY;
        } else {
            list.swap_remove(at);
        }
        self.pending -= 1;
        let bucket = self.buckets.get_mut(&time).expect("a present timer is in the bucket of its time");
        bucket.swap_remove(place);
        if let Some(&(moved, tag)) = bucket.get(place) {
            let list = &mut self.lists[moved as usize];
            let at = list.find(time, tag).expect("what is in a bucket is in its entry's list");
            list.get_mut(at).place = place as u32;
        } else if bucket.is_empty() {
            let bucket = self.buckets.remove(&time).expect("it was there a moment ago");
            if self.spare.len() < SPARE {
                self.spare.push(bucket);
            }
        }
        Some(-i32::from(!stored))
    }

    /// The call stands.
    pub(super) fn commit(&mut self) {
        self.before.clear();
    }

    /// The call did not happen. `held` is told each entry and by how much its count changes.
    pub(super) fn discard(&mut self, mut held: impl FnMut(u32, i32)) {
        while let Some((entry, time, tag, set)) = self.before.pop() {
            let change = if set { self.remove(entry, time, tag) } else { self.put(entry, time, tag) };
            held(entry, change.unwrap_or(0));
        }
    }

    /// A timer from the database.
    pub(super) fn load(&mut self, entry: u32, time: i64, tag: u64) -> i32 {
        let held = self.put(entry, time, tag).unwrap_or(0);
        let list = &mut self.lists[entry as usize];
        if let Some(at) = list.find(time, tag) {
            list.get_mut(at).flags = PRESENT | STORED;
        }
        held
    }

    /// Calls `f` with each entry that has a timer due, in order of time, until it answers false, and with the entry whose
    /// turn comes some calls later. An entry may come again. The last one of a bucket comes first: taking it out, which
    /// is what follows, then moves no other.
    pub(super) fn due(&self, watermark: i64, mut f: impl FnMut(u32, Option<u32>) -> bool) {
        for bucket in self.buckets.range(..=watermark).map(|(_, bucket)| bucket) {
            for (at, (entry, _)) in bucket.iter().enumerate().rev() {
                let later = at.checked_sub(AHEAD).map(|later| bucket[later].0);
                if let Some(later) = later {
                    self.prefetch(later);
                }
                if !f(*entry, later) {
                    return;
                }
            }
        }
    }

    /// The first timer of an entry, by (time, tag).
    pub(super) fn first(&self, entry: u32) -> Option<(i64, u64)> {
        self.lists.get(entry as usize)?.iter().filter(|t| t.flags & PRESENT != 0).map(|t| (t.time, t.tag)).min()
    }

    /// All timers of an entry, in no order.
    #[cfg(test)]
    pub(super) fn each(&self, entry: u32, mut f: impl FnMut(i64, u64)) {
        let list = self.lists.get(entry as usize).into_iter().flat_map(List::iter);
        list.filter(|t| t.flags & PRESENT != 0).for_each(|t| f(t.time, t.tag));
    }

    /// Hands dirty timers to `write` (whether it is there) and takes them as stored. Returns by how much `held` changes.
    pub(super) fn seal(&mut self, entry: u32, mut write: impl FnMut(i64, u64, bool)) -> i32 {
        let Some(list) = self.lists.get_mut(entry as usize) else { return 0 };
        let (mut at, mut held) = (0, 0);
        while at < list.len as usize {
            let timer = list.get_mut(at);
            let present = timer.flags & PRESENT != 0;
            // One that was unset and set again since the last seal is dirty, but the database has it.
            if timer.flags & DIRTY != 0 && !(present && timer.flags & STORED != 0) {
                write(timer.time, timer.tag, present);
            }
            if present {
                timer.flags = PRESENT | STORED;
                at += 1;
            } else {
                list.swap_remove(at);
                held -= 1;
            }
        }
        held
    }

    /// Whether the entry has a timer, or one whose end is still to be written.
    pub(super) fn has_any(&self, entry: u32) -> bool {
        self.lists.get(entry as usize).is_some_and(|list| list.len > 0)
    }

    /// What an entry takes here at most, with the few timers that a key mostly has.
    pub(super) fn entry_bytes(&self) -> usize {
        if self.lists.is_empty() { 0 } else { size_of::<List>() }
    }

    pub(super) fn pending(&self) -> usize {
        self.pending
    }

    pub(super) fn bytes(&self) -> usize {
        // A pending timer lies once in its bucket; lists of more than two are rare enough not to be counted.
        self.lists.capacity() * size_of::<List>() + self.pending * size_of::<(u32, u64)>()
    }
}
