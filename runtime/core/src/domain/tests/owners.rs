//! Golden scripts of PEEK: who waits for whom, who is deposed, whose commits are refused.

use super::*;

fn peeking(settings: Settings) -> Script {
    let mut script = Script::new(settings);
    assert_eq!(script.on(Fact::Booted), "peek");
    script
}

#[test]
fn a_claim_of_this_boot_whose_process_is_gone_is_no_reason_to_wait() {
    let mut script = peeking(settings());
    let peeked = Fact::Peeked { claim: Some(claim("p0.0.1")), commit: Some(checkpoint(5, 3)), owner_gone: true };
    assert_eq!(script.on(peeked), "fence id.a");
}

#[test]
fn a_silent_owner_is_waited_for_and_then_fenced() {
    let mut script = peeking(Settings { interval: Some(Duration::from_secs(5)), ..settings() });
    let seen = || peeked(Some(claim("p0.0.1")), Some(checkpoint(5, 3)));
    assert_eq!(script.on(seen()), "wait for elsewhere until 15s");
    for second in 1..15 {
        assert_eq!(script.tick(), "peek");
        assert_eq!(script.now, Duration::from_secs(second));
        assert_eq!(script.on(seen()), "wait on for elsewhere until 15s");
    }
    assert_eq!(script.tick(), "peek");
    assert_eq!(script.on(seen()), "fence id.a");
}

#[test]
fn an_owner_that_commits_is_left_alone() {
    let mut script = peeking(settings());
    assert_eq!(script.on(peeked(Some(claim("p0.0.1")), Some(checkpoint(5, 3)))), "wait for elsewhere until 10s");
    assert_eq!(script.tick(), "peek");
    assert_eq!(script.on(peeked(Some(claim("p0.0.1")), Some(checkpoint(6, 3)))), "exit Fenced");
}

#[test]
fn an_owner_that_claims_meanwhile_is_given_its_own_time() {
    let mut script = peeking(settings());
    assert_eq!(script.on(peeked(Some(claim("p0.0.1")), None)), "wait for elsewhere until 10s");
    assert_eq!(script.tick(), "peek");
    assert_eq!(script.on(peeked(Some(claim("p2.0.1")), None)), "wait for elsewhere until 11s");
}

#[test]
fn takeover_does_not_wait() {
    let mut script = peeking(Settings { takeover: true, ..settings() });
    assert_eq!(script.on(peeked(Some(claim("p0.0.1")), Some(checkpoint(5, 3)))), "fence id.a");
}

/// An attempt that comes after one which held token 10.
fn again() -> Settings {
    Settings { attempt: 1, held: Some(Token(10)), takeover: true, ..settings() }
}

#[test]
fn an_attempt_goes_on_from_its_own_claim_at_once() {
    assert_eq!(peeking(again()).on(peeked(Some(claim("p1.0.1")), Some(checkpoint(5, 10)))), "fence id.a");
}

#[test]
fn an_attempt_is_deposed_by_a_successor_that_has_committed() {
    assert_eq!(peeking(again()).on(peeked(Some(claim("p11.0.1")), Some(checkpoint(5, 12)))), "exit Fenced");
}

/// An old owner that wakes in a re-claim steals the id, finds itself deposed and leaves. If its successor then took the
/// claim for that of a new owner and left too, nobody would run.
#[test]
fn a_successor_outlives_the_claim_of_a_deposed_owner() {
    let seen = || peeked(Some(claim("p0.0.9")), Some(checkpoint(5, 10)));
    let mut script = peeking(again());
    assert_eq!(script.on(seen()), "wait for elsewhere until 10s");
    script.now = Duration::from_secs(10);
    assert_eq!(script.on(Fact::Tick), "peek");
    assert_eq!(script.on(seen()), "fence id.a");
    // On the same host it is known to be gone.
    let gone = Fact::Peeked { claim: Some(claim("p0.0.9")), commit: Some(checkpoint(5, 10)), owner_gone: true };
    assert_eq!(peeking(again()).on(gone), "fence id.a");
}

#[test]
fn whoever_was_fenced_after_a_takeover_does_not_take_over_again() {
    assert_eq!(peeking(again()).on(peeked(Some(claim("p2.0.1")), None)), "wait for elsewhere until 10s");
}

#[test]
fn ids_of_the_last_claim_are_fenced_too() {
    let mut script = peeking(settings());
    let mut old = claim("p0.0.1");
    old.txn_ids.push("id.b".to_owned());
    let peeked = Fact::Peeked { claim: Some(old.clone()), commit: None, owner_gone: true };
    assert_eq!(script.on(peeked), "fence id.a+id.b");
    // And those of a claim that came between PEEK and FENCE.
    script.check(&[(Fact::Fenced, "claim p1.0.1"), (Fact::Claimed(fast()), "resolve p1.0.1")]);
    old.txn_ids.push("id.c".to_owned());
    let resolved = Resolved { token: Token(9), commit: None, claim_before: Some((Token(8), old)), claim_above: false };
    assert_eq!(script.on(Fact::Resolved(resolved)), "fence id.a+id.b+id.c");
}

/// Who goes on is told by the next PEEK: an attempt that held a token leaves for good once someone above it commits.
#[test]
fn a_claim_above_ours_ends_the_attempt() {
    let mut script = peeking(settings());
    let above = Resolved { token: Token(9), commit: None, claim_before: None, claim_above: true };
    script.check(&[
        (peeked(None, None), "fence id.a"),
        (Fact::Fenced, "claim p1.0.1"),
        (Fact::Claimed(fast()), "resolve p1.0.1"),
        (Fact::Resolved(above), "exit Transient"),
    ]);
    assert_eq!(script.domain.token(), Some(Token(9)));
}

#[test]
fn commits_of_another_lineage_are_refused_before_anything_is_fenced() {
    let foreign = || Some(Claim { lineage: "theirs".to_owned(), ..claim("p0.0.1") });
    let gone = Fact::Peeked { claim: foreign(), commit: None, owner_gone: true };
    assert_eq!(peeking(settings()).on(gone), "exit Halt");
    // One that may live is looked at first: that it lives is the better answer, also to who would take over.
    let waiting = || {
        let mut script = peeking(Settings { takeover: true, ..settings() });
        assert_eq!(script.on(peeked(foreign(), Some(checkpoint(5, 3)))), "wait for elsewhere until 10s");
        script.now = Duration::from_secs(10);
        assert_eq!(script.on(Fact::Tick), "peek");
        script
    };
    assert_eq!(waiting().on(peeked(foreign(), Some(checkpoint(6, 3)))), "exit Fenced");
    assert_eq!(waiting().on(peeked(foreign(), Some(checkpoint(5, 3)))), "exit Halt");
}

#[test]
fn a_pipeline_that_has_ended_ends_again_and_publishes_what_a_crash_cut_off() {
    let mut script = peeking(settings());
    let last = commit(CommitKind::Final, 5, 3);
    assert_eq!(script.on(peeked(Some(claim("p0.0.1")), Some(last))), "publish 5-3, exit Ended");
}

/// The store remembers a commit that the authority does not: a fresh start would double every row.
#[test]
fn a_store_that_knows_more_than_the_authority_halts() {
    let noted = |epoch, token| Stored { noted: true, ..stored(epoch, token, &[]) };
    for (commit, manifests) in [
        (None, vec![noted(1, 3)]),
        (None, vec![stored(1, 12, &[])]),
        (Some(checkpoint(4, 3)), vec![stored(4, 3, &[]), noted(5, 3)]),
        (Some(checkpoint(4, 3)), vec![stored(3, 3, &[])]),
        (Some(checkpoint(4, 3)), vec![]),
    ] {
        let mut script = peeking(settings());
        script.check(&[
            (peeked(None, None), "fence id.a"),
            (Fact::Fenced, "claim p1.0.1"),
            (Fact::Claimed(fast()), "resolve p1.0.1"),
            (resolved(10, commit), "list"),
            (Fact::Listed(Inventory { manifests, ..Inventory::default() }), "exit Halt"),
        ]);
    }
}

#[test]
fn a_snapshot_that_nobody_ever_named_is_swept_at_a_fresh_start() {
    let mut script = peeking(settings());
    let inventory =
        Inventory { manifests: vec![stored(1, 3, &["3-a"])], files: vec!["3-a".to_owned()], ..Inventory::default() };
    script.check(&[
        (peeked(None, None), "fence id.a"),
        (Fact::Fenced, "claim p1.0.1"),
        (Fact::Claimed(fast()), "resolve p1.0.1"),
        (resolved(10, None), "list"),
        (Fact::Listed(inventory), "restore nothing"),
        (Fact::Restored, "retire [1-3 3-a], begin 1"),
    ]);
}
