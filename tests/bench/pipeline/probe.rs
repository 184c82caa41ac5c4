//! A running weir, watched from outside: its metrics for how far it is, `/proc` for what it has used.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use weir_tests::http;
use weir_tests::process::{Process, Weir};
use weir_tests::wait::try_wait_for;

use crate::PATIENCE;

/// What one look at the process shows.
#[derive(Debug, Clone, Copy)]
struct Sample {
    records: u64,
    cpu: Duration,
    at: Instant,
}

/// One whole run.
pub(crate) struct Run {
    half: Sample,
    last: Sample,
    /// Pause and total time of each checkpoint that was seen, by epoch.
    checkpoints: BTreeMap<u64, (f64, f64)>,
    resident_max_kib: u64,
}

impl Run {
    /// Starts it and looks at it until it ends.
    pub(crate) fn watch(weir: Weir, source: &str, records: u64) -> Run {
        let mut process = weir.argument("--listen").argument("127.0.0.1:0").spawn();
        let line = process.wait_for_line(Duration::from_secs(60), "metrics and probes on");
        let address = line.rsplit("http://").next().unwrap().trim().to_owned();
        let mut run: Option<Run> = None;
        let mut next = clock();
        let ended = try_wait_for(PATIENCE, || {
            if let Some(exit) = process.try_exit() {
                return Some(exit);
            }
            if clock() < next {
                return None;
            }
            next = clock() + Duration::from_millis(100);
            look(&process, &address, source, records, &mut run);
            None
        });
        assert!(ended.is_some(), "still running after {PATIENCE:?}: {}", process.stderr());
        process.wait(PATIENCE).expect_success();
        let run = run.expect("a run is long enough to be looked at");
        assert!(run.last.records > run.half.records, "too short to have a second half: give more records");
        run
    }

    pub(crate) fn nanos_per_record(&self) -> f64 {
        (self.last.cpu - self.half.cpu).as_nanos() as f64 / (self.last.records - self.half.records) as f64
    }

    pub(crate) fn report(&self, what: &str, rows: u64) {
        let wall = self.last.at - self.half.at;
        let rate = (self.last.records - self.half.records) as f64 / wall.as_secs_f64() / 1e6;
        println!(
            "{what}: {:.0} ns CPU a record, {rate:.2} M records/s, {rows} rows, at most {} MiB resident",
            self.nanos_per_record(),
            self.resident_max_kib / 1024
        );
        let of = |pick: fn(&(f64, f64)) -> f64| {
            let mut all: Vec<f64> = self.checkpoints.values().map(pick).collect();
            all.sort_by(f64::total_cmp);
            let at =
                |share: usize| all.get((all.len() * share / 100).min(all.len().max(1) - 1)).copied().unwrap_or(0.0);
            format!("{:.2} / {:.2} ms", at(50) * 1e3, at(100) * 1e3)
        };
        let checkpoints = self.checkpoints.len();
        println!("  {checkpoints} checkpoints, median / longest: pause {}, total {}", of(|c| c.0), of(|c| c.1));
    }
}

fn look(process: &Process, address: &str, source: &str, records: u64, run: &mut Option<Run>) {
    // Between two looks it may have ended.
    let Ok(answer) = http::try_request(address, "GET", "/metrics", &[], b"") else { return };
    let metrics = answer.expect(200).body;
    let value = |name: &str, label: &str| -> Option<f64> {
        let line = metrics.lines().find(|line| line.starts_with(name) && line.contains(label))?;
        line.rsplit(' ').next()?.parse().ok()
    };
    let Some(seen) = value("weir_records_in_total{", &format!("node=\"{source}\"")) else { return };
    let sample = Sample { records: seen as u64, cpu: cpu(process.pid()), at: clock() };
    let run = run.get_or_insert_with(|| Run {
        half: sample,
        last: sample,
        checkpoints: BTreeMap::new(),
        resident_max_kib: 0,
    });
    if sample.records < records / 2 {
        run.half = sample;
    }
    // The end of the input fires what is still open and commits: that is no part of a steady run.
    if sample.records < records || run.last.records < records {
        run.last = sample;
    }
    run.resident_max_kib = resident_max_kib(process.pid()).unwrap_or(run.resident_max_kib);
    let times = value("weir_checkpoint_duration_seconds{", "phase=\"pause\"")
        .zip(value("weir_checkpoint_duration_seconds{", "phase=\"total\""));
    if let (Some(epoch), Some(times)) = (value("weir_checkpoint_epoch{", ""), times) {
        run.checkpoints.insert(epoch as u64, times);
    }
}

#[allow(clippy::disallowed_methods, reason = "a benchmark measures time")]
fn clock() -> Instant {
    Instant::now()
}

/// User and system time of a process, all its threads, those that have ended too.
fn cpu(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The command's name may hold spaces: fields count from the bracket behind it.
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let ticks = |field: usize| fields.get(field).and_then(|f| f.parse::<u64>().ok()).unwrap_or(0);
    // SAFETY: sysconf takes a plain number and changes nothing.
    let per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) } as f64;
    Duration::from_secs_f64((ticks(11) + ticks(12)) as f64 / per_second)
}

fn resident_max_kib(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse().ok()
}
