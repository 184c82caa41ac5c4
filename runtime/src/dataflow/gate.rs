//! The input side of a node: barriers over its channels, the merged watermark, and what waits behind a barrier. Owns the
//! queues of blocked channels; the rules are `weir_core`'s. Never looks into a record.

use std::collections::VecDeque;

use weir_core::checkpoint::alignment::{self, Action, Alignment};
use weir_core::checkpoint::barriers::Barriers;
use weir_core::checkpoint::counting::Counting;
use weir_core::ids::Epoch;
use weir_core::record::Mark;
use weir_core::watermark::Inputs;

use super::error::Error;
use super::packet::Packet;
use crate::crash;

/// Whether a chain may hand on more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    /// It may.
    Free,
    /// So much waits for room behind it that what can wait should.
    Full,
}

/// What becomes of a channel behind its barrier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BarrierMode {
    /// It waits for the others: exactly once.
    Align,
    /// It goes on: at least once.
    Count,
}

/// What moves along an edge.
pub(super) enum Flow<'a> {
    /// Records. The receiver gives the packet back as it was.
    Packet(&'a mut Packet),
    /// A mark.
    Mark(Mark),
}

/// What waited on a blocked channel.
pub(super) enum Waiting {
    Packet(Box<Packet>),
    Mark(Mark),
}

/// What a mark means for the node.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// The merged watermark moved.
    Watermark(i64),
    /// All channels are idle.
    Idle,
    /// All channels delivered the barrier of this epoch: take the snapshot, pass the barrier on.
    Aligned(Epoch),
    /// The checkpoint is given up: pass the mark on.
    Cancelled(Epoch),
    /// Nothing follows on any channel.
    Ended,
}

/// The input side of one node.
pub(super) struct Gate {
    barriers: Barriers,
    watermarks: Inputs,
    waiting: Vec<VecDeque<Waiting>>,
    ended: Vec<bool>,
}

impl Gate {
    pub(super) fn new(channels: usize, mode: BarrierMode, watermark: i64) -> Gate {
        Gate {
            barriers: match mode {
                BarrierMode::Align => Barriers::Aligned(Alignment::new(channels)),
                BarrierMode::Count => Barriers::Counted(Counting::new(channels)),
            },
            watermarks: Inputs::new(channels, watermark),
            waiting: (0..channels).map(|_| VecDeque::new()).collect(),
            ended: vec![false; channels],
        }
    }

    /// The merged watermark.
    pub(super) fn watermark(&self) -> i64 {
        self.watermarks.current()
    }

    /// Whether the channel waits behind a barrier.
    pub(super) fn is_blocked(&self, channel: usize) -> bool {
        self.barriers.is_blocked(channel)
    }

    /// Whether all channels have ended.
    pub(super) fn has_ended(&self) -> bool {
        self.ended.iter().all(|ended| *ended)
    }

    /// Whether what comes in has to wait: behind a barrier, or because the node `is_busy`. It is then queued here.
    pub(super) fn holds(&mut self, channel: usize, flow: &mut Flow<'_>, is_busy: bool) -> bool {
        if !is_busy && !self.barriers.is_blocked(channel) && self.waiting[channel].is_empty() {
            if matches!(flow, Flow::Packet(_)) {
                self.watermarks.on_records(channel);
            }
            return false;
        }
        self.waiting[channel].push_back(match flow {
            Flow::Packet(packet) => {
                let mut copy = Box::<Packet>::default();
                copy.extend_from(packet, 0..packet.batch.len());
                Waiting::Packet(copy)
            }
            Flow::Mark(mark) => Waiting::Mark(*mark),
        });
        true
    }

    /// The next thing that waited on a channel that is free again.
    pub(super) fn next_free(&mut self) -> Option<(usize, Waiting)> {
        (0..self.waiting.len())
            .filter(|channel| !self.barriers.is_blocked(*channel))
            .find_map(|channel| self.waiting[channel].pop_front().map(|waiting| (channel, waiting)))
    }

    /// What a mark means. More than one event where a barrier overtakes an older one.
    pub(super) fn on_mark(&mut self, channel: usize, mark: Mark) -> Result<Vec<Event>, Error> {
        let actions = match mark {
            Mark::Watermark(to) => return Ok(merged(self.watermarks.on_watermark(channel, to))),
            Mark::Idle => return Ok(merged(self.watermarks.on_idle(channel))),
            Mark::Barrier(epoch) => self.on_barrier(channel, epoch),
            Mark::Cancel(epoch) => self.barriers.on_cancel(channel, epoch),
            // A source that has ended goes on passing barriers until the final checkpoint, so its channel stays in the
            // alignment.
            Mark::EndOfInput => {
                // Who says nothing but this holds the watermark back no longer.
                let moved = merged(self.watermarks.on_end(channel));
                if !moved.is_empty() {
                    // Order: the watermark's timers fire first, and that may take more than this step. Then the end is the
                    // next thing on the channel, and moves nothing any more.
                    self.waiting[channel].push_front(Waiting::Mark(mark));
                    return Ok(moved);
                }
                self.ended[channel] = true;
                return Ok(self.has_ended().then_some(Event::Ended).into_iter().collect());
            }
        };
        Ok(events(actions.map_err(|e| Error::Bug(e.to_string()))?))
    }

    /// The coordinator has given the attempt up: who waits for its barriers waits no longer.
    pub(super) fn on_given_up(&mut self, epoch: Epoch) -> Vec<Event> {
        events(self.barriers.on_given_up(epoch))
    }

    fn on_barrier(&mut self, channel: usize, epoch: Epoch) -> Result<Vec<Action>, alignment::Error> {
        let had_begun = self.barriers.collecting() == Some(epoch);
        let actions = self.barriers.on_barrier(channel, epoch)?;
        if actions.contains(&Action::Complete(epoch)) {
            crash::point("align.last_input");
        } else if !had_begun && self.barriers.collecting() == Some(epoch) {
            // Only where there are several inputs: the barrier of a single one completes at once.
            crash::point("align.first_input");
        }
        Ok(actions)
    }
}

fn events(actions: Vec<Action>) -> Vec<Event> {
    let event = |action| match action {
        Action::Complete(epoch) => Some(Event::Aligned(epoch)),
        Action::Abort { epoch, .. } => Some(Event::Cancelled(epoch)),
        // The barriers themselves remember who is blocked: see `holds` and `next_free`.
        Action::Block(_) | Action::Unblock(_) => None,
    };
    actions.into_iter().filter_map(event).collect()
}

fn merged(mark: Option<Mark>) -> Vec<Event> {
    match mark {
        Some(Mark::Watermark(to)) => vec![Event::Watermark(to)],
        Some(Mark::Idle) => vec![Event::Idle],
        _ => Vec::new(),
    }
}
