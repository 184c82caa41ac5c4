//! Whoever reads what weir writes may stop reading: a pipe into `head` is no reason to panic, nor to run on for nobody.

use weir_tests::process::{Exit, Finished, Weir};

use crate::place::{Place, SOON};

const NUMBERS: &str = r#"version = 1
name = "numbers"
[checkpoint]
guarantee = "GUARANTEE"
[sources.numbers]
type = "generator"
count = 4000
rate = 2000
template = "{{seq}}"
[sinks.out]
type = "SINK"
inputs = ["numbers"]
"#;

fn numbers(guarantee: &str, sink: &str) -> String {
    NUMBERS.replace("GUARANTEE", guarantee).replace("SINK", sink)
}

/// The exit code is that of the first command of the line.
fn piped(place: &Place, line: &str) -> Finished {
    let script = format!("{line}; exit ${{PIPESTATUS[0]}}");
    let bash = Weir::program("bash", ["-c", &script]).directory(place.path("."));
    bash.env("WEIR", weir_tests::weir_binary()).finish(SOON)
}

#[test]
fn a_pipeline_runs_to_its_end_though_nobody_reads_its_log() {
    let place = Place::new();
    place.pipeline(&(numbers("exactly-once", "file") + "path = \"out\"\n"));
    // It starts, reads for two seconds and ends: it speaks after the reader has gone.
    piped(&place, "$WEIR -v run p.toml --state state 2>&1 >/dev/null | true").expect_success();
    assert_eq!(place.rows("out").len(), 4000);
    piped(&place, "$WEIR --log-format json run p.toml --state state 2>&1 | true").expect_success();
}

#[test]
fn a_closed_stdout_ends_a_run_that_writes_there() {
    let place = Place::new();
    place.pipeline(&numbers("none", "stdout"));
    let finished = piped(&place, "$WEIR run p.toml | head -n 3").expect(Exit::Code(1));
    assert_eq!(finished.stdout, "0\n1\n2\n");
    assert!(finished.stderr.contains("cannot write to standard output"), "{finished}");
    assert!(!finished.stderr.contains("panicked"), "{finished}");
}

#[test]
fn an_answer_that_nobody_reads_is_no_failure() {
    let place = Place::new();
    place.pipeline(&numbers("none", "stdout"));
    // The reader is gone before the writer starts.
    let finished = piped(&place, "{ sleep 0.2; $WEIR check p.toml; } | true").expect_success();
    assert!(!finished.stderr.contains("panicked"), "{finished}");
    piped(&place, "{ sleep 0.2; $WEIR check nothing.toml 2>&1; } | true").expect(Exit::Code(3));
}
