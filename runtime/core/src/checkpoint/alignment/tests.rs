//! Golden scripts: the black-box cases of Flink's AlignedCheckpointsTest, line by line; and what holds in every order.

use std::fmt::Write;

use proptest::prelude::*;

use super::{Action, Alignment, Error};
use crate::ids::Epoch;

/// Runs a script over `channels` channels and checks each line: `barrier CHANNEL EPOCH`, `cancel CHANNEL EPOCH` or
/// `end CHANNEL`, then `=>` and what is to be done.
fn check(channels: usize, script: &str) {
    let mut alignment = Alignment::new(channels);
    let mut seen = String::new();
    let mut wanted = String::new();
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (input, output) = line.split_once("=>").expect("a line has an arrow");
        let words: Vec<&str> = input.split_whitespace().collect();
        let number = |index: usize| words[index].parse::<u64>().expect("a number");
        let channel = number(1) as usize;
        let actions = match words[0] {
            "barrier" => alignment.on_barrier(channel, Epoch(number(2))),
            "cancel" => alignment.on_cancel(channel, Epoch(number(2))),
            "end" => alignment.on_end(channel),
            other => panic!("unknown event {other}"),
        };
        let text: Vec<String> = actions.expect("the script keeps the contract").iter().map(show).collect();
        writeln!(seen, "{} => {}", input.trim(), text.join(", ")).expect("a string takes text");
        writeln!(wanted, "{} => {}", input.trim(), output.trim()).expect("a string takes text");
    }
    assert_eq!(seen, wanted);
}

fn show(action: &Action) -> String {
    match action {
        Action::Block(channel) => format!("block {channel}"),
        Action::Unblock(channel) => format!("unblock {channel}"),
        Action::Complete(epoch) => format!("complete {epoch}"),
        Action::Abort { epoch, .. } => format!("abort {epoch}"),
    }
}

#[test]
fn one_channel_completes_at_each_barrier() {
    check(
        1,
        "barrier 0 1 => block 0, complete 1, unblock 0
         barrier 0 2 => block 0, complete 2, unblock 0
         barrier 0 5 => block 0, complete 5, unblock 0",
    );
}

#[test]
fn a_barrier_on_one_input_blocks_it_until_the_others_arrive() {
    check(
        3,
        "barrier 0 1 => block 0
         barrier 2 1 => block 2
         barrier 1 1 => block 1, complete 1, unblock 0, unblock 1, unblock 2
         barrier 2 2 => block 2
         barrier 1 2 => block 1
         barrier 0 2 => block 0, complete 2, unblock 0, unblock 1, unblock 2",
    );
}

#[test]
fn a_higher_barrier_subsumes_the_collecting_one_and_only_its_sender_stays_blocked() {
    check(
        3,
        "barrier 0 1 => block 0
         barrier 1 1 => block 1
         barrier 2 1 => block 2, complete 1, unblock 0, unblock 1, unblock 2
         barrier 0 2 => block 0
         barrier 2 2 => block 2
         barrier 1 3 => abort 2, unblock 0, unblock 2, block 1
         barrier 0 3 => block 0
         barrier 2 3 => block 2, complete 3, unblock 0, unblock 1, unblock 2",
    );
}

#[test]
fn a_late_barrier_of_a_subsumed_epoch_is_stale() {
    check(
        2,
        "barrier 0 2 => block 0
         barrier 1 3 => abort 2, unblock 0, block 1
         barrier 0 2 =>
         barrier 0 3 => block 0, complete 3, unblock 0, unblock 1",
    );
}

#[test]
fn three_of_four_checkpoints_are_jumped_over_and_exactly_one_triggers() {
    check(
        3,
        "barrier 0 1 => block 0
         barrier 1 2 => abort 1, unblock 0, block 1
         barrier 0 3 => abort 2, unblock 1, block 0
         barrier 2 4 => abort 3, unblock 0, block 2
         barrier 0 4 => block 0
         barrier 1 4 => block 1, complete 4, unblock 0, unblock 1, unblock 2",
    );
}

#[test]
fn channels_that_end_count_as_delivered() {
    check(
        4,
        "end 0 =>
         barrier 1 1 => block 1
         end 2 =>
         barrier 3 1 => block 3, complete 1, unblock 1, unblock 3
         barrier 1 2 => block 1
         end 3 => complete 2, unblock 1
         barrier 1 3 => block 1, complete 3, unblock 1
         end 1 => ",
    );
}

#[test]
fn cancel_markers_in_any_order_leave_nothing_blocked() {
    check(
        3,
        "barrier 0 1 => block 0
         cancel 1 2 => abort 2, unblock 0
         cancel 2 1 =>
         barrier 0 2 =>
         cancel 0 2 =>
         barrier 2 3 => block 2
         cancel 0 3 => abort 3, unblock 2
         cancel 1 3 =>
         barrier 1 3 =>
         barrier 0 4 => block 0
         barrier 1 4 => block 1
         barrier 2 4 => block 2, complete 4, unblock 0, unblock 1, unblock 2
         cancel 0 4 => ",
    );
}

#[test]
fn a_cancel_marker_before_any_barrier_makes_the_barriers_stale() {
    check(
        2,
        "cancel 0 1 => abort 1
         barrier 0 1 =>
         barrier 1 1 =>
         barrier 0 2 => block 0
         barrier 1 2 => block 1, complete 2, unblock 0, unblock 1",
    );
}

#[test]
fn reading_a_blocked_or_an_ended_channel_is_an_error() {
    let mut alignment = Alignment::new(2);
    alignment.on_barrier(0, Epoch(1)).expect("open");
    assert_eq!(alignment.on_barrier(0, Epoch(2)), Err(Error::ReadWhileBlocked { channel: 0, epoch: Epoch(2) }));
    alignment.on_end(1).expect("open");
    assert_eq!(alignment.on_cancel(1, Epoch(2)), Err(Error::Ended(1)));
    assert_eq!(alignment.on_end(2), Err(Error::NoSuchChannel(2)));
}

#[derive(Debug, Clone)]
enum Event {
    Barrier(usize, u64),
    Cancel(usize, u64),
    End(usize),
}

fn events() -> impl Strategy<Value = (usize, Vec<Event>)> {
    (1..5_usize).prop_flat_map(|channels| {
        let event = prop_oneof![
            6 => (0..channels, 1..8_u64).prop_map(|(channel, epoch)| Event::Barrier(channel, epoch)),
            2 => (0..channels, 1..8_u64).prop_map(|(channel, epoch)| Event::Cancel(channel, epoch)),
            1 => (0..channels).prop_map(Event::End),
        ];
        (Just(channels), prop::collection::vec(event, 0..40))
    })
}

proptest! {
    /// At most one attempt collects, nothing stays blocked once it is over, numbers of completed and aborted attempts only
    /// grow, and no attempt both completes and aborts.
    #[test]
    fn whatever_the_order_nothing_stays_blocked_and_numbers_only_grow((channels, events) in events()) {
        let mut alignment = Alignment::new(channels);
        let mut blocked = vec![false; channels];
        let mut ended = vec![false; channels];
        let mut over = 0;
        for event in events {
            let actions = match event {
                // A blocked channel is not read, an ended one delivers nothing: the caller's part of the contract.
                Event::Barrier(channel, _) | Event::Cancel(channel, _) | Event::End(channel)
                    if blocked[channel] || ended[channel] => continue,
                Event::Barrier(channel, epoch) => alignment.on_barrier(channel, Epoch(epoch)),
                Event::Cancel(channel, epoch) => alignment.on_cancel(channel, Epoch(epoch)),
                Event::End(channel) => {
                    ended[channel] = true;
                    alignment.on_end(channel)
                }
            };
            for action in actions.expect("the contract is kept") {
                match action {
                    Action::Block(channel) => {
                        prop_assert!(!std::mem::replace(&mut blocked[channel], true));
                    }
                    Action::Unblock(channel) => {
                        prop_assert!(std::mem::replace(&mut blocked[channel], false));
                    }
                    Action::Complete(epoch) | Action::Abort { epoch, .. } => {
                        prop_assert!(epoch.0 > over, "{} after {over}", epoch.0);
                        over = epoch.0;
                    }
                }
            }
            for (channel, &is_blocked) in blocked.iter().enumerate() {
                prop_assert_eq!(alignment.is_blocked(channel), is_blocked);
                prop_assert!(!is_blocked || alignment.collecting().is_some());
            }
            if let Some(epoch) = alignment.collecting() {
                prop_assert!(epoch.0 > over);
                // Whoever is not blocked and not ended is being waited for: there is always someone.
                prop_assert!((0..channels).any(|channel| !blocked[channel] && !ended[channel]));
            }
        }
    }

    /// Once every channel has delivered the same new number, that attempt has completed.
    #[test]
    fn a_number_that_every_channel_delivers_completes((channels, events) in events()) {
        let mut alignment = Alignment::new(channels);
        for event in events {
            if let Event::Barrier(channel, epoch) = event && !alignment.is_blocked(channel) {
                alignment.on_barrier(channel, Epoch(epoch)).expect("the contract is kept");
            }
        }
        let mut completed = Vec::new();
        for channel in 0..channels {
            // A blocked channel cannot deliver before the attempt that blocks it is over.
            if alignment.is_blocked(channel) && alignment.collecting() != Some(Epoch(100)) {
                let cancelled = alignment.collecting().expect("blocked means collecting");
                let free = (0..channels).find(|&free| !alignment.is_blocked(free)).expect("someone is waited for");
                alignment.on_cancel(free, cancelled).expect("open");
            }
            completed.extend(alignment.on_barrier(channel, Epoch(100)).expect("open"));
        }
        prop_assert!(completed.contains(&Action::Complete(Epoch(100))));
    }
}
