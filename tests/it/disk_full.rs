//! A disk that fills up while a pipeline runs on it: what cannot be written is declined or tried again, nothing is lost, and
//! it goes on by itself once there is space.

use std::fs;

use weir_tests::draft::Draft;
use weir_tests::process::{Exit, Process, Weir};
use weir_tests::redact::{redact, without_numbers};
use weir_tests::small_disk::SmallDisk;
use weir_tests::wait::{wait_for, wait_until};

use crate::place::{Place, SOON, guest};

const ROWS: usize = 8_000;

/// Four seconds of work. Whoever has a full disk for longer than the test may have more failures in a row.
fn draft() -> Draft {
    let restart = "strategy = \"fixed-delay\"\ndelay = \"20ms\"\nattempts = 10000";
    Draft::new("full", "interval = \"20ms\"\nretain = 1\ntolerable_failures = 10000").table("restart", restart).records(
        "made",
        10,
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

/// Runs with its state on the disk, until the last row; `full` is what happens meanwhile.
fn check(draft: &Draft, full: impl FnOnce(&Place, &SmallDisk, &Process)) {
    let Some(disk) = disk() else { return };
    let place = Place::over(draft);
    let process = disk.on(on(&place, &disk)).spawn();
    wait_until(SOON, "rows are committed", || place.rows("out").len() > 100);
    full(&place, &disk, &process);
    process.wait(SOON).expect_success();
    let rows = place.rows("out");
    assert_eq!(rows.len(), ROWS);
    let mut once: Vec<&String> = rows.iter().collect();
    once.sort_unstable();
    once.dedup();
    assert_eq!(once.len(), ROWS, "each once");
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

#[test]
fn full_where_rows_are_flushed_they_are_made_again_from_the_newest_commit() {
    let Some(disk) = disk() else { return };
    let text = with_ledger().text().replace("path = \"out\"", &format!("path = \"{}/out\"", disk.path().display()));
    let place = Place::new();
    place.pipeline(&text);
    let rows = || -> Vec<String> {
        let Ok(entries) = fs::read_dir(disk.from_outside().join("out")) else { return Vec::new() };
        let parts = entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_file());
        parts
            .flat_map(|part| fs::read_to_string(part).unwrap().lines().map(str::to_owned).collect::<Vec<_>>())
            .collect()
    };
    let mut process = disk.on(place.run()).spawn();
    wait_until(SOON, "rows are committed", || rows().len() > 100);
    disk.fill();
    let line = process.wait_for_line(SOON, "; restart ");
    insta::assert_snapshot!("flush", said(line.rsplit_once("; restart").unwrap().0, &disk));
    disk.free();
    process.wait(SOON).expect_success();
    let mut all = rows();
    all.sort_unstable();
    all.dedup();
    assert_eq!((rows().len(), all.len()), (ROWS, ROWS));
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
    assert_eq!(place.rows("out").len(), ROWS);
}
