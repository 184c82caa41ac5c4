//! `retain`: after whatever kills, what lies in the store is the newest committed checkpoints and the files that they name,
//! and nothing else.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;
use weir_tests::draft::Draft;
use weir_tests::process::{Exit, Weir};
use weir_tests::wait::try_wait_for;

use crate::local::{is_at_start, points};
use crate::place::{Place, SOON, guest};

/// Checkpoints that are made in all.
const EPOCHS: u64 = 200;
const RETAIN: usize = 3;

fn names(folder: &Path) -> BTreeSet<String> {
    let Ok(entries) = fs::read_dir(folder) else { return BTreeSet::new() };
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// Ids of the committed checkpoints, newest first.
fn listed(place: &Place) -> Vec<String> {
    let list = ["checkpoint", "list", "kept", "--state", "state", "--format", "json"];
    let said = Weir::new(list).directory(place.path("")).finish(SOON).expect_success().stdout;
    let listed: Vec<Value> = serde_json::from_str(&said).unwrap();
    listed.iter().map(|it| it["id"].as_str().unwrap().to_owned()).collect()
}

fn newest_epoch(place: &Place) -> u64 {
    let id = listed(place).first().cloned().unwrap_or_default();
    id.split_once('-').map_or(0, |(epoch, _)| epoch.parse().unwrap())
}

/// The files that these checkpoints' manifests name.
fn named(place: &Place, ids: &[String]) -> BTreeSet<String> {
    let files = |id: &String| {
        let manifest = fs::read(place.path(&format!("state/checkpoints/{id}/manifest"))).unwrap();
        let state = serde_json::from_slice::<Value>(&manifest).unwrap()["state"].clone();
        let (base, deltas) = (state["base"].as_object().unwrap(), state["deltas"].as_array().unwrap());
        let all = base.values().chain(deltas).map(|file| file["stored"].as_str().unwrap().to_owned());
        all.collect::<Vec<_>>()
    };
    ids.iter().flat_map(files).collect()
}

#[test]
fn behind_two_hundred_checkpoints_and_kills_the_newest_three_and_their_files_are_all_that_is_there() {
    let seed = weir_tests::seed();
    let draft =
        Draft::new("kept", "interval = \"5ms\"").records("left", 50, "rate = 3000").records("right", 5, "rate = 500");
    let draft = draft.node("ledger", &guest("ledger"), &["left", "right"], "/k", "").file_sink("out", &["ledger"]);
    let place = Place::over(&draft);
    let points: Vec<&str> = points().collect();
    let (mut kills, mut orphans, mut epoch) = (0, 0, 0);
    while epoch < EPOCHS {
        let dice = weir_tests::mix(seed, kills);
        let point = points[dice as usize % points.len()];
        // A start passes its points once; the first has nothing to restore.
        let nth = if is_at_start(point) { 1 } else { 1 + (dice >> 32) as u32 % 30 };
        if epoch > 0 || !is_at_start(point) {
            place.run().crash_at(point, nth).finish(SOON).expect(Exit::KILLED);
            let (found, ids) = (names(&place.path("state/checkpoints/files")), listed(&place));
            orphans += found.difference(&named(&place, &ids)).count();
            epoch = newest_epoch(&place);
        }
        kills += 1;
    }
    assert!(orphans > 0, "WEIR_TEST_SEED={seed}: some kill of {kills} left a file that nobody names");
    // One more start, which commits nothing: it collects what the last kill left, and a base that no commit came to name.
    let text = fs::read_to_string(place.path("p.toml")).unwrap();
    place.pipeline(&text.replace("interval = \"5ms\"", "interval = \"1h\""));
    let last = place.run().spawn();
    let files = || names(&place.path("state/checkpoints/files"));
    let folders = || names(&place.path("state/checkpoints"));
    let is_exact = || {
        let ids = listed(&place);
        // The folder of one whose manifest went before the kill is swept too: it may be the last that goes.
        ids.len() == RETAIN && files() == named(&place, &ids) && folders().len() == RETAIN + 1
    };
    if try_wait_for(SOON, || is_exact().then_some(())).is_none() {
        let (found, ids) = (files(), listed(&place));
        let named = named(&place, &ids);
        panic!(
            "WEIR_TEST_SEED={seed}: {ids:?} in {:?}: nobody names {:?}, missing is {:?}",
            folders(),
            found.difference(&named).collect::<Vec<_>>(),
            named.difference(&found).collect::<Vec<_>>()
        );
    }
    last.kill_and_wait();

    let ids = listed(&place);
    let expected: BTreeSet<String> = ids.iter().cloned().chain(["files".to_owned()]).collect();
    assert_eq!(folders(), expected, "WEIR_TEST_SEED={seed}");
    for id in &ids {
        let inside: Vec<String> = names(&place.path(&format!("state/checkpoints/{id}"))).into_iter().collect();
        assert_eq!(inside, ["committed", "manifest"], "WEIR_TEST_SEED={seed}: {id}");
        let verify = ["checkpoint", "verify", "kept", id, "--state", "state"];
        Weir::new(verify).directory(place.path("")).finish(SOON).expect_success();
    }
}
