//! A source node over a reader whose splits appear and end while it runs: who speaks, who is idle, and what a barrier cuts
//! off.

use std::collections::VecDeque;
use std::sync::Arc;

use weir_core::checkpoint::manifest::SourcePositions;
use weir_core::ids::{Epoch, Name};
use weir_core::record::{Batch, Mark};
use weir_core::watermark::{Settings, Watermarks};

use super::gate::{Flow, Room};
use super::operator::Emit;
use super::source::{SourceNode, SourceSettings, Stepped};
use super::{NodeKind, NodeMetrics, OnError, Policy};
use crate::connector::{self, Polled, Source, SplitStatus};

/// A reader whose splits appear and end while it runs.
struct Scripted {
    splits: u32,
    polls: VecDeque<Poll>,
    /// Rows of one poll at most.
    batch: usize,
}

#[derive(Debug, Clone, Copy)]
enum Poll {
    Grow,
    /// A record of this split with this time.
    Row(u32, i64),
    /// This split ends.
    End(usize),
}

impl Scripted {
    fn new(splits: u32, polls: &[Poll]) -> Scripted {
        Scripted { splits, polls: polls.iter().copied().collect(), batch: 1 }
    }
}

impl Source for Scripted {
    fn identity(&self) -> String {
        String::new()
    }

    fn poll(&mut self, out: &mut Batch) -> Result<Polled, connector::Error> {
        while out.len() < self.batch
            && let Some(Poll::Row(split, time)) = self.polls.front()
        {
            out.times.push(*time);
            out.keys.push(None);
            out.values.push(Some(b"x"));
            out.push_origin(*split, *split as i32, 0);
            self.polls.pop_front();
        }
        if !out.is_empty() {
            return Ok(Polled::Rows);
        }
        Ok(match self.polls.pop_front() {
            Some(Poll::Grow) => {
                self.splits += 1;
                Polled::Grown
            }
            Some(Poll::End(split)) => Polled::SplitEnded(split),
            Some(Poll::Row(..)) | None => Polled::Empty,
        })
    }

    fn splits(&self) -> Vec<SplitStatus> {
        let split = |n: u32| SplitStatus { split: n.to_string(), position: 0, high_watermark: None, end: None };
        (0..self.splits).map(split).collect()
    }

    fn on_committed(&mut self, _: &SourcePositions) {}
}

/// The largest times that a snapshot has, of the first splits, and the watermark that was sent.
fn source(reader: Scripted, largest: &[i64], sent: i64) -> SourceNode {
    let node = Name::new("in").unwrap();
    let settings = SourceSettings {
        node: node.clone(),
        event_time: None,
        keys: Arc::new([]),
        policy: Policy { on_error: OnError::Fail, journal: Default::default(), samples: Default::default() },
        record_max: 1,
    };
    let metrics = Arc::new(NodeMetrics::new(node, Some(2), NodeKind::Source, vec![String::new()], Arc::new([])));
    let splits: Vec<_> = (0..reader.splits as usize).map(|split| largest.get(split).copied()).collect();
    let watermarks = Watermarks::restore(Settings { out_of_order: 0, tick: 1, idle_after: None }, &splits, sent);
    SourceNode::new(settings, Box::new(reader), Some(watermarks), metrics).unwrap()
}

/// What goes out, row by row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sent {
    Row(i64),
    Mark(Mark),
}

fn sent(act: impl FnOnce(&mut Emit<'_>)) -> Vec<Sent> {
    let mut sent = Vec::new();
    let mut emit = |_, flow: Flow<'_>| {
        match flow {
            Flow::Mark(mark) => sent.push(Sent::Mark(mark)),
            Flow::Packet(packet) => sent.extend(packet.batch.times.iter().copied().map(Sent::Row)),
        }
        Ok(Room::Free)
    };
    act(&mut emit);
    sent
}

/// The marks that `act` sends.
fn marks(act: impl FnOnce(&mut Emit<'_>)) -> Vec<Mark> {
    let is_mark = |sent| match sent {
        Sent::Mark(mark) => Some(mark),
        Sent::Row(_) => None,
    };
    sent(act).into_iter().filter_map(is_mark).collect()
}

fn step(source: &mut SourceNode) -> Vec<Mark> {
    marks(|emit| assert_eq!(source.step(emit).unwrap(), Stepped::Worked))
}

#[test]
fn a_reader_without_a_split_is_idle_from_the_start_and_speaks_when_it_gets_one() {
    let mut source = source(Scripted::new(0, &[Poll::Grow, Poll::Row(0, 5_000)]), &[], 7);
    assert_eq!(marks(|emit| source.resume(emit).unwrap()), [Mark::Idle]);
    assert_eq!(step(&mut source), [Mark::Watermark(7)], "nobody is idle any more");
    assert_eq!(step(&mut source), [Mark::Watermark(4_999)]);
}

#[test]
fn a_new_split_takes_part_in_the_minimum_and_in_the_positions_from_when_it_is_assigned() {
    let polls = [Poll::Row(0, 5_000), Poll::Grow, Poll::Row(0, 9_000), Poll::Row(1, 6_000)];
    let mut source = source(Scripted::new(1, &polls), &[], i64::MIN);
    assert_eq!(step(&mut source), [Mark::Watermark(4_999)]);
    source.on_barrier(Epoch(1));
    assert_eq!(source.take_cut().unwrap().1.splits.len(), 1);
    assert_eq!(step(&mut source), [Mark::Watermark(4_999)]);
    source.on_barrier(Epoch(2));
    assert_eq!(source.take_cut().unwrap().1.splits.len(), 2);
    assert_eq!(step(&mut source), [], "the new one has shown nothing yet");
    assert_eq!(step(&mut source), [Mark::Watermark(5_999)]);
}

#[test]
fn a_split_at_its_end_holds_the_watermark_back_no_longer_and_neither_does_an_empty_one() {
    let polls =
        [Poll::End(2), Poll::Row(1, 9_000), Poll::Row(0, 5_000), Poll::End(0), Poll::Row(1, 9_500), Poll::End(1)];
    let mut source = source(Scripted::new(3, &polls), &[], i64::MIN);
    assert_eq!(step(&mut source), [], "nobody else has shown anything");
    assert_eq!(step(&mut source), []);
    assert_eq!(step(&mut source), [Mark::Watermark(4_999)]);
    assert_eq!(step(&mut source), [Mark::Watermark(8_999)]);
    assert_eq!(step(&mut source), [Mark::Watermark(9_499)]);
    assert_eq!(step(&mut source), [], "the source says itself that all is read");
}

#[test]
fn a_split_that_is_restored_at_its_end_holds_nothing_back_whether_its_end_had_been_told_or_not() {
    let polls = [Poll::End(0), Poll::Row(1, 9_500)];
    for (sent, told) in [(4_999, &[Mark::Watermark(8_999)][..]), (8_999, &[])] {
        let mut source = source(Scripted::new(2, &polls), &[5_000, 9_000], sent);
        assert_eq!(marks(|emit| source.resume(emit).unwrap()), [Mark::Watermark(sent)]);
        assert_eq!(step(&mut source), told);
        assert_eq!(step(&mut source), [Mark::Watermark(9_499)]);
    }
}

#[test]
fn what_stands_before_and_behind_the_end_of_a_split_does_not_depend_on_how_batches_were_cut() {
    let rows = |rows: &[(u32, i64)]| rows.iter().map(|(split, time)| Poll::Row(*split, *time)).collect::<Vec<_>>();
    let before = rows(&[(1, 7_000), (0, 2_000), (1, 6_500), (1, 9_000), (0, 2_500), (0, 2_100)]);
    let behind = rows(&[(1, 8_500), (1, 9_100), (1, 9_050)]);
    let polls = [before, vec![Poll::End(0)], behind].concat();
    let run = |batch| {
        let mut source = source(Scripted { batch, ..Scripted::new(2, &polls) }, &[], i64::MIN);
        sent(|emit| while source.step(emit).unwrap() == Stepped::Worked {})
    };
    let one_by_one = run(1);
    let at = one_by_one.iter().position(|sent| *sent == Sent::Mark(Mark::Watermark(8_999)));
    assert_eq!(
        &one_by_one[at.unwrap() - 1..][..3],
        [Sent::Row(2_100), Sent::Mark(Mark::Watermark(8_999)), Sent::Row(8_500)]
    );
    (2..=polls.len()).for_each(|batch| assert_eq!(run(batch), one_by_one, "batches of {batch}"));
}
