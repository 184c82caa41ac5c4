//! One whole run, watched from its start to its end: what its second half cost, and its checkpoints.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use weir_tests::probe::{Probe, clock};
use weir_tests::process::Weir;
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
        let mut probe = Probe::start(weir);
        let mut run: Option<Run> = None;
        let mut next = clock();
        let ended = try_wait_for(PATIENCE, || {
            if let Some(exit) = probe.process.try_exit() {
                return Some(exit);
            }
            if clock() < next {
                return None;
            }
            next = clock() + Duration::from_millis(100);
            look(&probe, source, records, &mut run);
            None
        });
        assert!(ended.is_some(), "still running after {PATIENCE:?}: {}", probe.process.stderr());
        probe.process.wait(PATIENCE).expect_success();
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

fn look(probe: &Probe, source: &str, records: u64, run: &mut Option<Run>) {
    let Some(metrics) = probe.metrics() else { return };
    let Some(seen) = metrics.records(source) else { return };
    let sample = Sample { records: seen, cpu: probe.cpu(), at: clock() };
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
    run.resident_max_kib = probe.resident_max_kib().unwrap_or(run.resident_max_kib);
    if let (Some(epoch), Some(pause), Some(total)) =
        (metrics.epoch(), metrics.checkpoint("pause"), metrics.checkpoint("total"))
    {
        run.checkpoints.insert(epoch, (pause, total));
    }
}
