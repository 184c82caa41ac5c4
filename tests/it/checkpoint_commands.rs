//! `weir checkpoint list|show|verify`: what a state folder holds is told and checked whether or not the pipeline runs, and
//! nothing in it changes.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use weir_tests::process::{Exit, Finished, Weir};

use crate::place::{Place, SOON};

/// Killed in the middle, with three checkpoints kept.
fn killed() -> Place {
    let place = Place::of_ledger("30ms", 6_000, 4_000);
    place.run().crash_at("epoch.advanced", 6).finish(SOON).expect(Exit::KILLED);
    place
}

fn weir(place: &Place, arguments: &[&str]) -> Finished {
    Weir::new(arguments).directory(place.path("")).finish(SOON)
}

#[track_caller]
fn list(place: &Place) -> Vec<Value> {
    let listed =
        weir(place, &["checkpoint", "list", "kept", "--state", "state", "--format", "json"]).expect_success().stdout;
    serde_json::from_str::<Value>(&listed).unwrap().as_array().unwrap().clone()
}

fn files_of(place: &Place, id: &str) -> Vec<PathBuf> {
    let manifest: Value =
        serde_json::from_slice(&fs::read(place.path(&format!("state/checkpoints/{id}/manifest"))).unwrap()).unwrap();
    let state = &manifest["state"];
    let deltas = state["deltas"].as_array().unwrap().iter();
    let files = deltas.chain(state["base"].as_object().unwrap().values());
    files.map(|file| place.path("state/checkpoints/files").join(file["stored"].as_str().unwrap())).collect()
}

#[track_caller]
fn flip(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn list_is_newest_first_and_is_what_a_start_would_find() {
    let place = killed();
    let before = place.content();
    let listed = list(&place);
    let epochs: Vec<u64> = listed.iter().map(|it| it["epoch"].as_u64().unwrap()).collect();
    // Killed behind the sixth commit, before its mark: CURRENT knows it.
    assert_eq!(epochs, [6, 5, 4, 3], "three are kept, and the one that was just committed");
    let newest = &listed[0];
    assert_eq!(newest["id"], "6-1");
    assert_eq!(newest["kind"], "checkpoint");
    assert!(newest["bytes"].as_u64().unwrap() > 0);
    let at = newest["completed_at"].as_str().unwrap();
    assert!(at.len() == 24 && at.starts_with("20") && at.ends_with('Z'), "{at}");
    assert_eq!(place.content(), before);

    let text = weir(&place, &["checkpoint", "list", "p.toml", "--state", "state"]).expect_success().stdout;
    assert!(text.lines().nth(1).unwrap().starts_with("6-1 "), "{text}");
    place.finish().expect_success();
    assert_eq!(list(&place)[0]["kind"], "final");
    assert_eq!(list(&place).len(), 3);
}

#[test]
fn verify_names_the_damaged_file_and_only_the_checkpoints_that_need_it_suffer() {
    let place = killed();
    let verify = |id: &str| weir(&place, &["checkpoint", "verify", "kept", id, "--state", "state"]);
    for it in list(&place) {
        verify(it["id"].as_str().unwrap()).expect_success();
    }
    let older = files_of(&place, "5-1");
    let last = files_of(&place, "6-1").into_iter().find(|file| !older.contains(file)).unwrap();
    flip(&last);
    let before = place.content();
    let refused = verify("6-1").expect(Exit::Code(6));
    assert!(refused.stderr.contains(last.file_name().unwrap().to_str().unwrap()), "{refused}");
    assert!(refused.stderr.contains("is damaged: its sha256 is "), "{refused}");
    verify("5-1").expect_success();
    assert_eq!(place.content(), before);
    flip(&last);
    let bytes = fs::read(&last).unwrap();
    fs::write(&last, &bytes[1..]).unwrap();
    assert!(verify("6-1").expect(Exit::Code(6)).stderr.contains(" bytes, "));
    fs::remove_file(&last).unwrap();
    assert!(verify("6-1").expect(Exit::Code(6)).stderr.contains("is missing"));
    fs::write(&last, &bytes).unwrap();
    verify("6-1").expect_success();
}

/// The digest of a manifest stands in its mark, and for the newest one in `CURRENT`: a digit of a position that became
/// another is found.
#[test]
fn manifest_that_was_changed_is_found_though_it_can_be_read() {
    let place = killed();
    for id in ["6-1", "5-1"] {
        let path = place.path(&format!("state/checkpoints/{id}/manifest"));
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replacen("\"position\": ", "\"position\": 1", 1)).unwrap();
        let refused =
            weir(&place, &["checkpoint", "verify", "kept", id, "--state", "state"]).expect(Exit::Code(6)).stderr;
        assert!(refused.contains(&format!("checkpoints/{id}/manifest is damaged: its sha256 is ")), "{refused}");
        // The others are still listed.
        let listed = weir(&place, &["checkpoint", "list", "kept", "--state", "state"]).expect_success();
        assert!(listed.stdout.contains("4-1 ") && listed.stderr.contains(id), "{listed}");
        fs::write(&path, text).unwrap();
    }
}

#[test]
fn what_is_not_there_is_refused_and_what_is_there_is_named() {
    let place = killed();
    let ask = |arguments: &[&str], code, says: &str| {
        let refused = weir(&place, arguments).expect(Exit::Code(code));
        assert!(refused.stderr.contains(says), "no {says:?} in\n{refused}");
    };
    ask(&["checkpoint", "verify", "kept", "9-1", "--state", "state"], 6, "there are 6-1, 5-1, 4-1, 3-1");
    ask(&["checkpoint", "show", "kept", "../x", "--state", "state"], 6, "there is no checkpoint \"../x\"");
    ask(
        &["checkpoint", "rm", "kept", "a b", "--state", "state"],
        6,
        "there is no checkpoint \"a b\": an id is EPOCH-TOKEN",
    );
    ask(&["checkpoint", "list", "other", "--state", "state"], 6, "belongs to the pipeline kept, not to other");
    ask(&["checkpoint", "list", "kept"], 6, "./.weir/kept is no state folder of pipeline `kept`");
    ask(&["checkpoint", "list", "no such.toml"], 3, "neither a pipeline file nor the name of a pipeline");
    ask(&["checkpoint", "verify", "kept"], 2, "Usage");
}

#[test]
fn show_says_where_sources_stood_and_which_states_there_are() {
    let place = killed();
    let shown = weir(&place, &["checkpoint", "show", "p.toml", "6-1", "--state", "state"]).expect_success().stdout;
    for says in
        ["checkpoint 6-1 of kept", "source     made: generator", "next position ", "node       ledger: ", "file "]
    {
        assert!(shown.contains(says), "no {says:?} in\n{shown}");
    }
    let json = weir(&place, &["checkpoint", "show", "kept", "6-1", "--state", "state", "--format", "json"]);
    let json: Value = serde_json::from_str(&json.expect_success().stdout).unwrap();
    assert!(json["sources"]["made"]["splits"][0]["position"].as_u64().unwrap() > 0);
    assert!(json["nodes"]["ledger"]["states"].as_object().unwrap().len() > 1);
    assert_eq!(json["files"].as_array().unwrap().len(), files_of(&place, "6-1").len());
}
