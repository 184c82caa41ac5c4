//! Golden scripts: when attempts start, expire and fail; and what holds for every order of events.

use std::time::Duration;

use proptest::prelude::*;

use super::{Ack, Coordinator, Settings, Step, Tolerance, Trigger};
use crate::checkpoint::manifest::CommitKind;
use crate::ids::Epoch;

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn settings() -> Settings {
    Settings {
        interval: Some(seconds(10)),
        first: None,
        min_pause: Duration::ZERO,
        timeout: seconds(60),
        tolerable_failures: 0,
        participants: 1,
    }
}

fn trigger(epoch: u64, kind: CommitKind, last: bool) -> Option<Step> {
    Some(Step::Trigger(Trigger { epoch: Epoch(epoch), kind, last }))
}

fn periodic(epoch: u64) -> Option<Step> {
    trigger(epoch, CommitKind::Checkpoint, false)
}

#[test]
fn attempts_start_once_an_interval_and_never_two_at_a_time() {
    let mut coordinator = Coordinator::new(settings(), Epoch(0), seconds(100));
    assert_eq!(coordinator.poll(seconds(109), true), None);
    assert_eq!(coordinator.wakeup(true), Some(seconds(110)));
    assert_eq!(coordinator.poll(seconds(110), true), periodic(1));
    assert_eq!(coordinator.poll(seconds(125), true), None);
    assert_eq!(coordinator.on_ack(0, Epoch(1)), Ack::Complete);
    assert!(coordinator.on_complete(seconds(125)).is_some());
    // The period passed while it was pending.
    assert_eq!(coordinator.poll(seconds(125), true), periodic(2));
}

#[test]
fn the_first_attempt_may_be_due_at_another_time_than_those_behind_it() {
    let mut coordinator = Coordinator::new(Settings { first: Some(seconds(3)), ..settings() }, Epoch(0), seconds(50));
    coordinator.restart(seconds(100));
    assert_eq!(coordinator.poll(seconds(102), true), None);
    assert_eq!(coordinator.wakeup(true), Some(seconds(103)));
    assert_eq!(coordinator.poll(seconds(103), true), periodic(1));
    coordinator.on_ack(0, Epoch(1));
    coordinator.on_complete(seconds(104));
    assert_eq!(coordinator.wakeup(true), Some(seconds(113)));
    // It brings none where there are none.
    let only_wishes = Settings { first: Some(seconds(3)), interval: None, ..settings() };
    assert_eq!(Coordinator::new(only_wishes, Epoch(0), seconds(0)).wakeup(true), None);
}

#[test]
fn the_pause_is_counted_from_the_completion() {
    let mut coordinator = Coordinator::new(Settings { min_pause: seconds(30), ..settings() }, Epoch(0), seconds(0));
    assert_eq!(coordinator.poll(seconds(10), true), periodic(1));
    coordinator.on_complete(seconds(25));
    assert_eq!(coordinator.poll(seconds(54), true), None);
    assert_eq!(coordinator.poll(seconds(55), true), periodic(2));
}

#[test]
fn numbers_go_on_after_a_restore() {
    let mut coordinator = Coordinator::new(settings(), Epoch(41), seconds(0));
    assert_eq!(coordinator.upcoming(), Epoch(42));
    assert_eq!(coordinator.poll(seconds(10), true), periodic(42));
    assert_eq!(coordinator.upcoming(), Epoch(42));
}

#[test]
fn without_an_interval_only_wishes_trigger() {
    let mut coordinator = Coordinator::new(Settings { interval: None, ..settings() }, Epoch(0), seconds(0));
    assert_eq!(coordinator.poll(seconds(1_000_000), true), None);
    assert_eq!(coordinator.wakeup(true), None);
    coordinator.request(CommitKind::Checkpoint);
    assert_eq!(coordinator.poll(seconds(1_000_000), true), periodic(1));
}

#[test]
fn a_wish_during_an_attempt_is_kept_and_a_savepoint_outranks_a_checkpoint() {
    let mut coordinator = Coordinator::new(settings(), Epoch(0), seconds(0));
    assert_eq!(coordinator.poll(seconds(10), true), periodic(1));
    coordinator.request(CommitKind::Savepoint);
    coordinator.request(CommitKind::Checkpoint);
    assert_eq!(coordinator.poll(seconds(11), true), None);
    coordinator.on_complete(seconds(12));
    assert_eq!(coordinator.poll(seconds(12), false), None);
    assert_eq!(coordinator.poll(seconds(12), true), trigger(2, CommitKind::Savepoint, false));
}

#[test]
fn every_participant_acknowledges_once() {
    let mut coordinator = Coordinator::new(Settings { participants: 2, ..settings() }, Epoch(0), seconds(0));
    assert_eq!(coordinator.poll(seconds(10), true), periodic(1));
    assert_eq!(coordinator.on_ack(1, Epoch(1)), Ack::Waiting);
    assert_eq!(coordinator.on_ack(1, Epoch(1)), Ack::Duplicate);
    assert_eq!(coordinator.on_ack(2, Epoch(1)), Ack::Unknown);
    assert_eq!(coordinator.on_ack(0, Epoch(2)), Ack::Unknown);
    assert_eq!(coordinator.on_ack(0, Epoch(1)), Ack::Complete);
    coordinator.on_complete(seconds(11));
    assert_eq!(coordinator.on_ack(0, Epoch(1)), Ack::Late);
}

#[test]
fn an_attempt_expires_and_the_next_one_has_a_new_number() {
    let mut coordinator = Coordinator::new(Settings { tolerable_failures: 1, ..settings() }, Epoch(0), seconds(0));
    assert_eq!(coordinator.poll(seconds(10), true), periodic(1));
    assert_eq!(coordinator.wakeup(true), Some(seconds(70)));
    assert_eq!(coordinator.poll(seconds(70), true), Some(Step::Expired(Epoch(1))));
    assert_eq!(coordinator.on_failure(seconds(70), Epoch(1)), Tolerance::Borne);
    assert_eq!(coordinator.on_failure(seconds(70), Epoch(1)), Tolerance::Stale);
    assert_eq!(coordinator.on_ack(0, Epoch(1)), Ack::Late);
    assert_eq!(coordinator.poll(seconds(79), true), None);
    assert_eq!(coordinator.poll(seconds(80), true), periodic(2));
}

#[test]
fn so_many_failures_survive_and_one_more_does_not_and_a_success_resets() {
    let mut coordinator = Coordinator::new(Settings { tolerable_failures: 2, ..settings() }, Epoch(0), seconds(0));
    let mut now = seconds(0);
    let mut attempt = |coordinator: &mut Coordinator| {
        now += seconds(10);
        let Some(Step::Trigger(trigger)) = coordinator.poll(now, true) else { panic!("an attempt is due") };
        (now, trigger.epoch)
    };
    let (fails, survives) = (Tolerance::TooMany, Tolerance::Borne);
    for wanted in [Some(survives), Some(survives), None, Some(survives), Some(survives), Some(fails)] {
        let (now, epoch) = attempt(&mut coordinator);
        match wanted {
            Some(tolerance) => assert_eq!(coordinator.on_failure(now, epoch), tolerance, "epoch {epoch}"),
            None => assert!(coordinator.on_complete(now).is_some()),
        }
    }
}

#[test]
fn a_failed_savepoint_does_not_count() {
    let mut coordinator = Coordinator::new(settings(), Epoch(0), seconds(0));
    coordinator.request(CommitKind::Savepoint);
    assert_eq!(coordinator.poll(seconds(0), true), trigger(1, CommitKind::Savepoint, false));
    assert_eq!(coordinator.on_failure(seconds(1), Epoch(1)), Tolerance::Borne);
    assert_eq!(coordinator.failures(), 0);
}

#[test]
fn a_stop_takes_the_savepoint_that_was_asked_for() {
    let mut coordinator = Coordinator::new(settings(), Epoch(0), seconds(0));
    coordinator.request(CommitKind::Savepoint);
    coordinator.finish(CommitKind::Checkpoint);
    assert_eq!(coordinator.poll(seconds(0), true), trigger(1, CommitKind::Savepoint, true));
}

/// A plain checkpoint behind a savepoint that was declined would commit rows that the savepoint does not hold.
#[test]
fn a_stop_whose_savepoint_is_declined_tries_a_savepoint_again_until_it_is_one_too_many() {
    let mut coordinator = Coordinator::new(Settings { tolerable_failures: 1, ..settings() }, Epoch(0), seconds(0));
    coordinator.request(CommitKind::Savepoint);
    coordinator.finish(CommitKind::Checkpoint);
    assert_eq!(coordinator.poll(seconds(0), true), trigger(1, CommitKind::Savepoint, true));
    assert_eq!(coordinator.on_failure(seconds(1), Epoch(1)), Tolerance::Borne);
    assert_eq!(coordinator.poll(seconds(11), true), trigger(2, CommitKind::Savepoint, true));
    assert_eq!(coordinator.on_failure(seconds(12), Epoch(2)), Tolerance::TooMany);
}

#[test]
fn the_last_attempt_starts_at_once_and_is_repeated_until_it_completes() {
    let mut coordinator = Coordinator::new(Settings { tolerable_failures: 3, ..settings() }, Epoch(0), seconds(0));
    coordinator.finish(CommitKind::Checkpoint);
    assert_eq!(coordinator.poll(seconds(1), true), trigger(1, CommitKind::Checkpoint, true));
    coordinator.finish(CommitKind::Final);
    assert_eq!(coordinator.on_failure(seconds(2), Epoch(1)), Tolerance::Borne);
    // Not in a hot loop.
    assert_eq!(coordinator.poll(seconds(3), true), None);
    assert_eq!(coordinator.wakeup(true), Some(seconds(12)));
    assert_eq!(coordinator.poll(seconds(12), true), trigger(2, CommitKind::Final, true));
}

proptest! {
    /// Numbers strictly rise, one attempt is pending at a time, and whatever time `wakeup` names, `poll` has something then.
    #[test]
    fn numbers_rise_and_no_wakeup_is_idle(events in prop::collection::vec((0..6_u8, 0..40_u64), 0..60)) {
        let tolerant = Settings { tolerable_failures: u32::MAX, min_pause: seconds(3), ..settings() };
        let mut coordinator = Coordinator::new(tolerant, Epoch(7), seconds(0));
        let mut now = seconds(0);
        let mut newest = Epoch(7);
        for (event, wait) in events {
            match event {
                0 => coordinator.request(CommitKind::Savepoint),
                1 => { coordinator.on_complete(now); }
                2 => { coordinator.on_failure(now, newest); }
                3 => { coordinator.on_ack(0, newest); }
                4 => now = coordinator.wakeup(true).map_or(now, |at| at.max(now)),
                _ => now += seconds(wait),
            }
            let was_pending = coordinator.pending();
            let step = coordinator.poll(now, true);
            if event == 4 && was_pending.is_none() {
                prop_assert!(step.is_some());
            }
            if let Some(Step::Trigger(trigger)) = step {
                prop_assert!(was_pending.is_none());
                prop_assert!(trigger.epoch > newest);
                newest = trigger.epoch;
            }
            prop_assert_eq!(coordinator.newest(), newest);
        }
    }
}
