//! The cases of Flink's `AlignedCheckpointsTest`, each named behind its own name. Where buffers alone are checked there, there
//! is nothing to check here: alignment sees no record.

use super::run;
use crate::checkpoint::alignment::Alignment;
use crate::checkpoint::barriers::Barriers;

fn check(channels: usize, script: &str) {
    run(Barriers::Aligned(Alignment::new(channels)), script);
}

/// `testSingleChannelNoBarriers`, `testMultiChannelNoBarriers`.
#[test]
fn channels_that_end_without_a_barrier_trigger_nothing() {
    check(1, "end 0 =>");
    check(
        4,
        "end 0 =>
         end 3 =>
         end 1 =>
         end 2 =>",
    );
}

/// `testSingleChannelWithBarriers`.
#[test]
fn one_channel_completes_at_each_barrier() {
    check(
        1,
        "barrier 0 1 => block 0, complete 1, unblock 0
         barrier 0 2 => block 0, complete 2, unblock 0
         barrier 0 3 => block 0, complete 3, unblock 0
         barrier 0 4 => block 0, complete 4, unblock 0
         barrier 0 5 => block 0, complete 5, unblock 0
         barrier 0 6 => block 0, complete 6, unblock 0
         end 0 =>",
    );
}

/// `testMultiChannelWithBarriers`.
#[test]
fn a_barrier_on_one_input_blocks_it_until_the_others_arrive() {
    check(
        3,
        "barrier 1 1 => block 1
         barrier 2 1 => block 2
         barrier 0 1 => block 0, complete 1, unblock 0, unblock 1, unblock 2
         barrier 0 2 => block 0
         barrier 1 2 => block 1
         barrier 2 2 => block 2, complete 2, unblock 0, unblock 1, unblock 2
         barrier 2 3 => block 2
         barrier 0 3 => block 0
         barrier 1 3 => block 1, complete 3, unblock 0, unblock 1, unblock 2
         barrier 1 4 => block 1
         barrier 2 4 => block 2
         barrier 0 4 => block 0, complete 4, unblock 0, unblock 1, unblock 2
         end 0 =>
         end 1 =>
         end 2 =>",
    );
}

/// `testMultiChannelJumpingOverCheckpoint`. There finished tasks are switched off, and the end of a channel aborts 4; here it
/// counts as the barrier (semantics 2.1, rule 4), so 4 completes.
#[test]
fn a_higher_barrier_subsumes_the_collecting_one_and_only_its_sender_stays_blocked() {
    check(
        3,
        "barrier 1 1 => block 1
         barrier 2 1 => block 2
         barrier 0 1 => block 0, complete 1, unblock 0, unblock 1, unblock 2
         barrier 1 2 => block 1
         barrier 0 2 => block 0
         barrier 2 3 => abort 2, unblock 0, unblock 1, block 2
         barrier 0 3 => block 0
         barrier 1 4 => abort 3, unblock 0, unblock 2, block 1
         end 0 =>
         end 2 => complete 4, unblock 1
         end 1 =>",
    );
}

/// Semantics 2.1: 3 of 4 jump over.
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

/// `testMissingCancellationBarriers`.
#[test]
fn cancel_markers_out_of_order_leave_nothing_blocked() {
    check(
        2,
        "barrier 0 1 => block 0
         cancel 1 3 => abort 3, unblock 0
         cancel 0 2 =>
         cancel 0 3 =>",
    );
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
         cancel 0 4 =>",
    );
}

/// `testStartAlignmentWithClosedChannels`: all channels closed but two, then but one.
#[test]
fn channels_that_ended_are_not_waited_for() {
    check(
        4,
        "end 2 =>
         end 1 =>
         barrier 3 2 => block 3
         barrier 0 2 => block 0, complete 2, unblock 0, unblock 3
         barrier 0 3 => block 0
         barrier 3 3 => block 3, complete 3, unblock 0, unblock 3
         end 0 =>
         barrier 3 4 => block 3, complete 4, unblock 3
         end 3 =>",
    );
}

/// `testEndOfStreamWhileCheckpoint`: one channel ends in front of its barrier, one behind it.
#[test]
fn channels_that_end_in_the_middle_complete_it() {
    check(
        3,
        "barrier 0 1 => block 0
         barrier 1 1 => block 1
         barrier 2 1 => block 2, complete 1, unblock 0, unblock 1, unblock 2
         barrier 2 2 => block 2
         barrier 0 2 => block 0
         end 1 => complete 2, unblock 0, unblock 2
         end 2 =>
         end 0 =>",
    );
}

/// `testSingleChannelAbortCheckpoint`: 3 triggered, 2 aborted.
#[test]
fn one_channel_that_is_told_of_a_cancelled_attempt_goes_on_with_the_next() {
    check(
        1,
        "barrier 0 1 => block 0, complete 1, unblock 0
         barrier 0 2 => block 0, complete 2, unblock 0
         cancel 0 4 => abort 4
         barrier 0 5 => block 0, complete 5, unblock 0
         cancel 0 6 => abort 6",
    );
}

/// `testMultiChannelAbortCheckpoint`: cancelled at the last barrier, before the first one, and by several markers.
#[test]
fn several_channels_abort_once_for_all_markers_and_take_the_next_attempt() {
    check(
        3,
        "barrier 1 1 => block 1
         barrier 2 1 => block 2
         barrier 0 1 => block 0, complete 1, unblock 0, unblock 1, unblock 2
         barrier 0 2 => block 0
         barrier 2 2 => block 2
         cancel 1 2 => abort 2, unblock 0, unblock 2
         barrier 1 3 => block 1
         barrier 2 3 => block 2
         barrier 0 3 => block 0, complete 3, unblock 0, unblock 1, unblock 2
         cancel 1 4 => abort 4
         barrier 2 4 =>
         barrier 0 4 =>
         barrier 2 5 => block 2
         barrier 1 5 => block 1
         barrier 0 5 => block 0, complete 5, unblock 0, unblock 1, unblock 2
         cancel 1 6 => abort 6
         cancel 2 6 =>
         barrier 0 6 =>",
    );
}

/// `testAbortOnCanceledBarriers`: the newer barrier does not abort again what a marker has aborted.
#[test]
fn a_barrier_of_a_cancelled_attempt_is_stale_while_the_next_one_collects() {
    check(
        3,
        "barrier 1 1 => block 1
         cancel 0 1 => abort 1, unblock 1
         barrier 1 2 => block 1
         barrier 2 1 =>
         barrier 0 2 => block 0
         barrier 2 2 => block 2, complete 2, unblock 0, unblock 1, unblock 2",
    );
}

/// `testIgnoreCancelBarrierIfCheckpointSubsumed`.
#[test]
fn a_cancel_marker_of_a_subsumed_attempt_is_ignored() {
    check(
        3,
        "barrier 1 3 => block 1
         barrier 0 3 => block 0
         barrier 2 5 => abort 3, unblock 0, unblock 1, block 2
         cancel 0 3 =>
         barrier 0 5 => block 0
         barrier 1 5 => block 1, complete 5, unblock 0, unblock 1, unblock 2",
    );
}

/// `testTriggerCheckpointsWithEndOfPartition`.
#[test]
fn the_end_of_the_last_channel_triggers() {
    check(
        3,
        "barrier 0 1 => block 0
         barrier 1 1 => block 1
         end 2 => complete 1, unblock 0, unblock 1",
    );
}

/// `testDeduplicateChannelsWithBothBarrierAndEndOfPartition`.
#[test]
fn a_channel_that_delivers_its_barrier_and_ends_counts_once() {
    check(
        3,
        "barrier 0 2 => block 0
         barrier 1 2 => block 1
         end 1 =>
         barrier 2 2 => block 2, complete 2, unblock 0, unblock 2",
    );
}

/// `testTriggerCheckpointsAfterReceivedEndOfPartition`.
#[test]
fn the_next_attempt_asks_only_the_channels_that_are_left() {
    check(
        3,
        "end 2 =>
         barrier 0 6 => block 0
         barrier 1 6 => block 1, complete 6, unblock 0, unblock 1
         end 1 =>
         barrier 0 7 => block 0, complete 7, unblock 0",
    );
}

/// Not in Flink, whose subtask waits for the next barrier: the coordinator's word alone frees what waits.
#[test]
fn an_attempt_that_the_coordinator_gives_up_is_left_at_once_and_its_late_barriers_are_stale() {
    check(
        2,
        "barrier 0 1 => block 0
         given-up 1 => abort 1, unblock 0
         given-up 1 =>
         barrier 1 1 =>
         given-up 2 => abort 2
         barrier 0 2 =>
         barrier 1 2 =>
         barrier 0 3 => block 0
         barrier 1 3 => block 1, complete 3, unblock 0, unblock 1
         given-up 3 =>",
    );
}
