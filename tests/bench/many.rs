//! What many small pipelines cost in one `weir serve`: each a generator of ten records a second, an operator with one number
//! per key, rows discarded, a checkpoint every ten seconds. Through the API, with the release binary and without Kafka.
//!
//! `.ci/bench many [pipelines…]`; 100 and 1,000 where no number is given. `after=SECONDS` looks only so long after all have
//! their first checkpoint: from the seventeenth on (170 s) deltas are folded, and each has a database open.
#![allow(clippy::unwrap_used, reason = "a benchmark ends at the first surprise")]

use std::time::Duration;

use weir_tests::probe::clock;
use weir_tests::server::{Server, guest};
use weir_tests::wait::wait_for;

/// Longer than the slowest step.
const PATIENCE: Duration = Duration::from_secs(600);
/// How long it is looked at.
const WINDOW: Duration = Duration::from_secs(30);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let mut counts: Vec<usize> = arguments.iter().filter_map(|argument| argument.parse().ok()).collect();
    let after = arguments.iter().find_map(|argument| argument.strip_prefix("after=")?.parse().ok());
    if counts.is_empty() {
        counts = vec![100, 1_000];
    }
    counts.into_iter().for_each(|count| run(count, Duration::from_secs(after.unwrap_or(10))));
}

fn run(count: usize, after: Duration) {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&dir.path().join("data"));
    server.upload("count", "0.1.0", &guest("count"));
    let empty = server.probe.resident_kib().unwrap();
    let begun = clock();
    for n in 0..count {
        server.apply(&format!("p{n}"), &pipeline(n));
    }
    let applied = begun.elapsed();
    for n in 0..count {
        server.wait_for(&format!("p{n}"), "it has a checkpoint", |view| {
            view["state"] == "running" && view["last_checkpoint"].is_object()
        });
    }
    let until = clock() + after;
    wait_for(PATIENCE, "it has run for so long", || (clock() >= until).then_some(()));
    let (cpu, since) = (server.probe.cpu(), clock());
    wait_for(PATIENCE, "the window is over", || (since.elapsed() >= WINDOW).then_some(()));
    let cores = (server.probe.cpu() - cpu).as_secs_f64() / since.elapsed().as_secs_f64();
    let resident = server.probe.resident_kib().unwrap();
    println!(
        "{count} pipelines: {} MiB resident ({} KiB each, {} MiB without any), {cores:.3} of a core ({:.3} ms a second each), \
         {} threads, applied in {:.1} s; looked at for {WINDOW:?}, {after:?} behind the last first checkpoint",
        resident / 1024,
        (resident - empty) / count as u64,
        empty / 1024,
        cores * 1e3 / count as f64,
        server.probe.threads().unwrap(),
        applied.as_secs_f64()
    );
}

fn pipeline(n: usize) -> String {
    format!(
        r#"version = 1
name = "p{n}"
[checkpoint]
interval = "10s"
[sources.numbers]
type = "generator"
seed = {n}
rate = 10
template = '{{"k":"{{{{int 1 100}}}}"}}'
[nodes.count]
operator = "count@0.1.0"
inputs = ["numbers"]
key = {{ json = "/k" }}
[sinks.none]
type = "discard"
inputs = ["count"]
"#
    )
}
