//! Many subtasks: what comes out is what one subtask makes of it, killed at each point of the protocol, and started again
//! with another parallelism.

use std::fs;
use std::time::Duration;

use weir_tests::ip_count::IpCount;
use weir_tests::kafka::Broker;
use weir_tests::ledger::Workload;
use weir_tests::process::{Exit, Weir};

use crate::local::{EVEN, Output, each, is_at_start, ledger, points, truth};
use crate::place::{Place, SOON};

/// For one run to its end on a busy machine.
const DEADLINE: Duration = Duration::from_secs(120);

/// The ledger of `local`, its node with so many subtasks from the next start on.
pub(crate) fn spread(place: &Place, parallelism: u32) {
    let text = fs::read_to_string(place.path("p.toml")).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with("parallelism"));
    let text: String = lines.map(|line| format!("{line}\n")).collect();
    let (before, behind) = text.split_once("[nodes.ledger]\n").unwrap();
    place.pipeline(&format!("{before}[nodes.ledger]\nparallelism = {parallelism}\n{behind}"));
}

#[test]
fn killed_at_each_point_three_subtasks_give_what_one_gives() {
    let truth = truth(EVEN);
    let cases: Vec<(&str, u32)> =
        points().filter(|point| !is_at_start(point)).flat_map(|point| [1, 3].map(|nth| (point, nth))).collect();
    each(&cases, |(point, nth)| {
        let place = ledger(EVEN);
        spread(&place, 3);
        place.run().crash_at(point, *nth).finish(SOON).expect(Exit::KILLED);
        place.finish().expect_success();
        Output::of(&place).expect(&truth, &format!("{point}:{nth}"));
    });
}

#[test]
fn started_again_with_another_parallelism_after_each_kill_nothing_is_lost_doubled_or_reordered() {
    let truth = truth(EVEN);
    let place = ledger(EVEN);
    for parallelism in [1, 2, 4, 3, 128, 1] {
        spread(&place, parallelism);
        let exit = place.run().crash_at("epoch.advanced", 4).finish(SOON).exit;
        assert!(matches!(exit, Exit::KILLED | Exit::Code(0)), "{parallelism}: {exit:?}");
    }
    place.finish().expect_success();
    Output::of(&place).expect(&truth, "1, 2, 4, 3, 128, 1");
}

#[test]
fn rescaled_on_kafka_with_kills_between_nothing_is_lost_or_doubled() {
    let workload = Workload { records: 200_000, per_second: 10_000, late: Some((97, 3_000)), ..Workload::default() };
    let mut pipeline = IpCount::on(Broker::of_this_run(), &workload);
    pipeline.set("checkpoint.interval", "20ms");
    // The third reader of two partitions has none, and holds nothing back.
    for (readers, subtasks) in [(1, 1), (2, 2), (3, 4), (2, 3), (1, 1)] {
        pipeline.set("sources.requests.parallelism", readers);
        pipeline.set("nodes.count.parallelism", subtasks);
        let exit = pipeline.run().crash_at("epoch.advanced", 4).finish(DEADLINE).exit;
        assert!(matches!(exit, Exit::KILLED | Exit::Code(0)), "{readers}, {subtasks}: {exit:?}");
    }
    pipeline.finish(DEADLINE);
    pipeline.judge().expect_clean();
}

#[test]
fn graph_shows_subtasks_chains_and_exchanges() {
    let place = ledger(EVEN);
    spread(&place, 3);
    let graph = |format: &str| {
        let command = Weir::new(["graph", "--format", format]).argument(place.path("p.toml"));
        command.finish(SOON).expect_success().stdout
    };
    assert_eq!(
        graph("text"),
        "ledger\nchain 1  1 subtask: fast\nchain 2  1 subtask: slow\nchain 3  3 subtasks: ledger\n         from fast, by \
         key /k\n         from slow, by key /k\nchain 4  1 subtask: chain\n         from ledger.out, rebalance\nchain 5  1 \
         subtask: timers\n         from ledger.fired, rebalance\n"
    );
    let json: serde_json::Value = serde_json::from_str(&graph("json")).unwrap();
    assert_eq!(json["nodes"][2]["subtasks"], 3);
    assert_eq!(json["edges"][0]["exchange"], "key");
    assert!(
        graph("dot").contains("\"fast\" -> \"ledger\"") && graph("mermaid").contains("fast -->|\"by key /k\"| ledger")
    );
}
