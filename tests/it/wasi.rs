//! Components that were built for wasm32-wasip2: what they ask a system for is answered as if there were none, what they print
//! is in the log, what could wait is a trap that names it, and a run again sees the same.

use weir_tests::draft::Draft;
use weir_tests::process::{Exit, Finished, Weir};

use crate::place::{Place, SOON, guest_of_wasip2, guest_text, numbered_lines};

const LINES: u64 = 20;

/// The operator `system`, doing this to the records with `"n":7,`.
fn system(what: &str) -> Place {
    asking(&format!(r#"do = "{what}", on = '"n":7,'"#))
}

fn asking(config: &str) -> Place {
    let lines = "type = \"file\"\npath = \"in.jsonl\"";
    let draft = Draft::new("muted", "interval = \"50ms\"").table("sources.lines", lines);
    let node = format!("on_error = \"fail\"\nconfig = {{ {config} }}");
    let draft = draft.node("asks", &guest_of_wasip2("system"), &["lines"], "/k", &node).file_sink("out", &["asks"]);
    let place = Place::over(&draft);
    place.write("in.jsonl", numbered_lines(LINES).join("\n"));
    place
}

/// The last line of a pipeline that gave up.
#[track_caller]
fn trapped(what: &str) -> (Place, Finished, String) {
    let place = system(what);
    let finished = place.finish().expect(Exit::Code(1));
    let last = finished.stderr.lines().last().unwrap_or_default().to_owned();
    assert!(last.starts_with("error: the same failure came three times: node `asks`: system@0.1.0 "), "{finished}");
    assert!(last.contains("record in.jsonl/0@7"), "{finished}");
    (place, finished, last)
}

#[test]
fn there_is_no_system_and_no_file_and_nothing_of_it_is_an_error_of_weir() {
    let place = system("surroundings");
    place.finish().expect_success();
    let mut expected = numbered_lines(LINES);
    // With no folder open, the C library calls the root the current one.
    expected[6] = "0 variables, 0 arguments, folder Ok(\"/\"), file Err(NotFound)".to_owned();
    assert_eq!(place.rows("out"), expected);
}

#[test]
fn what_is_printed_is_in_the_log_line_by_line_and_harmless() {
    let place = system("print");
    let finished = place.finish().expect_success();
    assert_eq!(place.rows("out"), numbered_lines(LINES));
    let line = |level: &str, text: &str| {
        finished.stderr.lines().any(|line| line.contains(level) && line.contains("asks") && line.contains(text))
    };
    assert!(line("INFO", "to stdout: {\"k\":\"k7\",\"n\":7"), "{finished}");
    assert!(line("INFO", "and a second line"), "{finished}");
    assert!(line("WARN", "to stderr: {\"k\":\"k7\",\"n\":7"), "{finished}");
    assert!(line("INFO", "not ended"), "a line without an end is written when the call ends\n{finished}");
    assert!(!finished.stderr.contains("\x1b[31m"), "{finished}");
    assert!(finished.stdout.is_empty(), "{finished}");
}

#[test]
fn flood_of_printed_lines_is_cut_and_then_a_trap() {
    let (_, finished, last) = trapped("flood");
    assert!(last.contains("one call may log 10000 lines and 64 MiB, and did more"), "{last}");
    let printed = finished.stderr.lines().filter(|line| line.contains("spam spam")).count();
    // 64 KiB of lines of 5,000 bytes, for each call that was tried.
    assert!((1..1_000).contains(&printed), "{printed} lines");
    assert!(finished.stderr.lines().all(|line| line.len() < 2_000));
}

#[test]
fn time_stands_still_during_a_call_and_is_that_of_the_contract() {
    let place = system("clocks");
    place.finish().expect_success();
    assert_eq!(place.rows("out")[6], "elapsed 0ns, the contract's clock true");
}

#[test]
fn randomness_is_the_same_in_a_second_run_and_not_the_same_in_another_call() {
    let run = || {
        let place = system("random");
        place.finish().expect_success();
        place.rows("out")
    };
    let (first, second) = (run(), run());
    assert_eq!(first, second);
    let bytes = first[6].split(']').next().unwrap().strip_prefix("0 [").unwrap();
    let bytes: Vec<u8> = bytes.split(", ").map(|byte| byte.parse().unwrap()).collect();
    assert!(bytes.len() == 64 && bytes.iter().any(|byte| *byte != bytes[0]), "{}", first[6]);
    // What the library gave back to its allocator was its own.
    assert!(first[6].contains("] true ["), "{}", first[6]);

    // A call that is given something else sees something else.
    let given = |line: &str| {
        let place = asking(r#"do = "random""#);
        place.write("in.jsonl", line);
        place.finish().expect_success();
        place.rows("out")
    };
    assert_ne!(given(r#"{"k":"a","n":1}"#), given(r#"{"k":"a","n":2}"#));
}

#[test]
fn what_could_wait_is_a_trap_that_names_it() {
    let (_, finished, last) = trapped("sleep");
    let says = "trapped (trap): the guest called `subscribe-duration` of wasi:clocks/monotonic-clock: it could wait";
    assert!(last.contains(says), "{last}");
    assert!(finished.stderr.contains("goes to sleep"), "{finished}");
    let (_, _, last) = trapped("stdin");
    assert!(last.contains("the guest called `input-stream.blocking-read` of wasi:io/streams: it could wait"), "{last}");
}

#[test]
fn exit_is_a_trap_and_ends_no_process() {
    let (place, _, last) = trapped("exit");
    assert!(last.contains("the guest called `exit` of wasi:cli/exit: an operator does not end its process"), "{last}");
    let rows = place.rows("out");
    assert_eq!(rows[..], numbered_lines(LINES)[..rows.len()]);
}

#[test]
fn last_words_of_a_panic_and_of_an_abort_are_in_the_message_of_the_trap() {
    let (_, _, last) = trapped("panic");
    assert!(last.contains("src/lib.rs:") && last.contains("cannot stand {\"k\":\"k7\",\"n\":7"), "{last}");
    let (_, _, last) = trapped("abort");
    assert!(last.contains("; last on stderr: the last words of a guest"), "{last}");
}

fn inspect(place: &Place, arguments: &[&str]) -> Finished {
    Weir::new([&["inspect"], arguments].concat()).env("XDG_CACHE_HOME", place.path("cache")).finish(SOON)
}

#[test]
fn inspection_shows_what_of_wasi_is_imported_and_warns_of_what_a_replay_may_see() {
    let place = Place::new();
    let component = guest_of_wasip2("system");
    let finished = inspect(&place, &["--format", "json", component.to_str().unwrap()]).expect_success();
    let json: serde_json::Value = serde_json::from_str(&finished.stdout).unwrap();
    let imports: Vec<&str> = json["imports"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    for package in ["wasi:cli/stdout@0.2.", "wasi:random/", "wasi:clocks/", "weir:operator/output@0.1.0"] {
        assert!(imports.iter().any(|import| import.starts_with(package)), "{package} in {imports:?}");
    }
    let warnings: Vec<&str> = json["warnings"].as_array().unwrap().iter().map(|line| line.as_str().unwrap()).collect();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[0].starts_with("imports wasi:random: ") && warnings[1].starts_with("imports wasi:clocks: "));
    let finished = inspect(&place, &[component.to_str().unwrap()]).expect_success();
    assert!(finished.stdout.contains("\nwarning    imports wasi:random: "), "{finished}");
}

#[test]
fn wasi_that_is_not_answered_is_refused_by_its_name() {
    let place = Place::new();
    let text = |import: &str| wat::parse_str(format!("(component (import \"{import}\" (instance)))")).unwrap();
    let cases = [
        ("wasi:sockets/network@0.2.0", guest_text("forbidden_import")),
        ("wasi:http/outgoing-handler@0.2.3", text("wasi:http/outgoing-handler@0.2.3")),
        ("wasi:filesystem/watching@0.2.0", text("wasi:filesystem/watching@0.2.0")),
        ("wasi:cli/stdout@0.3.0", text("wasi:cli/stdout@0.3.0")),
        ("wasi:cli/stdout@0.2.0-rc", text("wasi:cli/stdout@0.2.0-rc")),
    ];
    for (import, component) in cases {
        place.write("refused.wasm", component);
        let finished = inspect(&place, &[place.path("refused.wasm").to_str().unwrap()]).expect(Exit::Code(3));
        let says = format!("the component imports `{import}`, which no operator may");
        assert!(finished.stderr.contains(&says) && finished.stderr.contains("leave out the dependency"), "{finished}");
    }
}
