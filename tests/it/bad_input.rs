//! Input that is wrong is refused with the place and what to do, by the exit code of its kind, and what is on disk stays as
//! it was. Broken records follow the policy of their node. A stop loses nothing.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;

use weir_tests::probe::Probe;
use weir_tests::process::{Exit, Finished, Weir};
use weir_tests::redact::redact;
use weir_tests::wait::wait_until;

use crate::place::{Place, SOON, numbered_lines};

const FILE: &str = r#"version = 1
name = "plain"

[checkpoint]
interval = "50ms"

[sources.lines]
type = "file"
path = "in.jsonl"
event_time = { json = "/ts", unit = "ms" }
watermark = { out_of_order = "1s" }
on_error = "fail"

[sinks.out]
type = "file"
inputs = ["lines"]
path = "out"
"#;

/// A pipeline that copies 40 lines.
fn plain() -> Place {
    let place = Place::new();
    place.write("in.jsonl", numbered_lines(40).join("\n"));
    place.pipeline(FILE);
    place
}

/// Runs it to an end with this code, and nothing in the folder has changed but what the lock notes.
#[track_caller]
fn expect_untouched(place: &Place, exit: Exit) -> Finished {
    expect_untouched_by(place, place.run(), exit)
}

#[track_caller]
fn expect_untouched_by(place: &Place, command: Weir, exit: Exit) -> Finished {
    let before = kept(place);
    let finished = command.finish(SOON).expect(exit);
    let after = kept(place);
    let changed: Vec<_> =
        after.keys().chain(before.keys()).filter(|path| before.get(*path) != after.get(*path)).collect();
    assert!(changed.is_empty(), "touched {changed:?}\n{finished}");
    finished
}

/// Everything that is kept: not the number of the process that holds the lock, nor what each start builds anew.
fn kept(place: &Place) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    let mut content = place.content();
    content.retain(|path, _| !path.ends_with("lock") && !path.components().any(|part| part.as_os_str() == "live"));
    content
}

#[test]
fn fault_in_a_pipeline_file_is_shown_with_line_caret_and_advice() {
    let cases: [(&str, &str, usize, &str, &str); 8] = [
        ("on_error =", "on_eror =", 12, "unknown key `on_eror` in [sources.lines]", "did you mean `on_error`?"),
        (
            r#"interval = "50ms""#,
            "interval = 50",
            5,
            "`interval` must be a duration, found an integer",
            "write \"50s\"",
        ),
        (r#"["lines"]"#, r#"["line"]"#, 16, "no source or node is named `line`", "did you mean `lines`?"),
        ("[sinks.out]", "[sinks.lines]", 14, "the name `lines` stands twice", "rename one of them"),
        (r#""in.jsonl""#, r#""${env:WEIR_NOT_SET}""#, 9, "`WEIR_NOT_SET` is not set", ""),
        (r#""fail""#, r#""dead-letter""#, 12, "`on_error = \"dead-letter\"` comes later", "until then"),
        (r#"unit = "ms""#, r#"unit = "hours""#, 10, "hours", "ms"),
        (r#"[sinks.out]"#, "[sinks.out", 14, "", ""),
    ];
    for (from, to, line, says, advice) in cases {
        let place = plain();
        place.pipeline(&FILE.replacen(from, to, 1));
        let finished = expect_untouched(&place, Exit::Code(3));
        for part in [&format!("[p.toml:{line}]"), "^", says, advice] {
            assert!(finished.stderr.contains(part), "{to}: no {part:?} in\n{finished}");
        }
        // `check` says the same.
        let check = Weir::new(["check"]).argument(place.path("p.toml")).env("WEIR_LOG", "warn").finish(SOON);
        let check = check.expect(Exit::Code(3));
        assert!(check.stderr.contains(says) && check.stderr.contains("^"), "{check}");
    }
}

/// The last line of what was said, without what differs from run to run.
fn said(place: &Place, finished: &Finished) -> String {
    let last = finished.stderr.lines().last().unwrap_or_default();
    redact(last, &[(place.path("").to_str().unwrap(), "DIR/")])
}

#[test]
fn parallelism_over_the_key_groups_is_refused_with_both_numbers() {
    let place = plain();
    place.pipeline(&FILE.replace("on_error = \"fail\"", "parallelism = 129"));
    insta::assert_snapshot!("parallelism", expect_untouched(&place, Exit::Code(3)).stderr);
}

#[test]
fn reference_to_a_file_without_an_end_or_a_beginning_is_refused() {
    let place = plain();
    place.write("large", vec![b'x'; (1 << 20) + 1]);
    let fifo = std::ffi::CString::new(place.path("fifo").to_str().unwrap()).unwrap();
    // SAFETY: the string lives for the call.
    assert_eq!(unsafe { libc::mkfifo(fifo.as_ptr(), 0o600) }, 0);
    let mut messages = String::new();
    for file in ["/dev/zero", "fifo", "large", "."] {
        place.pipeline(&FILE.replace("\"in.jsonl\"", &format!("\"${{file:{file}}}\"")));
        let finished = expect_untouched(&place, Exit::Code(3));
        assert!(finished.stderr.contains(&format!("cannot read the file `{file}`: ")), "{finished}");
        messages += finished.stderr.lines().find(|line| line.contains("cannot read")).unwrap();
        messages.push('\n');
    }
    insta::assert_snapshot!("references", messages);
    place.write("name", "in.jsonl\n");
    place.pipeline(&FILE.replace("\"in.jsonl\"", "\"${file:name}\""));
    place.finish().expect_success();
    let endless = Weir::run("/dev/zero", place.path("other")).finish(SOON).expect(Exit::Code(3));
    assert!(endless.stderr.contains("cannot read /dev/zero: it has more than 1 MiB"), "{endless}");
}

#[test]
fn nodes_that_feed_themselves_are_shown_as_a_cycle() {
    let place = plain();
    place.write("x.wasm", "");
    let node =
        |name: &str, from: &str| format!("\n[nodes.{name}]\noperator = \"x.wasm\"\ninputs = [\"lines\", \"{from}\"]\n");
    place.pipeline(&format!("{FILE}{}{}", node("a", "b"), node("b", "a")));
    let finished = expect_untouched(&place, Exit::Code(3));
    assert!(finished.stderr.contains("the nodes form a cycle: "), "{finished}");
    assert!(finished.stderr.contains("[p.toml:21]") || finished.stderr.contains("[p.toml:25]"), "{finished}");
}

#[test]
fn wrong_use_of_the_command_line_is_2_and_a_file_that_is_none_is_3() {
    let rewind_alone = &["run", "p.toml", "--rewind"];
    for arguments in
        [&["run"][..], &["run", "p.toml", "--froom", "x"], &["rum"], &["run", "p.toml", "--from", "x"], rewind_alone]
    {
        Weir::new(arguments).finish(SOON).expect(Exit::Code(2));
    }
    let place = plain();
    for address in ["nonsense", ":80", "host:", "host:99999"] {
        let listen = |command: Weir| command.argument("--listen").argument(address).finish(SOON).expect(Exit::Code(2));
        listen(place.run());
        listen(Weir::new(["serve", "--data"]).argument(place.path("data")));
    }
    for filter in ["!!", "weir=loud"] {
        let finished = place.run().env("WEIR_LOG", filter).finish(SOON).expect(Exit::Code(2));
        assert!(finished.stderr.contains("is no filter for logs"), "{finished}");
    }
    assert!(!place.path("data").exists());
    for (file, says) in [("gone.toml", "does not exist"), (".", "is a folder, not a pipeline file")] {
        let finished = Weir::run(place.path(file), place.path("state")).finish(SOON).expect(Exit::Code(3));
        assert!(finished.stderr.contains(says), "{finished}");
    }
    assert!(!place.path("state").exists());
}

#[test]
fn what_the_first_start_would_trip_over_is_found_by_check_with_a_caret() {
    let place = plain();
    let fixture = weir_tests::repository().join("tests/fixtures/ip_count-0.1.0.wasm");
    let node = format!(
        "\n[nodes.count]\noperator = \"{}\"\ninputs = [\"lines\"]\nkey = {{ json = \"/k\" }}\nconfig = {{ window = \"5 secs\" }}\n",
        fixture.display()
    );
    place.pipeline(
        &FILE
            .replace("in.jsonl", "gone.jsonl")
            .replace(r#"["lines"]"#, r#"["count"]"#)
            .replace("[sinks.out]", &(node + "\n[sinks.out]")),
    );
    for finished in [Weir::new(["check", "p.toml"]).directory(place.path("")).finish(SOON), place.finish()] {
        let said = finished.expect(Exit::Code(3)).stderr;
        for part in ["gone.jsonl does not exist", "path = \"gone.jsonl\"\n    :        ^^^^^^^^^^^^"] {
            assert!(said.contains(part), "{part:?} in\n{said}");
        }
        for part in ["ip-count@0.1.0 fails in `open` (config): `window` must be a duration", "^^^^^^^^"] {
            assert!(said.contains(part), "{part:?} in\n{said}");
        }
    }
    place.write("file", "");
    for (from, to, says) in
        [("in.jsonl", ".", "is a folder"), (r#""out""#, r#""file/out""#, "is a file; a file sink writes into a folder")]
    {
        place.pipeline(&FILE.replacen(from, to, 1));
        let finished = place.finish().expect(Exit::Code(3));
        assert!(finished.stderr.contains(says) && finished.stderr.contains("^"), "{finished}");
    }
    assert!(!place.path("state").exists() && !place.path("out").exists());
}

#[test]
fn state_folder_that_cannot_be_made_is_6_with_the_reason() {
    let place = plain();
    let finished = Weir::run(place.path("p.toml"), "/proc/weir").finish(SOON).expect(Exit::Code(6));
    assert!(finished.stderr.contains("creating /proc/weir failed: No such file or directory"), "{finished}");
}

#[test]
fn address_that_is_taken_leaves_no_folder_behind() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let place = plain();
    expect_untouched_by(&place, place.run().argument("--listen").argument(&address), Exit::Code(5));
    let serve = Weir::new(["serve", "--data", "data", "--listen"]).argument(&address);
    expect_untouched_by(&place, serve.directory(place.path("")), Exit::Code(5));
}

#[test]
fn folder_that_is_no_operators_crate_is_refused_before_anything_is_compiled() {
    let root = weir_tests::repository();
    for (folder, says) in [(root.to_owned(), "has no [package]"), (root.join("runtime"), "crate-type = [\"cdylib\"]")] {
        let finished = Weir::new(["build"]).directory(folder).finish(SOON).expect(Exit::Code(3));
        assert!(finished.stderr.contains(says) && !finished.stderr.contains("Compiling"), "{finished}");
    }
}

/// A bad line, and what weir says to it.
fn bad_lines() -> [(String, &'static str); 5] {
    [
        (r#"{"k":"a","n":5}"#.to_owned(), "`/ts` is missing"),
        (r#"{"k":"a","ts":"soon"}"#.to_owned(), "`/ts`"),
        (r#"{"k":"a","ts":17"#.to_owned(), "the value is not JSON"),
        (r#"{"n":5,"ts":1700000000021}"#.to_owned(), "`/k` is missing"),
        (
            format!(r#"{{"k":"a","ts":1700000000021,"p":"{}"}}"#, "x".repeat(1 << 20)),
            "are over `limits.record` (1048576)",
        ),
    ]
}

fn with_bad_line(bad: &str, on_error: &str) -> Place {
    let place = plain();
    let mut lines = numbered_lines(40);
    lines.insert(20, bad.to_owned());
    place.write("in.jsonl", lines.join("\n"));
    let operator = crate::place::guest("identity");
    let node = format!(
        "\n[nodes.same]\noperator = \"{}\"\ninputs = [\"lines\"]\nkey = {{ json = \"/k\" }}\n",
        operator.display()
    );
    let text =
        FILE.replace(r#"inputs = ["lines"]"#, r#"inputs = ["same"]"#).replace(r#""fail""#, &format!("\"{on_error}\""));
    place.pipeline(&(text + &node + &format!("on_error = \"{on_error}\"\n")));
    place
}

#[test]
fn broken_record_under_fail_is_named_with_file_and_line() {
    for (bad, says) in bad_lines() {
        let place = with_bad_line(&bad, "fail");
        let finished = place.finish().expect(Exit::Code(1));
        let last = finished.stderr.lines().last().unwrap_or_default();
        assert!(last.starts_with("error: the same failure came three times: source `lines`: "), "{last}");
        assert!(last.contains(says) && last.contains("record in.jsonl/0@21"), "{last}");
        assert_eq!(place.rows("out"), [""; 0], "nothing of the batch was committed");
        // With the other policy it goes on from where it stood.
        let text = fs::read_to_string(place.path("p.toml")).unwrap();
        place.pipeline(&text.replace("\"fail\"", "\"skip\""));
        place.finish().expect_success();
        assert!(place.rows("out") == numbered_lines(40), "{says}");
    }
}

#[test]
fn broken_record_under_skip_costs_itself_alone() {
    for (bad, says) in bad_lines() {
        let place = with_bad_line(&bad, "skip");
        let finished = place.finish().expect_success();
        assert!(finished.stderr.contains("1 record(s) skipped"), "{finished}");
        assert!(place.rows("out") == numbered_lines(40), "{says}");
    }
}

/// What was read of stdin before it cannot be had again: a restart would lose it in silence, and end well.
#[test]
fn broken_record_from_stdin_ends_the_run_at_once() {
    let place = Place::new();
    place.pipeline(
        "version = 1\nname = \"once\"\n[checkpoint]\nguarantee = \"none\"\n[sources.lines]\ntype = \"stdin\"\n\
         event_time = { json = \"/ts\" }\n[sinks.out]\ntype = \"stdout\"\ninputs = [\"lines\"]\n",
    );
    let line =
        format!(r#"printf '{{"ts":1}}\nBAD\n{{"ts":2}}\n' | '{}' run p.toml"#, weir_tests::weir_binary().display());
    let finished = Weir::program("sh", ["-c", &line]).directory(place.path("")).finish(SOON).expect(Exit::Code(1));
    assert!(finished.stderr.contains("the value is not JSON") && !finished.stderr.contains("restart"), "{finished}");
}

/// A folder with a few snapshots of the ledger in it, left by a kill.
fn with_snapshots() -> Place {
    let place = Place::of_ledger("30ms", 3_000, 2_000);
    place.run().crash_at("epoch.advanced", 3).finish(SOON).expect(Exit::KILLED);
    place
}

#[test]
fn state_folder_that_is_not_ours_is_refused_by_name() {
    let format = |place: &Place, from: &str, to: &str| {
        let path = place.path("state/format");
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{text}");
        fs::write(path, text.replace(from, to)).unwrap();
    };
    let other = with_snapshots();
    format(&other, "\"kept\"", "\"another\"");
    let finished = expect_untouched(&other, Exit::Code(6));
    assert!(finished.stderr.contains("belongs to the pipeline another, not to kept"), "{finished}");
    insta::assert_snapshot!("folder_of_another_pipeline", said(&other, &finished));

    let newer = with_snapshots();
    format(&newer, "\"version\":1", "\"version\":99");
    let finished = expect_untouched(&newer, Exit::Code(6));
    assert!(finished.stderr.contains("has format 99, this weir reads up to 1"), "{finished}");
    insta::assert_snapshot!("folder_of_a_newer_weir", said(&newer, &finished));

    let foreign = plain();
    fs::create_dir(foreign.path("state")).unwrap();
    foreign.write("state/thesis.tex", "the only copy");
    let finished = expect_untouched(&foreign, Exit::Code(6));
    assert!(finished.stderr.contains("thesis.tex"), "{finished}");
    insta::assert_snapshot!("folder_of_something_else", said(&foreign, &finished));
}

/// Files below the state folder whose name ends so, newest checkpoint last.
fn files_of(place: &Place, wanted: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let content = place.content();
    content
        .keys()
        .filter(|path| path.to_str().is_some_and(&wanted))
        .map(|path| place.path(path.to_str().unwrap()))
        .collect()
}

fn flip_a_bit(path: &PathBuf) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn flipped_bit_stops_the_start_and_is_named() {
    let manifests = |path: &str| path.ends_with("/manifest");
    let state_files = |path: &str| path.contains("checkpoints/files/");
    let current = |path: &str| path.ends_with("/CURRENT");
    for (what, which) in
        [("manifest", &manifests as &dyn Fn(&str) -> bool), ("state file", &state_files), ("CURRENT", &current)]
    {
        let place = with_snapshots();
        let files = files_of(&place, which);
        assert!(!files.is_empty(), "{what}");
        files.iter().for_each(flip_a_bit);
        let before = (place.rows("out"), checkpoints(&place));
        let finished = place.finish().expect(Exit::Code(6));
        let last = finished.stderr.lines().last().unwrap_or_default();
        assert!(files.iter().any(|file| last.contains(file.file_name().unwrap().to_str().unwrap())), "{what}: {last}");
        assert!((place.rows("out"), checkpoints(&place)) == before, "{what}: touched");
        insta::assert_snapshot!(format!("flipped_bit_in_{}", what.replace(' ', "_")), said(&place, &finished));
        // Mended, it goes on as if nothing had been.
        files.iter().for_each(flip_a_bit);
        place.finish().expect_success();
        assert_eq!(place.rows("out").len(), 3_000, "{what}");
    }
}

fn checkpoints(place: &Place) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    let mut content = kept(place);
    content.retain(|path, _| path.starts_with("state/checkpoints") || path.starts_with("out"));
    content
}

#[test]
fn snapshots_without_current_are_not_begun_anew() {
    let place = with_snapshots();
    let current = fs::read(place.path("state/CURRENT")).unwrap();
    fs::remove_file(place.path("state/CURRENT")).unwrap();
    let before = checkpoints(&place);
    // Again and again: a supervisor that starts it anew must not wear the refusal down.
    for _ in 0..3 {
        let finished = place.finish().expect(Exit::Code(6));
        assert!(finished.stderr.contains("CURRENT is missing"), "{finished}");
        assert!(checkpoints(&place) == before, "touched\n{finished}");
    }
    fs::write(place.path("state/CURRENT"), current).unwrap();
    place.finish().expect_success();
    assert_eq!(place.rows("out").len(), 3_000);
}

#[test]
fn folder_of_a_running_process_is_refused_at_once() {
    let place = with_snapshots();
    let text = fs::read_to_string(place.path("p.toml")).unwrap();
    place.pipeline(&text.replace("count = 3000\nrate = 2000", "count = 3000\nrate = 200"));
    let process = place.run().spawn();
    let lock = place.path("state/lock");
    wait_until(SOON, "the first one has the lock", || {
        fs::read_to_string(&lock).is_ok_and(|text| text.trim() == process.pid().to_string())
    });
    let finished = place.finish().expect(Exit::Code(7));
    assert!(finished.stderr.contains(&format!("is in use by process {}", process.pid())), "{finished}");
    process.kill_and_wait().expect(Exit::KILLED);
    place.pipeline(&text);
    place.finish().expect_success();
    assert_eq!(place.rows("out").len(), 3_000);
}

#[test]
fn no_broker_is_5_with_the_line_that_helps() {
    // A port that nobody listens on: taken, and given back.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let place = Place::new();
    place.pipeline(&format!(
        "version = 1\nname = \"k\"\n[sources.s]\ntype = \"kafka\"\nbrokers = \"127.0.0.1:{port}\"\ntopic = \"t\"\n\
         [sinks.out]\ntype = \"file\"\ninputs = [\"s\"]\npath = \"out\"\n"
    ));
    let begun = weir::clock::now();
    let finished = place.finish().expect(Exit::Code(5));
    let last = finished.stderr.lines().last().unwrap_or_default();
    assert!(last.starts_with(&format!("error: `s`: no Kafka broker answers at 127.0.0.1:{port}")), "{finished}");
    assert!(last.contains("start it, or set `brokers`"), "{finished}");
    let waited = last.split_once("(waited ").unwrap().1.split_once(" s;").unwrap().0;
    let (waited, took) = (waited.parse::<u64>().unwrap(), begun.elapsed().as_secs());
    assert!(waited >= 10 && (waited..waited + 5).contains(&took), "said {waited} s, took {took} s");
    assert_eq!(finished.stderr.lines().count(), 1, "the client's own words are not for users: {finished}");
    assert!(!place.path("out").exists(), "no partial start");
}

#[test]
fn finished_pipeline_run_again_changes_nothing() {
    let place = plain();
    place.finish().expect_success();
    assert_eq!(place.rows("out"), numbered_lines(40));
    let finished = expect_untouched(&place, Exit::Code(0));
    assert!(finished.stderr.contains("ended"), "{finished}");
    // The input was fixed by the first start.
    place.write("in.jsonl", numbered_lines(60).join("\n"));
    expect_untouched(&place, Exit::Code(0));
}

#[test]
fn sigterm_commits_what_was_read_and_the_next_run_does_the_rest() {
    let place = Place::new();
    // An interval that never comes: only the stop commits.
    let file = |rate: u32| {
        format!(
            "version = 1\nname = \"stopped\"\n[checkpoint]\ninterval = \"10m\"\n[sources.made]\ntype = \"generator\"\nseed = 3\n\
             count = 5000\nrate = {rate}\ntemplate = '{{\"n\":{{{{seq}}}}}}'\n[sinks.out]\ntype = \"file\"\ninputs = [\"made\"]\npath = \"out\"\n"
        )
    };
    place.pipeline(&file(2_000));
    let mut process = Probe::start(place.run()).process;
    let staged = || {
        let parts = fs::read_dir(place.path("out/.staging")).into_iter().flatten();
        parts.flatten().filter(|part| part.path().extension().is_some_and(|end| end == "jsonl")).count()
    };
    wait_until(SOON, "rows were written", || staged() > 0);
    assert_eq!(place.rows("out"), [""; 0], "nothing is visible before it is committed");
    process.terminate();
    process.wait(SOON).expect_success();
    let first = place.rows("out");
    let expected: Vec<String> = (0..5_000).map(|n| format!("{{\"n\":{n}}}")).collect();
    assert!(!first.is_empty() && first.len() < expected.len(), "{} rows", first.len());
    assert!(first == expected[..first.len()], "a beginning, without a hole");
    place.pipeline(&file(100_000));
    place.finish().expect_success();
    assert!(place.rows("out") == expected);
}
