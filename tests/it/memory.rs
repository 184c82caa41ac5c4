//! `storage = "memory"`: a pipeline that fails goes on from the checkpoint that its process holds; nothing of it is on disk;
//! and what goes with the process is said.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use serde_json::Value;
use weir_tests::draft::Draft;
use weir_tests::process::{Exit, Finished, Process, Weir};
use weir_tests::wait::{wait_for, wait_until};

use crate::place::{Place, SOON, guest};
use crate::serve::Server;

const ROWS: usize = 12_000;

fn checkpoints(interval: &str) -> String {
    format!("interval = \"{interval}\"\nguarantee = \"none\"\nstorage = \"memory\"")
}

/// Like [`Place::of_ledger`], with checkpoints in memory.
fn place(rate: u32) -> Place {
    Place::over(&draft(rate).file_sink("out", &["ledger"]))
}

fn draft(rate: u32) -> Draft {
    let draft = Draft::new("kept", &checkpoints("50ms")).records("made", 10, &format!("count = {ROWS}\nrate = {rate}"));
    draft.node("ledger", &guest("ledger"), &["made"], "/k", "")
}

fn weir(place: &Place, arguments: &[&str]) -> Finished {
    Weir::new(arguments).directory(place.path("")).env("WEIR_LOG", "warn").finish(SOON)
}

fn started(place: &Place) -> Process {
    let process = place.run().spawn();
    wait_until(SOON, "rows are committed", || place.rows("out").len() > 100);
    process
}

/// Each key has each record once, in order, and each was counted once.
#[track_caller]
fn expect_each_once(rows: &[String], total: usize) {
    let mut next: BTreeMap<String, u64> = BTreeMap::new();
    for row in rows {
        let row: Value = serde_json::from_str(row).unwrap();
        let next = next.entry(row["key"].as_str().unwrap().to_owned()).or_default();
        *next += 1;
        assert_eq!(row["count"].as_u64(), Some(*next), "{row}");
    }
    assert_eq!(rows.len(), total);
}

/// No file lies where a store on disk would have its own.
#[track_caller]
fn expect_nothing_on_disk(place: &Place) {
    let content = place.content();
    let stored = content.iter().filter(|(path, bytes)| path.starts_with("state/checkpoints") && bytes.is_some());
    let stored: Vec<&PathBuf> = stored.map(|(path, _)| path).collect();
    assert!(stored.is_empty(), "{stored:?}");
}

#[test]
fn failed_operator_goes_on_from_the_checkpoint_in_memory_and_nothing_is_lost_or_doubled() {
    const LINES: usize = 60_000;
    const POISON: usize = 45_000;
    let line = |n: usize| {
        let word = if n == POISON { "poison" } else { "passes" };
        format!(r#"{{"k":"k{}","seq":{n},"val":{},"ts":{},"w":"{word}"}}"#, n % 17, n % 1000, 1_700_000_000_000 + n)
    };
    let lines: Vec<String> = (0..LINES).map(line).collect();
    let text = lines.join("\n") + "\n";
    let draft = Draft::new("kept", &checkpoints("10ms"))
        .table("restart", "strategy = \"fixed-delay\"\nattempts = 2\ndelay = \"3s\"")
        .table("sources.lines", "type = \"file\"\npath = \"in.jsonl\"\nevent_time = { json = \"/ts\" }")
        .node("bad", &guest("hostile"), &["lines"], "/k", "config = { do = \"panic\", on = \"poison\" }")
        .node("ledger", &guest("ledger"), &["bad.out"], "/k", "")
        .file_sink("out", &["ledger.out"]);
    let place = Place::over(&draft);
    place.write("in.jsonl", &text);
    let mut process = place.run().env("WEIR_LOG", "info").spawn();
    let failed = process.wait_for_line(SOON, "; restart 1 in ");
    assert!(failed.contains("cannot stand"), "{failed}");
    // While it waits: the record is mended in its place.
    let input = File::options().write(true).open(place.path("in.jsonl")).unwrap();
    input.write_all_at(b"passes", text.find("poison").unwrap() as u64).unwrap();
    let before = place.rows("out").len();
    assert!((1..POISON).contains(&before), "{before} rows were committed before the failure");
    expect_nothing_on_disk(&place);
    let finished = process.wait(SOON).expect_success();
    assert!(finished.stderr.contains("restored checkpoint "), "{finished}");
    assert_eq!(finished.stderr.matches("; restart ").count(), 1, "{finished}");
    expect_each_once(&place.rows("out"), LINES);
    expect_nothing_on_disk(&place);
}

#[test]
fn next_process_begins_anew_and_says_so_or_refuses_where_rows_would_come_twice() {
    let place = place(4_000);
    let mut process = started(&place);
    process.kill9();
    process.wait(SOON).expect(Exit::KILLED);
    let rows = place.rows("out");
    // Its rows are there: begun anew, it would write them a second time.
    let refused = place.finish().expect(Exit::Code(3));
    assert!(refused.stderr.contains("was in memory, and is gone with it: this is a first start"), "{refused}");
    assert!(refused.stderr.contains("of another pipeline, or of one whose state folder is gone"), "{refused}");
    assert_eq!(place.rows("out"), rows);
    fs::remove_dir_all(place.path("out")).unwrap();
    place.finish().expect_success();
    expect_each_once(&place.rows("out"), ROWS);
    // Ended, and once more from the beginning, where nothing of before stands in the way.
    place.pipeline(
        &place_text(&place).replace("type = \"file\"\n", "type = \"discard\"\n").replace("\npath = \"out\"", ""),
    );
    let again = place.run().env("WEIR_LOG", "info").finish(SOON).expect_success();
    assert!(again.stderr.contains("this is a first start") && !again.stderr.contains("restored"), "{again}");
    // With checkpoints on disk from then on it is as any other.
    place.pipeline(&place_text(&place).replace("storage = \"memory\"", "storage = \"local\""));
    place.finish().expect_success();
}

fn place_text(place: &Place) -> String {
    fs::read_to_string(place.path("p.toml")).unwrap()
}

#[test]
fn checkpoints_on_disk_are_not_left_behind_for_memory() {
    let place = Place::of_ledger("50ms", 2_000, 1_000_000);
    place.finish().expect_success();
    let memory = "guarantee = \"none\"\nstorage = \"memory\"";
    place.pipeline(&place_text(&place).replace("interval", &format!("{memory}\ninterval")));
    let before = place.content();
    let refused = place.finish().expect(Exit::Code(6));
    assert!(refused.stderr.contains("holds checkpoints on disk, which `storage = \"memory\"`"), "{refused}");
    let format = |content: &BTreeMap<PathBuf, Option<Vec<u8>>>| {
        content
            .iter()
            .filter(|(path, _)| !path.ends_with("lock"))
            .map(|(a, b)| (a.clone(), b.clone()))
            .collect::<Vec<_>>()
    };
    assert!(format(&place.content()) == format(&before), "something was changed");
}

#[test]
fn running_process_lists_shows_makes_and_deletes_its_checkpoints_in_memory() {
    let place = place(4_000);
    let mut process = started(&place);
    let ask = |words: &[&str]| weir(&place, &[&["checkpoint"], words, &["--state", "state"]].concat());
    let made = ask(&["trigger", "kept"]).expect_success().stdout.trim_end().to_owned();
    let ids = || -> Vec<String> {
        let listed: Vec<Value> =
            serde_json::from_str(&ask(&["list", "p.toml", "--format", "json"]).expect_success().stdout).unwrap();
        listed.iter().map(|it| it["id"].as_str().unwrap().to_owned()).collect()
    };
    assert!(ids().len() >= 2, "{:?}", ids());
    assert!(ask(&["list", "kept"]).expect_success().stdout.contains("checkpoint"));
    let shown = wait_for(SOON, "one is shown before it is retired", || {
        let shown = ask(&["show", "kept", ids().first()?]);
        shown.stdout.contains("node       ledger: ").then_some(shown)
    });
    assert!(shown.stdout.contains("file "), "{shown}");
    wait_until(SOON, "an older one is deleted before it is retired", || {
        let id = ids().pop().unwrap();
        ask(&["rm", "kept", &id]).stdout.trim_end() == id
    });
    let history = ask(&["show", "kept"]).expect_success().stdout;
    assert!(history.contains(" completed"), "{history}");
    let nowhere = ask(&["verify", "kept", &made]).expect(Exit::Code(6));
    assert!(nowhere.stderr.contains("are in memory (`storage = \"memory\"`)"), "{nowhere}");
    expect_nothing_on_disk(&place);
    process.kill9();
    process.wait(SOON).expect(Exit::KILLED);
    for gone in [ask(&["list", "kept"]), ask(&["show", "kept", &made]), ask(&["rm", "kept", &made])] {
        let gone = gone.expect(Exit::Code(6));
        assert!(gone.stderr.contains("gone with the process that runs the pipeline"), "{gone}");
    }
}

#[test]
fn savepoint_of_checkpoints_in_memory_is_on_disk_and_outlives_the_process() {
    let place = place(4_000);
    let process = started(&place);
    let said = weir(&place, &["stop", "kept", "--state", "state", "--savepoint"]).expect_success();
    process.wait(SOON).expect_success();
    let savepoint = PathBuf::from(said.stdout.trim_end());
    assert!(savepoint.starts_with(place.path("state/savepoints").canonicalize().unwrap()));
    let rows = place.rows("out").len();
    assert!(rows < ROWS, "{rows}");
    place.run().argument("--from").argument(&savepoint).finish(SOON).expect_success();
    expect_each_once(&place.rows("out"), ROWS);
    expect_nothing_on_disk(&place);
}

#[test]
fn server_keeps_checkpoints_in_memory_over_a_stop_and_a_new_revision_and_not_over_its_own_end() {
    let dir = tempfile::tempdir().unwrap();
    let (data, out) = (dir.path().join("data"), dir.path().join("out"));
    let text = crate::serve::plain("kept", &out, 1_000_000, 1_000);
    let text = text.replace("interval = \"100ms\"", &checkpoints("20ms"));
    let mut server = Server::start(&data);
    server.apply("kept", &text).expect(201);
    server.wait_for("kept", "a checkpoint", |view| view["last_checkpoint"]["epoch"].as_u64() >= Some(3));
    server.send("POST", "/api/v1/pipelines/kept:stop", &[], b"").expect(202);
    server.wait_for_state("kept", "stopped");
    let before = server.get("kept")["last_checkpoint"]["epoch"].as_u64();
    server.apply("kept", &format!("{text}# changed\n")).expect(200);
    server.wait_for("kept", "goes on", |view| {
        view["revision"] == 2 && view["last_checkpoint"]["epoch"].as_u64() > before
    });
    server.process.kill_and_wait();
    server = Server::start(&data);
    // A first start, beside parts that it did not write.
    wait_until(SOON, "it is refused", || {
        server.get("kept")["problem"].as_str().is_some_and(|why| why.contains("whose state folder is gone"))
    });
    server.process.kill_and_wait();
}
