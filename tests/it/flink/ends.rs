//! Bounded sources that end at different times.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;
use weir_tests::draft::Draft;
use weir_tests::process::Weir;
use weir_tests::wait::wait_for;

use super::expect_chains;
use crate::place::{Place, SOON, guest};

const SHORT: usize = 20;
const LONG: usize = 100;

/// A checkpoint comes only where it is asked for, or at the end.
fn file(rate: u32) -> Draft {
    let draft = Draft::new("ends", "interval = \"1h\"").records("short", 3, &format!("count = {SHORT}")).records(
        "long",
        7,
        &format!("count = {LONG}\nrate = {rate}"),
    );
    draft.node("ledger", &guest("ledger"), &["short", "long"], "/k", "").file_sink("out", &["ledger"])
}

/// `CheckpointAfterAllTasksFinishedITCase#testImmediateCheckpointing`.
#[test]
fn bounded_input_is_committed_to_its_last_row_without_any_interval() {
    let place = Place::over(&file(1_000));
    let ended = place.finish().expect_success();
    assert!(ended.stderr.contains("ended with epoch 1"), "{ended}");
    assert_eq!(expect_chains(&place.rows("out")), SHORT + LONG);
}

/// `CheckpointAfterAllTasksFinishedITCase#testRestoreAfterSomeTasksFinished`.
#[test]
fn savepoint_behind_the_end_of_one_source_is_restored_and_that_source_emits_nothing_more() {
    let place = Place::over(&file(20));
    let process = place.run().spawn();
    let ask = |command: &[&str]| Weir::new(command).directory(place.path("")).finish(SOON);
    // The short one is through at once.
    let (savepoint, read) =
        wait_for(SOON, "a savepoint in which the short one has ended and the long one has not", || {
            let said = ask(&["savepoint", "ends", "--state", "state", "--to", "mine"]);
            let path = PathBuf::from(said.stdout.trim_end());
            let manifest: Value = serde_json::from_slice(&fs::read(path.join("manifest")).ok()?).unwrap();
            let at = |source: &str| manifest["sources"][source]["splits"][0]["position"].as_u64().unwrap() as usize;
            (at("short") == SHORT && (1..LONG).contains(&at("long"))).then(|| (path.clone(), at("long")))
        });
    process.kill_and_wait();
    fs::remove_dir_all(place.path("state")).unwrap();
    fs::rename(place.path("out"), place.path("before")).unwrap();
    place.pipeline(file(10_000).text());
    place.run().argument("--from").argument(&savepoint).finish(SOON).expect_success();
    let behind = place.rows("out");
    assert_eq!(behind.iter().filter(|row| row.contains("\"short-")).count(), 0);
    assert_eq!(behind.len(), LONG - read);
    // With what the savepoint holds it is the whole, state included.
    let held: Vec<String> = place.rows("before").into_iter().take(SHORT + read).collect();
    assert_eq!(expect_chains(held.iter().chain(&behind)), SHORT + LONG);
}
