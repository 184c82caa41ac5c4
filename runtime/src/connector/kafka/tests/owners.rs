//! Owners of a transactional id: claims, zombies, time-outs, re-claims, and ending what a dead owner left open.

use super::*;

#[test]
fn resolve_sees_what_was_committed_and_nothing_of_an_open_transaction() {
    let topic = topic("resolve", 1, &[]);
    let domain = domain("resolve", &[&topic]);
    let mut first = start(&domain, "n1");
    assert!(first.resolved.commit.is_none() && first.resolved.claim_before.is_none());
    for epoch in 1..=2 {
        first.authority.begin().expect("begun");
        first.authority.mark(&commit(epoch, first.token)).expect("marked");
        committed(first.authority.commit());
    }
    first.authority.begin().expect("begun");
    first.authority.mark(&commit(3, first.token)).expect("marked");

    let second = start(&domain, "n2");
    assert_eq!(second.resolved.commit.as_ref().map(|c| c.epoch), Some(Epoch(2)));
    let (token, before) = second.resolved.claim_before.clone().expect("the first claim");
    assert_eq!((token, before.nonce.as_str()), (first.token, "n1"));
    assert!(second.token > first.token && !second.resolved.claim_above);
    // The first one is not deposed by being told so: it finds out.
    assert!(matches!(first.authority.commit(), Outcome::Unknown(_)));
}

#[test]
fn a_zombie_cannot_commit_and_learns_that_another_owns_the_pipeline() {
    let topic = topic("zombie", 2, &[]);
    let domain = domain("zombie", &[&topic]);
    let mut zombie = start(&domain, "old");
    let mut sink_of_zombie = sink(&zombie, &topic);
    zombie.authority.begin().expect("begun");
    write(&mut sink_of_zombie, &rows(0..10));
    zombie.authority.flush().expect("acknowledged");
    zombie.authority.mark(&commit(1, zombie.token)).expect("marked");

    let mut owner = start(&domain, "new");
    let mut sink_of_owner = sink(&owner, &topic);
    owner.authority.begin().expect("begun");
    write(&mut sink_of_owner, &rows(100..110));

    assert!(matches!(zombie.authority.commit(), Outcome::Unknown(_)));
    assert!(matches!(zombie.authority.begin(), Err(Error::Fenced(_))));
    owner.authority.flush().expect("acknowledged");
    owner.authority.mark(&commit(1, owner.token)).expect("marked");
    committed(owner.authority.commit());
    wait_for("the owner's rows", || sorted(&read_all(&topic)) == (100..110).collect::<Vec<_>>());
    let peek = owner.authority.peek().expect("a look");
    assert_eq!(peek.claim.map(|c| c.nonce), Some("new".into()));
}

#[test]
fn a_transaction_that_timed_out_is_transient_and_loses_nothing_that_was_committed() {
    let topic = topic("timeout", 1, &[]);
    let mut domain = domain("timeout", &[&topic]);
    domain.transaction_timeout = Duration::from_secs(2);
    domain.checkpoint_timeout = Duration::from_millis(500);
    domain.checkpoint_interval = Duration::from_millis(100);
    domain.margin = Duration::from_millis(100);
    let mut attempt = start(&domain, "n1");
    let mut sink = sink(&attempt, &topic);
    attempt.authority.begin().expect("begun");
    write(&mut sink, &rows(0..5));
    attempt.authority.flush().expect("acknowledged");
    wait_for("the coordinator to give the transaction up", || {
        list_transactions(&domain).expect("a listing").held.is_empty()
    });
    let outcome = match attempt.authority.mark(&commit(1, attempt.token)) {
        Ok(()) => attempt.authority.commit(),
        Err(Error::Transient(reason)) => Outcome::Unknown(reason),
        Err(other) => panic!("{other}"),
    };
    assert!(matches!(outcome, Outcome::Unknown(_)), "{outcome:?}");
    assert!(matches!(attempt.authority.begin(), Err(Error::Transient(_))));
    let again = start(&domain, "n2");
    assert!(again.resolved.commit.is_none());
    assert_eq!(read_all(&topic).len(), 0);
}

#[test]
fn sinks_follow_to_the_producer_of_a_re_claim() {
    let topic = topic("reclaim", 1, &[]);
    let domain = domain("reclaim", &[&topic]);
    let mut attempt = start(&domain, "n1");
    let mut sink = sink(&attempt, &topic);
    attempt.authority.begin().expect("begun");
    write(&mut sink, &rows(0..10));
    sink.on_barrier(Epoch(1)).expect("a barrier");
    attempt.authority.flush().expect("acknowledged");
    attempt.authority.mark(&commit(1, attempt.token)).expect("marked");
    committed(attempt.authority.commit());
    write(&mut sink, &rows(10..20));

    let ids = vec![domain.transactional_id()];
    attempt.authority.fence(&ids).expect("fenced again");
    committed(attempt.authority.claim(&claim("n2", ids)));
    let resolved = attempt.authority.resolve("n2").expect("resolved");
    assert_eq!(resolved.claim_before.map(|(token, c)| (token, c.nonce)), Some((attempt.token, "n1".into())));
    assert_eq!(resolved.commit.map(|c| c.epoch), Some(Epoch(1)));

    attempt.authority.begin().expect("begun");
    sink.on_released(Epoch(1)).expect("released");
    attempt.authority.flush().expect("acknowledged");
    attempt.authority.mark(&commit(2, attempt.token)).expect("marked");
    committed(attempt.authority.commit());
    wait_for("all rows", || values(&read_all(&topic)) == (0..20).collect::<Vec<_>>());
}

#[test]
fn an_open_transaction_is_listed_and_abort_ends_it() {
    let topic = topic("list", 1, &[]);
    let domain = domain("list", &[&topic]);
    let mut attempt = start(&domain, "n1");
    let mut sink = sink(&attempt, &topic);
    attempt.authority.begin().expect("begun");
    write(&mut sink, &rows(0..3));
    attempt.authority.flush().expect("acknowledged");
    let listing = list_transactions(&domain).expect("a listing");
    assert_eq!(listing.owner.map(|c| c.nonce), Some("n1".into()));
    let held = Held { topic: topic.clone(), partition: 0, last_stable_offset: 0, high_watermark: 3 };
    assert_eq!(listing.held, [held]);
    assert_eq!(abort_transactions(&domain).expect("aborted"), [domain.transactional_id()]);
    wait_for("the partition to be free", || list_transactions(&domain).expect("a listing").held.is_empty());
    assert!(matches!(attempt.authority.commit(), Outcome::Unknown(_)));
}
