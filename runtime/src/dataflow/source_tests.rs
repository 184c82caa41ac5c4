//! A source node over a reader whose splits appear while it runs: who speaks, who is idle, and what a barrier cuts off.

use std::collections::VecDeque;
use std::sync::Arc;

use weir_core::checkpoint::manifest::SourcePositions;
use weir_core::ids::{Epoch, Name};
use weir_core::record::{Batch, Mark};
use weir_core::watermark::{Settings, Watermarks};

use super::gate::{Flow, Room};
use super::operator::Emit;
use super::source::{SourceNode, SourceSettings, Stepped};
use super::{NodeKind, NodeMetrics, OnError};
use crate::connector::{self, Polled, Source, SplitStatus};

/// A reader whose splits appear while it runs, each with one record when it has been found.
#[derive(Default)]
struct Growing {
    splits: u32,
    polls: VecDeque<Poll>,
}

enum Poll {
    Grow,
    /// A record of this split with this time.
    Row(u32, i64),
}

impl Source for Growing {
    fn identity(&self) -> String {
        String::new()
    }

    fn poll(&mut self, out: &mut Batch) -> Result<Polled, connector::Error> {
        match self.polls.pop_front() {
            None => Ok(Polled::Empty),
            Some(Poll::Grow) => {
                self.splits += 1;
                Ok(Polled::Grown)
            }
            Some(Poll::Row(split, time)) => {
                out.times.push(time);
                out.keys.push(None);
                out.values.push(Some(b"x"));
                out.push_origin(split, split as i32, 0);
                Ok(Polled::Rows)
            }
        }
    }

    fn splits(&self) -> Vec<SplitStatus> {
        let split = |n: u32| SplitStatus { split: n.to_string(), position: 0, high_watermark: None, end: None };
        (0..self.splits).map(split).collect()
    }

    fn on_committed(&mut self, _: &SourcePositions) {}
}

fn source(reader: Growing, sent: i64) -> SourceNode {
    let node = Name::new("in").unwrap();
    let settings = SourceSettings {
        node: node.clone(),
        event_time: None,
        keys: Arc::new([]),
        on_error: OnError::Fail,
        record_max: 1,
    };
    let metrics = Arc::new(NodeMetrics::new(node, Some(2), NodeKind::Source, vec![String::new()], Arc::new([])));
    let splits = vec![None; reader.splits as usize];
    let watermarks = Watermarks::restore(Settings { out_of_order: 0, tick: 1, idle_after: None }, &splits, sent);
    SourceNode::new(settings, Box::new(reader), Some(watermarks), metrics).unwrap()
}

/// The marks that `act` sends.
fn marks(act: impl FnOnce(&mut Emit<'_>)) -> Vec<Mark> {
    let mut marks = Vec::new();
    let mut emit = |_, flow: Flow<'_>| {
        marks.extend(match flow {
            Flow::Mark(mark) => Some(mark),
            Flow::Packet(_) => None,
        });
        Ok(Room::Free)
    };
    act(&mut emit);
    marks
}

#[test]
fn a_reader_without_a_split_is_idle_from_the_start_and_speaks_when_it_gets_one() {
    let polls = [Poll::Grow, Poll::Row(0, 5_000)].into();
    let mut source = source(Growing { splits: 0, polls }, 7);
    assert_eq!(marks(|emit| source.resume(emit).unwrap()), [Mark::Idle]);
    let mut step = || marks(|emit| assert_eq!(source.step(emit).unwrap(), Stepped::Worked));
    assert_eq!(step(), [Mark::Watermark(7)], "nobody is idle any more");
    assert_eq!(step(), [Mark::Watermark(4_999)]);
}

#[test]
fn a_new_split_takes_part_in_the_minimum_and_in_the_positions_from_when_it_is_assigned() {
    let polls = [Poll::Row(0, 5_000), Poll::Grow, Poll::Row(0, 9_000), Poll::Row(1, 6_000)].into();
    let mut source = source(Growing { splits: 1, polls }, i64::MIN);
    let step = |source: &mut SourceNode| marks(|emit| assert_eq!(source.step(emit).unwrap(), Stepped::Worked));
    assert_eq!(step(&mut source), [Mark::Watermark(4_999)]);
    source.on_barrier(Epoch(1));
    assert_eq!(source.take_cut().unwrap().1.splits.len(), 1);
    assert_eq!(step(&mut source), [Mark::Watermark(4_999)]);
    source.on_barrier(Epoch(2));
    assert_eq!(source.take_cut().unwrap().1.splits.len(), 2);
    assert_eq!(step(&mut source), [], "the new one has shown nothing yet");
    assert_eq!(step(&mut source), [Mark::Watermark(5_999)]);
}
