//! The READMEs' commands, read from their text and typed into a shell as they stand there: a command that no longer works,
//! and a block that no test runs, fail here. What differs between machines comes from the environment: the folder, the
//! broker, a free port.

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use weir_tests::kafka::{Broker, Isolation};
use weir_tests::process::{Exit, Finished, Process, Weir};
use weir_tests::wait::wait_until;
use weir_tests::{repository, weir_binary};

/// For a whole block: cargo builds an operator in it, and `weir demo crash` runs a pipeline twice.
const DEADLINE: Duration = Duration::from_secs(400);
const MAIN: &str = "README.md";
/// What each start on a broker of one machine warns of, once it is about to run.
const COMMITS: &str = "`__weir.ip-count.commits`";
const EXAMPLE: &str = "examples/ip-count/README.md";

#[test]
fn every_block_of_commands_is_run_by_a_test_here() {
    let headings = |file| blocks(file, "sh").into_iter().map(|block| block.heading).collect::<Vec<_>>();
    let main = [
        "Two commands",
        "From Kafka to Kafka",
        "Keep it, and go on in another shape",
        "Write your own operator",
        "Upload it over HTTP",
        "Let others upload",
    ];
    assert_eq!(headings(MAIN), main);
    assert_eq!(headings(EXAMPLE), ["Run it", "Run it", "On Kafka"]);
}

/// `make demo` builds, and `make test` is what runs this: both are only asked what they would do. The rest of the demo is
/// in the example's own README.
#[test]
fn the_two_commands_do_what_the_readme_says() {
    let clone = Clone::new();
    let finished = clone.shell(&block(MAIN, "Two commands"), &[("MAKEFLAGS", "n")]).finish();
    let said = finished.stdout;
    assert!(said.contains("demo crash examples/ip-count/local.toml --kills 5") && said.contains(".ci/test"), "{said}");
    let alias = fs::read_to_string(repository().join(MAIN)).unwrap();
    assert!(alias.contains(r#"alias weir="$(make -s print-bin)""#));
    let printed = clone.shell("$(make -s print-bin) --version", &[]).finish().stdout;
    assert!(printed.starts_with("weir "), "{printed}");
}

#[test]
fn from_kafka_to_kafka_with_a_kill_in_between() {
    let clone = Clone::new();
    // So that a test run that is killed leaves no broker behind; `make kafka-start` finds it running, and makes the topics.
    let broker = Broker::start();
    let make = format!("KAFKA={}", broker.folder().display());
    let mut shell = clone.shell(&block(MAIN, "From Kafka to Kafka"), &[("MAKEFLAGS", &make)]);
    // On a slow machine the first start may have been killed before it said anything: only what the second says counts.
    shell.wait_for_warning_after("$ weir run examples/ip-count/kafka.toml             #", COMMITS);
    shell.wait_for_rows(&broker, "ip_count_sink");
    shell.interrupt();
    let shown = rows(&shell.finish().stdout);
    // A window fires again with a higher count: the same count twice is a row that was doubled.
    let different: BTreeSet<String> = shown.iter().map(Value::to_string).collect();
    assert_eq!(different.len(), shown.len(), "rows that were doubled");
}

/// And what the two runs wrote together is what one run writes.
#[test]
fn kept_in_a_savepoint_and_gone_on_in_another_shape() {
    let clone = Clone::new();
    let said = clone.shell(&block(MAIN, "Keep it, and go on in another shape"), &[]).finish();
    assert!(said.stdout.contains("4 subtasks: count"), "{said}");
    let rows = |clone: &Clone| {
        let parts = fs::read_dir(clone.path("examples/ip-count/out")).unwrap().map(|entry| entry.unwrap().path());
        let parts = parts.filter(|path| path.extension().is_some_and(|extension| extension == "jsonl"));
        let mut rows: Vec<String> =
            parts.flat_map(|part| rows(&fs::read_to_string(part).unwrap())).map(|row| row.to_string()).collect();
        rows.sort();
        rows
    };
    let whole = Clone::new();
    whole.shell("weir build examples/ip-count\nweir run examples/ip-count/local.toml", &[]).finish();
    assert!(rows(&clone) == rows(&whole), "{} and {} rows", rows(&clone).len(), rows(&whole).len());
}

#[test]
fn an_operator_of_ones_own() {
    let clone = Clone::new();
    fs::create_dir_all(clone.path("only-objects/src")).unwrap();
    for (language, file) in [("rust", "src/lib.rs"), ("toml", "Cargo.toml"), ("toml", "pipeline.toml")] {
        let file = format!("only-objects/{file}");
        let named = |block: &Block| block.before.contains(&format!("`{file}`"));
        let block = blocks(MAIN, language).into_iter().find(named).expect("the README shows this file");
        fs::write(clone.path(&file), block.text).unwrap();
    }
    let said = clone.shell(&block(MAIN, "Write your own operator"), &[]).finish().stdout;
    assert!(
        said.contains("only-objects is good: 1 source, 1 operator, 1 sink") && said.ends_with("{\"a\":1}\n"),
        "{said}"
    );
}

#[test]
fn upload_over_http() {
    let (clone, said) = with_a_server("Upload it over HTTP");
    assert!(said.contains(r#""state":"stopped""#), "{said}");
    assert!(!clone.path("target/serve/pipelines/ip-count-local").exists());
}

#[test]
fn others_upload_with_a_token_of_their_own() {
    let (clone, said) = with_a_server("Let others upload");
    let audit = fs::read_to_string(clone.path("target/platform/audit.jsonl")).unwrap();
    let by = |action: &str| audit.lines().any(|line| line.contains(action) && line.contains("team-a"));
    assert!(by("pipeline.upgrade") && by("pipeline.rollback"), "{said}{audit}");
    assert!(fs::read_dir(clone.path("target/team")).unwrap().count() > 1);
}

/// The clone, and what the commands of this heading have printed in it.
fn with_a_server(heading: &str) -> (Clone, String) {
    let clone = Clone::new();
    clone.shell("weir build examples/ip-count", &[]).finish();
    // Free a moment ago; nobody else asks for one by number.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let said = clone.shell(&(block(MAIN, heading) + "wait\n"), &[("ADDRESS", &address)]).finish().stdout;
    (clone, said)
}

#[test]
fn the_example_without_any_service() {
    let clone = Clone::new();
    let run = blocks(EXAMPLE, "sh").into_iter().filter(|block| block.heading == "Run it");
    let [first, proof] = run.map(|block| block.text).collect::<Vec<_>>().try_into().unwrap();
    clone.shell(&first, &[]).finish();
    assert!(fs::read_dir(clone.path("examples/ip-count/out")).unwrap().count() > 1);
    let said = clone.shell(&proof, &[]).finish();
    assert!(said.stdout.contains("5 kill -9, 200000 in, 0 lost, 0 duplicated"), "{said}");
}

#[test]
fn the_example_on_kafka() {
    let clone = Clone::new();
    let broker = Broker::start();
    for topic in ["ip_count_source", "ip_count_sink"] {
        broker.create_topic(topic, 2, &[]);
    }
    clone.shell("weir build examples/ip-count", &[]).finish();
    let mut shell = clone.shell(&block(EXAMPLE, "On Kafka"), &[("KAFKA_BROKERS", broker.brokers())]);
    shell.wait_for_warning_after("$ weir run examples/ip-count/kafka.toml", COMMITS);
    shell.wait_for_rows(&broker, "ip_count_sink");
    shell.interrupt();
    assert!(!rows(&shell.finish().stdout).is_empty());
}

/// The rows of ip-count among other lines.
fn rows(said: &str) -> Vec<Value> {
    said.lines().filter(|line| line.starts_with(r#"{"ip":"#)).map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A fenced block of a README.
struct Block {
    heading: String,
    /// The paragraph before it.
    before: String,
    text: String,
}

fn blocks(file: &str, language: &str) -> Vec<Block> {
    let text = fs::read_to_string(repository().join(file)).unwrap();
    let (mut found, mut heading, mut before) = (Vec::new(), String::new(), String::new());
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(fence) = line.strip_prefix("```") {
            let inside: String =
                lines.by_ref().take_while(|line| *line != "```").map(|line| format!("{line}\n")).collect();
            if fence == language {
                found.push(Block { heading: heading.clone(), before: std::mem::take(&mut before), text: inside });
            }
            before.clear();
        } else if let Some(title) = line.strip_prefix("## ") {
            heading = title.to_owned();
        } else {
            before.push_str(line);
        }
    }
    found
}

/// The commands under a heading that has one block of them.
fn block(file: &str, heading: &str) -> String {
    let mut found = blocks(file, "sh").into_iter().filter(|block| block.heading == heading);
    let block = found.next().unwrap_or_else(|| panic!("no commands under {heading:?} in {file}"));
    assert!(found.next().is_none(), "two blocks under {heading:?} in {file}");
    block.text
}

/// A folder that looks like a fresh clone with the binary built: what commands write stays in there.
struct Clone(tempfile::TempDir);

impl Clone {
    fn new() -> Clone {
        let clone = Clone(tempfile::tempdir().unwrap());
        for shared in ["Makefile", "rust-toolchain.toml", ".ci", "guest-sdk", "tests", "Cargo.toml", "runtime", "wit"] {
            symlink(repository().join(shared), clone.path(shared)).unwrap();
        }
        fs::create_dir_all(clone.path("target/debug")).unwrap();
        fs::create_dir_all(clone.path("bin")).unwrap();
        for link in ["target/debug/weir", "bin/weir"] {
            symlink(weir_binary(), clone.path(link)).unwrap();
        }
        copy_sources(&repository().join("examples/ip-count"), &clone.path("examples/ip-count"));
        clone
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Types commands into a shell; it ends at the first that fails.
    fn shell(&self, commands: &str, variables: &[(&str, &str)]) -> Shell {
        let mut script = "set -e\n".to_owned();
        for statement in statements(commands) {
            script.push_str(&format!("printf '%s\\n' {} >&2\n{statement}\n", quoted(&format!("$ {statement}"))));
        }
        // A session of its own: all that it started can be ended with it.
        let mut weir = Weir::program("setsid", ["bash", "-c", &script]).directory(self.0.path());
        let path = std::env::var("PATH").unwrap_or_default();
        weir = weir.env("PATH", format!("{}:{path}", self.path("bin").display()));
        for (name, value) in variables {
            weir = weir.env(name, value);
        }
        let process = weir.spawn();
        Shell { group: process.pid() as i32, process: Some(process) }
    }
}

/// Without what was built or run there.
fn copy_sources(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(|entry| entry.unwrap().path()) {
        let target = to.join(entry.file_name().unwrap());
        if entry.is_file() {
            fs::copy(&entry, &target).unwrap();
        } else if !["target", "out", ".weir"].iter().any(|made| entry.ends_with(made)) {
            copy_sources(&entry, &target);
        }
    }
}

/// Lines, with those together that a backslash joins.
fn statements(commands: &str) -> Vec<String> {
    let mut statements = vec![String::new()];
    for line in commands.lines() {
        let last = statements.last_mut().unwrap();
        last.push_str(line);
        last.push('\n');
        if !line.ends_with('\\') {
            statements.push(String::new());
        }
    }
    statements.retain(|statement| !statement.trim().is_empty());
    statements
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.trim_end().replace('\'', r"'\''"))
}

/// A shell at work. Dropping it ends it and everything that it started.
struct Shell {
    group: i32,
    process: Option<Process>,
}

impl Shell {
    fn process(&mut self) -> &mut Process {
        self.process.as_mut().expect("only `finish` takes it")
    }

    /// Waits until weir has warned of something behind this statement.
    #[track_caller]
    fn wait_for_warning_after(&mut self, statement: &str, words: &str) {
        self.process().wait_for_line(DEADLINE, statement);
        let warned = |said: &str| {
            let behind = said.rsplit_once(statement).map_or("", |(_, behind)| behind);
            behind.lines().any(|line| line.contains("WARN") && line.contains(words))
        };
        // One that has ended says nothing more.
        wait_until(DEADLINE, words, || self.process().try_exit().is_some() || warned(&self.process().stderr()));
        let said = self.process().stderr();
        assert!(warned(&said), "no warning of {words} behind {statement:?}:\n{said}");
    }

    #[track_caller]
    fn wait_for_rows(&mut self, broker: &Broker, topic: &str) {
        wait_until(DEADLINE, "committed rows", || broker.ends(topic, Isolation::Committed).iter().sum::<i64>() > 0);
    }

    /// Ctrl-C: SIGINT to what runs in the foreground.
    #[track_caller]
    fn interrupt(&mut self) {
        let children = format!("/proc/{0}/task/{0}/children", self.group);
        let children = fs::read_to_string(children).unwrap();
        let [child] = children.split_whitespace().collect::<Vec<_>>()[..] else {
            panic!("one child, not {children:?}")
        };
        // SAFETY: plain numbers; the shell waits for this child, so its id is its own.
        assert_eq!(unsafe { libc::kill(child.parse().unwrap(), libc::SIGINT) }, 0);
    }

    /// Waits until the last command has succeeded.
    #[track_caller]
    fn finish(mut self) -> Finished {
        let process = self.process.take().expect("only this takes it");
        let finished = process.wait(DEADLINE);
        assert_eq!(finished.exit, Exit::Code(0), "the last command failed:\n{finished}");
        finished
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        // SAFETY: plain numbers; the group is this shell's own, as long as one of it lives.
        unsafe { libc::kill(-self.group, libc::SIGKILL) };
    }
}
