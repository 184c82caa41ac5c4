//! Alignment in the nodes themselves: whichever input is ahead, what a barrier cuts off is what its sources have counted.
//! A task reads no ring that is blocked, so a run meets few of these orders; that the nodes bear every one is shown here.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};

use proptest::prelude::*;
use weir_core::ids::{Epoch, Name};
use weir_core::record::{Batch, Mark};

use super::gate::{Event, Flow, Gate, Waiting};
use super::{BarrierMode, NodeKind, NodeMetrics, OnError, Packet, Policy, SinkNode};
use crate::connector::{Cut, Error, Sink};

/// One of the two inputs of the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Item {
    Row(u32),
    Barrier(Epoch),
}

/// What the node has taken from each input, in order: its state.
type Taken = [Vec<u32>; 2];

#[derive(Debug, Default)]
struct Seen {
    taken: Taken,
    /// The state at each barrier.
    snapshots: BTreeMap<Epoch, Taken>,
}

#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<Seen>>);

impl Recorder {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap()
    }
}

impl Sink for Recorder {
    fn write(&mut self, rows: &Batch, range: Range<usize>) -> Result<usize, Error> {
        for slot in range.clone() {
            let number = |bytes: Option<&[u8]>| u32::from_be_bytes(bytes.unwrap().try_into().unwrap());
            let input = number(rows.keys.get(slot)) as usize;
            self.seen().taken[input].push(number(rows.values.get(slot)));
        }
        Ok(range.len())
    }

    fn on_barrier(&mut self, epoch: Epoch) -> Result<Cut, Error> {
        let mut seen = self.seen();
        let state = seen.taken.clone();
        assert!(seen.snapshots.insert(epoch, state).is_none(), "epoch {epoch} is cut once");
        Ok(Cut::Parts(Vec::new()))
    }

    fn on_released(&mut self, _: Epoch) -> Result<(), Error> {
        Ok(())
    }
}

/// Runs a node that stands at `state` over what is left of its inputs. `order`: which input delivers next.
fn run(state: Taken, inputs: [&[Item]; 2], order: impl Iterator<Item = bool>) -> Seen {
    let recorder = Recorder::default();
    recorder.seen().taken = state;
    let name = Name::new("out").unwrap();
    let metrics = Arc::new(NodeMetrics::new(name.clone(), None, NodeKind::Sink, vec![String::new()], Arc::new([])));
    let mut node = SinkNode::new(name, Box::new(recorder.clone()), 2, BarrierMode::Align, fail(), metrics);
    let mut left = inputs.map(|items| items.iter());
    for second in order {
        let input = usize::from(second);
        let Some(item) = left[input].next() else { continue };
        let mut packet = Packet::default();
        let flow = match item {
            Item::Barrier(epoch) => Flow::Mark(Mark::Barrier(*epoch)),
            Item::Row(row) => {
                packet.batch.times.push(0);
                packet.batch.keys.push(Some(&(input as u32).to_be_bytes()));
                packet.batch.values.push(Some(&row.to_be_bytes()));
                Flow::Packet(&mut packet)
            }
        };
        node.on_flow(input, flow).unwrap();
    }
    std::mem::take(&mut *recorder.seen())
}

/// So many rows before the first barrier, between it and the second, …
fn input(rows: &[usize]) -> Vec<Item> {
    let mut next = 0;
    let mut items = Vec::new();
    for (index, rows) in rows.iter().enumerate() {
        if index > 0 {
            items.push(Item::Barrier(Epoch(index as u64)));
        }
        items.extend((next..).take(*rows).map(Item::Row));
        next += *rows as u32;
    }
    items
}

proptest! {
    #[test]
    fn restored_at_any_barrier_and_replayed_the_state_is_that_of_a_run_without_failure(
        rows in prop::collection::vec((0..5usize, 0..5usize), 2..5),
        mut order in prop::collection::vec(any::<bool>(), 0..60),
    ) {
        let inputs = [input(&rows.iter().map(|r| r.0).collect::<Vec<_>>()), input(&rows.iter().map(|r| r.1).collect::<Vec<_>>())];
        // To the end of both, whatever the order.
        order.extend([[false, true]; 30].concat());
        let whole = run(Taken::default(), [&inputs[0], &inputs[1]], order.iter().copied());
        let barriers = rows.len() - 1;
        prop_assert_eq!(whole.snapshots.len(), barriers);
        for (input, taken) in inputs.iter().zip(&whole.taken) {
            let all: Vec<Item> = input.iter().filter(|item| matches!(item, Item::Row(_))).copied().collect();
            prop_assert_eq!(taken.iter().copied().map(Item::Row).collect::<Vec<_>>(), all);
        }
        for (epoch, snapshot) in &whole.snapshots {
            // A source's position is where its barrier stands.
            let behind = |input: &Vec<Item>| input.iter().position(|item| *item == Item::Barrier(*epoch)).unwrap() + 1;
            let replay = [&inputs[0][behind(&inputs[0])..], &inputs[1][behind(&inputs[1])..]];
            // The other one may be the faster one this time.
            let again = run(snapshot.clone(), replay, order.iter().map(|second| !second));
            prop_assert_eq!(&again.taken, &whole.taken, "restored at {}", epoch);
        }
    }
}

/// A sink of two inputs, and what it was told, in order.
fn told(mode: BarrierMode, tell: impl FnOnce(&mut SinkNode)) -> Vec<String> {
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<String>>>);
    impl Sink for Log {
        fn write(&mut self, rows: &Batch, range: Range<usize>) -> Result<usize, Error> {
            let values = range.clone().map(|slot| String::from_utf8(rows.values.get(slot).unwrap().to_vec()).unwrap());
            self.0.lock().unwrap().extend(values);
            Ok(range.len())
        }

        fn on_barrier(&mut self, epoch: Epoch) -> Result<Cut, Error> {
            self.0.lock().unwrap().push(format!("barrier {epoch}"));
            Ok(Cut::Parts(Vec::new()))
        }

        fn on_released(&mut self, epoch: Epoch) -> Result<(), Error> {
            self.0.lock().unwrap().push(format!("release {epoch}"));
            Ok(())
        }
    }
    let log = Log::default();
    let name = Name::new("out").unwrap();
    let metrics = Arc::new(NodeMetrics::new(name.clone(), None, NodeKind::Sink, vec![String::new()], Arc::new([])));
    tell(&mut SinkNode::new(name, Box::new(log.clone()), 2, mode, fail(), metrics));
    std::mem::take(&mut *log.0.lock().unwrap())
}

fn row(node: &mut SinkNode, input: usize, value: &str) {
    let mut packet = Packet::default();
    packet.batch.times.push(0);
    packet.batch.keys.push(None);
    packet.batch.values.push(Some(value.as_bytes()));
    node.on_flow(input, Flow::Packet(&mut packet)).unwrap();
}

fn barrier(node: &mut SinkNode, input: usize, epoch: u64) {
    node.on_flow(input, Flow::Mark(Mark::Barrier(Epoch(epoch)))).unwrap();
}

#[test]
fn an_input_behind_its_barrier_waits_where_barriers_are_aligned_and_goes_on_where_they_are_counted() {
    let script = |node: &mut SinkNode| {
        barrier(node, 0, 1);
        row(node, 0, "behind");
        row(node, 1, "before");
        barrier(node, 1, 1);
    };
    assert_eq!(told(BarrierMode::Align, script), ["before", "barrier 1", "behind"]);
    assert_eq!(told(BarrierMode::Count, script), ["behind", "before", "barrier 1"]);
}

/// The coordinator's word reaches every subtask at once, a cancel marker only behind the rows in front of it.
#[test]
fn rows_behind_a_barrier_go_on_as_soon_as_its_checkpoint_is_given_up() {
    let script = |node: &mut SinkNode| {
        barrier(node, 0, 1);
        row(node, 0, "behind");
        node.on_given_up(Epoch(1)).unwrap();
        node.on_released(Epoch(1)).unwrap();
        row(node, 1, "before");
        // Late, and stale.
        barrier(node, 1, 1);
        barrier(node, 0, 2);
        barrier(node, 1, 2);
    };
    assert_eq!(told(BarrierMode::Align, script), ["behind", "release 1", "before", "barrier 2"]);
}

/// It was aligned in front of this sink before the checkpoint was given up, and came behind rows that took long. Held rows would
/// wait for a release that has been, and the next barrier would find them.
#[test]
fn a_barrier_that_comes_after_its_release_holds_no_rows() {
    let script = |node: &mut SinkNode| {
        node.on_released(Epoch(1)).unwrap();
        barrier(node, 0, 1);
        barrier(node, 1, 1);
        row(node, 0, "behind");
        barrier(node, 0, 2);
        barrier(node, 1, 2);
    };
    assert_eq!(told(BarrierMode::Align, script), ["release 1", "barrier 1", "release 1", "behind", "barrier 2"]);
}

/// Found by a random graph: two of three sources had ended before the checkpoint. Restored, the node behind them stood at the
/// end of time already and said nothing but that it had ended, and the node behind that never fired its timers.
#[test]
fn a_channel_that_ends_without_another_word_holds_no_watermark_back() {
    let mut gate = Gate::new(2, BarrierMode::Align, 1_000);
    assert_eq!(gate.on_mark(0, Mark::EndOfInput).unwrap(), []);
    assert_eq!(gate.on_mark(1, Mark::Watermark(2_000)).unwrap(), [Event::Watermark(2_000)]);
    // Its timers fire before the end, and may need several steps.
    assert_eq!(gate.on_mark(1, Mark::EndOfInput).unwrap(), [Event::Watermark(i64::MAX)]);
    let Some((1, Waiting::Mark(mark))) = gate.next_free() else { panic!("the end comes behind them") };
    assert_eq!(gate.on_mark(1, mark).unwrap(), [Event::Ended]);
    assert!(gate.next_free().is_none());
}

fn fail() -> Policy {
    Policy { on_error: OnError::Fail, journal: Arc::default(), samples: Default::default() }
}
