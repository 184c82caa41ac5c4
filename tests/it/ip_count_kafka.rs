//! ip-count on Kafka, exactly once: killed at each step of its protocol and at random moments, frozen, fenced, with a
//! commit that arrives late. Judged by what read_committed shows at the end: nothing lost, doubled or out of order.

use std::time::Duration;

use weir::crash::POINTS;
use weir_tests::ip_count::IpCount;
use weir_tests::kafka::{Broker, PATIENCE};
use weir_tests::ledger::Workload;
use weir_tests::process::{Exit, Process};
use weir_tests::proxy::{Act, Api, Proxy, Side};
use weir_tests::wait::try_wait_for;

use crate::local::OF_A_SERVER;
use crate::place::copy_folder;

/// For one run to its end on a busy machine.
const DEADLINE: Duration = Duration::from_secs(120);

/// The points that this pipeline passes: all but those of several inputs, of the authority `CURRENT` and its file sinks, of
/// migrations, of uploads and of a server. A new one is tested by itself, and one that is never passed fails the test.
fn points() -> impl Iterator<Item = &'static str> {
    let elsewhere = ["align.first_input", "current.", "sink.", "migrate."];
    let others =
        move |point: &&str| !elsewhere.iter().chain(OF_A_SERVER).any(|prefix: &&str| point.starts_with(prefix));
    POINTS.iter().copied().filter(others)
}

/// Long enough for some tens of checkpoints.
fn pipeline() -> IpCount<'static> {
    let workload = Workload { records: 200_000, per_second: 10_000, late: Some((97, 3_000)), ..Workload::default() };
    let mut pipeline = IpCount::on(Broker::of_this_run(), &workload);
    pipeline.set("checkpoint.interval", "20ms");
    // Snapshots are deleted from the second commit on: on a slow machine there are only a few.
    pipeline.set("checkpoint.retain", 1);
    pipeline
}

#[test]
fn killed_at_the_first_three_hits_of_each_crash_point_nothing_is_lost_or_doubled() {
    let mut never = Vec::new();
    for point in points() {
        let pipeline = pipeline();
        if point.starts_with("restore.") {
            // Something to restore: the first start of all has nothing, nor has an epoch in which no record came yet.
            // The second transaction with rows begins after one was committed.
            pipeline.run().crash_at("txn.first_row", 2).finish(DEADLINE).expect(Exit::KILLED);
        }
        let mut kills = 0;
        for nth in 1..=3 {
            let finished = pipeline.run().crash_at(point, nth).finish(DEADLINE);
            match finished.exit {
                Exit::KILLED => kills += 1,
                // Ended before the nth hit.
                Exit::Code(0) => break,
                _ => panic!("{point}: run {nth}: {finished}"),
            }
        }
        if kills == 0 {
            never.push(point);
        }
        pipeline.finish(DEADLINE);
        let verdict = pipeline.judge();
        assert!(verdict.is_clean(), "{point}, {kills} kills: {verdict}");
    }
    assert!(never.is_empty(), "crash points that were never passed: {never:?}");
}

#[test]
fn killed_twelve_times_at_random_moments_nothing_is_lost_or_doubled() {
    let seed = weir_tests::seed();
    let pipeline = pipeline();
    for kill in 0..12 {
        let mut process = pipeline.run().spawn();
        // From before the first fence to well into the stream.
        let moment = Duration::from_millis(20 + weir_tests::mix(seed, kill) % 900);
        if try_wait_for(moment, || process.try_exit()).is_none() {
            process.kill_and_wait();
        }
    }
    pipeline.finish(DEADLINE);
    let verdict = pipeline.judge();
    assert!(verdict.is_clean(), "WEIR_TEST_SEED={seed}: {verdict}");
}

#[test]
fn commit_that_arrives_after_the_successor_has_started_commits_nothing() {
    let mut pipeline = pipeline();
    let client = pipeline.sink_through(Proxy::of_this_run());
    client.on_nth(4, Api::END_TXN, Side::Request, Act::Hold);
    let process = pipeline.run().spawn();
    let held = client.wait_for_held(PATIENCE);
    process.kill_and_wait();
    client.clear_rules();

    let mut successor = pipeline.run().spawn();
    let answers = client.errors(Api::END_TXN).len();
    // The successor's claim is committed: it owns the id.
    client.wait_for(PATIENCE, "the successor commits", |_| client.errors(Api::END_TXN).len() > answers);
    held.release();
    wait_for_end(&mut successor);
    assert!(client.errors(Api::END_TXN).iter().any(|error| error.is_fenced()), "{:#?}", client.log());
    pipeline.judge().expect_clean();
}

#[test]
fn zombie_that_wakes_before_its_commit_is_deposed_and_harms_nothing() {
    let mut pipeline = pipeline();
    let client = pipeline.sink_through(Proxy::of_this_run());
    client.on_nth(3, Api::END_TXN, Side::Request, Act::Hold);
    let mut zombie = pipeline.run().spawn();
    let held = client.wait_for_held(PATIENCE);
    zombie.freeze();
    client.clear_rules();

    // Its folder is locked as long as it lives: the successor takes a copy, as another host would.
    let elsewhere = pipeline.state().with_file_name("elsewhere");
    copy_folder(&pipeline.state(), &elsewhere);
    let successor = weir_tests::process::Weir::run(pipeline.file(), &elsewhere).argument("--takeover");
    successor.finish(DEADLINE).expect_success();

    zombie.thaw();
    held.release();
    let finished = zombie.wait(DEADLINE);
    assert!(!matches!(finished.exit, Exit::Code(0)), "a deposed instance ends non-zero:\n{finished}");
    pipeline.judge().expect_clean();
}

#[test]
fn commit_whose_answer_is_lost_counts_once() {
    let mut pipeline = pipeline();
    let client = pipeline.sink_through(Proxy::of_this_run());
    client.on_nth(3, Api::END_TXN, Side::Answer, Act::Cut);
    client.on_nth(5, Api::END_TXN, Side::Request, Act::Double);
    pipeline.finish(DEADLINE);
    pipeline.judge().expect_clean();
}

#[track_caller]
fn wait_for_end(process: &mut Process) {
    let exit = try_wait_for(DEADLINE, || process.try_exit());
    assert_eq!(exit, Some(Exit::Code(0)), "{}", process.stderr());
}
