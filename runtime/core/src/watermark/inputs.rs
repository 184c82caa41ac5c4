//! The watermark of a vertex with several channels: the least of those that are not idle.

use super::{BEFORE_ALL, END_OF_TIME};
use crate::record::Mark;

/// What the channels of a vertex have said.
#[derive(Debug, Clone)]
pub struct Inputs {
    channels: Vec<Channel>,
    current: i64,
    is_idle: bool,
}

#[derive(Debug, Clone, Copy)]
struct Channel {
    watermark: i64,
    is_idle: bool,
}

impl Inputs {
    /// For this many channels. `current` is what the snapshot says, [`BEFORE_ALL`] without one.
    pub fn new(channels: usize, current: i64) -> Inputs {
        Inputs { channels: vec![Channel { watermark: BEFORE_ALL, is_idle: false }; channels], current, is_idle: false }
    }

    /// A channel has moved, and speaks again if it was idle. Gives the merged watermark if that moved with it, or if the
    /// vertex as a whole was idle and must speak again.
    pub fn on_watermark(&mut self, channel: usize, watermark: i64) -> Option<Mark> {
        let state = &mut self.channels[channel];
        state.watermark = state.watermark.max(watermark);
        state.is_idle = false;
        let was_idle = std::mem::take(&mut self.is_idle);
        let moved = self.merge();
        if was_idle { moved.or(Some(self.current).filter(|w| *w > BEFORE_ALL)) } else { moved }.map(Mark::Watermark)
    }

    /// A channel has brought records: one that was idle is no longer. The watermark does not move by that.
    #[inline]
    pub fn on_records(&mut self, channel: usize) {
        if self.channels[channel].is_idle {
            self.channels[channel].is_idle = false;
            self.is_idle = false;
        }
    }

    /// A channel is idle: it leaves the minimum. `Idle`: all are, and the watermark stays where it is.
    pub fn on_idle(&mut self, channel: usize) -> Option<Mark> {
        self.channels[channel].is_idle = true;
        if self.channels.iter().all(|c| c.is_idle || c.watermark == END_OF_TIME) {
            return (!std::mem::replace(&mut self.is_idle, true)).then_some(Mark::Idle);
        }
        self.merge().map(Mark::Watermark)
    }

    /// A channel has ended: nothing earlier than the end of time follows on it.
    pub fn on_end(&mut self, channel: usize) -> Option<Mark> {
        self.channels[channel] = Channel { watermark: END_OF_TIME, is_idle: false };
        let others_are_idle = self.channels.iter().any(|c| c.is_idle)
            && self.channels.iter().all(|c| c.is_idle || c.watermark == END_OF_TIME);
        if others_are_idle {
            // The end of time would make late what an idle channel may still bring.
            return (!std::mem::replace(&mut self.is_idle, true)).then_some(Mark::Idle);
        }
        self.merge().map(Mark::Watermark)
    }

    fn merge(&mut self) -> Option<i64> {
        let least = self.channels.iter().filter(|c| !c.is_idle).map(|c| c.watermark).min()?;
        (least > self.current).then(|| {
            self.current = least;
            least
        })
    }

    /// The merged watermark.
    pub fn current(&self) -> i64 {
        self.current
    }
}
