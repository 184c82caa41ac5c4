//! The watermark of a source. Decides after each record whether it has crossed a tick; the source then ends its batch with
//! that record and sends it. So what fires and what is late does not depend on how the input is cut into batches.

use super::{BEFORE_ALL, END_OF_TIME, FUTURE_MAX};
use crate::graph::spec::WatermarkSettings;
use crate::record::Mark;

/// `watermark = { … }`, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// How far behind the latest of its split a record may be.
    pub out_of_order: i64,
    /// The steps of the watermark, at least 1.
    pub tick: i64,
    /// After this long without a record a split is idle.
    pub idle_after: Option<i64>,
}

impl From<&WatermarkSettings> for Settings {
    fn from(written: &WatermarkSettings) -> Settings {
        let millis = |d: std::time::Duration| i64::try_from(d.as_millis()).unwrap_or(i64::MAX);
        Settings {
            out_of_order: millis(written.out_of_order),
            tick: millis(written.tick).max(1),
            idle_after: written.idle_after.map(millis),
        }
    }
}

/// The splits of a source, and what was sent.
#[derive(Debug, Clone)]
pub struct Watermarks {
    settings: Settings,
    splits: Vec<Split>,
    sent: i64,
    /// The largest time that the slowest split must show for the watermark to cross its next tick.
    wanted: i64,
    /// A split that was found below `wanted`. As long as it is, the others need not be looked at.
    slowest: usize,
    /// The split that was furthest when it was last looked for: as long as a time is within an hour of it, the others need
    /// not be looked at.
    reference: usize,
    /// Wall clock, milliseconds since 1970.
    wall_clock: i64,
    /// Milliseconds for which the source was being read. Does not run on while back-pressure holds it.
    active: i64,
    last_now: Option<i64>,
    /// All splits are idle, and the channel has been told.
    is_idle: bool,
    clamped: u64,
}

#[derive(Debug, Clone, Copy)]
struct Split {
    /// The largest time seen, clamped; `BEFORE_ALL` before the first record.
    largest: i64,
    state: State,
    /// When its last record came, in active time.
    last_record: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Active,
    Idle,
    /// Bounded input: nothing will follow.
    Ended,
}

impl Watermarks {
    /// For a source with no splits yet. The wall clock must be given before the first record.
    pub fn new(settings: Settings) -> Watermarks {
        Watermarks::restore(settings, &[], BEFORE_ALL)
    }

    /// As a snapshot says: the largest time of each split, and the watermark that was sent. What was late before is late
    /// after.
    pub fn restore(settings: Settings, largest: &[Option<i64>], sent: i64) -> Watermarks {
        let settings = Settings { tick: settings.tick.max(1), ..settings };
        let mut watermarks = Watermarks {
            settings,
            splits: Vec::new(),
            sent,
            wanted: 0,
            slowest: 0,
            reference: 0,
            wall_clock: END_OF_TIME - FUTURE_MAX,
            active: 0,
            last_now: None,
            is_idle: false,
            clamped: 0,
        };
        largest.iter().for_each(|largest| watermarks.push_split(*largest));
        watermarks.wanted = watermarks.next_wanted();
        watermarks
    }

    /// A split that comes behind those there are; its index is their number. It holds the watermark until its first record
    /// or until it is idle; where all others were idle, the channel has to be told that it is not.
    pub fn add_split(&mut self, largest: Option<i64>) {
        self.push_split(largest);
        self.is_idle = false;
        self.slowest = self.splits.len() - 1;
    }

    /// How many splits there are.
    pub fn splits(&self) -> usize {
        self.splits.len()
    }

    fn push_split(&mut self, largest: Option<i64>) {
        let largest = largest.unwrap_or(BEFORE_ALL);
        self.splits.push(Split { largest, state: State::Active, last_record: self.active });
    }

    /// What the clocks say: the wall clock (milliseconds since 1970), and a clock that only runs forward. To be called once
    /// before each poll; a gap of more than a quarter of `idle_after` between two calls counts as that much, since a
    /// source that was held by back-pressure was not idle.
    pub fn on_poll(&mut self, wall_clock: i64, now: i64) {
        self.wall_clock = wall_clock.min(END_OF_TIME - FUTURE_MAX);
        let step = now.saturating_sub(self.last_now.unwrap_or(now)).max(0);
        let longest = self.settings.idle_after.map_or(i64::MAX, |d| (d / 4).max(1));
        self.active = self.active.saturating_add(step.min(longest));
        self.last_now = Some(now);
    }

    /// A record of a split. Gives the watermark to send right behind it, if it crossed a tick (or ends an idle time, when
    /// the channel must speak again).
    #[inline]
    pub fn observe(&mut self, split: usize, time: i64) -> Option<i64> {
        let state = &mut self.splits[split];
        state.last_record = self.active;
        if state.state == State::Active && time <= state.largest {
            return None;
        }
        self.advance(split, time)
    }

    fn advance(&mut self, split: usize, time: i64) -> Option<i64> {
        let was_idle = std::mem::take(&mut self.is_idle);
        self.splits[split].state = State::Active;
        if time > self.splits[split].largest {
            let limit = self.limit(split, time);
            self.clamped += u64::from(time > limit);
            let largest = &mut self.splits[split].largest;
            *largest = time.min(limit).max(*largest);
        }
        let moved = self.merge();
        if was_idle && moved.is_none() { Some(self.sent).filter(|sent| *sent > BEFORE_ALL) } else { moved }
    }

    /// How far a record of this split may move it: to 1 h past the wall clock, and past the furthest of the others that
    /// are active. (One that is idle or has ended says nothing about how late it is, and must not hold the rest for ever.)
    ///
    /// What is cut off is forgotten, so that a single wrong time costs an hour at most. The price: a split that ran far
    /// ahead of the others holds the watermark until its next record, or until it is idle. Late is then less, never more.
    fn limit(&mut self, split: usize, time: i64) -> i64 {
        let by_clock = self.wall_clock.saturating_add(FUTURE_MAX);
        let reference = &self.splits[self.reference];
        if self.reference != split
            && reference.state == State::Active
            && time <= reference.largest.saturating_add(FUTURE_MAX)
        {
            return by_clock;
        }
        let others = self.splits.iter().enumerate().filter(|(index, s)| *index != split && s.state == State::Active);
        match others.max_by_key(|(_, s)| s.largest) {
            Some((furthest, s)) if s.largest > BEFORE_ALL => {
                self.reference = furthest;
                by_clock.min(s.largest.saturating_add(FUTURE_MAX))
            }
            _ => by_clock,
        }
    }

    /// Moves the watermark if the slowest split has crossed a tick.
    fn merge(&mut self) -> Option<i64> {
        if let Some(slowest) = self.splits.get(self.slowest)
            && slowest.state == State::Active
            && slowest.largest < self.wanted
        {
            return None;
        }
        let active = self.splits.iter().enumerate().filter(|(_, s)| s.state == State::Active);
        let (slowest, largest) = active.map(|(index, s)| (index, s.largest)).min_by_key(|(_, largest)| *largest)?;
        self.slowest = slowest;
        if largest == BEFORE_ALL || largest < self.wanted {
            return None;
        }
        let watermark = self.in_ticks(largest);
        if watermark <= self.sent {
            return None;
        }
        self.sent = watermark;
        self.wanted = self.next_wanted();
        Some(watermark)
    }

    /// largest − bound − 1, rounded down to a multiple of the tick.
    fn in_ticks(&self, largest: i64) -> i64 {
        let exact = largest.saturating_sub(self.settings.out_of_order).saturating_sub(1);
        exact.div_euclid(self.settings.tick).saturating_mul(self.settings.tick)
    }

    /// The least time that gives a watermark above the one sent.
    fn next_wanted(&self) -> i64 {
        if self.sent == BEFORE_ALL {
            return BEFORE_ALL;
        }
        let next = self.sent.div_euclid(self.settings.tick).saturating_add(1).saturating_mul(self.settings.tick);
        next.saturating_add(self.settings.out_of_order).saturating_add(1)
    }

    /// Looks for splits that have been silent for too long; to be called now and then, after [`Watermarks::on_poll`]. A
    /// watermark: the silent ones held it back. `Idle`: all are silent, and the watermark stays where it is.
    ///
    /// `has_more` says of a split that it holds records which were not read yet. Such a one is not idle, however long its
    /// records wait behind those of others: without it their windows would fire, and they would come late.
    pub fn on_idle_check(&mut self, has_more: impl Fn(usize) -> bool) -> Option<Mark> {
        let idle_after = self.settings.idle_after?;
        let deadline = self.active.saturating_sub(idle_after);
        let mut any = false;
        for (index, split) in self.splits.iter_mut().enumerate() {
            if split.state == State::Active && split.last_record <= deadline && !has_more(index) {
                split.state = State::Idle;
                any = true;
            }
        }
        if !any {
            return None;
        }
        self.after_leaving()
    }

    /// A split of a bounded read has ended: it leaves the minimum.
    pub fn on_split_end(&mut self, split: usize) -> Option<Mark> {
        self.splits[split].state = State::Ended;
        // When all have ended the source has, and says that instead.
        if self.splits.iter().all(|s| s.state == State::Ended) { None } else { self.after_leaving() }
    }

    fn after_leaving(&mut self) -> Option<Mark> {
        let is_idle = !self.splits.iter().any(|s| s.state == State::Active);
        if is_idle {
            return (!std::mem::replace(&mut self.is_idle, true)).then_some(Mark::Idle);
        }
        self.merge().map(Mark::Watermark)
    }

    /// The end of bounded input: the end of time, which nothing is later than.
    pub fn end(&mut self) -> i64 {
        self.sent = END_OF_TIME;
        END_OF_TIME
    }

    /// The watermark that was sent last.
    pub fn current(&self) -> i64 {
        self.sent
    }

    /// The largest time of a split, for the snapshot; clamped, and before the bound is taken off.
    pub fn largest(&self, split: usize) -> Option<i64> {
        self.splits.get(split).map(|s| s.largest).filter(|largest| *largest > BEFORE_ALL)
    }

    /// Whether all splits are idle.
    pub fn is_idle(&self) -> bool {
        self.is_idle
    }

    /// Records whose time was too far ahead of the wall clock, or of the other splits, to move the watermark by as much.
    pub fn clamped(&self) -> u64 {
        self.clamped
    }
}
