//! Many pipelines in one server: they share its shard threads, a guest that does harm holds up none of them, and a kill of
//! the server loses and doubles nothing in any.

use std::fs;
use std::path::Path;

use weir_tests::wait::wait_until;

use crate::place::guest;
use crate::serve::{SOON, Server, WASM, rows};

const PIPELINES: usize = 50;
const RECORDS: usize = 400;

/// A generator of numbered records through an operator with state into a folder of its own.
fn counted(name: &str, out: &Path) -> String {
    with_operator(name, out, "operator = \"count@0.1.0\"\nkey = { json = \"/k\" }")
}

/// The same with a guest that does harm: `loop` never comes back from a call, `toil` does, but late.
fn hostile(name: &str, out: &Path, harm: &str, on_error: &str) -> String {
    let operator = format!("operator = \"hostile@0.1.0\"\nkey = {{ json = \"/k\" }}\nconfig = {{ do = \"{harm}\" }}");
    with_operator(name, out, &format!("{operator}\non_error = \"{on_error}\""))
}

fn with_operator(name: &str, out: &Path, operator: &str) -> String {
    let out = out.display();
    format!(
        r#"version = 1
name = "{name}"
[checkpoint]
interval = "300ms"
[sources.numbers]
type = "generator"
seed = 1
count = {RECORDS}
rate = 100
template = '{{"k":"k{{{{int 0 9}}}}","n":{{{{seq}}}},"ts":{{{{time 1700000000000 1 0 0}}}}}}'
event_time = {{ json = "/ts", unit = "ms" }}
[nodes.node]
{operator}
inputs = ["numbers"]
[sinks.out]
type = "file"
inputs = ["node"]
path = "{out}"
"#
    )
}

/// The `n` of each row, in order.
fn numbers(out: &Path) -> Vec<usize> {
    let number = |row: String| serde_json::from_str::<serde_json::Value>(&row).unwrap()["n"].as_u64().unwrap() as usize;
    rows(out).into_iter().map(number).collect()
}

/// Threads of the server, by name.
fn threads(server: &Server, name: &str) -> usize {
    let tasks = fs::read_dir(format!("/proc/{}/task", server.process.pid())).unwrap();
    let names = tasks.flatten().filter_map(|task| fs::read_to_string(task.path().join("comm")).ok());
    names.filter(|found| found.trim_end() == name).count()
}

#[test]
fn many_pipelines_share_threads_and_a_guest_that_does_harm_and_a_kill_cost_the_others_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let out = |name: &str| dir.path().join("out").join(name);
    let good: Vec<String> = (0..PIPELINES).map(|n| format!("good{n}")).collect();
    let server = Server::start(&data);
    for operator in ["count", "hostile"] {
        let path = format!("/api/v1/operators/{operator}/versions/0.1.0");
        server.send("PUT", &path, &[WASM], &fs::read(guest(operator)).unwrap()).expect(201);
    }
    let bad = [("loops", "loop", "fail"), ("loops-on", "loop", "skip"), ("toils", "toil", "fail")];
    for (name, harm, on_error) in bad {
        server.apply(name, &hostile(name, &out(name), harm, on_error)).expect(201);
    }
    for name in &good {
        server.apply(name, &counted(name, &out(name))).expect(201);
    }
    // Each of the bad ones has had a thread of its own since its first call.
    let cores = std::thread::available_parallelism().unwrap().get();
    let are_some_out = || good.iter().all(|name| numbers(&out(name)).len() > RECORDS / 10);
    let says = |said: &str, name: &str| {
        let (what, whose) = ("the operator of node `node` trapped, took long", format!(" pipeline={name}"));
        said.lines().filter(|line| line.contains(what) && line.ends_with(&whose)).count()
    };
    wait_until(SOON, "each has published something", || {
        let shards = threads(&server, "shard");
        assert!(
            (cores..=cores + bad.len()).contains(&shards),
            "{shards} threads for shards, and there are {cores} cores"
        );
        are_some_out() && says(&server.process.stderr(), "toils") > 0
    });
    server.process.kill_and_wait();

    let server = Server::start(&data);
    for name in &good {
        server.wait_for(name, "its input has ended", |view| view["state"] == "stopped");
        assert_eq!(numbers(&out(name)), (0..RECORDS).collect::<Vec<_>>(), "{name}");
    }
    let failed = || server.get("loops")["state"] == "circuit-open";
    wait_until(SOON, "it is given up", failed);
    assert!(server.get("loops")["problem"].as_str().unwrap().contains("call-timeout"), "{}", server.get("loops"));
    // What it does within its limits is no failure.
    server.wait_for("toils", "its input has ended", |view| view["state"] == "stopped");
    assert_eq!(numbers(&out("toils")), (0..RECORDS).collect::<Vec<_>>());
    let said = server.process.stderr();
    for name in ["loops", "loops-on"] {
        assert_eq!(says(&said, name), 1, "{said}");
    }
}
