//! Whole pipelines, Kafka to Kafka, exactly once, with the release binary: CPU per record of the whole process (user + sys,
//! librdkafka's threads included) over the second half of one run, checkpoint pause, memory. The output is counted before a
//! figure is printed.
//!
//! `.ci/bench pipeline [million records]`, or with a broker of one's own:
//! `WEIR_BIN=… WEIR_TEST_BROKERS=… .ci/cargo bench --workspace --bench pipeline -- [million records]`
//!
//! The input is that of docs/benchmarks.md: 82 bytes a record, 100,000 keys, 2 partitions, 100,000 records a second of
//! event time. A warm-up is not needed: the first half is one.
#![allow(clippy::unwrap_used, reason = "a benchmark ends at the first surprise")]

mod files;
mod output;
mod probe;

use std::time::Duration;

use weir_tests::kafka::Broker;
use weir_tests::process::Weir;

use files::Files;
use probe::Run;

/// Longer than the slowest run.
const PATIENCE: Duration = Duration::from_secs(600);
const PARTITIONS: i32 = 2;

fn main() {
    let numbers: Vec<u64> = std::env::args().skip(1).filter_map(|argument| argument.parse().ok()).collect();
    let records = numbers.first().copied().unwrap_or(20) * 1_000_000;
    let broker = Broker::of_this_run();
    let files = Files::new(broker, records);
    for topic in [&files.source, &files.counts, &files.copy] {
        // The input's times lie in 2023: Kafka's retention would take it away at once.
        broker.create_topic(topic, PARTITIONS, &[("retention.ms", "-1")]);
    }
    println!("{records} records; fill, ip-count, pass-through: each one run, figures of its second half");
    fill(&files);
    let count = Run::watch(Weir::run(files.ip_count(), files.state("ip-count")), "requests", records);
    let rows = output::check_counts(broker, &files.counts, records);
    let copy = Run::watch(Weir::run(files.pass_through(), files.state("pass-through")), "requests", records);
    output::check_copy(broker, &files.copy, records);
    count.report("ip-count", rows);
    copy.report("pass-through", records);
    println!("ip-count / pass-through: {:.2}", count.nanos_per_record() / copy.nanos_per_record());
}

fn fill(files: &Files) {
    let run = Run::watch(Weir::run(files.fill(), files.state("fill")), "requests", files.records);
    run.report("fill (generator to Kafka)", files.records);
}
