//! Another parallelism from a savepoint.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use weir_tests::draft::Draft;
use weir_tests::process::{Exit, Weir};
use weir_tests::wait::wait_until;

use super::expect_chains;
use crate::place::{Place, SOON, guest, reseal};

const KEYS: u64 = 42;
const ROWS: usize = 1_500;

fn file(subtasks: u32, rate: u32) -> Draft {
    let made = format!("count = {ROWS}\nrate = {rate}");
    let draft = Draft::new("wide", "interval = \"20ms\"").records("made", KEYS, &made);
    let draft = draft.node("ledger", &guest("ledger"), &["made"], "/k", &format!("parallelism = {subtasks}"));
    draft.file_sink("out", &["ledger.out"]).file_sink("timers", &["ledger.fired"])
}

/// Stopped with a savepoint after some third; nothing but the savepoint and the output stays.
fn stopped(subtasks: u32) -> (Place, PathBuf) {
    let place = Place::over(&file(subtasks, 300));
    let process = place.run().spawn();
    wait_until(SOON, "some hundred rows", || place.rows("out").len() > 400);
    let stop = ["stop", "wide", "--state", "state", "--savepoint", "--to", "mine"];
    let said = Weir::new(stop).directory(place.path("")).finish(SOON).expect_success();
    process.wait(SOON).expect_success();
    fs::remove_dir_all(place.path("state")).unwrap();
    (place, PathBuf::from(said.stdout.trim_end()))
}

fn from(place: &Place, savepoint: &Path) -> Weir {
    place.run().argument("--from").argument(savepoint)
}

/// Key and time of each timer that fired.
fn timers(place: &Place) -> Vec<(String, i64)> {
    let parse = |row: &String| serde_json::from_str::<Value>(row).unwrap();
    let rows = place.rows("timers");
    let mut timers: Vec<_> = rows
        .iter()
        .map(parse)
        .map(|row| (row["key"].as_str().unwrap().to_owned(), row["timer"].as_i64().unwrap()))
        .collect();
    timers.sort();
    timers
}

/// `RescalingITCase`, 42 keys, both ways: values, maps and timers go to whoever owns their keys.
#[test]
fn state_and_timers_of_a_savepoint_are_shared_among_more_or_fewer_subtasks() {
    let truth = Place::over(&file(1, 1_000_000));
    truth.finish().expect_success();
    for (before, behind) in [(1, 3), (3, 2), (2, 128), (4, 1)] {
        let (place, savepoint) = stopped(before);
        assert!(place.rows("out").len() < ROWS);
        place.pipeline(file(behind, 10_000).text());
        from(&place, &savepoint).finish(SOON).expect_success();
        assert_eq!(expect_chains(&place.rows("out")), ROWS, "{before} to {behind}");
        assert!(timers(&place) == timers(&truth), "{before} to {behind}");
    }
}

/// `RescalingITCase#testSavepointRescalingFailureWithNonKeyedState` and the check of the maximum parallelism.
#[test]
fn other_number_of_key_groups_is_refused() {
    let (place, savepoint) = stopped(2);
    reseal(&savepoint, |manifest| manifest["key_groups"] = 64.into());
    let before = place.content();
    let refused = from(&place, &savepoint).finish(SOON).expect(Exit::Code(6));
    assert!(refused.stderr.contains("has 64 key groups; this weir has 128"), "{refused}");
    assert!(place.content() == before, "touched\n{refused}");
    reseal(&savepoint, |manifest| manifest["key_groups"] = 128.into());
    from(&place, &savepoint).finish(SOON).expect_success();
    assert_eq!(expect_chains(&place.rows("out")), ROWS);
}
