//! Transactions that were open when a pipeline died: what was in them is never read, and nobody waits for their time-out.

use weir_tests::draft::Draft;
use weir_tests::kafka::{Broker, Isolation, PATIENCE};
use weir_tests::process::{Exit, Weir};
use weir_tests::wait::wait_until;

use super::{expect_chains, to_kafka, values};
use crate::place::{Place, SOON, guest};

const ROWS: usize = 4_000;
const MADE: &str = "count = 4000\nrate = 1500";
/// The same without an end, for who dies before any commit: however late it is seen, there was no last one.
const ENDLESS: &str = "rate = 1500";
const OFTEN: &str = "interval = \"50ms\"";

/// `KafkaSinkITCase#testRecoveryWithExactlyOnceGuarantee`, with a second and a third crash while it recovers.
#[test]
fn operator_that_fails_behind_a_checkpoint_leaves_what_was_committed_and_recovery_may_crash_twice() {
    let (broker, name) = (Broker::of_this_run(), weir_tests::unique("fails"));
    let topic = broker.topic("fails", 2);
    let restart = "strategy = \"fixed-delay\"\nattempts = 9\ndelay = \"10ms\"";
    let file = |config: &str| {
        let draft = Draft::new(&name, "interval = \"300ms\"").table("restart", restart).records("made", 10, MADE);
        let draft = draft.node("bad", &guest("hostile"), &["made"], "/k", &format!("config = {{ {config} }}"));
        let draft = draft.node("ledger", &guest("ledger"), &["bad"], "/k", "");
        draft.kafka_sink("out", &["ledger"], broker.brokers(), &topic)
    };
    let place = Place::over(&file(r#"do = "fail", on = '"seq":2500,'"#));
    let failed = place.finish().expect(Exit::Code(1));
    assert!(failed.stderr.contains("the same failure came three times: node `bad`"), "{failed}");
    assert_eq!(broker.open_transactions(&topic), [0; 0], "nobody will start it again, so it ended its own");
    // What it wrote past its newest checkpoint is in the topic, and no committed reader sees it.
    let committed = expect_chains(&values(broker, &topic, Isolation::Committed));
    let written = values(broker, &topic, Isolation::Uncommitted).len();
    assert!(0 < committed && committed < 2_500 && committed < written, "{committed} of {written}");

    place.pipeline(file("").text());
    for point in ["restore.db_opened", "restore.db_opened", "claim.acked"] {
        place.run().crash_at(point, 1).finish(SOON).expect(Exit::KILLED);
    }
    place.finish().expect_success();
    broker.wait_until_no_open_transaction(&topic, PATIENCE);
    assert_eq!(expect_chains(&values(broker, &topic, Isolation::Committed)), ROWS);
}

/// `KafkaSinkITCase#testAbortTransactionsOfPendingCheckpointsAfterFailure`. There is no prefix to be changed: the successor
/// has the dead one's id, and ends its transaction before it reads anything.
#[test]
fn transaction_of_one_that_died_before_its_commit_holds_nobody_up() {
    let (broker, name) = (Broker::of_this_run(), weir_tests::unique("died"));
    let topic = broker.topic("died", 1);
    let place = Place::over(&to_kafka(&name, OFTEN, MADE, broker, &topic));
    let nth = 2 + (weir_tests::seed() % 4) as u32;
    place.run().crash_at("mark.acked", nth).finish(SOON).expect(Exit::KILLED);
    assert_eq!(broker.open_transactions(&topic), [0], "its time-out of two minutes is not over");
    let before = expect_chains(&values(broker, &topic, Isolation::Committed));
    // Killed again as soon as it has committed: until then it has hidden its rows itself.
    place.run().crash_at("txn.commit_acked", 1).finish(SOON).expect(Exit::KILLED);
    assert!(expect_chains(&values(broker, &topic, Isolation::Committed)) > before, "new rows are readable at once");
    place.finish().expect_success();
    broker.wait_until_no_open_transaction(&topic, PATIENCE);
    assert_eq!(expect_chains(&values(broker, &topic, Isolation::Committed)), ROWS);
}

/// Hazard 2 of `docs/semantics.md`: a job that is cancelled leaves its transaction open, and committed readers stall.
#[test]
fn cancelled_pipeline_holds_no_reader_up() {
    let (broker, name) = (Broker::of_this_run(), weir_tests::unique("cancelled"));
    let topic = broker.topic("cancelled", 1);
    let never = "interval = \"10m\"";
    let place = Place::over(&to_kafka(&name, never, ENDLESS, broker, &topic));
    let process = place.run().spawn();
    wait_until(PATIENCE, "rows of its first transaction", || !broker.open_transactions(&topic).is_empty());
    let cancel = Weir::new(["cancel", &name, "--state", "state"]).directory(place.path(""));
    cancel.finish(SOON).expect_success();
    process.wait(SOON).expect_success();
    assert_eq!(broker.open_transactions(&topic), [0; 0]);
    assert_eq!(values(broker, &topic, Isolation::Committed), [""; 0]);
    place.pipeline(to_kafka(&name, never, MADE, broker, &topic).text());
    place.finish().expect_success();
    assert_eq!(expect_chains(&values(broker, &topic, Isolation::Committed)), ROWS);
}

/// The same, where nobody will start the dead one again: another pipeline writes to the topic.
#[test]
fn transaction_of_one_that_will_not_come_back_is_ended_by_hand() {
    let (broker, name) = (Broker::of_this_run(), weir_tests::unique("gone"));
    let topic = broker.topic("gone", 1);
    let place = Place::over(&to_kafka(&name, OFTEN, MADE, broker, &topic));
    place.run().crash_at("mark.acked", 3).finish(SOON).expect(Exit::KILLED);
    assert_eq!(broker.open_transactions(&topic), [0]);
    let before = values(broker, &topic, Isolation::Committed).len();
    let other = Place::over(&to_kafka(&weir_tests::unique("other"), OFTEN, "count = 100", broker, &topic));
    other.finish().expect_success();
    assert_eq!(values(broker, &topic, Isolation::Committed).len(), before, "behind the open one");
    let abort = Weir::new(["txn", "abort", "p.toml"]).directory(place.path(""));
    abort.finish(SOON).expect_success();
    wait_until(PATIENCE, "the rows of the other one", || {
        values(broker, &topic, Isolation::Committed).len() == before + 100
    });
}

/// `KafkaSinkITCase#testAbortTransactionsAfterScaleInBeforeFirstCheckpoint`, and wider again.
#[test]
fn died_before_its_first_checkpoint_it_starts_narrower_and_nothing_of_it_stays_open() {
    let (broker, name) = (Broker::of_this_run(), weir_tests::unique("scale"));
    let topic = broker.topic("scale", 3);
    let file = |interval: &str, made: &str, subtasks: u32| {
        let checkpoint = format!("interval = \"{interval}\"");
        let draft = Draft::new(&name, &checkpoint).records("made", 10, made);
        let wide = format!("parallelism = {subtasks}");
        let draft = draft.node("ledger", &guest("ledger"), &["made"], "/k", &wide);
        draft.kafka_sink("out", &["ledger"], broker.brokers(), &topic)
    };
    let place = Place::over(&file("10m", ENDLESS, 5));
    let mut dies = place.run().spawn();
    wait_until(PATIENCE, "rows of its first transaction", || !broker.open_transactions(&topic).is_empty());
    dies.kill9();
    dies.wait(SOON);
    assert_eq!(values(broker, &topic, Isolation::Committed), [""; 0]);
    for (subtasks, nth) in [(1, 3), (2, 2), (6, 3), (5, 2)] {
        place.pipeline(file("50ms", MADE, subtasks).text());
        place.run().crash_at("mark.acked", nth).finish(SOON).expect(Exit::KILLED);
    }
    place.pipeline(file("50ms", MADE, 3).text());
    place.finish().expect_success();
    broker.wait_until_no_open_transaction(&topic, PATIENCE);
    assert_eq!(expect_chains(&values(broker, &topic, Isolation::Committed)), ROWS);
}
