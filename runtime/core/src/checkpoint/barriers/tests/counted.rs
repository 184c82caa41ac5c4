//! The cases of Flink's `CheckpointBarrierTrackerTest`, as far as they say something about barriers: nothing ever blocks.

use super::run;
use crate::checkpoint::barriers::Barriers;
use crate::checkpoint::counting::{Counting, TRACKED_MAX};
use crate::ids::Epoch;

fn check(channels: usize, script: &str) {
    run(Barriers::Counted(Counting::new(channels)), script);
}

#[test]
fn one_channel_completes_at_each_barrier() {
    check(
        1,
        "barrier 0 1 => complete 1
         barrier 0 2 => complete 2
         barrier 0 2 =>
         barrier 0 6 => complete 6
         cancel 0 7 => abort 7
         barrier 0 7 =>
         barrier 0 8 => complete 8",
    );
}

#[test]
fn the_last_barrier_completes_and_no_channel_waits_for_it() {
    check(
        3,
        "barrier 1 1 =>
         barrier 2 1 =>
         barrier 0 1 => complete 1
         barrier 0 2 =>
         barrier 0 2 =>
         barrier 1 2 =>
         barrier 2 2 => complete 2",
    );
}

/// `testMultiChannelTrackingBarriers…`: a fast channel is several attempts ahead of a slow one, and each completes.
#[test]
fn a_fast_channel_may_be_several_attempts_ahead() {
    check(
        2,
        "barrier 0 1 =>
         barrier 0 2 =>
         barrier 0 3 =>
         barrier 1 1 => complete 1
         barrier 1 2 => complete 2
         barrier 1 3 => complete 3",
    );
}

/// `testMultiChannelSkippingCheckpoints`, `testCompleteCheckpointsOnLateBarriers`.
#[test]
fn one_that_completes_ends_those_before_it_and_their_late_barriers_are_stale() {
    check(
        3,
        "barrier 0 2 =>
         barrier 1 2 =>
         barrier 0 3 =>
         barrier 1 3 =>
         barrier 2 3 => abort 2, complete 3
         barrier 2 2 =>
         barrier 1 4 =>
         barrier 1 5 =>
         barrier 0 5 =>
         barrier 2 4 =>
         barrier 2 5 => abort 4, complete 5
         barrier 0 4 =>",
    );
}

/// `testSingleChannelAbortCheckpoint`, `testMultiChannelAbortCheckpoint`, `testInterleavedCancellationBarriers`.
#[test]
fn a_cancel_marker_aborts_once_with_those_before_it() {
    check(
        3,
        "barrier 0 1 =>
         barrier 0 2 =>
         barrier 1 1 =>
         cancel 2 2 => abort 1, abort 2
         cancel 1 2 =>
         barrier 2 1 =>
         barrier 0 3 =>
         cancel 1 4 => abort 3, abort 4
         barrier 2 3 =>
         barrier 0 4 =>
         barrier 0 5 =>
         barrier 1 5 =>
         barrier 2 5 => complete 5
         cancel 0 5 =>",
    );
}

#[test]
fn a_channel_that_ends_counts_as_one_that_delivered_everything() {
    check(
        3,
        "barrier 0 1 =>
         barrier 1 1 =>
         barrier 0 2 =>
         barrier 1 2 =>
         barrier 0 3 =>
         end 2 => abort 1, complete 2
         end 1 => complete 3
         barrier 0 4 => complete 4
         end 0 =>",
    );
}

#[test]
fn what_the_coordinator_gives_up_is_not_counted_any_more() {
    check(
        2,
        "barrier 0 1 =>
         given-up 1 => abort 1
         barrier 1 1 =>
         barrier 0 2 =>
         given-up 3 => abort 2, abort 3
         barrier 1 3 =>
         barrier 0 4 =>
         barrier 1 4 => complete 4
         given-up 4 =>",
    );
}

#[test]
fn fifty_attempts_are_counted_and_of_more_the_oldest_is_dropped() {
    let mut counting = Counting::new(2);
    let newest = TRACKED_MAX as u64;
    for epoch in 1..=newest {
        assert!(counting.on_barrier(0, Epoch(epoch)).expect("open").is_empty());
    }
    assert_eq!(counting.tracked(), 50);
    run(
        Barriers::Counted(counting),
        "barrier 0 51 => abort 1
         barrier 1 1 =>
         barrier 1 2 => complete 2
         barrier 1 51 => abort 3, abort 4, abort 5, abort 6, abort 7, abort 8, abort 9, abort 10, abort 11, abort 12, abort 13, abort 14, abort 15, abort 16, abort 17, abort 18, abort 19, abort 20, abort 21, abort 22, abort 23, abort 24, abort 25, abort 26, abort 27, abort 28, abort 29, abort 30, abort 31, abort 32, abort 33, abort 34, abort 35, abort 36, abort 37, abort 38, abort 39, abort 40, abort 41, abort 42, abort 43, abort 44, abort 45, abort 46, abort 47, abort 48, abort 49, abort 50, complete 51",
    );
}
