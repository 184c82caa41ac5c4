//! What a user asks of a running pipeline: a checkpoint, a savepoint, a stop with one, a drain, a cancel. It is asked over
//! the socket of the state folder or over an address, and the process does it, or says why not.

use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use weir_tests::http::request;
use weir_tests::probe::Probe;
use weir_tests::process::{Exit, Finished, Process, Weir};
use weir_tests::repository;
use weir_tests::wait::wait_until;

use crate::place::{Place, SOON};

const ROWS: usize = 12_000;

/// Three seconds of work.
fn place(interval: &str) -> Place {
    Place::of_ledger(interval, ROWS, 4_000)
}

fn weir(place: &Place, arguments: &[&str]) -> Finished {
    Weir::new(arguments).directory(place.path("")).env("WEIR_LOG", "warn").finish(SOON)
}

fn words(said: &Finished) -> &str {
    said.stdout.trim_end()
}

/// A run whose socket is there.
fn started(place: &Place) -> Process {
    let process = place.run().spawn();
    // What a run before this one left does not answer; what this one made does.
    wait_until(SOON, "the pipeline answers", || {
        weir(place, &["checkpoint", "trigger", "kept", "--state", "state", "--detach"]).exit == Exit::Code(0)
    });
    process
}

fn kinds(place: &Place) -> Vec<(String, String)> {
    let listed = weir(place, &["checkpoint", "list", "kept", "--state", "state", "--format", "json"]);
    let listed: Vec<Value> = serde_json::from_str(&listed.expect_success().stdout).unwrap();
    let text = |it: &Value, key: &str| it[key].as_str().unwrap().to_owned();
    listed.iter().map(|it| (text(it, "id"), text(it, "kind"))).collect()
}

/// The whole output of the pipeline, which no stop may change.
fn truth() -> Vec<String> {
    let place = place("10m");
    place.finish().expect_success();
    sorted(place.rows("out"))
}

fn sorted(mut rows: Vec<String>) -> Vec<String> {
    rows.sort();
    rows
}

#[test]
fn checkpoint_on_request_is_committed_when_it_is_named() {
    let place = place("10m");
    let mut process = started(&place);
    let id = weir(&place, &["checkpoint", "trigger", "p.toml", "--state", "state"]).expect_success();
    assert!(kinds(&place).contains(&(words(&id).to_owned(), "checkpoint".to_owned())), "{id}");
    let socket = fs::metadata(place.path("state/control.sock")).unwrap();
    assert!(socket.file_type().is_socket());
    process.terminate();
    process.wait(SOON).expect_success();
    assert!(!place.path("state/control.sock").exists());
    let refused = weir(&place, &["checkpoint", "trigger", "kept", "--state", "state"]).expect(Exit::Code(5));
    assert!(refused.stderr.contains("no process answers for pipeline `kept` in state"), "{refused}");
}

#[test]
fn stop_with_a_savepoint_commits_exactly_up_to_it_and_the_next_run_goes_on_there() {
    let place = place("50ms");
    let process = started(&place);
    let path = weir(&place, &["stop", "kept", "--state", "state", "--savepoint", "--to", "mine"]).expect_success();
    // The folder is free as soon as the answer is there.
    let path = PathBuf::from(words(&path));
    process.wait(SOON).expect_success();
    let (id, kind) = kinds(&place).remove(0);
    assert_eq!(kind, "savepoint", "it is the newest commit");
    assert_eq!(path, place.path("mine").canonicalize().unwrap().join(format!("kept-{id}")));
    let manifest: Value = serde_json::from_slice(&fs::read(path.join("manifest")).unwrap()).unwrap();
    let read = manifest["sources"]["made"]["splits"][0]["position"].as_u64().unwrap() as usize;
    let rows = place.rows("out");
    assert!(rows.len() == read && read < ROWS, "{} rows of {read} records", rows.len());
    place.finish().expect_success();
    assert_eq!(sorted(place.rows("out")), truth());
}

#[test]
fn savepoint_is_a_copy_of_its_own_that_no_later_checkpoint_takes_away() {
    let place = place("50ms");
    let process = started(&place);
    let path = weir(&place, &["savepoint", "kept", "--state", "state"]).expect_success();
    let path = PathBuf::from(words(&path));
    assert!(path.starts_with(place.path("state/savepoints").canonicalize().unwrap()));
    process.wait(SOON).expect_success();
    let names = |folder: &Path| -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    };
    let manifest: Value = serde_json::from_slice(&fs::read(path.join("manifest")).unwrap()).unwrap();
    let base = manifest["state"]["base"].as_object().unwrap().len();
    let deltas = manifest["state"]["deltas"].as_array().unwrap().len();
    assert!(names(&path.join("files")).len() == base + deltas && base + deltas > 0);
    assert_eq!(names(&place.path("state/savepoints")).len(), 1, "nothing half made is left");
    // Of its checkpoint nothing is left by now.
    let id = path.file_name().unwrap().to_str().unwrap().strip_prefix("kept-").unwrap().to_owned();
    assert!(!place.path(&format!("state/checkpoints/{id}")).exists());
    assert_eq!(sorted(place.rows("out")), truth());
}

#[test]
fn savepoint_asked_for_detached_is_there_later() {
    let place = place("50ms");
    let process = started(&place);
    let asked = weir(&place, &["savepoint", "kept", "--state", "state", "--to", "mine", "--detach"]).expect_success();
    assert_eq!(words(&asked), "", "{asked}");
    wait_until(SOON, "the savepoint is whole", || {
        let savepoints = fs::read_dir(place.path("mine")).into_iter().flatten().flatten();
        savepoints.into_iter().any(|savepoint| savepoint.path().join("manifest").is_file())
    });
    process.wait(SOON).expect_success();
    assert_eq!(sorted(place.rows("out")), truth());
}

#[test]
fn savepoint_that_cannot_be_written_is_told_and_the_pipeline_goes_on() {
    let place = place("50ms");
    place.write("in the way", "");
    let process = started(&place);
    for command in [&["savepoint"][..], &["stop", "--savepoint"], &["stop", "--savepoint", "--drain"]] {
        let refused = weir(&place, &[command, &["kept", "--state", "state", "--to", "in the way"]].concat());
        let said = &refused.expect(Exit::Code(1)).stderr;
        assert!(said.contains("no savepoint, and the pipeline goes on: creating "), "{said}");
    }
    process.wait(SOON).expect_success();
    assert_eq!(sorted(place.rows("out")), truth());
}

#[test]
fn cancel_commits_nothing_more_and_the_next_run_reads_it_again() {
    let place = place("10m");
    let process = started(&place);
    weir(&place, &["checkpoint", "trigger", "kept", "--state", "state"]).expect_success();
    let committed = place.rows("out");
    weir(&place, &["cancel", "kept", "--state", "state"]).expect_success();
    process.wait(SOON).expect_success();
    assert_eq!(place.rows("out"), committed);
    place.finish().expect_success();
    assert_eq!(sorted(place.rows("out")), truth());
}

#[test]
fn cancelled_pipeline_forgets_its_state_where_it_is_told_to() {
    let place = place("10m");
    let text = fs::read_to_string(place.path("p.toml")).unwrap();
    place.pipeline(&text.replace("interval = \"10m\"", "interval = \"10m\"\non_cancel = \"delete\""));
    let process = started(&place);
    let id = weir(&place, &["checkpoint", "trigger", "kept", "--state", "state"]).expect_success();
    weir(&place, &["cancel", "kept", "--state", "state"]).expect_success();
    let ended = process.wait(SOON).expect_success();
    assert!(ended.stderr.contains("cancelled: the state is deleted"), "{ended}");
    assert_eq!(kinds(&place), []);
    assert_eq!(fs::read_dir(place.path("state/checkpoints/files")).unwrap().count(), 0);
    place.finish().expect_success();
    assert_eq!(sorted(place.rows("out")), truth());
    // Epochs go on: no number is used twice.
    let epoch = |id: &str| id.split_once('-').unwrap().0.parse::<u64>().unwrap();
    assert!(epoch(&kinds(&place)[0].0) > epoch(words(&id)));
}

#[test]
fn drain_fires_the_timers_of_open_windows_before_the_end() {
    let windows = |drain: bool| -> u64 {
        let place = Place::new();
        let operator = repository().join("examples/ip-count/target/weir/ip_count.wasm");
        place.pipeline(&format!(
            r#"version = 1
name = "kept"
[checkpoint]
interval = "10m"
[sources.made]
type = "generator"
seed = 1
rate = 2000
template = '{{"ip":"10.0.0.{{{{int 0 9}}}}","ts":{{{{time 1700000000000 1 0 0}}}}}}'
event_time = {{ json = "/ts", unit = "ms" }}
[nodes.count]
operator = "{}"
inputs = ["made"]
key = {{ json = "/ip" }}
[nodes.count.config]
window = "1000h"
[sinks.out]
type = "file"
inputs = ["count"]
path = "out"
"#,
            operator.display()
        ));
        let mut probe = Probe::start(place.run());
        // Without a record there is no window.
        probe.wait(SOON, |metrics| metrics.records("count").filter(|records| *records > 0));
        let mut command = vec!["stop", "kept", "--state", "state"];
        command.extend(drain.then_some("--drain"));
        weir(&place, &command).expect_success();
        probe.process.wait(SOON).expect_success();
        let count = |row: &String| serde_json::from_str::<Value>(row).unwrap()["count"].as_u64().unwrap();
        place.rows("out").iter().map(count).sum()
    };
    assert_eq!(windows(false), 0, "no window ends in a thousand hours");
    assert!(windows(true) > 0);
}

#[test]
fn address_of_a_run_takes_the_same_wishes_from_who_has_the_token() {
    let place = place("10m");
    let Probe { process, address } = Probe::start(place.run());
    let url = format!("http://{address}");
    let path = "/api/v1/pipelines/kept/checkpoints";
    request(&address, "POST", path, &[], b"{}").expect_problem(401, "unauthorized");
    request(&address, "POST", "/api/v1/pipelines/kept:stop", &[], b"").expect_problem(401, "unauthorized");
    assert_eq!(request(&address, "GET", "/api/v1/pipelines/kept", &[], b"").expect(200).json()["name"], "kept");
    let ask = |more: &[&str]| {
        let fixed = ["checkpoint", "trigger", "kept", "--server", &url];
        weir(&place, &[&fixed, more].concat())
    };
    ask(&[]).expect(Exit::Code(5));
    ask(&["--token-file", "state/admin-token"]).expect_success();
    let token = fs::read_to_string(place.path("state/admin-token")).unwrap();
    let token = format!("Bearer {}", token.trim());
    let with = [("Authorization", token.as_str())];
    let wrong = request(&address, "POST", path, &with, br#"{"kind":"checkpoint","to":"/x"}"#);
    wrong.expect_problem(400, "bad-request");
    request(&address, "POST", path, &with, br#"{"kinds":1}"#).expect_problem(400, "bad-request");
    request(&address, "POST", "/api/v1/pipelines/x/checkpoints", &with, b"").expect_problem(404, "unknown-pipeline");
    request(&address, "PUT", "/api/v1/pipelines/kept", &with, b"").expect_problem(405, "method-not-allowed");
    let stopped = request(&address, "POST", "/api/v1/pipelines/kept:stop", &with, br#"{"savepoint":true,"wait":true}"#);
    let stopped = stopped.expect(200).json();
    assert_eq!(stopped["state"], "stopped");
    assert!(Path::new(stopped["savepoint"]["path"].as_str().unwrap()).join("manifest").is_file());
    process.wait(SOON).expect_success();
}

#[test]
fn pipeline_of_a_server_is_asked_over_its_address_or_its_socket_and_a_stop_stays() {
    let place = Place::new();
    let data = place.path("data");
    let serve = || {
        let mut server = Weir::new(["serve", "--listen", "127.0.0.1:0", "--data"]).argument(&data).spawn();
        let line = server.wait_for_line(SOON, " serves http://");
        (server, line.rsplit_once("http://").unwrap().1.to_owned())
    };
    let (mut server, address) = serve();
    let token = format!("Bearer {}", fs::read_to_string(data.join("admin-token")).unwrap().trim());
    let ask = |address: &str, method: &str, path: &str, body: &[u8]| {
        let headers = [("Authorization", token.as_str()), ("Content-Type", "application/toml")];
        request(address, method, &format!("/api/v1/pipelines/kept{path}"), &headers, body)
    };
    let out = place.path("out");
    let pipeline = format!(
        "version = 1\nname = \"kept\"\n[sources.s]\ntype = \"generator\"\nseed = 1\nrate = 100\ntemplate = 'x{{{{seq}}}}'\n\
         [sinks.out]\ntype = \"file\"\npath = \"{}\"\ninputs = [\"s\"]\n",
        out.display()
    );
    let wait_until_it_runs = |address: &str| {
        wait_until(SOON, "it runs", || ask(address, "GET", "", b"").json()["state"] == "running");
    };
    ask(&address, "PUT", "", pipeline.as_bytes()).expect(201);
    wait_until_it_runs(&address);
    let made = ask(&address, "POST", "/checkpoints", b"{}").expect(201).json();
    let listed = ask(&address, "GET", "/checkpoints", b"").expect(200).json();
    let ids: Vec<&Value> = listed["items"].as_array().unwrap().iter().map(|it| &it["id"]).collect();
    assert!(ids.contains(&&made["id"]), "{made} {listed}");
    let state = data.join("pipelines/kept");
    let state = state.to_str().unwrap();
    let path = weir(&place, &["stop", "kept", "--state", state, "--savepoint", "--to", "mine"]).expect_success();
    assert!(Path::new(words(&path)).join("manifest").is_file());
    assert_eq!(ask(&address, "GET", "", b"").json()["state"], "stopped");
    ask(&address, "POST", "/checkpoints", b"{}").expect_problem(503, "not-committed");
    server.kill9();
    server.wait(SOON);
    let (_server, address) = serve();
    assert_eq!(ask(&address, "GET", "", b"").json()["state"], "stopped");
    ask(&address, "POST", "/checkpoints", b"{}").expect_problem(409, "pipeline-not-running");
    weir(&place, &["savepoint", "kept", "--state", state]).expect(Exit::Code(5));
    // Cancelled while it runs it stays so too.
    ask(&address, "PUT", "", pipeline.as_bytes()).expect(200);
    wait_until_it_runs(&address);
    ask(&address, "POST", "/checkpoints", b"{}").expect(201);
    assert_eq!(
        ask(&address, "POST", ":cancel", json!({"wait": true}).to_string().as_bytes()).json()["state"],
        "stopped"
    );
    wait_until(Duration::from_secs(10), "the folder is free", || !Path::new(state).join("control.sock").exists());
}
