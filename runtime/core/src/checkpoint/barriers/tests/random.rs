//! Flink's `AlignedCheckpointsMassiveRandomTest` as properties: channels that deliver barriers, cancel markers and their end in
//! any order that a pipeline can bring about, and some that none can.

use std::collections::VecDeque;

use proptest::prelude::*;

use crate::checkpoint::alignment::{Action, Alignment};
use crate::checkpoint::barriers::Barriers;
use crate::checkpoint::counting::Counting;
use crate::ids::Epoch;

/// What a channel delivers for an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    Barrier,
    Cancel,
    Nothing,
}

fn mark(cancels: bool) -> impl Strategy<Value = Mark> {
    let others = if cancels { 1 } else { 0 };
    prop_oneof![8 => Just(Mark::Barrier), others => Just(Mark::Cancel), others => Just(Mark::Nothing)]
}

/// Per channel its marks, attempt after attempt; a short one ends early.
fn channels(cancels: bool) -> impl Strategy<Value = Vec<Vec<Mark>>> {
    let of_one = prop::collection::vec(mark(cancels), 0..12);
    prop::collection::vec(of_one, 1..6)
}

#[derive(Debug, Clone, Copy)]
enum Event {
    Barrier(Epoch),
    Cancel(Epoch),
    End,
}

fn queue(marks: &[Mark]) -> VecDeque<Event> {
    let event = |(index, mark): (usize, &Mark)| match mark {
        Mark::Barrier => Some(Event::Barrier(Epoch(index as u64 + 1))),
        Mark::Cancel => Some(Event::Cancel(Epoch(index as u64 + 1))),
        Mark::Nothing => None,
    };
    marks.iter().enumerate().filter_map(event).chain([Event::End]).collect()
}

/// What became of each attempt, in order: its number, and whether it completed.
type Outcomes = Vec<(u64, bool)>;

/// Delivers everything, a blocked channel never, in the order of `picks`; the rest in turn. Checks the rules on the way.
fn deliver(mut barriers: Barriers, marks: &[Vec<Mark>], picks: &[usize]) -> Result<Outcomes, TestCaseError> {
    let mut queues: Vec<VecDeque<Event>> = marks.iter().map(|marks| queue(marks)).collect();
    let (mut blocked, mut outcomes) = (vec![false; queues.len()], Outcomes::new());
    let mut picks = picks.iter().copied().chain(0..);
    loop {
        let can_deliver: Vec<usize> =
            (0..queues.len()).filter(|channel| !blocked[*channel] && !queues[*channel].is_empty()).collect();
        if can_deliver.is_empty() {
            break;
        }
        let channel = can_deliver[picks.next().expect("without end") % can_deliver.len()];
        let actions = match queues[channel].pop_front().expect("it can deliver") {
            Event::Barrier(epoch) => barriers.on_barrier(channel, epoch),
            Event::Cancel(epoch) => barriers.on_cancel(channel, epoch),
            Event::End => barriers.on_end(channel),
        };
        for action in actions.expect("the contract is kept") {
            match action {
                Action::Block(channel) => prop_assert!(!std::mem::replace(&mut blocked[channel], true)),
                Action::Unblock(channel) => prop_assert!(std::mem::replace(&mut blocked[channel], false)),
                Action::Abort { epoch, .. } => outcomes.push((epoch.0, false)),
                Action::Complete(epoch) => {
                    for (marks, left) in marks.iter().zip(&queues) {
                        let has_it = marks.get(epoch.0 as usize - 1) == Some(&Mark::Barrier);
                        let is_ahead = left.front().is_none_or(|next| match next {
                            Event::Barrier(next) | Event::Cancel(next) => *next > epoch,
                            Event::End => true,
                        });
                        prop_assert!(has_it && is_ahead || left.is_empty(), "{epoch} without all its barriers");
                    }
                    outcomes.push((epoch.0, true));
                }
            }
        }
        for (channel, is_blocked) in blocked.iter().enumerate() {
            prop_assert_eq!(barriers.is_blocked(channel), *is_blocked);
            prop_assert!(!is_blocked || barriers.collecting().is_some());
        }
    }
    // Whoever is blocked waits for one that still delivers: so nothing is blocked, and everything was read.
    prop_assert!(queues.iter().all(VecDeque::is_empty) && !blocked.contains(&true), "something stays blocked");
    prop_assert_eq!(barriers.collecting(), None);
    prop_assert!(outcomes.windows(2).all(|pair| pair[0].0 < pair[1].0), "each attempt is over once: {outcomes:?}");
    Ok(outcomes)
}

/// Whether every channel delivers the barrier of this attempt.
fn is_delivered_by_all(marks: &[Vec<Mark>], epoch: u64) -> bool {
    marks.iter().all(|marks| marks.get(epoch as usize - 1) == Some(&Mark::Barrier))
}

proptest! {
    #[test]
    fn whatever_the_order_an_aligned_attempt_completes_only_with_all_its_barriers_and_nothing_stays_blocked(
        marks in channels(true), picks in prop::collection::vec(0..100_usize, 0..80),
    ) {
        deliver(Barriers::Aligned(Alignment::new(marks.len())), &marks, &picks)?;
    }

    /// What a coordinator with one attempt at a time brings about: no number is ever jumped over.
    #[test]
    fn when_every_channel_delivers_every_barrier_each_attempt_completes(
        attempts in 0..12_usize, channels in 1..6_usize, picks in prop::collection::vec(0..100_usize, 0..80),
    ) {
        let marks = vec![vec![Mark::Barrier; attempts]; channels];
        let all: Outcomes = (1..=attempts as u64).map(|epoch| (epoch, true)).collect();
        prop_assert_eq!(&deliver(Barriers::Aligned(Alignment::new(channels)), &marks, &picks)?, &all);
        prop_assert_eq!(&deliver(Barriers::Counted(Counting::new(channels)), &marks, &picks)?, &all);
    }

    #[test]
    fn whatever_the_order_a_counted_attempt_completes_only_with_all_its_barriers_and_nothing_blocks(
        marks in channels(true), picks in prop::collection::vec(0..100_usize, 0..80),
    ) {
        deliver(Barriers::Counted(Counting::new(marks.len())), &marks, &picks)?;
    }

    #[test]
    fn counted_without_cancel_markers_the_newest_that_all_deliver_completes(
        marks in channels(false), picks in prop::collection::vec(0..100_usize, 0..80),
    ) {
        let outcomes = deliver(Barriers::Counted(Counting::new(marks.len())), &marks, &picks)?;
        if let Some(newest) = (1..=12).rev().find(|epoch| is_delivered_by_all(&marks, *epoch)) {
            prop_assert!(outcomes.iter().any(|(epoch, completed)| *epoch >= newest && *completed));
        }
    }
}

/// Numbers in any order, which no pipeline brings about.
fn events() -> impl Strategy<Value = (usize, Vec<(usize, Option<u64>, bool)>)> {
    (1..5_usize).prop_flat_map(|channels| {
        let event = (0..channels, prop::option::weighted(0.9, 1..8_u64), prop::bool::weighted(0.75));
        (Just(channels), prop::collection::vec(event, 0..40))
    })
}

proptest! {
    /// At most one attempt collects, nothing stays blocked once it is over, numbers of completed and aborted attempts only
    /// grow, and no attempt both completes and aborts.
    #[test]
    fn even_numbers_that_fall_block_nothing_for_good((channels, events) in events()) {
        let mut barriers = Barriers::Aligned(Alignment::new(channels));
        let (mut blocked, mut ended, mut over) = (vec![false; channels], vec![false; channels], 0);
        for (channel, epoch, is_barrier) in events {
            // A blocked channel is not read, an ended one delivers nothing: the caller's part of the contract.
            if blocked[channel] || ended[channel] {
                continue;
            }
            let actions = match epoch {
                Some(epoch) if is_barrier => barriers.on_barrier(channel, Epoch(epoch)),
                Some(epoch) => barriers.on_cancel(channel, Epoch(epoch)),
                None => {
                    ended[channel] = true;
                    barriers.on_end(channel)
                }
            };
            for action in actions.expect("the contract is kept") {
                match action {
                    Action::Block(channel) => prop_assert!(!std::mem::replace(&mut blocked[channel], true)),
                    Action::Unblock(channel) => prop_assert!(std::mem::replace(&mut blocked[channel], false)),
                    Action::Complete(epoch) | Action::Abort { epoch, .. } => {
                        prop_assert!(epoch.0 > over, "{} after {over}", epoch.0);
                        over = epoch.0;
                    }
                }
            }
            for (channel, &is_blocked) in blocked.iter().enumerate() {
                prop_assert_eq!(barriers.is_blocked(channel), is_blocked);
                prop_assert!(!is_blocked || barriers.collecting().is_some());
            }
            if let Some(epoch) = barriers.collecting() {
                prop_assert!(epoch.0 > over);
                // Whoever is not blocked and not ended is being waited for: there is always someone.
                prop_assert!((0..channels).any(|channel| !blocked[channel] && !ended[channel]));
            }
        }
    }
}
