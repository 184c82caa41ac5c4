//! The folder of a file sink: committed rows that wait in it are never forgotten, and it has one writer.

use std::fs;

use weir_tests::process::{Exit, Weir};

use crate::place::{Place, SOON};

/// Killed when the commit is decided and its rows are not yet visible.
fn killed_before_its_rows_are_visible() -> Place {
    let place = Place::of_ledger("50ms", 2_000, 4_000);
    place.run().crash_at("current.swapped", 4).finish(SOON).expect(Exit::KILLED);
    place
}

fn edit(place: &Place, from: &str, to: &str) {
    let text = fs::read_to_string(place.path("p.toml")).unwrap();
    assert!(text.contains(from));
    place.pipeline(&text.replace(from, to));
}

#[test]
fn another_path_while_committed_rows_wait_in_the_old_one_is_refused_and_nothing_is_lost() {
    let place = killed_before_its_rows_are_visible();
    edit(&place, "path = \"out\"", "path = \"elsewhere\"");
    let refused = place.finish();
    assert_eq!(refused.exit, Exit::Code(6), "{refused}");
    assert!(refused.stderr.contains("is not the folder that sink `out` wrote to"), "{refused}");

    edit(&place, "path = \"elsewhere\"", "path = \"out\"");
    place.finish().expect_success();
    assert_eq!(place.rows("out").len(), 2_000);
}

#[test]
fn another_path_is_fine_once_all_that_was_committed_is_visible() {
    let place = Place::of_ledger("50ms", 2_000, 4_000);
    place.run().crash_at("barrier.injected", 6).finish(SOON).expect(Exit::KILLED);
    edit(&place, "path = \"out\"", "path = \"elsewhere\"");
    place.finish().expect_success();
    assert_eq!(place.rows("out").len() + place.rows("elsewhere").len(), 2_000);
}

#[test]
fn a_path_to_parts_of_another_pipeline_is_refused_also_behind_commits_and_nothing_is_mixed() {
    let theirs = Place::of_ledger("50ms", 2_000, 4_000);
    theirs.finish().expect_success();
    let rows = theirs.rows("out");
    let place = Place::of_ledger("50ms", 2_000, 4_000);
    place.run().crash_at("barrier.injected", 6).finish(SOON).expect(Exit::KILLED);
    let taken = format!("path = {:?}", theirs.path("out"));
    edit(&place, "path = \"out\"", &taken);
    for _ in 0..2 {
        let refused = place.finish().expect(Exit::Code(6));
        assert!(refused.stderr.contains("another pipeline was the last to write there"), "{refused}");
    }
    assert_eq!(theirs.rows("out"), rows);
    // Who begins anew moves away what is his own, and not what a pipeline of another name has written.
    let text = fs::read_to_string(place.path("p.toml")).unwrap();
    place.write("q.toml", text.replace("name = \"kept\"", "name = \"other\""));
    let anew = || Weir::run("q.toml", "state-q").directory(place.path("."));
    for weir in [anew().argument("--from").argument("empty").argument("--rewind"), anew()] {
        let refused = weir.finish(SOON).expect(Exit::Code(6));
        assert!(refused.stderr.contains("another pipeline was the last to write there"), "{refused}");
    }
    assert_eq!(theirs.rows("out"), rows);
    edit(&place, &taken, "path = \"out\"");
    place.finish().expect_success();
    assert_eq!(place.rows("out").len(), 2_000);
}

#[test]
fn a_folder_that_was_emptied_while_committed_rows_waited_in_it_is_refused() {
    let place = killed_before_its_rows_are_visible();
    fs::remove_dir_all(place.path("out")).unwrap();
    assert_eq!(place.finish().exit, Exit::Code(6));
}

#[test]
fn parts_that_a_reader_has_taken_away_are_not_missed() {
    let place = Place::of_ledger("50ms", 2_000, 4_000);
    place.run().crash_at("epoch.advanced", 4).finish(SOON).expect(Exit::KILLED);
    let taken = place.rows("out").len();
    for entry in fs::read_dir(place.path("out")).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_file() {
            fs::remove_file(entry).unwrap();
        }
    }
    place.finish().expect_success();
    assert!(taken + place.rows("out").len() >= 2_000);
}

#[test]
fn of_two_pipelines_that_start_on_one_folder_one_is_refused_and_the_other_is_whole() {
    let place = Place::of_ledger("50ms", 2_000, 4_000);
    let text = fs::read_to_string(place.path("p.toml")).unwrap();
    place.write("q.toml", text.replace("name = \"kept\"", "name = \"other\""));
    let first = place.run().spawn();
    let second = Weir::run("q.toml", "state-q").directory(place.path(".")).finish(SOON);
    let first = first.wait(SOON);
    let codes = [&first, &second].map(|finished| finished.exit);
    assert!(codes.contains(&Exit::Code(0)) && !codes.iter().all(|code| *code == Exit::Code(0)), "{first}{second}");
    assert_eq!(place.rows("out").len(), 2_000, "{first}{second}");
}

#[test]
fn a_sink_inside_the_state_folder_is_refused_by_whatever_name_and_nothing_is_made() {
    let place = Place::of_ledger("50ms", 2_000, 4_000);
    let text = fs::read_to_string(place.path("p.toml")).unwrap();
    fs::create_dir(place.path("state")).unwrap();
    std::os::unix::fs::symlink(place.path("state"), place.path("link")).unwrap();
    for path in ["state", "state/live", "state/new/out", "link/out", "out/../state/checkpoints/files"] {
        place.pipeline(&text.replace("path = \"out\"", &format!("path = \"{path}\"")));
        let before = place.content();
        let refused = place.finish().expect(Exit::Code(3));
        let says =
            format!("error: sink `out`: {path} lies in the state folder state: give it a folder outside of that\n");
        assert_eq!(refused.stderr, says);
        assert!(place.content() == before, "touched\n{refused}");
    }
    place.pipeline(&text.replace("path = \"out\"", "path = \"state-of-others\""));
    place.finish().expect_success();
    assert_eq!(place.rows("state-of-others").len(), 2_000);
}

#[test]
fn a_source_that_was_renamed_is_refused_by_name() {
    let place = Place::of_ledger("50ms", 2_000, 4_000);
    place.run().crash_at("epoch.advanced", 4).finish(SOON).expect(Exit::KILLED);
    edit(&place, "made", "renamed");
    let refused = place.finish();
    assert_eq!(refused.exit, Exit::Code(6), "{refused}");
    assert!(refused.stderr.contains("positions of source `made`, which is not in the pipeline"), "{refused}");
    edit(&place, "renamed", "made");
    place.finish().expect_success();
    assert_eq!(place.rows("out").len(), 2_000);
}
