//! What checkpoints and keyed state cost, with the release binary and without Kafka: generators into `tests/guests/count`
//! (one number per key), so that what is measured is the data path, the state and the snapshots.
//!
//! `.ci/bench checkpoint [scenario…]`; scenarios are pause, dirty, interval, parallel, keys and recovery, all where none is
//! named. Ratios of one run count; the generator's own cost is in every figure.
#![allow(clippy::unwrap_used, reason = "a benchmark ends at the first surprise")]

mod pipeline;

use std::collections::BTreeMap;
use std::time::Duration;

use weir_tests::probe::{Metrics, Probe, clock};

use pipeline::Scene;

/// Longer than the slowest step.
const PATIENCE: Duration = Duration::from_secs(600);

fn main() {
    let named: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let scenarios: [(&str, fn()); 6] = [
        ("pause", pause),
        ("dirty", dirty),
        ("interval", interval),
        ("parallel", parallel),
        ("keys", keys),
        ("recovery", recovery),
    ];
    for (name, run) in scenarios {
        if named.is_empty() || named.iter().any(|wanted| wanted == name) {
            run();
        }
    }
}

/// Pause and total time of checkpoints against the size of the state, at a fixed number of records a second.
fn pause() {
    println!("pause: 20,000 random keys a second, checkpoint every second, against the keys that there are");
    for keys in [10_000, 100_000, 1_000_000, 10_000_000] {
        report_steady(&Scene::filled(keys, 20_000), keys, &format!("{keys:>9} keys"));
    }
}

/// The same against what changes between two checkpoints.
fn dirty() {
    println!("dirty: 1,000,000 keys, checkpoint every second, against random keys a second");
    for rate in [1_000, 10_000, 100_000] {
        report_steady(&Scene::filled(1_000_000, rate), 1_000_000, &format!("{rate:>7} a second"));
    }
}

fn report_steady(scene: &Scene, keys: u64, what: &str) {
    let mut probe = Probe::start(scene.weir());
    // Filled, and what the filling changed is committed.
    probe.wait(PATIENCE, |metrics| (metrics.records("fill")? >= keys).then_some(()));
    let first = probe.wait(PATIENCE, Metrics::epoch) + 3;
    let mut seen: BTreeMap<u64, [f64; 3]> = BTreeMap::new();
    probe.wait(PATIENCE, |metrics| {
        let epoch = metrics.epoch()?;
        if epoch >= first {
            let bytes = metrics.value("weir_checkpoint_size_bytes{", "")?;
            seen.insert(epoch, [metrics.checkpoint("pause")?, metrics.checkpoint("total")?, bytes]);
        }
        (seen.len() == 15).then_some(())
    });
    let of = |column: usize| {
        let mut all: Vec<f64> = seen.values().map(|row| row[column]).collect();
        all.sort_by(f64::total_cmp);
        (all[all.len() / 2], all[all.len() - 1])
    };
    let ((pause, pause_max), (total, total_max), (bytes, _)) = (of(0), of(1), of(2));
    println!(
        "  {what}: pause {:.3} / {:.3} ms, total {:.1} / {:.1} ms (median / longest), {:.0} KiB written",
        pause * 1e3,
        pause_max * 1e3,
        total * 1e3,
        total_max * 1e3,
        bytes / 1024.0
    );
    probe.process.kill9();
}

/// CPU and wall time per record of a whole run over random keys.
struct Cost {
    cpu: f64,
    rate: f64,
    resident: u64,
}

/// The second half of a run over so many records.
fn cost(scene: &Scene, records: u64) -> Cost {
    let mut probe = Probe::start(scene.weir());
    let mut at = |wanted: u64| {
        let seen = probe.wait(PATIENCE, |metrics| metrics.records("count").filter(|seen| *seen >= wanted));
        (seen, probe.cpu(), clock())
    };
    let (half, last) = (at(records / 2), at(records));
    let seen = (last.0 - half.0) as f64;
    let resident = probe.resident_max_kib().unwrap_or(0) / 1024;
    probe.process.kill9();
    Cost {
        cpu: (last.1 - half.1).as_nanos() as f64 / seen,
        rate: seen / (last.2 - half.2).as_secs_f64() / 1e6,
        resident,
    }
}

fn show(what: &str, cost: &Cost, first: &Cost) {
    println!(
        "  {what}: {:.0} ns CPU a record ({:.2}), {:.2} M records/s ({:.2}), at most {} MiB resident",
        cost.cpu,
        cost.cpu / first.cpu,
        cost.rate,
        cost.rate / first.rate,
        cost.resident
    );
}

/// The first cost is what the others are compared with.
fn compare<'a>(scenes: impl IntoIterator<Item = (&'a str, Scene, u64)>) {
    let mut first = None;
    for (what, scene, records) in scenes {
        let cost = cost(&scene, records);
        show(what, &cost, first.as_ref().unwrap_or(&cost));
        first.get_or_insert(cost);
    }
}

fn interval() {
    println!("interval: 100,000 keys; in brackets: against the first line");
    let scene = |interval| Scene::random(100_000).interval(interval);
    compare([("60 s", scene("60s"), 20_000_000), ("1 s", scene("1s"), 20_000_000)]);
}

fn parallel() {
    println!("parallel: 100,000 keys, one exchange by key; in brackets: against the first line");
    let scene = |subtasks| Scene::exchanged(100_000, subtasks);
    compare([
        ("p = 1", scene(1), 20_000_000),
        ("p = 2", scene(2), 20_000_000),
        ("p = 4", scene(4), 20_000_000),
        ("p = 8", scene(8), 20_000_000),
        ("p = 8, and a second exchange into one sink", scene(8).gathered(), 20_000_000),
        ("p = 1 without an exchange: one chain", Scene::random(100_000), 20_000_000),
    ]);
}

fn keys() {
    println!("keys: random keys, checkpoint every second; the last line has a tenth of the memory that it needs");
    compare([
        ("     10,000 keys", Scene::random(10_000), 20_000_000),
        (" 10,000,000 keys", Scene::random(10_000_000), 60_000_000),
        (" 10,000,000 keys in 256 MiB", Scene::random(10_000_000).memory("256MiB"), 8_000_000),
    ]);
}

/// SIGKILL with 1 GiB of state on disk: how long until the next commit.
fn recovery() {
    let scene = Scene::large();
    let mut probe = Probe::start(scene.weir());
    probe.wait(PATIENCE, |metrics| (metrics.records("fill")? >= pipeline::LARGE_KEYS).then_some(()));
    let filled = probe.wait(PATIENCE, Metrics::epoch) + 2;
    probe.wait(PATIENCE, |metrics| (metrics.epoch()? >= filled).then_some(()));
    probe.process.kill9();
    drop(probe);
    let bytes = scene.state_bytes();
    let since = clock();
    let mut probe = Probe::start(scene.weir());
    probe.wait(PATIENCE, |metrics| (metrics.epoch()? > filled).then_some(()));
    println!(
        "recovery: {:.2} s from the start to the next commit, {:.2} GiB of state files, {:.1} s CPU, {} MiB resident",
        since.elapsed().as_secs_f64(),
        bytes as f64 / (1u64 << 30) as f64,
        probe.cpu().as_secs_f64(),
        probe.resident_max_kib().unwrap_or(0) / 1024
    );
    probe.process.kill9();
}
