//! Watermarks by example, and that they depend on the records alone.

use proptest::prelude::*;

use super::*;
use crate::record::Mark;

const WALL_CLOCK: i64 = 1_800_000_000_000;

fn settings(out_of_order: i64, tick: i64) -> Settings {
    Settings { out_of_order, tick, idle_after: Some(10_000) }
}

fn watermarks(out_of_order: i64, tick: i64, splits: usize) -> Watermarks {
    let mut watermarks = Watermarks::restore(settings(out_of_order, tick), &vec![None; splits], BEFORE_ALL);
    watermarks.on_poll(WALL_CLOCK, 0);
    watermarks
}

#[test]
fn a_watermark_is_the_largest_time_less_the_bound_less_one_in_ticks() {
    let mut one = watermarks(1_000, 100, 1);
    let script = [
        (1_000, Some(-100)),
        (4_999, Some(3_900)),
        (4_000, None),
        (9_000, Some(7_900)),
        (9_000, None),
        (9_100, Some(8_000)),
        (9_101, Some(8_100)),
        (1_500, None),
    ];
    // 1000 − 1000 − 1 is −1, in ticks −100; 9100 gives 8099, 9101 gives 8100.
    for (time, sent) in script {
        assert_eq!(one.observe(0, time), sent, "{time}");
    }
    assert_eq!((one.current(), one.largest(0)), (8_100, Some(9_101)));
    assert_eq!(one.end(), END_OF_TIME);
    assert_eq!(one.current(), END_OF_TIME);
}

#[test]
fn a_tick_of_one_millisecond_is_exact() {
    let mut one = watermarks(0, 1, 1);
    for (time, sent) in [(5_000, Some(4_999)), (5_001, Some(5_000)), (5_001, None), (-7, None)] {
        assert_eq!(one.observe(0, time), sent, "{time}");
    }
}

fn nothing_more(_: usize) -> bool {
    false
}

#[test]
fn the_slowest_split_holds_the_watermark_and_lets_it_go() {
    let mut two = watermarks(0, 1, 2);
    assert_eq!(two.observe(0, 5_000), None, "the other split has shown nothing");
    assert_eq!(two.observe(1, 3_000), Some(2_999));
    assert_eq!(two.observe(0, 6_000), None);
    assert_eq!(two.observe(1, 9_000), Some(5_999));
}

#[test]
fn a_silent_split_leaves_the_minimum_and_comes_back() {
    let mut two = watermarks(0, 1, 2);
    assert_eq!(two.observe(0, 5_000), None);
    for now in (0..=9_000).step_by(1_000) {
        two.on_poll(WALL_CLOCK + now, now);
        assert_eq!(two.observe(0, 5_000 + now), None);
        assert_eq!(two.on_idle_check(nothing_more), None);
    }
    two.on_poll(WALL_CLOCK, 10_000);
    assert_eq!(two.on_idle_check(nothing_more), Some(Mark::Watermark(13_999)));
    assert_eq!(two.observe(1, 1_000), None, "it is back, and late: the watermark does not go back");
    assert_eq!(two.observe(0, 20_000), None, "and it holds the watermark again");
    assert_eq!(two.current(), 13_999);
}

#[test]
fn a_split_whose_records_wait_to_be_read_is_not_idle() {
    let mut two = watermarks(0, 1, 2);
    (0..=60_000).step_by(1_000).for_each(|now| two.on_poll(WALL_CLOCK, now));
    assert_eq!(two.observe(0, 5_000), None);
    assert_eq!(two.on_idle_check(|split| split == 1), None, "a minute of silence, and yet there is more to come");
    assert_eq!(two.observe(1, 3_000), Some(2_999));
    (60_000..=120_000).step_by(1_000).for_each(|now| two.on_poll(WALL_CLOCK, now));
    assert_eq!(two.observe(0, 9_000), None);
    assert_eq!(two.on_idle_check(nothing_more), Some(Mark::Watermark(8_999)));
}

#[test]
fn all_silent_is_said_once_and_ends_with_the_next_record() {
    let mut one = watermarks(0, 1, 1);
    assert_eq!(one.observe(0, 5_000), Some(4_999));
    for now in (0..=10_000).step_by(1_000) {
        one.on_poll(WALL_CLOCK, now);
    }
    assert_eq!(one.on_idle_check(nothing_more), Some(Mark::Idle));
    assert_eq!(one.on_idle_check(nothing_more), None);
    assert!(one.is_idle());
    assert_eq!(one.observe(0, 4_000), Some(4_999), "the channel speaks again");
    assert!(!one.is_idle());
}

#[test]
fn a_source_that_was_held_is_not_idle() {
    let mut one = watermarks(0, 1, 1);
    one.observe(0, 5_000);
    one.on_poll(WALL_CLOCK, 1_000_000);
    assert_eq!(one.on_idle_check(nothing_more), None, "back-pressure for 1000 s counts as 2.5 s of silence");
}

#[test]
fn idleness_can_be_switched_off() {
    let mut one = Watermarks::restore(Settings { idle_after: None, ..settings(0, 1) }, &[None], BEFORE_ALL);
    (0..1_000).for_each(|hour| one.on_poll(WALL_CLOCK, hour * 3_600_000));
    assert_eq!(one.on_idle_check(nothing_more), None);
}

#[test]
fn a_time_in_the_far_future_moves_the_watermark_by_an_hour_at_most() {
    let mut one = watermarks(0, 1, 1);
    one.observe(0, WALL_CLOCK);
    assert_eq!(one.observe(0, i64::MAX), Some(WALL_CLOCK + FUTURE_MAX - 1));
    assert_eq!(one.clamped(), 1);
    // History: one split has only the clock to go by, two have each other.
    let mut two = watermarks(0, 1, 2);
    two.observe(0, 1_000_000);
    two.observe(1, 1_000_000);
    assert_eq!(two.observe(0, WALL_CLOCK), None);
    assert_eq!(two.largest(0), Some(1_000_000 + FUTURE_MAX));
    assert_eq!(two.observe(1, 1_000_500), Some(1_000_499), "the other split goes on as if nothing had been");
    assert_eq!(two.clamped(), 1);
}

#[test]
fn a_silent_split_does_not_hold_back_one_that_goes_on_for_hours() {
    let mut two = watermarks(0, 1, 2);
    two.observe(0, 0);
    two.observe(1, 0);
    assert_eq!(two.on_split_end(1), None);
    for hour in 1..10 {
        assert_eq!(two.observe(0, hour * 2 * FUTURE_MAX), Some(hour * 2 * FUTURE_MAX - 1));
    }
    assert_eq!(two.clamped(), 0);
}

#[test]
fn a_split_that_ends_leaves_the_minimum() {
    let mut two = watermarks(0, 1, 2);
    two.observe(0, 5_000);
    two.observe(1, 3_000);
    assert_eq!(two.on_split_end(1), Some(Mark::Watermark(4_999)));
    assert_eq!(two.on_split_end(0), None, "then the source has ended");
}

#[test]
fn what_was_late_before_a_restart_is_late_after_it() {
    let mut before = watermarks(1_000, 100, 2);
    before.observe(0, 9_000);
    before.observe(1, 9_990);
    let largest = [before.largest(0), before.largest(1)];
    let mut after = Watermarks::restore(settings(1_000, 100), &largest, before.current());
    after.on_poll(WALL_CLOCK, 0);
    assert_eq!(after.current(), 7_900);
    for (split, time) in [(0, 8_000), (0, 9_101), (1, 9_000), (0, 9_999), (1, 10_000)] {
        assert_eq!(after.observe(split, time), before.observe(split, time));
    }
}

#[test]
fn new_splits_hold_the_watermark_until_they_show_something() {
    let mut growing = watermarks(0, 1, 1);
    assert_eq!(growing.observe(0, 5_000), Some(4_999));
    growing.add_split(None);
    assert_eq!(growing.observe(0, 9_000), None);
    assert_eq!(growing.observe(1, 8_000), Some(7_999));
}

#[test]
fn a_new_split_ends_the_idle_time_of_a_source_and_then_holds_it_back() {
    let mut growing = watermarks(0, 1, 1);
    assert_eq!(growing.observe(0, 5_000), Some(4_999));
    growing.on_poll(WALL_CLOCK, 1);
    (2..60).for_each(|second| growing.on_poll(WALL_CLOCK, second * 1_000));
    assert_eq!(growing.on_idle_check(|_| false), Some(Mark::Idle));
    growing.add_split(None);
    assert!(!growing.is_idle());
    assert_eq!(growing.splits(), 2);
    assert_eq!(growing.observe(0, 9_000), None, "the new one has shown nothing yet");
    assert_eq!(growing.observe(1, 6_000), Some(5_999));
}

#[test]
fn extreme_times_and_settings_do_not_overflow() {
    for (bound, tick) in [(0, 1), (i64::MAX, 1), (0, i64::MAX), (i64::MAX, i64::MAX)] {
        let mut one = Watermarks::restore(settings(bound, tick), &[None], BEFORE_ALL);
        for wall_clock in [i64::MIN, 0, i64::MAX] {
            one.on_poll(wall_clock, i64::MAX);
            for time in [i64::MIN, -1, 0, i64::MAX] {
                one.observe(0, time);
            }
        }
    }
}

#[test]
fn channels_merge_by_minimum_and_never_go_back() {
    let mut two = Inputs::new(2, BEFORE_ALL);
    assert_eq!(two.on_watermark(0, 100), None);
    assert_eq!(two.on_watermark(1, 50), Some(Mark::Watermark(50)));
    assert_eq!(two.on_watermark(1, 200), Some(Mark::Watermark(100)));
    assert_eq!(two.on_idle(0), Some(Mark::Watermark(200)));
    assert_eq!(two.on_watermark(0, 120), None, "back, and behind");
    assert_eq!(two.current(), 200);
    assert_eq!(two.on_idle(1), None);
    assert_eq!(two.on_idle(0), Some(Mark::Idle));
    assert_eq!(two.on_idle(0), None);
    assert_eq!(two.on_watermark(0, 150), Some(Mark::Watermark(200)), "the vertex speaks again");
}

#[test]
fn channels_that_end_go_to_the_end_of_time_together() {
    let mut two = Inputs::new(2, 70);
    assert_eq!(two.on_end(0), None);
    assert_eq!(two.on_watermark(1, 60), None, "the snapshot knows better");
    assert_eq!(two.on_watermark(1, 80), Some(Mark::Watermark(80)));
    assert_eq!(two.on_idle(1), Some(Mark::Idle), "an ended channel does not carry an idle one to the end of time");
    two.on_records(1);
    assert_eq!(two.on_watermark(1, 90), Some(Mark::Watermark(90)));
    assert_eq!(two.on_end(1), Some(Mark::Watermark(END_OF_TIME)));
}

proptest! {
    /// The straightforward rule, recomputed from scratch after each record.
    #[test]
    fn the_data_path_says_what_the_rule_says(
        records in prop::collection::vec((0usize..3, 0i64..20_000), 0..200), bound in 0i64..3_000, tick in 1i64..500,
    ) {
        let mut fast = watermarks(bound, tick, 3);
        let mut largest = [BEFORE_ALL; 3];
        let mut sent = BEFORE_ALL;
        for (split, time) in records {
            largest[split] = largest[split].max(time);
            let slowest = *largest.iter().min().expect("three");
            let rule = (slowest > BEFORE_ALL)
                .then(|| (slowest - bound - 1).div_euclid(tick) * tick)
                .filter(|w| *w > sent);
            sent = rule.unwrap_or(sent);
            prop_assert_eq!(fast.observe(split, time), rule);
        }
    }

    /// What is sent behind which record does not depend on where batches are cut, nor on a restart at a cut.
    #[test]
    fn batches_and_restarts_change_nothing(
        records in prop::collection::vec((0usize..2, 0i64..20_000), 1..100), cuts in prop::collection::vec(1usize..20, 1..50),
    ) {
        let mut whole = watermarks(500, 100, 2);
        let expected: Vec<_> = records.iter().map(|(split, time)| whole.observe(*split, *time)).collect();
        let mut parts = watermarks(500, 100, 2);
        let mut sent = Vec::new();
        let mut rest = &records[..];
        for cut in cuts.iter().cycle() {
            let (batch, behind) = rest.split_at((*cut).min(rest.len()));
            sent.extend(batch.iter().map(|(split, time)| parts.observe(*split, *time)));
            parts = Watermarks::restore(settings(500, 100), &[parts.largest(0), parts.largest(1)], parts.current());
            parts.on_poll(WALL_CLOCK, 0);
            rest = behind;
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(sent, expected);
    }
}
