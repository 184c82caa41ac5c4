//! Savepoints of pipelines that change or fail around them.

use std::fs;

use weir_tests::draft::Draft;
use weir_tests::process::{Exit, Weir};
use weir_tests::wait::wait_until;

use super::expect_chains;
use crate::place::{Place, SOON, guest};

const ROWS: usize = 8_000;

fn draft(interval: &str) -> Draft {
    let made = format!("count = {ROWS}\nrate = 4000");
    Draft::new("kept", &format!("interval = \"{interval}\"")).records("made", 10, &made)
}

/// `SavepointITCase#testCanRestoreWithModifiedStatelessOperators`.
#[test]
fn operators_without_state_may_come_and_go_and_state_is_found_by_its_name() {
    let ledger = |draft: Draft, from: &str| draft.node("ledger", &guest("ledger"), &[from], "/k", "");
    let plain = |draft, name: &str| Draft::node(draft, name, &guest("identity"), &["made"], "/k", "parallelism = 2");
    let before = ledger(plain(draft("50ms"), "first"), "first").file_sink("out", &["ledger"]);
    let behind = ledger(plain(draft("50ms"), "another"), "another");
    let behind = behind.node("last", &guest("identity"), &["ledger"], "/key", "").file_sink("out", &["last"]);
    let place = Place::over(&before);
    let process = place.run().spawn();
    wait_until(SOON, "rows are committed", || place.rows("out").len() > 100);
    let stop = ["stop", "kept", "--state", "state", "--savepoint", "--to", "mine"];
    let said = Weir::new(stop).directory(place.path("")).finish(SOON).expect_success();
    process.wait(SOON).expect_success();
    fs::remove_dir_all(place.path("state")).unwrap();
    place.pipeline(behind.text());
    place.run().argument("--from").argument(said.stdout.trim_end()).finish(SOON).expect_success();
    assert_eq!(expect_chains(&place.rows("out")), ROWS);
}

/// `SavepointITCase#testSubmitWithUnknownSavepointPath`.
#[test]
fn savepoint_that_is_not_there_is_refused_at_once_and_nothing_is_made() {
    let place = Place::over(&draft("50ms").file_sink("out", &["made"]));
    let before = place.content();
    let refused = place.run().argument("--from").argument("no/such/savepoint").finish(SOON).expect(Exit::Code(2));
    assert!(refused.stderr.contains("\"no/such/savepoint\" is no folder"), "{refused}");
    assert!(place.content() == before);
}

/// `StopWithSavepointTerminationHandlerImplTest`: the savepoint is made and committed, and then the end fails.
#[test]
fn stop_whose_end_fails_keeps_its_savepoint_and_the_next_run_doubles_nothing() {
    let place =
        Place::over(&draft("1h").node("ledger", &guest("ledger"), &["made"], "/k", "").file_sink("out", &["ledger"]));
    // The only commit is the savepoint's, and its rows cannot be made visible.
    let part = place.path("out/part-00000000000000000001.jsonl");
    fs::create_dir_all(part.join("in the way")).unwrap();
    let process = place.run().spawn();
    let stop = ["stop", "kept", "--state", "state", "--savepoint", "--to", "mine"];
    wait_until(SOON, "rows are written", || {
        let staged = fs::read_dir(place.path("out/.staging")).into_iter().flatten().flatten();
        staged.into_iter().any(|file| file.path().extension().is_some_and(|end| end == "jsonl"))
    });
    let asked = Weir::new(stop).directory(place.path("")).finish(SOON);
    let failed = process.wait(SOON).expect(Exit::Code(1));
    assert!(failed.stderr.contains("these rows are committed"), "{failed}");
    let savepoint = place.path("mine/kept-1-1");
    let says = if asked.exit == Exit::Code(0) { &asked.stdout } else { &asked.stderr };
    assert!(says.contains("kept-1-1"), "the savepoint is named\n{asked}");
    assert!(savepoint.join("manifest").is_file(), "it is kept\n{asked}");
    fs::remove_dir_all(&part).unwrap();
    place.pipeline(&fs::read_to_string(place.path("p.toml")).unwrap().replace("rate = 4000", "rate = 100000"));
    place.finish().expect_success();
    assert_eq!(expect_chains(&place.rows("out")), ROWS);
    // And the savepoint itself is one to start from, elsewhere.
    let copy = Place::new();
    let text = fs::read_to_string(place.path("p.toml")).unwrap();
    copy.pipeline(&text);
    copy.run().argument("--from").argument(&savepoint).finish(SOON).expect_success();
    assert!(copy.rows("out").len() < ROWS);
}
