//! Golden scripts of what goes wrong: suspicious commits, DECLINE, time-outs, unknown outcomes, broken invariants.

use super::*;

#[test]
fn a_suspicious_commit_holds_the_rows_until_the_id_is_claimed_again() {
    let mut script = Script::running(settings(), None);
    script.commit(1, &[]);
    script.check(&[
        (Fact::Committed(slow()), "publish 1-10, note 1-10, hold 1, fence id.a"),
        (Fact::Fenced, "claim p1.0.2"),
        (Fact::Claimed(fast()), "resolve p1.0.2"),
        (resolved_after(13, "p1.0.1", Some(checkpoint(1, 10))), "begin 2"),
        (Fact::Begun, "release 1, lag 1"),
    ]);
    // The token stays.
    assert_eq!(script.tick(), "inject 2");
    assert_eq!(script.on(passed(2)), "write 2-10, flush 2");
}

#[test]
fn a_foreign_claim_before_the_new_one_ends_the_attempt() {
    let mut script = Script::running(settings(), None);
    script.commit(1, &[]);
    script.check(&[
        (Fact::Committed(slow()), "publish 1-10, note 1-10, hold 1, fence id.a"),
        (Fact::Fenced, "claim p1.0.2"),
        (Fact::Claimed(fast()), "resolve p1.0.2"),
        (resolved_after(13, "p2.0.1", Some(checkpoint(1, 10))), "exit Transient"),
    ]);
}

#[test]
fn a_foreign_commit_before_the_new_claim_deposes() {
    let mut script = Script::running(settings(), None);
    script.commit(1, &[]);
    script.check(&[
        (Fact::Committed(slow()), "publish 1-10, note 1-10, hold 1, fence id.a"),
        (Fact::Fenced, "claim p1.0.2"),
        (Fact::Claimed(fast()), "resolve p1.0.2"),
        (resolved_after(13, "p2.0.1", Some(checkpoint(2, 11))), "exit Fenced"),
    ]);
}

#[test]
fn an_authority_that_forgot_our_commit_halts() {
    let mut script = Script::running(settings(), None);
    script.commit(1, &[]);
    script.check(&[
        (Fact::Committed(slow()), "publish 1-10, note 1-10, hold 1, fence id.a"),
        (Fact::Fenced, "claim p1.0.2"),
        (Fact::Claimed(fast()), "resolve p1.0.2"),
        (resolved_after(13, "p1.0.1", None), "exit Halt"),
    ]);
}

/// Two slow claims in a row with a foreign one below the first: only link by link is it found.
#[test]
fn a_slow_new_claim_is_verified_before_the_next_one() {
    let mut script = Script::running(settings(), None);
    script.commit(1, &[]);
    script.check(&[
        (Fact::Committed(slow()), "publish 1-10, note 1-10, hold 1, fence id.a"),
        (Fact::Fenced, "claim p1.0.2"),
        (Fact::Claimed(slow()), "resolve p1.0.2"),
        (resolved_after(13, "p1.0.1", Some(checkpoint(1, 10))), "fence id.a"),
        (Fact::Fenced, "claim p1.0.3"),
        (Fact::Claimed(fast()), "resolve p1.0.3"),
        (resolved_after(14, "p1.0.2", Some(checkpoint(1, 10))), "begin 2"),
    ]);
}

#[test]
fn a_slow_first_claim_is_written_again_after_a_new_fence() {
    let mut script = Script::new(settings());
    script.check(&[
        (Fact::Booted, "peek"),
        (peeked(None, None), "fence id.a"),
        (Fact::Fenced, "claim p1.0.1"),
        (Fact::Claimed(slow()), "fence id.a"),
        (Fact::Fenced, "claim p1.0.2"),
        (Fact::Claimed(fast()), "resolve p1.0.2"),
    ]);
}

#[test]
fn claims_that_stay_slow_end_the_attempt() {
    let mut script = Script::new(Settings { claims_max: 2, ..settings() });
    script.check(&[
        (Fact::Booted, "peek"),
        (peeked(None, None), "fence id.a"),
        (Fact::Fenced, "claim p1.0.1"),
        (Fact::Claimed(slow()), "fence id.a"),
        (Fact::Fenced, "claim p1.0.2"),
        (Fact::Claimed(slow()), "exit Transient"),
    ]);
}

#[test]
fn no_space_declines_and_the_next_epoch_covers_both() {
    let mut script = Script::running(settings(), None);
    assert_eq!(script.tick(), "inject 1");
    script.check(&[(passed(1), "write 1-10, flush 1"), (flushed(1), ""), (no_space(1), "cancel 1")]);
    assert_eq!(script.domain.failures(), 1);
    assert_eq!(script.tick(), "inject 2");
    script.check(&[
        (passed(1), ""),
        (passed(2), "write 2-10, flush 2"),
        (flushed(2), ""),
        (prepared(2, 10, &[]), "mark 2-10"),
        (Fact::Marked, "commit 2"),
        (Fact::Committed(fast()), "publish 2-10, note 2-10, begin 3"),
    ]);
    assert_eq!(script.domain.failures(), 0);
}

#[test]
fn no_barrier_goes_out_while_a_declined_epoch_is_still_being_flushed() {
    let mut script = Script::running(settings(), None);
    assert_eq!(script.tick(), "inject 1");
    script.check(&[(passed(1), "write 1-10, flush 1"), (no_space(1), "cancel 1")]);
    script.now += Duration::from_secs(5);
    script.check(&[(Fact::Tick, ""), (flushed(1), "inject 2")]);
}

#[test]
fn a_snapshot_that_comes_after_its_time_is_retired_with_the_next_commit() {
    let mut script = Script::running(settings(), None);
    assert_eq!(script.tick(), "inject 1");
    script.check(&[(passed(1), "write 1-10, flush 1"), (flushed(1), "")]);
    assert_eq!(script.tick(), "cancel 1");
    assert_eq!(script.now, Duration::from_secs(61));
    script.now += Duration::from_secs(3);
    assert_eq!(script.on(prepared(1, 10, &["10-a", "10-b"])), "inject 2");
    script.check(&[
        (passed(2), "write 2-10, flush 2"),
        (flushed(2), ""),
        (prepared(2, 10, &["10-a", "10-c"]), "mark 2-10"),
        (Fact::Marked, "commit 2"),
        (Fact::Committed(fast()), "publish 2-10, note 2-10, begin 3"),
        (Fact::Begun, "release 2, lag 2, retire [1-10 10-b]"),
    ]);
}

#[test]
fn one_failure_more_than_tolerable_ends_the_attempt() {
    let mut script = Script::running(Settings { tolerable_failures: 1, ..settings() }, None);
    assert_eq!(script.tick(), "inject 1");
    let declined = |epoch| Fact::Declined { epoch: Epoch(epoch), why: "no".to_owned() };
    assert_eq!(script.on(declined(1)), "cancel 1");
    assert_eq!(script.on(declined(1)), "");
    assert_eq!(script.tick(), "inject 2");
    assert_eq!(script.on(declined(2)), "exit Transient");
}

#[test]
fn an_epoch_is_not_cancelled_any_more_once_it_is_marked() {
    let mut script = Script::running(Settings { transaction_timeout: None, ..settings() }, None);
    script.commit(1, &[]);
    script.now += Duration::from_secs(600);
    script.check(&[(Fact::Tick, ""), (Fact::Committed(fast()), "publish 1-10, note 1-10, begin 2")]);
}

#[test]
fn the_attempt_ends_before_the_broker_ends_the_transaction() {
    let mut script = Script::running(Settings { interval: None, ..settings() }, None);
    assert_eq!(script.tick(), "exit Transient");
    assert_eq!(script.now, Duration::from_secs(90));
}

/// Also when it is known only past the budget: what is committed is committed.
#[test]
fn a_late_answer_to_a_commit_counts_and_nothing_new_is_begun_too_late() {
    let mut script = Script::running(settings(), None);
    script.commit(1, &[]);
    script.now = Duration::from_secs(91);
    assert_eq!(script.on(Fact::Committed(fast())), "publish 1-10, note 1-10, begin 2");
    let mut script = Script::running(settings(), None);
    assert_eq!(script.tick(), "inject 1");
    script.check(&[(passed(1), "write 1-10, flush 1"), (flushed(1), "")]);
    script.now = Duration::from_secs(91);
    assert_eq!(script.on(prepared(1, 10, &[])), "exit Transient");
}

#[test]
fn an_unknown_outcome_ends_the_attempt_and_nothing_follows() {
    let mut script = Script::running(settings(), None);
    script.commit(1, &[]);
    script.check(&[
        (Fact::Committed(Outcome::Unknown("no answer".to_owned())), "exit Transient"),
        (Fact::Committed(fast()), ""),
        (Fact::Stop, ""),
    ]);
}

/// The broker says "fenced" to a zombie and to an owner whose transaction timed out: only the next PEEK tells.
#[test]
fn fenced_is_an_end_that_recovers() {
    let mut script = Script::running(settings(), None);
    assert_eq!(script.on(failed(Class::Fenced)), "exit Transient");
    let mut script = Script::running(settings(), None);
    assert_eq!(script.on(failed(Class::Io)), "exit Io");
}

#[test]
fn a_snapshot_under_a_foreign_token_is_a_bug() {
    let mut script = Script::running(settings(), None);
    assert_eq!(script.tick(), "inject 1");
    script.check(&[(passed(1), "write 1-10, flush 1"), (flushed(1), ""), (prepared(1, 9, &[]), "exit Bug")]);
}

#[test]
fn a_fact_out_of_place_is_a_bug() {
    let mut script = Script::running(settings(), None);
    assert_eq!(script.on(Fact::Marked), "exit Bug");
}

/// The guard knows nothing of the state machine: each rule is broken behind its back.
#[test]
fn the_guard_stops_what_breaks_an_invariant() {
    let broken = |facts: &[Fact], decision: Decision| {
        let mut guard = Guard::default();
        guard.on_fact(&Fact::Fenced);
        facts.iter().for_each(|fact| guard.on_fact(fact));
        guard.on_decisions(&[decision], Some(Token(10)), Rules::default()).expect_err("an invariant is broken")
    };
    let mark = || Decision::Mark(checkpoint(1, 10));
    let begin = || Decision::Begin { epoch: Epoch(1) };
    let retire = |token, files: &[&str]| {
        let files = files.iter().map(|file| (*file).to_owned()).collect();
        Decision::Retire(Retire { manifests: vec![(Epoch(1), Token(token))], files })
    };
    let claim = || Decision::Claim(claim("p1.0.1"));
    assert!(broken(&[Fact::Begun, flushed(1)], mark()).contains("I1"));
    assert!(broken(&[Fact::Begun, prepared(1, 10, &[])], mark()).contains("I1"));
    let sealed = [Fact::Begun, flushed(1), prepared(1, 10, &[])];
    assert!(broken(&sealed, Decision::Commit { epoch: Epoch(1) }).contains("I8"));
    assert!(
        broken(&[], Decision::InjectBarrier { epoch: Epoch(1), kind: CommitKind::Checkpoint, last: false })
            .contains("I2")
    );
    assert!(broken(&[Fact::Committed(Outcome::Unknown(String::new()))], begin()).contains("I3"));
    let write = Decision::WriteSnapshot { epoch: Epoch(1), token: Token(9), kind: CommitKind::Checkpoint };
    assert!(broken(&[Fact::Begun], write).contains("I4"));
    assert!(broken(&[], retire(11, &[])).contains("I5"));
    assert!(broken(&[], retire(3, &["11-a"])).contains("I5"));
    assert!(broken(&[resolved(10, Some(checkpoint(1, 3)))], retire(3, &[])).contains("I5"));
    assert!(broken(&[Fact::Claimed(fast()), Fact::Committed(slow())], begin()).contains("I6"));
    assert!(broken(&[Fact::Claimed(slow())], claim()).contains("I6"));
    let old = Decision::InjectBarrier { epoch: Epoch(5), kind: CommitKind::Checkpoint, last: false };
    assert!(broken(&[resolved(10, Some(checkpoint(5, 3))), Fact::Begun], old).contains("I7"));
}

/// Flink's `NotifyCheckpointAbortedITCase`: the first cannot be stored, the second takes too long; each is cancelled once, the
/// attempt goes on, and the third one commits.
#[test]
fn two_checkpoints_that_fail_are_each_cancelled_once_and_the_third_commits() {
    let mut script = Script::running(Settings { tolerable_failures: 2, ..settings() }, None);
    let mut cancelled = Vec::new();
    let mut on = |script: &mut Script, fact| {
        let said = script.on(fact);
        cancelled.extend(said.split(", ").filter(|said| said.starts_with("cancel")).map(str::to_owned));
        said
    };
    assert_eq!(script.tick(), "inject 1");
    on(&mut script, passed(1));
    on(&mut script, no_space(1));
    on(&mut script, flushed(1));
    // Said twice it is still one failure.
    on(&mut script, Fact::Declined { epoch: Epoch(1), why: "again".to_owned() });
    assert_eq!(script.domain.failures(), 1);
    assert_eq!(script.tick(), "inject 2");
    on(&mut script, passed(2));
    on(&mut script, flushed(2));
    script.now += Duration::from_secs(60);
    on(&mut script, Fact::Tick);
    on(&mut script, Fact::Tick);
    assert_eq!(script.domain.failures(), 2);
    script.now += Duration::from_secs(1);
    assert_eq!(on(&mut script, prepared(2, 10, &[])), "inject 3");
    script.check(&[
        (passed(3), "write 3-10, flush 3"),
        (flushed(3), ""),
        (prepared(3, 10, &[]), "mark 3-10"),
        (Fact::Marked, "commit 3"),
        (Fact::Committed(fast()), "publish 3-10, note 3-10, begin 4"),
        (Fact::Begun, "release 3, lag 3, retire [2-10]"),
    ]);
    assert_eq!(script.domain.failures(), 0);
    assert_eq!(cancelled, ["cancel 1", "cancel 2"]);
}

/// Flink's `CheckpointCoordinatorTest#testSuccessfulCheckpointSubsumesUnsuccessful` and its siblings, as far as they can happen
/// where one is tried at a time: the first is half acknowledged and given up, the second completes, and what comes late of
/// the first leaves nothing.
#[test]
fn a_half_acknowledged_checkpoint_is_dropped_and_its_late_answer_leaves_nothing() {
    let mut script = Script::running(Settings { sinks: 2, ..settings() }, None);
    let passed_by = |sink, epoch| Fact::BarrierPassed { sink, epoch: Epoch(epoch) };
    assert_eq!(script.tick(), "inject 1");
    assert_eq!(script.on(passed_by(0, 1)), "");
    assert_eq!(script.tick(), "cancel 1");
    assert_eq!(script.tick(), "inject 2");
    script.check(&[
        (passed_by(0, 2), ""),
        // Late, then twice.
        (passed_by(1, 1), ""),
        (passed_by(0, 2), ""),
        (passed_by(1, 2), "write 2-10, flush 2"),
        (flushed(2), ""),
        (prepared(2, 10, &["10-a"]), "mark 2-10"),
        (passed_by(0, 1), ""),
        (Fact::Marked, "commit 2"),
        (Fact::Committed(fast()), "publish 2-10, note 2-10, begin 3"),
        (Fact::Begun, "release 2, lag 2"),
    ]);
    // Nothing of 1 was ever written, so nothing of it is left. An answer of one that never was is a bug.
    assert_eq!(script.on(passed_by(0, 9)), "exit Bug");
}
