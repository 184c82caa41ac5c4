//! The broker stands still for longer than a transaction may be open.

use weir_tests::kafka::{Broker, Isolation, PATIENCE};
use weir_tests::wait::wait_until;

use super::{expect_chains, to_kafka, values};
use crate::place::{Place, SOON};

const ROWS: usize = 12_000;

/// Behind the pause the broker ends the transaction, and the process that lived all the while makes its rows again.
#[test]
fn broker_that_paused_for_longer_than_the_transaction_time_out_loses_and_doubles_nothing() {
    let (broker, name) = (Broker::start(), weir_tests::unique("pause"));
    let topic = broker.topic("pause", 2);
    // Without a margin weir gives up when the broker does, and not before.
    let often = "interval = \"100ms\"\ntimeout = \"1s\"\nmargin = \"0s\"";
    let made = format!("count = {ROWS}\nrate = 3000");
    let draft = to_kafka(&name, often, &made, &broker, &topic).table("sinks.out.transaction", "timeout = \"2s\"");
    let place = Place::over(&draft);
    let mut process = place.run().spawn();
    let committed = || broker.ends(&topic, Isolation::Committed).iter().sum::<i64>();
    wait_until(PATIENCE, "rows are committed", || committed() > 0);
    wait_until(PATIENCE, "a transaction is open", || !broker.open_transactions(&topic).is_empty());
    broker.pause();
    process.wait_for_line(SOON, "; restart ");
    broker.resume();
    process.wait(SOON).expect_success();
    broker.wait_until_no_open_transaction(&topic, PATIENCE);
    assert_eq!(expect_chains(&values(&broker, &topic, Isolation::Committed)), ROWS);
}
