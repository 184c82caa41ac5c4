//! SIGKILL on a pipeline of files, at each point of the protocol that it passes: run to its end afterwards, its output is
//! that of a run without a kill, row for row and in order for each key.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use serde_json::Value;
use weir::crash::POINTS;
use weir_tests::draft::Draft;
use weir_tests::process::{Exit, Weir};

use crate::place::{Place, SOON, guest};

/// The points that only a server passes: see `upgrade` and `serve_again`.
pub(crate) const OF_A_SERVER: &[&str] = &["upload.", "deploy.", "audit.", "revision.", "wish.", "trial."];

/// The points that this pipeline passes: all but those of Kafka, of migrations, of uploads and of a server. A new one is tested by itself,
/// and one that is never passed fails the tests.
pub(crate) fn points() -> impl Iterator<Item = &'static str> {
    let elsewhere = ["txn.", "mark.", "hold.", "claim.", "restore.seeked", "migrate."];
    POINTS
        .iter()
        .copied()
        .filter(move |point| !elsewhere.iter().chain(OF_A_SERVER).any(|prefix: &&str| point.starts_with(prefix)))
}

/// Passed once by every start that has something to restore.
pub(crate) fn is_at_start(point: &str) -> bool {
    ["fence.", "resolve.", "restore."].iter().any(|prefix| point.starts_with(prefix))
}

/// Records of each of the two sources, whose keys differ, so that the order of each key is that of one source.
const RECORDS: u64 = 2_000;

/// One or two generators into the ledger. `rates`: records per second, so that one runs ahead of the other.
pub(crate) fn ledger(rates: &[u64]) -> Place {
    let names = &["fast", "slow"][..rates.len()];
    let mut draft = Draft::new("ledger", "interval = \"30ms\"\nretain = 1");
    for (name, rate) in names.iter().zip(rates) {
        draft = draft.records(name, 10, &format!("count = {RECORDS}\nrate = {rate}"));
    }
    let draft = draft.node("ledger", &guest("ledger"), names, "/k", "");
    Place::over(&draft.file_sink("chain", &["ledger.out"]).file_sink("timers", &["ledger.fired"]))
}

/// What came out, in a form in which two runs can be compared.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Output {
    /// The rows of each key, in order. Each holds the hash over all rows before it: the state, that is.
    chains: BTreeMap<String, Vec<String>>,
    /// Key and time of each timer that fired; how many records the key had then depends on the other source's speed.
    timers: BTreeMap<(String, i64), usize>,
}

impl Output {
    pub(crate) fn of(place: &Place) -> Self {
        let parse = |row: &String| serde_json::from_str::<Value>(row).unwrap();
        let key = |row: &Value| row["key"].as_str().unwrap().to_owned();
        let mut output = Self { chains: BTreeMap::new(), timers: BTreeMap::new() };
        for row in place.rows("chain") {
            output.chains.entry(key(&parse(&row))).or_default().push(row);
        }
        for row in place.rows("timers") {
            let row = parse(&row);
            *output.timers.entry((key(&row), row["timer"].as_i64().unwrap())).or_default() += 1;
        }
        output
    }

    fn rows(&self) -> usize {
        self.chains.values().map(Vec::len).sum()
    }

    #[track_caller]
    pub(crate) fn expect(&self, truth: &Self, after: &str) {
        for (key, expected) in &truth.chains {
            let found = self.chains.get(key).map_or(&[][..], Vec::as_slice);
            let set = |rows: &[String]| rows.iter().cloned().collect::<BTreeSet<_>>();
            let lost: Vec<_> = set(expected).difference(&set(found)).take(3).cloned().collect();
            assert!(lost.is_empty(), "{after}: lost for {key}: {lost:?}");
            assert_eq!(found.len(), expected.len(), "{after}: doubled for {key}");
            assert!(found == expected, "{after}: reordered for {key}");
        }
        assert_eq!(self.chains.len(), truth.chains.len(), "{after}: keys");
        assert_eq!(self.timers, truth.timers, "{after}: timers");
    }
}

pub(crate) fn truth(rates: &[u64]) -> Output {
    let place = ledger(rates);
    place.finish().expect_success();
    let output = Output::of(&place);
    assert_eq!(output.rows() as u64, rates.len() as u64 * RECORDS, "the truth is whole");
    assert!(output.timers.values().all(|fired| *fired == 1) && !output.timers.is_empty(), "{:?}", output.timers);
    output
}

/// Runs the cases a few at a time.
pub(crate) fn each<T: Sync>(cases: &[T], check: impl Fn(&T) + Sync) {
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    check(case);
                }
            });
        }
    });
}

pub(crate) const EVEN: &[u64] = &[1_500, 1_500];

#[test]
fn killed_at_each_point_of_a_checkpoint_nothing_is_lost_doubled_or_reordered() {
    let truth = truth(EVEN);
    let running = points().filter(|point| !is_at_start(point));
    let cases: Vec<(&str, u32)> = running.flat_map(|point| (1..=3).map(move |nth| (point, nth))).collect();
    each(&cases, |(point, nth)| {
        let place = ledger(EVEN);
        // Not reached is not proved: the point must have killed.
        place.run().crash_at(point, *nth).finish(SOON).expect(Exit::KILLED);
        place.finish().expect_success();
        Output::of(&place).expect(&truth, &format!("{point}:{nth}"));
    });
}

#[test]
fn killed_at_each_point_of_three_starts_in_a_row_nothing_is_lost_doubled_or_reordered() {
    let truth = truth(EVEN);
    let at_start: Vec<&str> = points().filter(|point| is_at_start(point)).collect();
    each(&at_start, |point| {
        let place = ledger(EVEN);
        place.run().crash_at("epoch.advanced", 2).finish(SOON).expect(Exit::KILLED);
        for _ in 0..3 {
            place.run().crash_at(point, 1).finish(SOON).expect(Exit::KILLED);
        }
        // And once more in the middle, from what those starts left.
        place.run().crash_at("manifest.renamed", 2).finish(SOON).expect(Exit::KILLED);
        place.finish().expect_success();
        Output::of(&place).expect(&truth, point);
    });
}

#[test]
fn killed_between_the_last_commit_and_its_renames_the_next_run_makes_the_rows_visible() {
    // An interval that never comes: the only commit is the final one. The swap before it is the claim.
    for (point, nth) in [("current.swapped", 2), ("epoch.advanced", 1), ("sink.part_renamed", 1)] {
        let place = ledger(&[20_000]);
        let text = std::fs::read_to_string(place.path("p.toml")).unwrap();
        place.pipeline(&text.replace("30ms", "10m"));
        place.run().crash_at(point, nth).finish(SOON).expect(Exit::KILLED);
        for _ in 0..2 {
            place.finish().expect_success();
            assert_eq!(Output::of(&place).rows() as u64, RECORDS, "{point}");
        }
        // One part per sink, whichever of them the kill left behind.
        assert!(!Output::of(&place).timers.is_empty(), "{point}");
    }
}

#[test]
fn killed_at_one_point_after_the_other_nothing_is_lost_doubled_or_reordered() {
    let truth = truth(EVEN);
    let place = ledger(EVEN);
    let points =
        ["sink.part_renamed", "current.swapped", "state.sealed", "manifest.renamed", "gc.first_unlink", "dir.fsynced"];
    let mut kills = 0;
    for point in points {
        match place.run().crash_at(point, 1).finish(SOON).exit {
            Exit::KILLED => kills += 1,
            other => assert_eq!(other, Exit::Code(0), "{point}"),
        }
    }
    assert!(kills >= 4, "the pipeline ended after {kills} kills");
    place.finish().expect_success();
    Output::of(&place).expect(&truth, "six kills");
}

#[test]
fn state_of_two_sources_of_different_speed_is_restored_as_if_nothing_had_happened() {
    // The fast one is through while the slow one has hardly begun.
    const UNEVEN: &[u64] = &[20_000, 1_500];
    let truth = truth(UNEVEN);
    let points = [
        "barrier.injected",
        "align.first_input",
        "align.last_input",
        "state.sealed",
        "manifest.renamed",
        "current.swapped",
        "epoch.advanced",
    ];
    let cases: Vec<(&str, u32)> = points.iter().flat_map(|point| (1..=3).map(move |nth| (*point, nth))).collect();
    each(&cases, |(point, nth)| {
        let place = ledger(UNEVEN);
        place.run().crash_at(point, *nth).finish(SOON).expect(Exit::KILLED);
        // The second time it may be through before it comes so far.
        let second = place.run().crash_at(point, *nth).finish(SOON).exit;
        assert!(matches!(second, Exit::KILLED | Exit::Code(0)), "{point}:{nth}: {second:?}");
        place.finish().expect_success();
        Output::of(&place).expect(&truth, &format!("{point}:{nth}"));
    });
}

#[test]
fn ledger_of_a_run_without_failure_is_what_its_input_says() {
    let place = ledger(EVEN);
    place.finish().expect_success();
    for (key, rows) in Output::of(&place).chains {
        let (mut sum, mut hash, mut kinds) = (0, 0, [0u64; 8]);
        let mut before = -1;
        for (count, row) in (1u64..).zip(&rows) {
            let row: Value = serde_json::from_str(row).unwrap();
            let seq = row["seq"].as_i64().unwrap();
            assert!(seq > before, "{key}: {row}");
            before = seq;
            // The value is not in the row: what the sum has grown by.
            let val = row["sum"].as_i64().unwrap() - sum;
            assert!((0..=1000).contains(&val), "{key}: {row}");
            sum += val;
            hash = mix(hash, seq as u64, val as u64);
            let nth = &mut kinds[val.rem_euclid(8) as usize];
            *nth += 1;
            assert_eq!(row["count"], count, "{key}");
            assert_eq!(row["h"], format!("{hash:016x}"), "{key}: {row}");
            assert_eq!(row["nth"], *nth, "{key}: {row}");
        }
    }
}

/// As in `tests/guests/ledger`.
fn mix(hash: u64, seq: u64, val: u64) -> u64 {
    let mut x = hash ^ seq.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ val.rotate_left(32);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[test]
fn demo_crash_finds_nothing_lost_and_says_so() {
    // One source: what a timer of the ledger sees of two depends on which was ahead.
    let place = ledger(&[1_000]);
    let demo = Weir::new(["demo", "crash"]).argument(place.path("p.toml"));
    let finished = ["--kills", "3", "--seed", "11"].iter().fold(demo, Weir::argument).finish(SOON * 2);
    let last = finished.stdout.lines().last().unwrap_or_default();
    assert_eq!(last, format!("3 kill -9, {RECORDS} in, 0 lost, 0 duplicated"), "{finished}");
}
