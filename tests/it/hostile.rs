//! Guests that do harm, through the front door: what they do is blamed on the right record or refused before anything runs,
//! nothing else is lost, and weir itself stays up.

use std::thread;

use weir_tests::draft::Draft;
use weir_tests::probe::Probe;
use weir_tests::process::{Exit, Finished};
use weir_tests::wait::wait_for;

use crate::place::{Place, SOON, guest, guest_text, numbered_lines};

/// What `hostile` does to a record, and what weir says to it.
const HARM: &[(&str, &str)] = &[
    ("trap", "trapped (trap): wasm trap: wasm `unreachable` instruction executed"),
    ("recurse", "trapped (trap): wasm trap: "),
    ("panic", "cannot stand {\"k\":\"k12\",\"n\":777"),
    ("loop", "trapped (call-timeout): the call ran longer than `limits.call_timeout` allows"),
    ("memory", "trapped (memory-limit): the guest asked for more memory than `limits.memory` allows"),
    ("output", "trapped (output-limit): output of one call is over the limit"),
    ("rows", "trapped (output-limit): output of one call is over the limit"),
    ("large-row", "a row of 2097155 bytes is over the limit of 1048576 (`limits.record`)"),
    ("large-state", "a value of 2097156 bytes in state `blob` is over the limit of 1048576, which one value has from"),
    ("fail", "failed (poison): fails on purpose"),
    ("retry", "asked to be called again four times (later): asks to be called again"),
    ("half", "trapped (trap): wasm trap: wasm `unreachable` instruction executed"),
    ("log", "one call may log 10000 lines and 64 MiB, and did more"),
    ("reject", "rejected it (refused): does not like it"),
];

const LINES: u64 = 2_000;

fn hostile(config: &str, on_error: &str) -> Place {
    let lines = "type = \"file\"\npath = \"in.jsonl\"\nevent_time = { json = \"/ts\", unit = \"ms\" }\n\
                 watermark = { out_of_order = \"1s\" }";
    let bad = format!("on_error = \"{on_error}\"\nconfig = {{ {config} }}");
    let draft = Draft::new("hostile", "interval = \"50ms\"").table("sources.lines", lines);
    let draft = draft.node("bad", &guest("hostile"), &["lines"], "/k", &bad);
    let place = Place::over(&draft.file_sink("out", &["bad.out"]).file_sink("side", &["bad.side"]));
    place.write("in.jsonl", numbered_lines(LINES).join("\n"));
    place
}

fn on_777(harm: &str) -> String {
    format!(r#"do = "{harm}", on = '"n":777,'"#)
}

/// Runs `check` for every case, a few at a time: most of the time of a failing pipeline is waiting between attempts.
fn each<T: Sync>(cases: &[T], check: impl Fn(&T) + Sync) {
    const AT_A_TIME: usize = 4;
    let check = &check;
    thread::scope(|scope| {
        for worker in 0..AT_A_TIME {
            scope.spawn(move || cases.iter().skip(worker).step_by(AT_A_TIME).for_each(check));
        }
    });
}

/// A guest may end its pipeline, never the host: no panic of ours, no signal.
#[track_caller]
fn expect_host_up(finished: &Finished) {
    assert!(matches!(finished.exit, Exit::Code(_)), "{finished}");
    for word in ["panicked at 'runtime", "panicked at runtime", "bug in weir"] {
        assert!(!finished.stderr.contains(word), "{finished}");
    }
}

#[test]
fn harm_under_fail_ends_the_pipeline_at_the_third_time_and_names_the_line() {
    each(HARM, |(harm, says)| {
        let place = hostile(&on_777(harm), "fail");
        let finished = place.finish().expect(Exit::Code(1));
        expect_host_up(&finished);
        let last = finished.stderr.lines().last().unwrap_or_default();
        assert!(
            last.starts_with("error: the same failure came three times: node `bad`: hostile@0.1.0 "),
            "{harm}: {last}"
        );
        assert!(last.contains(says), "{harm}: {last}");
        assert!(last.contains("record in.jsonl/0@777"), "{harm}: {last}");
        // What a guest rejects was processed: its call has ended, and with it what the node knew of the key.
        assert!(*harm == "reject" || last.contains(" key=\"k12\""), "{harm}: {last}");
        assert_eq!(finished.stderr.matches("; restart ").count(), 2, "{finished}");
        // Said when it first came, and at the end.
        assert!(finished.stderr.contains("the same failure, 2 times now; restart 2"), "{finished}");
        assert_eq!(finished.stderr.matches(says).count(), 2, "{finished}");
        // The batch that failed was never committed; what was is a beginning of the input, without a hole.
        let rows = place.rows("out");
        assert_eq!(rows[..], numbered_lines(LINES)[..rows.len()], "{harm}");
        assert!(rows.len() < 777, "{harm}");
        assert_eq!(place.rows("side"), [""; 0], "{harm}");
    });
}

#[test]
fn harm_under_skip_costs_the_one_record_and_nothing_else() {
    let mut others = numbered_lines(LINES);
    others.remove(776);
    each(HARM, |(harm, _)| {
        let place = hostile(&on_777(harm), "skip");
        let finished = place.finish().expect_success();
        expect_host_up(&finished);
        assert!(place.rows("out") == others, "{harm}: {} rows", place.rows("out").len());
        assert_eq!(place.rows("side"), [""; 0], "{harm}");
    });
}

#[test]
fn operator_that_traps_on_every_record_is_skipped_to_the_end() {
    // Blaming the first record of every call makes the search as long as the batch; it must not become as deep.
    for harm in ["panic", "trap", "fail"] {
        let place = hostile(&format!(r#"do = "{harm}""#), "skip");
        expect_host_up(&place.finish().expect_success());
        assert_eq!(place.rows("out"), [""; 0], "{harm}");
    }
}

#[test]
fn harm_outside_of_records_ends_the_pipeline_under_either_policy() {
    let cases = [
        ("panic", "watermark", "`on-watermark`"),
        ("fail", "watermark", "`on-watermark`"),
        ("trap", "end", "`on-end`"),
    ];
    each(&cases, |(harm, at, says)| {
        let place = hostile(&format!(r#"do = "{harm}", at = "{at}""#), "skip");
        let finished = place.finish().expect(Exit::Code(1));
        expect_host_up(&finished);
        let last = finished.stderr.lines().last().unwrap_or_default();
        assert!(last.starts_with("error: the same failure came three times: node `bad`: "), "{harm} at {at}: {last}");
        assert!(last.contains(says), "{harm} at {at}: {last}");
        let rows = place.rows("out");
        assert_eq!(rows[..], numbered_lines(LINES)[..rows.len()], "{harm} at {at}");
    });
}

#[test]
fn harm_in_open_is_found_before_anything_runs() {
    let cases = [("trap", "(trap)"), ("loop", "(call-timeout)"), ("panic", "cannot stand it"), ("fail", "(poison)")];
    each(&cases, |(harm, says)| {
        let place = hostile(&format!(r#"do = "{harm}", at = "open""#), "skip");
        let finished = place.finish().expect(Exit::Code(3));
        expect_host_up(&finished);
        assert!(finished.stderr.contains("hostile@0.1.0 fails in `open`"), "{harm}: {finished}");
        assert!(finished.stderr.contains(says) && finished.stderr.contains("[p.toml:11]"), "{harm}: {finished}");
        assert!(!place.path("state").exists() && !place.path("out").exists(), "{harm}");
    });
}

#[test]
fn harm_in_a_timer_is_skipped_with_the_timer() {
    let cases = ["trap", "panic", "fail", "large-row", "half"];
    each(&cases, |harm| {
        let place = hostile(&format!(r#"do = "{harm}", at = "timer""#), "skip");
        expect_host_up(&place.finish().expect_success());
        assert!(place.rows("out") == numbered_lines(LINES), "{harm}");
        assert_eq!(place.rows("side"), [""; 0], "{harm}");
    });
}

#[test]
fn timers_that_set_themselves_for_ever_end_the_pipeline() {
    let finished = hostile(r#"do = "timer-storm", at = "timer""#, "skip").finish().expect(Exit::Code(1));
    expect_host_up(&finished);
    assert!(finished.stderr.contains("more than 10000 rounds of timers for the watermark"), "{finished}");
}

#[test]
fn row_of_a_timer_may_inherit_the_key_of_its_timer() {
    let place = hostile(r#"do = "count", at = "timer""#, "fail");
    expect_host_up(&place.finish().expect_success());
    assert_eq!(place.rows("side").len() as u64, LINES, "one row for each timer");
}

#[test]
fn instance_is_thrown_away_with_a_trap_and_the_state_is_kept() {
    // Every record of one key is counted in the state; those that trap are not, and take none of it with them.
    let place = hostile(r#"do = "count""#, "fail");
    place.finish().expect_success();
    let mut counts: Vec<u64> = place.rows("side").iter().map(|row| row.parse().unwrap()).collect();
    counts.sort_unstable();
    let mut expected: Vec<u64> = (0..17).flat_map(|k| 1..=(1..=LINES).filter(|n| n % 17 == k).count() as u64).collect();
    expected.sort_unstable();
    assert_eq!(counts, expected);
}

#[test]
fn skipped_records_are_counted_once_each_and_what_a_trapped_call_counted_is_not() {
    for (harm, node) in [("reject", "bad"), ("trap", "bad")] {
        let place = hostile(&format!(r#"do = "{harm}", on = '"k":"k3"'"#), "skip");
        let text = std::fs::read_to_string(place.path("p.toml")).unwrap();
        // Keeps the process alive while it is asked.
        place.pipeline(&format!(
            "{text}\n[sources.slow]\ntype = \"generator\"\nseed = 1\nrate = 1\ntemplate = \"x\"\n\
             [sinks.nowhere]\ntype = \"discard\"\ninputs = [\"slow\"]\n"
        ));
        let Probe { mut process, address } = Probe::start(place.run());
        let expected = (1..=LINES).filter(|n| n % 17 == 3).count() as u64;
        let metric = |name: &str| {
            let text = get(&address, "/metrics");
            let line =
                text.lines().find(|line| line.starts_with(name) && line.contains(&format!("node=\"{node}\"")))?;
            line.rsplit_once(' ')?.1.parse::<f64>().ok().map(|value| value as u64)
        };
        wait_for(SOON, "every record is in", || (metric("weir_records_in_total") == Some(LINES)).then_some(()));
        wait_for(SOON, "all others are out", || (place.rows("out").len() as u64 == LINES - expected).then_some(()));
        assert_eq!(metric("weir_records_skipped_total"), Some(expected), "{harm}");
        // The operator counts every record before it does harm; a call that rejects has not failed.
        let passed = if harm == "trap" { LINES - expected } else { LINES };
        assert_eq!(metric("weir_user_records_passed_total"), Some(passed), "{harm}");
        let last = numbered_lines(LINES).pop().unwrap().len() as u64;
        assert_eq!(metric("weir_user_last_length"), Some(last), "{harm}");
        assert!(metric_types(&get(&address, "/metrics")).contains("weir_user_last_length gauge"));
        process.terminate();
        process.wait(SOON).expect_success();
    }
}

/// The lines that say what a family is, without their head.
fn metric_types(text: &str) -> String {
    text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect::<Vec<_>>().join("\n")
}

fn get(address: &str, path: &str) -> String {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Words of `raw` that break a rule of the contract, and what weir calls it.
const LIES: &[(&str, &str)] = &[
    ("fail", "failed (told): a failure in blocks of its own"),
    ("fail-elsewhere", "failed (told): blames a record that is not there"),
    ("panic-elsewhere", "trapped (trap): blames no record of the call"),
    ("forward-slot", "is out of range"),
    ("forward-port", "port 7 is out of range"),
    ("emit-port", "port 7 is out of range"),
    ("emit-slot", "is out of range"),
    ("emit-too-few", "has 1 items for 2 rows"),
    ("emit-past-data", "must rise and stay within"),
    ("emit-ends-fall", "must rise and stay within"),
    ("emit-past-memory", "trapped (trap)"),
    ("emit-misaligned", "trapped (trap)"),
    ("reject-slot", "is out of range"),
    ("reject-utf8", "trapped (trap)"),
    ("reject-twice", "rejected it (x): y"),
    ("state-index", "state 7 is not declared"),
    ("state-ord", "is out of range"),
    ("timer-ord", "is out of range"),
    ("timer-too-few", "trapped (trap)"),
    ("timer-domain", "trapped (trap)"),
    ("metric-index", "metric 7 is not declared"),
    ("answer-nowhere", "trapped (trap)"),
    ("answer-unknown", "trapped (trap)"),
];

fn raw(word: &str, on_error: &str) -> Place {
    let place = Place::new();
    place.write("in.jsonl", [&[word.to_owned()], &numbered_lines(20)[..]].concat().join("\n"));
    let operator = guest("raw");
    place.pipeline(&format!(
        r#"
version = 1
name = "raw"
[checkpoint]
interval = "50ms"
[sources.lines]
type = "file"
path = "in.jsonl"
[nodes.raw]
operator = "{}"
inputs = ["lines"]
on_error = "{on_error}"
[sinks.out]
type = "file"
inputs = ["raw"]
path = "out"
"#,
        operator.display()
    ));
    place
}

#[test]
fn guest_that_breaks_the_contract_loses_the_one_record() {
    each(LIES, |(word, _)| {
        let place = raw(word, "skip");
        expect_host_up(&place.finish().expect_success());
        // `reject-twice` passes nothing on: the others of its call were not refused, only dropped.
        let expected = if *word == "reject-twice" { Vec::new() } else { numbered_lines(20) };
        assert_eq!(place.rows("out"), expected, "{word}");
    });
}

#[test]
fn guest_that_breaks_the_contract_is_told_which_rule() {
    each(LIES, |(word, says)| {
        let finished = raw(word, "fail").finish().expect(Exit::Code(1));
        expect_host_up(&finished);
        let last = finished.stderr.lines().last().unwrap_or_default();
        assert!(last.contains("the same failure came three times: node `raw`: raw@0.1.0 "), "{word}: {last}");
        assert!(last.contains(says) && last.contains("record in.jsonl/0@1"), "{word}: {last}");
    });
}

#[test]
fn guest_that_moves_its_memory_at_every_chance_passes_every_byte() {
    for word in ["nothing special", ""] {
        let place = raw(word, "fail");
        expect_host_up(&place.finish().expect_success());
        assert_eq!(place.rows("out"), [&[word.to_owned()], &numbered_lines(20)[..]].concat());
    }
    let place = raw("emit-bytes-left", "fail");
    expect_host_up(&place.finish().expect_success());
    assert_eq!(place.rows("out"), ["a"], "bytes behind the last end belong to nobody");
}

/// The pipeline of [`hostile`] with this file as its operator.
fn refused(operator: &str, content: Option<&[u8]>) -> (Place, Finished) {
    let place = hostile("", "fail");
    let text = std::fs::read_to_string(place.path("p.toml")).unwrap();
    place.pipeline(&text.replace(guest("hostile").to_str().unwrap(), operator));
    if let Some(content) = content {
        place.write(operator, content);
    }
    let before = place.content();
    let finished = place.finish().expect(Exit::Code(3));
    expect_host_up(&finished);
    assert!(place.content() == before, "something was written\n{finished}");
    (place, finished)
}

#[test]
fn component_that_is_none_of_ours_is_refused_before_anything_is_written() {
    let large = vec![0; (32 << 20) + 1];
    let mut damaged = std::fs::read(guest("hostile")).unwrap();
    damaged.truncate(damaged.len() / 2);
    let cases: [(&str, Vec<u8>, &str); 10] = [
        ("text", b"#!/bin/sh\n".to_vec(), "this is not WebAssembly"),
        ("empty", Vec::new(), "this is not WebAssembly"),
        (
            "core_module",
            guest_text("core_module"),
            "a core WebAssembly module, not a component; build it with `weir build`",
        ),
        ("wrong_version", guest_text("wrong_version"), "weir:operator/clock@9.9.0"),
        ("forbidden_import", guest_text("forbidden_import"), "`wasi:sockets/network@0.2.0`, which no operator may"),
        ("not_an_operator", guest_text("not_an_operator"), "exports no weir:operator/guest@0.1.0"),
        ("wrong_types", guest_text("wrong_types"), "weir:operator/guest@0.1.0"),
        ("large", large, "33554433 bytes; the limit is 33554432"),
        ("half", damaged, "damaged"),
        ("noise", [b"\0asm\x0d\0\x01\0".as_slice(), &[0xff; 64]].concat(), "damaged"),
    ];
    for (name, content, says) in cases {
        let (_, finished) = refused(&format!("{name}.wasm"), Some(&content));
        assert!(finished.stderr.contains(says), "{name}: {finished}");
        assert!(finished.stderr.contains("[p.toml:11]"), "{name}: {finished}");
        assert!(finished.stderr.contains("^^^^"), "{name}: {finished}");
    }
}

#[test]
fn operator_that_is_missing_or_a_folder_is_refused_before_anything_is_written() {
    let (_, finished) = refused("gone.wasm", None);
    assert!(finished.stderr.contains("cannot read the operator gone.wasm"), "{finished}");
    let place = hostile("", "fail");
    let text = std::fs::read_to_string(place.path("p.toml")).unwrap();
    place.pipeline(&text.replace(guest("hostile").to_str().unwrap(), "folder.wasm"));
    std::fs::create_dir(place.path("folder.wasm")).unwrap();
    let before = place.content();
    let finished = place.finish().expect(Exit::Code(3));
    assert!(finished.stderr.contains("folder") && finished.stderr.contains("[p.toml:11]"), "{finished}");
    assert!(place.content() == before);
}
