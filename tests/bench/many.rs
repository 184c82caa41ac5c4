//! What many small pipelines cost in one `weir serve`: each a generator of ten records a second, an operator with one number
//! per key, rows discarded, a checkpoint every ten seconds. Through the API, with the release binary and without Kafka.
//!
//! `.ci/bench many [pipelines…]`; 100 and 1,000 where no number is given. `after=SECONDS` looks only so long after all have
//! their first checkpoint: from the seventeenth on (170 s) deltas are folded, and each has a database open.
#![allow(clippy::unwrap_used, reason = "a benchmark ends at the first surprise")]

use std::fs;
use std::path::Path;
use std::time::Duration;

use weir_tests::http::request;
use weir_tests::probe::{Probe, clock};
use weir_tests::process::Weir;
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
    let empty = server.probe.resident_kib().unwrap();
    let begun = clock();
    for n in 0..count {
        server.send("PUT", &format!("pipelines/p{n}"), "application/toml", pipeline(n).as_bytes());
    }
    let applied = begun.elapsed();
    for n in 0..count {
        let what = format!("p{n} has a checkpoint");
        wait_for(PATIENCE, &what, || {
            let view = server.send("GET", &format!("pipelines/p{n}"), "application/toml", b"");
            (view["state"] == "running" && view["last_checkpoint"].is_object()).then_some(())
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

struct Server {
    probe: Probe,
    bearer: String,
}

impl Server {
    /// With the operator uploaded.
    fn start(data: &Path) -> Server {
        let serve = Weir::new(["serve", "--listen", "127.0.0.1:0", "--data"]).argument(data).env("WEIR_LOG", "warn");
        let mut process = serve.spawn();
        let line = process.wait_for_line(PATIENCE, "serves http://");
        let address = line.rsplit("http://").next().unwrap().trim().to_owned();
        let bearer = format!("Bearer {}", fs::read_to_string(data.join("admin-token")).unwrap().trim());
        let server = Server { probe: Probe { process, address }, bearer };
        let module = weir_tests::repository().join("tests/guests/target/wasm32-unknown-unknown/release/count.wasm");
        let operator = weir::guest::component::componentize(&fs::read(module).unwrap()).unwrap();
        server.send("PUT", "operators/count/versions/0.1.0", "application/wasm", &operator);
        server
    }

    fn send(&self, method: &str, path: &str, content: &str, body: &[u8]) -> serde_json::Value {
        let headers = [("Authorization", self.bearer.as_str()), ("Content-Type", content)];
        let answer = request(&self.probe.address, method, &format!("/api/v1/{path}"), &headers, body);
        assert!((200..300).contains(&answer.status), "{answer:?}");
        answer.json()
    }
}
