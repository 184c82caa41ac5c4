//! What is found wrong with a pipeline. How it looks in a file is tested where files are read.

use std::time::Duration;

use super::super::sample::{kafka, pipeline};
use super::super::spec::*;
use super::check;
use crate::restart::Strategy;

/// The faults as `path: message`, sorted.
fn faults(pipeline: &Pipeline) -> Vec<String> {
    let mut faults: Vec<String> = check(pipeline).iter().map(|f| format!("{}: {}", f.path, f.message)).collect();
    faults.sort();
    faults
}

fn line() -> Pipeline {
    pipeline(&["src"], &[("count", &["src"])], &[("out", &["count"])])
}

#[test]
fn a_plain_pipeline_has_no_fault() {
    assert_eq!(faults(&line()), [""; 0]);
    assert_eq!(faults(&pipeline(&["src"], &[], &[("out", &["src"])])), [""; 0]);
}

#[test]
fn a_pipeline_needs_both_ends() {
    let empty = faults(&pipeline(&[], &[], &[]));
    assert_eq!(empty, [": the pipeline has no sink", ": the pipeline has no source"]);
}

#[test]
fn edges_lead_from_nodes_that_exist() {
    let wrong = pipeline(
        &["src"],
        &[("count", &["scr"]), ("empty", &[]), ("twice", &["src", "src"])],
        &[("out", &["src.port", "out", "nowhere", "count", "empty", "twice"])],
    );
    assert_eq!(
        faults(&wrong),
        [
            "nodes.count.inputs[0]: no source or node is named `scr`",
            "nodes.empty.inputs: nodes.empty has no inputs",
            "nodes.twice.inputs[1]: `src` is an input of nodes.twice twice",
            "sinks.out.inputs[0]: the source `src` has no port `port`",
            "sinks.out.inputs[1]: `out` is a sink: nothing comes out of it",
            "sinks.out.inputs[2]: no source or node is named `nowhere`",
        ]
    );
}

#[test]
fn each_cycle_is_shown_once_in_the_direction_of_the_records() {
    let own = pipeline(&["src"], &[("a", &["src", "a"])], &[("out", &["a"])]);
    assert_eq!(faults(&own), ["nodes.a.inputs[1]: the nodes form a cycle: a → a"]);
    let ring = pipeline(&["src"], &[("a", &["src", "c"]), ("b", &["a"]), ("c", &["b"])], &[("out", &["c"])]);
    assert_eq!(faults(&ring), ["nodes.b.inputs[0]: the nodes form a cycle: b → c → a → b"]);
    let diamond = pipeline(&["src"], &[("a", &["src"]), ("b", &["a"]), ("c", &["a", "b"])], &[("out", &["c"])]);
    assert_eq!(faults(&diamond), [""; 0]);
}

#[test]
fn one_name_means_one_thing() {
    let twice = pipeline(&["x"], &[("x", &["x"])], &[("x", &["x"])]);
    let messages = faults(&twice).join("\n");
    assert!(messages.contains("nodes.x: the name `x` stands twice: sources.x and nodes.x"), "{messages}");
    assert!(messages.contains("sinks.x: the name `x` stands twice: nodes.x and sinks.x"), "{messages}");
}

#[test]
fn state_has_one_heir_and_its_previous_name_is_nobodys() {
    let mut renamed = pipeline(
        &["src"],
        &[("a", &["src"]), ("b", &["src"]), ("c", &["src"]), ("d", &["src"])],
        &[("out", &["a", "b", "c", "d"])],
    );
    for (node, previous) in renamed.nodes.iter_mut().zip(["old", "old", "src", "d"]) {
        node.previous_name = Some(super::super::sample::name(previous));
    }
    assert_eq!(
        faults(&renamed),
        [
            "nodes.b.previous_name: `old` is the previous name of `a` too",
            "nodes.c.previous_name: `src` is there: sources.src keeps its own state",
            "nodes.d.previous_name: `d` is there: nodes.d keeps its own state",
        ]
    );
    renamed.nodes.iter_mut().zip(["w", "x", "y", "z"]).for_each(|(node, previous)| {
        node.previous_name = Some(super::super::sample::name(previous));
    });
    assert_eq!(faults(&renamed), [""; 0]);
}

#[test]
fn a_pause_is_not_over_the_interval() {
    let mut line = line();
    line.checkpoint.min_pause = line.checkpoint.interval;
    assert_eq!(faults(&line), [""; 0]);
    line.checkpoint.min_pause += Duration::from_millis(1);
    let expected = "checkpoint.min_pause: `min_pause` of 1001ms is over `interval` of 1s: no checkpoint would come at its interval";
    assert_eq!(faults(&line), [expected]);
}

#[test]
fn the_first_wait_is_not_over_the_longest() {
    let mut line = line();
    let strategy = |delay| Strategy::Exponential {
        delay,
        max_delay: Duration::from_secs(1),
        multiplier: 2,
        reset_after: Duration::from_secs(60),
    };
    line.restart = strategy(Duration::from_secs(1));
    assert_eq!(faults(&line), [""; 0]);
    line.restart = strategy(Duration::from_millis(1001));
    let expected =
        "restart.max_delay: `delay` of 1001ms is over `max_delay` of 1s: the first wait would be the longest";
    assert_eq!(faults(&line), [expected]);
}

#[test]
fn what_nobody_takes_is_a_warning() {
    let unused = pipeline(&["src", "idle"], &[("count", &["src"])], &[("out", &["src"])]);
    let expected =
        ["nodes.count: nothing takes the records of `count`", "sources.idle: nothing takes the records of `idle`"];
    assert_eq!(faults(&unused), expected);
    assert!(check(&unused).iter().all(|f| f.severity == super::super::fault::Severity::Warning));
}

#[test]
fn a_transaction_outlives_the_longest_epoch() {
    let mut short = line();
    short.sinks[0].kind = kafka(Some(90));
    let message = "sinks.out.transaction.timeout: the transaction times out after 90s, but an epoch may need 91s: \
                   interval 1s + checkpoint timeout 60s + 30s";
    assert_eq!(faults(&short), [message]);
    short.sinks[0].kind = kafka(Some(91));
    assert_eq!(faults(&short), [""; 0]);
    // Without a number of its own it follows.
    short.sinks[0].kind = kafka(None);
    short.checkpoint.interval = Duration::from_secs(600);
    assert_eq!(faults(&short), [""; 0]);
    let SinkKind::Kafka(sink) = &short.sinks[0].kind else { panic!("it is a Kafka sink") };
    assert_eq!(short.transaction_timeout(sink), Duration::from_secs(690));
    assert_eq!(line().transaction_timeout(sink), Duration::from_secs(120));
}

#[test]
fn rows_are_given_up_before_their_transaction_is() {
    let mut long = line();
    let SinkKind::Kafka(mut sink) = kafka(Some(120)) else { panic!("it is a Kafka sink") };
    sink.client.options =
        [("message.timeout.ms", "120001"), ("socket.timeout.ms", "120100")].map(|(k, v)| (k.into(), v.into())).into();
    long.sinks[0].kind = SinkKind::Kafka(sink);
    let message = "sinks.out.options.message.timeout.ms: message.timeout.ms of 120001 is more than the transaction's time-out of 120s";
    assert_eq!(faults(&long), [message]);
}

#[test]
fn what_must_not_be_zero_is_not() {
    let mut zero = line();
    zero.checkpoint =
        Checkpoint { interval: Duration::ZERO, timeout: Duration::ZERO, retain: 0, ..Checkpoint::default() };
    let tick = Duration::from_micros(1_500);
    zero.sources[0].watermark =
        WatermarkSettings { tick, idle_after: Some(Duration::ZERO), ..WatermarkSettings::default() };
    assert_eq!(
        faults(&zero),
        [
            "checkpoint.interval: `interval` must be longer than zero",
            "checkpoint.retain: at least one snapshot must be kept",
            "checkpoint.timeout: `timeout` must be longer than zero",
            "sources.src.watermark.idle_after: `idle_after` must be longer than zero",
            "sources.src.watermark.tick: a tick of 1500us is not a whole number of milliseconds above zero",
        ]
    );
}

#[test]
fn stdin_promises_nothing_and_stdout_says_so() {
    let mut pipeline = line();
    pipeline.sources[0].kind = SourceKind::Stdin;
    pipeline.sinks[0].kind = SinkKind::Stdout;
    assert_eq!(
        faults(&pipeline),
        [
            "sinks.out.type: stdout stands outside the guarantee: after a failure rows can appear again",
            "sources.src.type: stdin cannot be read twice, so it cannot be exactly-once",
        ]
    );
    pipeline.checkpoint.guarantee = Guarantee::None;
    assert_eq!(faults(&pipeline), [""; 0]);
}

#[test]
fn pointers_and_logins_are_looked_at() {
    let mut wrong = line();
    wrong.sources[0].event_time = EventTime::Json { pointer: "ts".into(), unit: Unit::Millis };
    wrong.nodes[0].inputs[0].key = Some(Key::Json("/~2".into()));
    let SinkKind::Kafka(mut sink) = kafka(None) else { panic!("it is a Kafka sink") };
    sink.client.security = Security { protocol: Protocol::SaslSsl, username: Some("u".into()), ..Security::default() };
    wrong.sinks[0].kind = SinkKind::Kafka(sink);
    assert_eq!(
        faults(&wrong),
        [
            "nodes.count.key.json: \"/~2\" is not a JSON pointer: ~ is written ~0, and / within a name ~1",
            "sinks.out.security: sasl_ssl needs mechanism, username and password",
            "sources.src.event_time.json: \"ts\" is not a JSON pointer: it does not start with /",
        ]
    );
}

#[test]
fn two_file_sinks_do_not_share_a_folder() {
    let mut shared = pipeline(&["src"], &[], &[("a", &["src"]), ("b", &["src"])]);
    shared.sinks[1].kind = shared.sinks[0].kind.clone();
    assert_eq!(faults(&shared), ["sinks.b.path: the sinks `a` and `b` write into the same folder"]);
}
