//! The broker ends a transaction because it was open for too long, while the weir that opened it lives: its commit does not
//! get through, or the whole process stands still. Then weir must see that these rows never were, and make them again.

use std::time::Duration;

use weir_tests::ip_count::IpCount;
use weir_tests::kafka::{Broker, PATIENCE};
use weir_tests::ledger::Workload;
use weir_tests::proxy::{Act, Api, Client, Proxy, Side};
use weir_tests::wait::wait_until;

const DEADLINE: Duration = Duration::from_secs(120);

#[test]
fn a_commit_that_never_arrives_times_out_and_the_living_weir_makes_its_rows_again() {
    let broker = Broker::of_this_run();
    let (pipeline, client) = pipeline_with_short_transactions(broker);
    let process = pipeline.run().spawn();
    wait_for_the_brokers_abort(broker, &pipeline, &client);
    // What the broker has aborted must not be committed by the request that comes after all.
    client.clear_rules();
    while let Some(held) = client.take_held() {
        held.release();
    }
    let finished = process.wait(DEADLINE).expect_success();
    assert!(finished.stderr.contains("; restart 1 in "), "it lived on and restored: {finished}");
    pipeline.judge().expect_clean();
}

#[test]
fn a_weir_that_stood_still_past_the_time_out_goes_on_from_the_newest_commit() {
    let broker = Broker::of_this_run();
    let (pipeline, client) = pipeline_with_short_transactions(broker);
    let mut process = pipeline.run().spawn();
    let held = client.wait_for_held(PATIENCE);
    process.freeze();
    wait_for_the_brokers_abort(broker, &pipeline, &client);
    client.clear_rules();
    // The refusal lies ready when it wakes.
    held.release();
    wait_until(PATIENCE, "the broker refuses the late commit", || {
        client.errors(Api::END_TXN).iter().any(|error| error.is_fenced())
    });
    process.thaw();
    let finished = process.wait(DEADLINE).expect_success();
    assert!(finished.stderr.contains("; restart 1 in "), "it lived on and restored: {finished}");
    pipeline.judge().expect_clean();
}

/// Its second transaction with rows stays open: neither its commit nor a fence gets through. The first checkpoints on a new
/// broker take their time, and the input must not have ended by then.
fn pipeline_with_short_transactions(broker: &'static Broker) -> (IpCount<'static>, Client) {
    let workload = Workload { records: 300_000, per_second: 10_000, late: Some((97, 3_000)), ..Workload::default() };
    let mut pipeline = IpCount::on(broker, &workload);
    pipeline.set("checkpoint.interval", "20ms");
    pipeline.set("checkpoint.timeout", "1s");
    // Without a margin weir itself gives up as late as it may: when the broker does.
    pipeline.set("checkpoint.margin", "0s");
    pipeline.set("sinks.counts.transaction", toml::Table::from_iter([("timeout".to_owned(), "2s".into())]));
    let client = pipeline.sink_through(Proxy::of_this_run());
    let mut commits = 0;
    client.rule(move |frame| {
        let is_request = frame.side == Side::Request;
        commits += usize::from(is_request && frame.api == Api::END_TXN);
        // The first one is the CLAIM's.
        match frame.api {
            Api::END_TXN if is_request && commits >= 3 => Some(Act::Hold),
            Api::INIT_PRODUCER_ID if is_request && commits >= 3 => Some(Act::Drop),
            _ => None,
        }
    });
    (pipeline, client)
}

/// Nobody but the broker can have ended it: what else could is held back.
#[track_caller]
fn wait_for_the_brokers_abort(broker: &Broker, pipeline: &IpCount<'_>, client: &Client) {
    let commits = format!("__weir.{}.commits", pipeline.name());
    let is_held = |entry: &weir_tests::proxy::Entry| entry.api == Api::END_TXN && entry.act == Act::Hold;
    client.wait_for(PATIENCE, "a commit is held", is_held);
    wait_until(PATIENCE, "the commit record lies in an open transaction", || {
        !broker.open_transactions(&commits).is_empty()
    });
    broker.wait_until_no_open_transaction(&commits, PATIENCE);
}
