//! What a watermark means for an operator: its timers fire, in order of time, before it goes on. They may emit more than
//! there is room for; then the rest waits for the next step. Owns no input and no commit.

use std::ops::Range;

use weir_core::record::Mark;

use super::super::error::Error;
use super::super::gate::Room;
use super::super::policy::{Culprit, Fault};
use super::{CALL_MAX, Emit, OperatorNode, ROUNDS_MAX};
use crate::state::DueTimers;

impl OperatorNode {
    /// Timers fire in order of time before the watermark goes on.
    pub(super) fn on_watermark(&mut self, to: i64, emit: &mut Emit<'_>) -> Result<(), Error> {
        self.metrics.set_watermark(to);
        // Each key has at most one timer in a call, so a key with many takes many calls; the rest is a guest in a loop.
        self.calls_left = ROUNDS_MAX + self.instance.state().timers_pending().div_ceil(CALL_MAX) * 2;
        self.fire(to, emit)
    }

    /// Fires what is due until there is no room, and remembers then where it stopped. Behind the last timer the watermark
    /// goes on.
    pub(super) fn fire(&mut self, to: i64, emit: &mut Emit<'_>) -> Result<(), Error> {
        self.firing = Some(to);
        if self.instance.descriptor().calls("timers") && self.fire_timers(to, emit)? == Room::Full {
            return Ok(());
        }
        if self.instance.descriptor().calls("watermark") {
            self.call(|instance, now| instance.on_watermark(to, now))
                .map_err(|failure| self.failed("on-watermark", &failure))?;
            self.deliver(None, emit)?;
        }
        self.show_state();
        self.firing = None;
        self.emit_mark(Mark::Watermark(to), emit)
    }

    /// `Full`: there may be more.
    fn fire_timers(&mut self, to: i64, emit: &mut Emit<'_>) -> Result<Room, Error> {
        let mut due = std::mem::take(&mut self.due);
        let mut room = Room::Free;
        while room == Room::Free && self.instance.state().due(to, CALL_MAX, &mut due) {
            let Some(left) = self.calls_left.checked_sub(1) else {
                let message = format!("more than {ROUNDS_MAX} rounds of timers for the watermark {to}");
                return Err(Error::Guest { node: self.settings.node.clone(), callback: "on-timers", message });
            };
            self.calls_left = left;
            room = self.fire_range(&due, 0..due.times.len(), to, emit)?;
        }
        self.due = due;
        Ok(room)
    }

    fn fire_range(
        &mut self,
        due: &DueTimers,
        range: Range<usize>,
        to: i64,
        emit: &mut Emit<'_>,
    ) -> Result<Room, Error> {
        if range.is_empty() {
            return Ok(Room::Free);
        }
        let called = self.call(|instance, now| instance.on_timers(due, range.clone(), to, now));
        let failure = match called {
            Ok(()) => return self.deliver(None, emit),
            Err(failure) => failure,
        };
        if self.is_given_up {
            return Err(Error::GivenUp);
        }
        if range.len() > 1 {
            let middle = range.start + range.len() / 2;
            self.fire_range(due, range.start..middle, to, emit)?;
            return self.fire_range(due, middle..range.end, to, emit);
        }
        let (time, key) = (due.times[range.start], due.keys.get(range.start).unwrap_or_default());
        let says = self.says(&failure);
        let culprit = || Culprit { key: Some(key), value: None, time, origin: format!("timer at {time}") };
        self.settings.policy.apply(self.at(), &Fault::of(&failure, &says), &culprit)?;
        let (hash, tag) = (due.hashes[range.start], due.tags[range.start]);
        self.instance.state().drop_timer(hash, key, time, tag);
        Ok(Room::Free)
    }
}
