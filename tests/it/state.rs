//! What is committed stays so whatever happens to the folders: a state folder that lost a file or was damaged is refused and
//! not touched, a reset leaves no old rows among the new ones, and no start ends well whose rows cannot be seen.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use weir_tests::process::{Exit, Finished};

use crate::place::{Place, SOON, copy_folder, numbered_lines};

const ROWS: usize = 3_000;

fn pipeline(interval: &str) -> Place {
    Place::of_ledger(interval, ROWS, 4_000)
}

/// The rows that are committed, and a state folder that is gone: begun anew, they would be doubled or written over.
#[test]
fn folder_with_parts_of_another_pipeline_or_of_a_lost_state_is_refused_and_left_alone() {
    let place = pipeline("50ms");
    place.finish().expect_success();
    let rows = place.rows("out");
    assert!(!rows.is_empty());
    fs::remove_dir_all(place.path("state")).unwrap();
    let finished = place.finish().expect(Exit::Code(3));
    assert!(finished.stderr.contains("of one whose state folder is gone"), "{finished}");
    assert!(place.rows("out") == rows && !place.path("state").exists());
}

/// Two that began at the same time: who publishes later finds the name taken.
#[test]
fn part_of_another_pipeline_is_never_written_over() {
    // One commit, the final one; the swap before it is the claim's.
    let place = pipeline("10m");
    place.run().crash_at("current.swapped", 2).finish(SOON).expect(Exit::KILLED);
    let part = place.path("out/part-00000000000000000001.jsonl");
    fs::write(&part, "theirs\n").unwrap();
    let finished = place.finish().expect(Exit::Code(1));
    assert!(finished.stderr.contains("two pipelines must not share a folder"), "{finished}");
    assert_eq!(fs::read_to_string(&part).unwrap(), "theirs\n");
    fs::remove_file(&part).unwrap();
    place.finish().expect_success();
    assert_eq!(place.rows("out").len(), ROWS);
}

/// All that is kept: not the number of the process that holds the lock, nor what each start builds anew.
fn kept(place: &Place) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    let mut content = place.content();
    content.retain(|path, _| path != Path::new("state/lock") && !path.starts_with("state/live"));
    content
}

/// Refused, each time it is tried: a supervisor that starts it again and again must not wear the refusal down.
#[track_caller]
fn expect_refused(place: &Place, says: &str) -> Finished {
    let before = kept(place);
    for _ in 0..2 {
        place.finish().expect(Exit::Code(6));
        assert!(kept(place) == before, "touched");
    }
    let finished = place.finish().expect(Exit::Code(6));
    assert!(finished.stderr.contains(says), "no {says:?} in\n{finished}");
    assert!(kept(place) == before, "touched\n{finished}");
    finished
}

fn reset(place: &Place) -> weir_tests::process::Weir {
    place.run().argument("--from").argument("empty").argument("--rewind")
}

#[test]
fn lost_current_is_no_first_start_even_when_nothing_is_marked_as_committed() {
    let place = pipeline("30ms");
    // The swap before it is the claim. Behind it the only snapshot has no mark yet.
    place.run().crash_at("current.swapped", 2).finish(SOON).expect(Exit::KILLED);
    fs::remove_file(place.path("state/CURRENT")).unwrap();
    expect_refused(&place, "state/CURRENT is missing");
    reset(&place).finish(SOON).expect_success();
    assert_eq!(place.rows("out").len(), ROWS);
    // What follows the reset is a pipeline as any other.
    place.finish().expect_success();
    assert_eq!(place.rows("out").len(), ROWS);
}

#[test]
fn first_snapshot_that_was_never_committed_is_no_reason_to_refuse() {
    let place = pipeline("30ms");
    place.run().crash_at("dir.fsynced", 1).finish(SOON).expect(Exit::KILLED);
    place.finish().expect_success();
    assert_eq!(place.rows("out").len(), ROWS);
}

#[test]
fn damaged_snapshot_is_refused_before_anything_is_claimed() {
    let manifest: fn(&Path) -> bool = |path| path.ends_with("manifest");
    let state_file: fn(&Path) -> bool =
        |path| path.starts_with("state/checkpoints/files") && path.extension().is_none();
    for which in [manifest, state_file] {
        let place = pipeline("30ms");
        place.run().crash_at("epoch.advanced", 3).finish(SOON).expect(Exit::KILLED);
        let files: Vec<PathBuf> =
            kept(&place).into_iter().filter(|(_, bytes)| bytes.is_some()).map(|(path, _)| path).collect();
        let files: Vec<PathBuf> =
            files.into_iter().filter(|path| which(path)).map(|path| place.path(path.to_str().unwrap())).collect();
        assert!(!files.is_empty());
        let flip = || {
            for path in &files {
                let mut bytes = fs::read(path).unwrap();
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
                fs::write(path, bytes).unwrap();
            }
        };
        flip();
        expect_refused(&place, " is damaged: ");
        flip();
        place.finish().expect_success();
        assert_eq!(place.rows("out").len(), ROWS);
    }
}

#[test]
fn damaged_file_of_the_newest_checkpoint_names_the_one_before_it_and_that_one_restores() {
    let place = pipeline("30ms");
    place.run().crash_at("epoch.advanced", 3).finish(SOON).expect(Exit::KILLED);
    let mut own: Vec<PathBuf> = kept(&place).into_keys().filter(|path| path.ends_with("manifest")).collect();
    own.sort();
    fs::write(place.path(own.last().unwrap().to_str().unwrap()), "").unwrap();
    let says = "checkpoint 2-1 before it is whole: `--from state/checkpoints/2-1 --rewind` goes back to it";
    expect_refused(&place, says);
    let back = || place.run().argument("--from").argument("state/checkpoints/2-1").argument("--rewind");
    back().finish(SOON).expect_success();
}

#[test]
fn rows_of_before_a_reset_are_not_among_those_behind_it() {
    let place = pipeline("30ms");
    place.finish().expect_success();
    let before = place.rows("out");
    // Killed when the reset is committed and nothing is put aside yet, and once more on the way: 1 is the claim.
    reset(&place).crash_at("current.swapped", 2).finish(SOON).expect(Exit::KILLED);
    assert_eq!(place.rows("out"), before);
    place.run().crash_at("epoch.advanced", 2).finish(SOON).expect(Exit::KILLED);
    place.finish().expect_success();
    let mut rows = place.rows("out");
    let aside: Vec<String> = fs::read_dir(place.path("out"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with(".before-"))
        .collect();
    assert_eq!(aside.len(), 1, "{aside:?}");
    let mut kept = place.rows(&format!("out/{}", aside[0]));
    assert_eq!(kept, before, "they are the user's: nothing is deleted");
    rows.sort();
    kept.sort();
    assert!(rows == kept, "{} rows", rows.len());
}

/// A backup of the state folder that was taken before the newest commits, with the output of all of them beside it.
#[test]
fn older_copy_of_a_state_folder_is_refused_while_what_it_does_not_know_of_is_published() {
    let place = pipeline("30ms");
    place.run().crash_at("epoch.advanced", 3).finish(SOON).expect(Exit::KILLED);
    copy_folder(&place.path("state"), &place.path("backup"));
    place.finish().expect_success();
    let rows = place.rows("out");
    fs::rename(place.path("state"), place.path("newest")).unwrap();
    copy_folder(&place.path("backup"), &place.path("state"));
    expect_refused(&place, "newest commit of this state folder is of epoch 3: it is an older copy");
    // Nor is it taken for the newest where the reader of the output has taken the parts away.
    fs::create_dir(place.path("taken")).unwrap();
    for entry in fs::read_dir(place.path("out")).unwrap().map(|entry| entry.unwrap()) {
        if entry.path().is_file() {
            fs::rename(entry.path(), place.path("taken").join(entry.file_name())).unwrap();
        }
    }
    expect_refused(&place, "it is an older copy");
    assert!(place.rows("taken") == rows);
    // With the newest folder all is well; and beginning anew is a way too.
    fs::remove_dir_all(place.path("state")).unwrap();
    copy_folder(&place.path("newest"), &place.path("state"));
    place.finish().expect_success();
    assert_eq!(place.rows("out"), [""; 0]);
    fs::remove_dir_all(place.path("state")).unwrap();
    reset(&place).finish(SOON).expect_success();
    assert_eq!(place.rows("out").len(), ROWS);
    place.finish().expect_success();
}

#[test]
fn end_whose_last_rows_cannot_be_made_visible_is_no_end() {
    // An interval that never comes: one commit, the final one.
    let place = pipeline("10m");
    let part = "out/part-00000000000000000001.jsonl";
    fs::create_dir_all(place.path(part).join("in the way")).unwrap();
    for _ in 0..2 {
        let finished = place.finish().expect(Exit::Code(1));
        assert!(finished.stderr.contains("these rows are committed"), "{finished}");
        assert!(finished.stderr.contains(part), "{finished}");
    }
    fs::remove_dir_all(place.path(part)).unwrap();
    place.finish().expect_success();
    assert_eq!(place.rows("out").len(), ROWS);
}

#[test]
fn changed_source_is_refused_by_name() {
    let place = pipeline("30ms");
    place.run().crash_at("epoch.advanced", 2).finish(SOON).expect(Exit::KILLED);
    let text = fs::read_to_string(place.path("p.toml")).unwrap();
    let made = &text[text.find("type = \"generator\"").unwrap()..text.find("event_time").unwrap()];
    place.write("in.jsonl", "");
    place.pipeline(&text.replace(made, "type = \"file\"\npath = \"in.jsonl\"\n"));
    let finished = place.finish().expect(Exit::Code(6));
    let says = "source `made` reads file:in.jsonl, but its positions are those of generator";
    assert!(finished.stderr.contains(says), "{finished}");
    place.pipeline(&text);
    place.finish().expect_success();
    assert_eq!(place.rows("out").len(), ROWS);
}

#[test]
fn file_that_was_replaced_is_refused_though_it_is_not_shorter() {
    let place = Place::new();
    let lines = numbered_lines(400_000);
    let text = lines.join("\n");
    place.write("in.jsonl", &text);
    place.pipeline(
        "version = 1\nname = \"kept\"\n[checkpoint]\ninterval = \"20ms\"\n[sources.lines]\ntype = \"file\"\n\
         path = \"in.jsonl\"\n[sinks.out]\ntype = \"file\"\ninputs = [\"lines\"]\npath = \"out\"\n",
    );
    place.run().crash_at("epoch.advanced", 1).finish(SOON).expect(Exit::KILLED);
    assert!(place.rows("out").len() < lines.len(), "it was killed on the way");
    place.write("in.jsonl", text.replace("\"n\"", "\"N\""));
    expect_refused(&place, "`lines`: ./in.jsonl is not the file that was read up to byte ");
    place.write("in.jsonl", &text);
    place.finish().expect_success();
    assert!(place.rows("out") == lines);
}

#[test]
fn start_that_reaches_no_broker_leaves_nothing_behind() {
    // A port that nobody listens on: taken, and given back.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let kafka = format!("type = \"kafka\"\nbrokers = \"127.0.0.1:{port}\"\ntopic = \"t\"\n");
    let made = "type = \"generator\"\nseed = 1\ntemplate = 'x'\n";
    let out = "type = \"file\"\npath = \"out\"\n";
    for (source, sink) in [(kafka.as_str(), out), (made, kafka.as_str())] {
        let place = Place::new();
        place.pipeline(&format!(
            "version = 1\nname = \"k\"\n[sources.s]\n{source}[sinks.out]\n{sink}inputs = [\"s\"]\n"
        ));
        let before = place.content();
        place.finish().expect(Exit::Code(5));
        assert_eq!(place.content().into_keys().collect::<Vec<_>>(), before.into_keys().collect::<Vec<_>>());
    }
}
