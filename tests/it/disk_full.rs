//! A disk that fills up while a pipeline runs on it: what cannot be written is declined or tried again, nothing is lost, and
//! it goes on by itself once there is space.

use weir_tests::draft::Draft;
use weir_tests::probe::Probe;
use weir_tests::process::{Exit, Process, Weir};
use weir_tests::redact::{redact, without_numbers};
use weir_tests::small_disk::SmallDisk;
use weir_tests::wait::{wait_for, wait_until};

use crate::place::{Place, SOON, guest};

const ROWS: usize = 8_000;

/// Four seconds of work, in which most keys are not met again for some epochs. Whoever has a full disk for longer than the test may have more failures in a row.
fn draft() -> Draft {
    let restart = "strategy = \"fixed-delay\"\ndelay = \"20ms\"\nattempts = 10000";
    Draft::new("full", "interval = \"20ms\"\nretain = 1\ntolerable_failures = 10000").table("restart", restart).records(
        "made",
        1_000,
        &format!("count = {ROWS}\nrate = 2000"),
    )
}

fn with_ledger() -> Draft {
    draft().node("ledger", &guest("ledger"), &["made"], "/k", "").file_sink("out", &["ledger"])
}

/// A disk, where one can be mounted.
fn disk() -> Option<SmallDisk> {
    let disk = SmallDisk::mount(16);
    if disk.is_none() {
        eprintln!("not permitted to mount a disk: not tested");
    }
    disk
}

/// Runs with its state on the disk, until the last row; `full` is what happens meanwhile. Behind that it is killed, so that the
/// rest comes from what was written then.
fn check(draft: &Draft, full: impl FnOnce(&Place, &SmallDisk, &Process)) {
    let Some(disk) = disk() else { return };
    let place = Place::over(draft);
    let process = disk.on(on(&place, &disk)).spawn();
    wait_until(SOON, "rows are committed", || place.rows("out").len() > 100);
    full(&place, &disk, &process);
    process.kill_and_wait();
    disk.on(on(&place, &disk)).finish(SOON).expect_success();
    expect_all_of(draft, place.rows("out"));
}

/// The rows are those of a run without failure.
#[track_caller]
fn expect_all_of(draft: &Draft, mut rows: Vec<String>) {
    let place = Place::new();
    place.pipeline(&draft.text().replace("rate = 2000", "rate = 1000000"));
    place.finish().expect_success();
    let mut truth = place.rows("out");
    assert_eq!((rows.len(), truth.len()), (ROWS, ROWS));
    rows.sort_unstable();
    truth.sort_unstable();
    let wrong: Vec<_> = rows.iter().zip(&truth).filter(|(row, truth)| row != truth).take(3).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

fn on(place: &Place, disk: &SmallDisk) -> Weir {
    let run = Weir::run("p.toml", disk.path().join("state")).directory(place.path(""));
    run.env("WEIR_LOG", "warn")
}

/// What was said of the full disk, without what differs from run to run.
fn said(line: &str, disk: &SmallDisk) -> String {
    let line = line.split_once("WARN ").map_or(line, |(_, said)| said);
    without_numbers(&redact(line, &[(&disk.path().display().to_string(), "DISK")]))
}

/// More rows than there are now.
fn wait_for_more(place: &Place) {
    let before = place.rows("out").len();
    wait_until(SOON, "it goes on", || place.rows("out").len() > before);
}

/// Fills the disk until an epoch is declined for it, and frees it again. Returns what was said.
fn declined(place: &Place, disk: &SmallDisk, process: &Process) -> String {
    wait_for(SOON, "an epoch is declined", || {
        let seen = process.stderr().lines().count();
        let new = || -> Option<String> {
            let text = process.stderr();
            let mut new = text.lines().skip(seen).filter(|line| line.to_lowercase().contains("no space left"));
            new.next().map(str::to_owned)
        };
        disk.fill();
        let line = wait_for(SOON, "the disk is full", new);
        disk.free();
        wait_for_more(place);
        // `CURRENT` may have been the next to be written: then that was tried again.
        line.contains("is declined").then_some(line)
    })
}

#[test]
fn full_in_the_snapshot_the_epoch_is_declined_and_the_next_one_covers_it() {
    check(&with_ledger(), |place, disk, process| {
        insta::assert_snapshot!("snapshot", said(&declined(place, disk, process), disk));
    });
}

#[test]
fn full_in_the_manifest_the_epoch_is_declined_and_the_next_one_covers_it() {
    // Without state a snapshot is its manifest.
    check(&draft().file_sink("out", &["made"]), |place, disk, process| {
        insta::assert_snapshot!("manifest", said(&declined(place, disk, process), disk));
    });
}

/// A pipeline with its output on the disk and its state elsewhere, and the output as it is seen from here.
fn output_on(disk: &SmallDisk) -> (Place, String) {
    let place = Place::new();
    let folder = disk.path().join("out");
    place.pipeline(&with_ledger().text().replace("path = \"out\"", &format!("path = \"{}\"", folder.display())));
    (place, disk.from_outside().join("out").display().to_string())
}

#[test]
fn full_where_a_savepoint_is_copied_it_is_told_and_what_stopped_for_it_goes_on_at_the_next_start() {
    let Some(disk) = disk() else { return };
    let place = Place::over(&with_ledger());
    let process = disk.on(place.run().directory(place.path(""))).spawn();
    wait_until(SOON, "rows are committed", || place.rows("out").len() > 100);
    disk.fill();
    let to = disk.path().join("savepoints").display().to_string();
    for command in ["savepoint", "stop"] {
        let mut arguments = vec![command, "full", "--state", "state", "--to", &to];
        arguments.extend((command == "stop").then_some("--savepoint"));
        let refused = Weir::new(&arguments).directory(place.path("")).finish(SOON).expect(Exit::Code(1)).stderr;
        assert!(refused.contains("is committed, but there is no savepoint of it: "), "{refused}");
        let is_stopped = refused.contains("; the pipeline has stopped at it all the same: ");
        assert_eq!(is_stopped, command == "stop", "{refused}");
    }
    process.wait(SOON).expect_success();
    place.finish().expect_success();
    expect_all_of(&with_ledger(), place.rows("out"));
}

#[test]
fn full_where_rows_are_flushed_the_epoch_is_declined_and_killed_then_it_has_lost_nothing() {
    let Some(disk) = disk() else { return };
    let (place, out) = output_on(&disk);
    let mut process = disk.on(place.run()).spawn();
    wait_until(SOON, "rows are committed", || place.rows(&out).len() > 100);
    disk.fill();
    let line = process.wait_for_line(SOON, " is declined: ");
    insta::assert_snapshot!("flush", said(&line, &disk));
    process.kill_and_wait();
    disk.free();
    disk.on(place.run()).finish(SOON).expect_success();
    expect_all_of(&with_ledger(), place.rows(&out));
}

/// Declined for as long as barriers get through; then rows wait in front of the sink, and no barrier overtakes them.
#[test]
fn full_for_longer_than_rows_fit_into_memory_they_wait_and_nothing_is_started_again() {
    let Some(disk) = disk() else { return };
    let (place, out) = output_on(&disk);
    let mut probe = Probe::start(disk.on(place.run()));
    wait_until(SOON, "rows are committed", || place.rows(&out).len() > 100);
    disk.fill();
    let waited = "kind=\"backpressured\"";
    probe.wait(SOON, |metrics| metrics.value("weir_node_time_seconds_total{", waited).filter(|time| *time > 0.2));
    disk.free();
    let ended = probe.process.wait(SOON).expect_success();
    assert!(ended.stderr.contains(" is declined: ") && !ended.stderr.contains("; restart "), "{ended}");
    expect_all_of(&with_ledger(), place.rows(&out));
}

#[test]
fn start_on_a_full_disk_tries_again_until_there_is_space() {
    let Some(disk) = disk() else { return };
    let place = Place::over(&with_ledger());
    disk.on(on(&place, &disk).crash_at("epoch.advanced", 3)).finish(SOON).expect(Exit::KILLED);
    let before = place.rows("out");
    disk.fill();
    let mut process = disk.on(on(&place, &disk)).spawn();
    let line = process.wait_for_line(SOON, "; restart 2 ");
    let said = said(line.rsplit_once("; restart").unwrap().0, &disk);
    insta::assert_snapshot!("start", said.split_once(" at path").unwrap().0);
    assert!(place.rows("out") == before);
    disk.free();
    process.wait(SOON).expect_success();
    expect_all_of(&with_ledger(), place.rows("out"));
}

#[test]
fn first_start_where_there_is_no_space_for_the_output_tries_again_until_there_is() {
    let Some(disk) = disk() else { return };
    let (place, out) = output_on(&disk);
    disk.fill();
    let mut process = disk.on(place.run()).spawn();
    let line = process.wait_for_line(SOON, "; restart 1 ");
    insta::assert_snapshot!("output", said(line.rsplit_once("; restart").unwrap().0, &disk));
    process.wait_for_line(SOON, "; restart 2 ");
    disk.free();
    process.wait(SOON).expect_success();
    expect_all_of(&with_ledger(), place.rows(&out));
}
