//! `make kill-kafka`: ip-count from Kafka to Kafka over a long input, once undisturbed, which is the truth, and once under
//! many SIGKILLs at random moments; then both outputs are compared key by key. Too long for every run of the tests.

use std::collections::HashMap;
use std::fs;
use std::time::Duration;

use serde_json::Value;
use weir_tests::ip_count::IpCount;
use weir_tests::kafka::{Broker, Isolation, PATIENCE};
use weir_tests::process::Weir;
use weir_tests::wait::try_wait_for;

/// For one run to its end.
const DEADLINE: Duration = Duration::from_secs(3600);
/// The shortest life of a process that is to be killed: before its first fence.
const FIRST: Duration = Duration::from_millis(20);

/// Per key the windows and counts in the order of the sink.
type Rows = HashMap<String, Vec<(i64, u64)>>;

#[test]
#[ignore = "takes minutes: `make kill-kafka`"]
fn killed_many_times_over_a_long_input_nothing_is_lost_doubled_or_reordered() {
    let (kills, records) = (number("KILLS", 50), number("RECORDS", 20_000_000));
    let seed = weir_tests::seed();
    let broker = Broker::of_this_run();
    let source = broker.topic("long-input", 2);
    println!("{records} records into a topic");
    fill(broker, &source, records);

    println!("first run, without kills");
    let undisturbed = IpCount::over(broker, &source);
    let begun = weir::clock::now();
    undisturbed.finish(DEADLINE);
    let length = begun.elapsed();
    let truth = rows(broker, &undisturbed);
    let counted: u64 = truth.values().flatten().map(|(_, count)| count).sum();
    assert_eq!(counted, records, "no record is late, so each is in one window");

    println!("second run, {kills} kills, seed {seed} (WEIR_TEST_SEED={seed} repeats it)");
    let killed = IpCount::over(broker, &source);
    // On average as much time as there is work: what starts take away is left for the last run.
    let longest = (2 * length / (kills as u32 + 1)).as_millis() as u64;
    for kill in 0..kills {
        let moment = FIRST + Duration::from_millis(weir_tests::mix(seed, kill) % longest.max(1));
        let mut process = killed.run().spawn();
        let ended = try_wait_for(moment, || process.try_exit());
        assert_eq!(
            ended,
            None,
            "it ended before kill number {}: more RECORDS or fewer KILLS\n{}",
            kill + 1,
            process.stderr()
        );
        process.kill_and_wait();
        println!("  kill -9 number {}, {} ms after its start", kill + 1, moment.as_millis());
    }
    killed.finish(DEADLINE);

    let (lost, doubled, reordered) = compare(&truth, &rows(broker, &killed));
    println!("{kills} kill -9, {records} in, {lost} lost, {doubled} duplicated, {reordered} reordered");
    assert_eq!((lost, doubled, reordered), (0, 0, 0));
}

#[test]
fn what_is_lost_doubled_or_reordered_is_counted() {
    let one_key = |rows: &[(i64, u64)]| Rows::from([("10.0.0.1".to_owned(), rows.to_vec())]);
    let truth = one_key(&[(0, 3), (5_000, 2), (10_000, 1)]);
    assert_eq!(compare(&truth, &truth), (0, 0, 0));
    assert_eq!(compare(&truth, &one_key(&[(0, 3), (10_000, 1)])), (1, 0, 0));
    assert_eq!(compare(&truth, &one_key(&[(0, 3), (0, 3), (5_000, 2), (10_000, 1)])), (0, 1, 0));
    assert_eq!(compare(&truth, &one_key(&[(5_000, 2), (0, 3), (10_000, 1)])), (0, 0, 1));
    assert_eq!(compare(&truth, &Rows::new()), (3, 0, 0));
    assert_eq!(compare(&Rows::new(), &truth), (0, 3, 0));
}

fn number(name: &str, default: u64) -> u64 {
    let set = std::env::var(name).ok().filter(|text| !text.is_empty());
    set.map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is a number, not {text:?}")))
}

/// By weir itself. 100,000 keys, 100,000 records per second of event time, out of order by less than the pipeline's bound:
/// so each window fires once, with its total, in whichever order the partitions are read, and two runs can be compared.
#[track_caller]
fn fill(broker: &Broker, topic: &str, records: u64) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("fill.toml");
    let (name, brokers) = (weir_tests::unique("fill"), broker.brokers());
    let text = format!(
        r#"version = 1
name = "{name}"
[sources.requests]
type = "generator"
seed = 7
count = {records}
template = '{{"ip":"{{{{ip 100000}}}}","ts":{{{{time 1700000000000 0.01 900}}}},"path":"/a/{{{{int 1 99}}}}","status":200,"bytes":{{{{int 100 9999}}}}}}'
event_time = {{ json = "/ts", unit = "ms" }}
[sinks.topic]
type = "kafka"
inputs = ["requests"]
brokers = "{brokers}"
topic = "{topic}"
"#
    );
    fs::write(&file, text).unwrap();
    Weir::run(&file, folder.path().join("state")).finish(DEADLINE).expect_success();
}

#[track_caller]
fn rows(broker: &Broker, pipeline: &IpCount<'_>) -> Rows {
    broker.wait_until_no_open_transaction(pipeline.sink(), PATIENCE);
    let mut rows = Rows::new();
    for row in broker.read(pipeline.sink(), Isolation::Committed) {
        let value: Value = serde_json::from_str(&row.value_text()).unwrap();
        let counted = (value["window_start"].as_i64().unwrap(), value["count"].as_u64().unwrap());
        rows.entry(row.key_text()).or_default().push(counted);
    }
    rows
}

/// Lost and doubled rows as differences of multisets per key; keys whose rows are all there in another order.
fn compare(truth: &Rows, found: &Rows) -> (usize, usize, usize) {
    let (mut lost, mut doubled, mut reordered) = (0, 0, 0);
    let nothing = Vec::new();
    let others = found.keys().filter(|key| !truth.contains_key(*key));
    for key in truth.keys().chain(others) {
        let (expected, found) = (truth.get(key).unwrap_or(&nothing), found.get(key).unwrap_or(&nothing));
        let mut difference: HashMap<(i64, u64), i64> = HashMap::new();
        expected.iter().for_each(|row| *difference.entry(*row).or_default() -= 1);
        found.iter().for_each(|row| *difference.entry(*row).or_default() += 1);
        let (missing, more): (Vec<i64>, Vec<i64>) = difference.into_values().filter(|n| *n != 0).partition(|n| *n < 0);
        lost += missing.iter().sum::<i64>().unsigned_abs() as usize;
        doubled += more.iter().sum::<i64>() as usize;
        reordered += usize::from(missing.is_empty() && more.is_empty() && expected != found);
    }
    (lost, doubled, reordered)
}
