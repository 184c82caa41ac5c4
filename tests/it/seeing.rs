//! What can be learned of a running pipeline: problems, log lines, events, restarts, what its nodes do; over HTTP and by
//! command. What is told is right, told once, harmless on a terminal, and gives no secret away.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use weir_tests::events::{Event, Events};
use weir_tests::process::{Exit, Finished, Weir};
use weir_tests::wait::{wait_for, wait_until};

use crate::place::{guest, numbered_lines};
use crate::serve::{SOON, Server, plain};

const CANARY: &str = "canary-7f3a9c";
const LINES: u64 = 1_000;

/// A server with the operator `hostile`.
fn server(data: &Path) -> Server {
    let server = Server::start_as(data, |weir| {
        let weir = weir.env("WEIR_LOG", "info,guest=info");
        weir.env("CANARY", CANARY).env("WEIR__SECRETS__ENV", "CANARY")
    });
    let bytes = fs::read(guest("hostile")).unwrap();
    let wasm = ("Content-Type", "application/wasm");
    server.send("PUT", "/api/v1/operators/hostile/versions/0.1.0", &[wasm], &bytes).expect(201);
    server
}

/// A file with 1,000 records and five lines that are none, through `hostile`.
fn hostile(dir: &Path, name: &str, config: &str, on_error: &str, more: &str) -> String {
    let (input, out) = (dir.join(format!("{name}.jsonl")), dir.join(format!("{name}.out")));
    let mut lines = numbered_lines(LINES);
    (0..5).for_each(|n| lines.insert(n * 100 + 50, format!("{{\"n\": broken {n}")));
    fs::write(&input, lines.join("\n")).unwrap();
    pipeline(name, config, on_error, more, &input, &out)
}

fn pipeline(name: &str, config: &str, on_error: &str, more: &str, input: &Path, out: &Path) -> String {
    let (input, out) = (input.display(), out.display());
    format!(
        r#"version = 1
name = "{name}"
{more}
[checkpoint]
interval = "50ms"
[restart]
strategy = "fixed-delay"
attempts = 10
delay = "10ms"
[sources.lines]
type = "file"
path = "{input}"
event_time = {{ json = "/ts", unit = "ms" }}
on_error = "skip"
[nodes.bad]
operator = "hostile@0.1.0"
inputs = ["lines"]
key = {{ json = "/k" }}
on_error = "{on_error}"
config = {{ {config} }}
secrets = {{ canary = "${{env:CANARY}}" }}
[sinks.out]
type = "file"
inputs = ["bad.out"]
path = "{out}"
[sinks.side]
type = "discard"
inputs = ["bad.side"]
"#
    )
}

impl Server {
    fn read(&self, path: &str) -> Value {
        self.send("GET", &format!("/api/v1/pipelines/{path}"), &[], b"").expect(200).json()
    }

    fn events(&self, path: &str, headers: &[(&str, &str)]) -> Events {
        let bearer = format!("Bearer {}", self.token);
        let headers = [&[("Authorization", bearer.as_str())], headers].concat();
        Events::open(&self.address, &format!("/api/v1/pipelines/{path}"), &headers)
    }

    /// A command that asks this server.
    fn command<const N: usize>(&self, arguments: [&str; N]) -> Weir {
        let url = format!("http://{}", self.address);
        Weir::new(arguments).env("WEIR_SERVER", url).env("WEIR_TOKEN", &self.token)
    }

    #[track_caller]
    pub(crate) fn says<const N: usize>(&self, arguments: [&str; N]) -> String {
        self.command(arguments).finish(SOON).expect_success().stdout
    }
}

#[test]
fn problems_are_grouped_with_counts_and_samples_and_give_no_secret_away() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = server(&dir.path().join("data"));
    // 58 records have the key k3, and five lines are no records.
    let text = hostile(dir.path(), "p", r#"do = "betray", on = '"k":"k3"'"#, "skip", "");
    server.apply("p", &text).expect(201);
    server.wait_for_state("p", "stopped");

    let problems = server.read("p/problems");
    let items = problems["items"].as_array().unwrap();
    let of = |kind: &str| items.iter().find(|it| it["kind"] == kind).unwrap_or_else(|| panic!("{kind}: {problems}"));
    assert_eq!(items.len(), 2, "{problems}");
    let bad = of("bad-record");
    assert_eq!((&bad["node"], &bad["count"], &bad["outcome"]), (&"lines".into(), &5.into(), &"skipped".into()));
    assert!(bad["sample"]["origin"].as_str().unwrap().ends_with("p.jsonl/0@51"), "{bad}");
    assert_eq!(bad["sample"]["value"]["text"], "{\"n\": broken 0");
    let betrayed = of("failure");
    let expected = numbered_lines(LINES).iter().filter(|line| line.contains("\"k\":\"k3\"")).count();
    assert_eq!((&betrayed["node"], &betrayed["code"]), (&"bad".into(), &"betrayal".into()));
    assert_eq!(betrayed["count"], expected, "{betrayed}");
    assert_eq!(betrayed["said"], "it is [secret]");
    assert_eq!(betrayed["sample"]["key"]["text"], "k3");
    assert!(betrayed["sample"]["value"]["text"].as_str().unwrap().contains("\"n\":3,"), "{betrayed}");
    // One event for each group, when it was new.
    let json = ("Accept", "application/json");
    let page = server.send("GET", "/api/v1/pipelines/p/events", &[json], b"").expect(200);
    assert_eq!(page.body.matches("\"event\":\"problem\"").count(), 2, "{}", page.body);

    let shown = server.says(["problems", "p"]);
    assert!(shown.contains(&format!("failure (betrayal) at bad, skipped: {expected} times, ")), "{shown}");
    assert!(shown.contains("record ") && shown.contains("key=\"k3\""), "{shown}");
    let shown_json = server.says(["problems", "p", "--format", "json"]);
    let parsed: Value = serde_json::from_str(&shown_json).unwrap();
    assert_eq!(parsed["problems"], problems["items"]);
    for told in [&problems.to_string(), &page.body, &shown, &shown_json, &server.process.stderr()] {
        assert!(!told.contains(CANARY), "{told}");
    }
    server.process.terminate();
}

#[test]
fn the_history_behind_three_failures_is_right_and_hides_records_where_it_should() {
    let dir = tempfile::tempdir().unwrap();
    let server = server(&dir.path().join("data"));
    let hide = "[problems]\nsamples = \"hide\"";
    let text = hostile(dir.path(), "p", r#"do = "trap", on = '"n":777,'"#, "fail", hide);
    server.apply("p", &text).expect(201);
    let mut view = Value::Null;
    wait_until(SOON, "the circuit opens", || {
        view = server.read("p");
        view["state"] == "circuit-open"
    });
    let restarts = server.read("p/restarts");
    let items = restarts["items"].as_array().unwrap();
    let then: Vec<&str> = items.iter().map(|it| it["then"].as_str().unwrap()).collect();
    assert_eq!(then, ["circuit-open", "restart", "restart"], "{restarts}");
    for it in items {
        assert_eq!((&it["node"], &it["class"], &it["domain"]), (&"bad".into(), &"operator".into(), &"user".into()));
        assert!(it["why"].as_str().unwrap().contains("record "), "{it}");
    }
    assert_eq!(items[1]["after_ms"], 10.0);
    let problems = server.read("p/problems");
    let trap = problems["items"].as_array().unwrap().iter().find(|it| it["kind"] == "trap").unwrap().clone();
    assert_eq!((&trap["count"], &trap["outcome"]), (&3.into(), &"failed".into()), "{trap}");
    assert!(
        trap["backtrace"].as_array().unwrap().iter().any(|it| it.as_str().unwrap().contains("hostile::")),
        "{trap}"
    );
    assert_eq!((&trap["sample"]["is_hidden"], &trap["sample"]["key"]), (&true.into(), &Value::Null), "{trap}");
    for told in [problems.to_string(), restarts.to_string(), view.to_string(), server.says(["problems", "p"])] {
        assert!(!told.contains("k12") && !told.contains("\\\"n\\\":777"), "{told}");
    }
    let status = server.read("p/nodes/bad/status");
    assert_eq!(status["last_trap"]["count"], 3, "{status}");
}

#[test]
fn what_a_guest_logs_moves_no_cursor_forges_no_line_and_gives_no_secret_away() {
    let dir = tempfile::tempdir().unwrap();
    let server = server(&dir.path().join("data"));
    let text = hostile(dir.path(), "p", r#"do = "forge", on = '"n":7,'"#, "skip", "");
    server.apply("p", &text).expect(201);
    server.wait_for_state("p", "stopped");
    let logs = server.read("p/logs?level=warn&node=bad&since=1h");
    let line = &logs["items"][0];
    let says = "\\u{1b}[2Jseen\\n2026-01-01 ERROR forged [secret]";
    assert_eq!(
        (&line["message"], &line["level"], &line["subtask"]),
        (&says.into(), &"warn".into(), &0.into()),
        "{logs}"
    );
    assert_eq!(line["fields"][0]["name"], "value");
    assert!(line["origin"].as_str().unwrap().starts_with("0@"), "{line}");
    assert_eq!(logs["items"].as_array().unwrap().len(), 1);
    for nothing in ["p/logs?level=error", "p/logs?node=out"] {
        assert_eq!(server.read(nothing)["items"], Value::Array(Vec::new()));
    }
    server.send("GET", "/api/v1/pipelines/p/logs?node=other", &[], b"").expect_problem(404, "unknown-node");
    server.send("GET", "/api/v1/pipelines/p/logs?level=loud", &[], b"").expect_problem(400, "bad-request");
    let shown = server.says(["logs", "p/bad", "--level", "warn", "--since", "1h"]);
    assert!(shown.contains(" WARN  bad/0 \\u{1b}[2Jseen\\n2026-01-01 ERROR forged [secret] value="), "{shown}");
    let json = server.says(["logs", "p", "--format", "json"]);
    assert_eq!(serde_json::from_str::<Value>(json.lines().next().unwrap()).unwrap(), *line);
    for told in [&logs.to_string(), &shown, &json, &server.process.stderr()] {
        assert!(
            !told.contains('\u{1b}') && !told.contains("\n2026-01-01 ERROR forged") && !told.contains(CANARY),
            "{told}"
        );
    }
}

#[test]
fn a_flood_of_log_lines_is_cut_and_what_was_dropped_is_said_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    let server = server(&dir.path().join("data"));
    // 50,000 lines; what is over 10,000 in one call would trap.
    server.apply("p", &hostile(dir.path(), "p", r#"do = "chatter", on = '7,'"#, "skip", "")).expect(201);
    server.wait_for_state("p", "stopped");
    let logged = 50 * numbered_lines(LINES).iter().filter(|line| line.contains("7,")).count() as u64;
    let status = server.read("p/nodes/bad/status");
    let number = |name: &str| status["total"][name].as_u64().unwrap();
    let (kept, dropped) = (number("log_lines"), number("log_lines_dropped"));
    assert_eq!(kept + dropped, logged, "{status}");
    assert!((200..2_000).contains(&kept), "a burst, and a hundred a second: {status}");
    let metrics = server.send("GET", "/metrics", &[], b"").expect(200).body;
    let sample = format!("weir_guest_log_lines_dropped_total{{pipeline=\"p\",node=\"bad\"}} {dropped}.0");
    assert!(metrics.contains(&sample), "{metrics}");
    let said = server.says(["logs", "p", "--level", "warn"]);
    assert!(said.contains("weir dropped ") && said.contains("log line(s) of this subtask"), "{said}");
}

/// Epochs of the completed checkpoints among these.
fn epochs(events: &[Event]) -> Vec<u64> {
    let completed = events.iter().filter(|event| event.name == "checkpoint-completed");
    completed.map(|event| event.data["epoch"].as_u64().unwrap()).collect()
}

#[test]
fn a_stream_that_breaks_goes_on_without_losing_or_doubling_an_event() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&dir.path().join("data"));
    server.apply("p", &plain("p", &dir.path().join("out"), 1_000_000, 1000)).expect(201);
    let mut seen: Vec<Event> = Vec::new();
    for _ in 0..5 {
        let last = seen.last().and_then(|event| event.id).map(|id| id.to_string());
        let header: Vec<(&str, &str)> = last.iter().map(|id| ("Last-Event-ID", id.as_str())).collect();
        let mut events = server.events("p/events", &header).expect();
        (0..7).for_each(|_| seen.push(events.next_event().unwrap()));
        events.cut();
        // What comes while nobody listens is not lost.
        let before = epochs(&seen).last().copied().unwrap_or(0);
        server.wait_for("p", "more", |view| view["last_checkpoint"]["epoch"].as_u64() > Some(before + 3));
    }
    let found = epochs(&seen);
    assert!(found.len() > 20, "{found:?}");
    assert_eq!(found, (found[0]..found[0] + found.len() as u64).collect::<Vec<_>>());
    assert!(seen.windows(2).all(|pair| pair[0].id < pair[1].id), "{seen:?}");
    assert!(seen.iter().any(|event| event.name == "state" && event.data["state"] == "running"), "{seen:?}");
    // The query says the same as the header, in a page too; what is gone is a gap.
    let id = seen[10].id.unwrap();
    let mut events = server.events(&format!("p/events?last_event_id={id}"), &[]).expect();
    assert_eq!(events.next_event().unwrap(), seen[11]);
    let mut events = server.events("p/events", &[("Last-Event-ID", "1")]).expect();
    assert_eq!(events.next_event().unwrap().name, "gap");
    assert_eq!(events.next_event().unwrap(), seen[0]);
    server.events("p/events", &[("Last-Event-ID", "soon")]).head().contains(" 400 ").then_some(()).unwrap();

    // It ends with the pipeline.
    server.send("POST", "/api/v1/pipelines/p:stop", &[], br#"{"wait":true}"#).expect(200);
    let mut last = Vec::new();
    server.send("DELETE", "/api/v1/pipelines/p", &[], b"").expect(204);
    while let Some(event) = events.next_event() {
        last.push(event);
    }
    assert_eq!(last.last().unwrap().data["why"], "the pipeline was deleted");
    assert!(last.iter().any(|event| event.data["state"] == "stopped"), "{last:?}");
}

#[test]
fn streams_are_bounded_hold_no_request_up_and_end_with_the_server() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::start(&dir.path().join("data"));
    server.apply("p", &plain("p", &dir.path().join("out"), 1_000_000, 1000)).expect(201);
    server.wait_for_state("p", "running");
    let mut streams: Vec<Events> = (0..32).map(|_| server.events("p/events", &[]).expect()).collect();
    let refused = server.events("p/logs", &[("Accept", "text/event-stream")]);
    assert!(refused.head().contains(" 503 "), "{}", refused.head());
    // None of them is read, and nothing waits for them.
    let epoch = server.get("p")["last_checkpoint"]["epoch"].as_u64().unwrap_or(0);
    server.wait_for("p", "more", |view| view["last_checkpoint"]["epoch"].as_u64() > Some(epoch + 3));
    streams.pop().unwrap().cut();
    wait_until(SOON, "there is room for another one", || server.events("p/events", &[]).head().contains(" 200 "));
    server.process.terminate();
    for stream in &mut streams {
        let mut last = None;
        while let Some(event) = stream.next_event() {
            last = Some(event);
        }
        assert_eq!(last.unwrap().data["why"], "the server stops");
    }
    server.process.wait(SOON).expect(Exit::Code(0));
}

#[test]
fn a_stream_ends_with_the_token_that_it_was_opened_with() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&dir.path().join("data"));
    server.apply("p", &plain("p", &dir.path().join("out"), 1_000_000, 100)).expect(201);
    let json = [("Content-Type", "application/json")];
    let token = |text: &str| {
        let made = server.send("POST", "/api/v1/tokens", &json, text.as_bytes()).expect(201).json();
        format!("Bearer {}", made["token"].as_str().unwrap())
    };
    let deleted = token(r#"{"name": "deleted", "scopes": ["read"]}"#);
    let expired = token(r#"{"name": "expired", "scopes": ["read"], "expires_in": "2s"}"#);
    for bearer in [deleted, expired] {
        let headers = [("Authorization", bearer.as_str())];
        let mut events = Events::open(&server.address, "/api/v1/pipelines/p/events", &headers).expect();
        assert!(events.next_event().is_some());
        // The other one ends by itself.
        let gone = server.send("DELETE", "/api/v1/tokens/deleted", &[], b"");
        assert!([204, 404].contains(&gone.status), "{gone:?}");
        let mut last = None;
        while let Some(event) = events.next_event() {
            last = Some(event);
        }
        assert!(format!("{last:?}").contains("the token is deleted or has expired"), "{last:?}");
    }
}

#[test]
fn the_time_of_a_node_adds_up_to_the_wall_and_its_numbers_are_there() {
    let dir = tempfile::tempdir().unwrap();
    let server = server(&dir.path().join("data"));
    // A generator that goes on, through the operator.
    let text = plain("p", &dir.path().join("out"), 10_000_000, 2_000)
        .replace("template = '{\"n\":{{int 1 1000000}}}'", "template = '{\"k\":\"k{{int 1 5}}\",\"n\":1}'")
        .replace("inputs = [\"numbers\"]", "inputs = [\"pass.out\"]");
    let node = "[nodes.pass]\noperator = \"hostile@0.1.0\"\ninputs = [\"numbers\"]\nkey = { json = \"/k\" }\n";
    let side = "[sinks.side]\ntype = \"discard\"\ninputs = [\"pass.side\"]\n";
    server.apply("p", &format!("{text}{node}{side}")).expect(201);
    server.wait_for("p", "records", |view| view["live"]["records_in_per_second"].as_f64() > Some(1.0));

    let times = |status: &Value| {
        let total = &status["total"];
        ["busy_seconds", "backpressured_seconds", "idle_seconds"].map(|name| total[name].as_f64().unwrap())
    };
    let (first, begun) = (times(&server.read("p/nodes/pass/status")), weir::clock::now());
    let (status, wall) = wait_for(SOON, "three seconds", || {
        let status = server.read("p/nodes/pass/status");
        let wall = begun.elapsed().as_secs_f64();
        (wall > 3.0).then_some((status, wall))
    });
    let spent: f64 = times(&status).iter().zip(first).map(|(now, before)| now - before).sum();
    assert!((spent / wall - 1.0).abs() < 0.1, "{spent} s of {wall} s: {status}");
    let total = &status["total"];
    let shares: f64 = ["busy", "backpressured", "idle"].iter().map(|name| total[name].as_f64().unwrap()).sum();
    assert!((shares - 1.0).abs() < 1e-6, "{status}");
    assert_eq!((&status["kind"], &status["subtasks"][0]["subtask"]), (&"operator".into(), &0.into()));
    assert!(total["records_in"].as_u64() > Some(1_000) && total["calls"].as_u64() > Some(1), "{status}");
    assert!(total["guest_memory_bytes"].as_u64() > Some(60_000), "{status}");
    assert!(total["records_in_per_second"].as_f64() > Some(500.0), "{status}");
    assert_eq!(total["failed_calls"], 0);

    let unknown = server.send("GET", "/api/v1/pipelines/p/nodes/nobody/status", &[], b"");
    let unknown = unknown.expect_problem(404, "unknown-node").json();
    assert!(unknown["detail"].as_str().unwrap().contains("it has numbers, pass, "), "{unknown}");
    let graph = server.read("p/graph");
    let nodes = graph["nodes"].as_array().unwrap();
    assert!(
        nodes.iter().all(|node| node["live"]["records_in"].as_u64() > Some(0) || node["name"] == "side"),
        "{graph}"
    );

    let top = server.says(["top", "--once"]);
    let cells: Vec<&str> = top.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(cells[..2], ["p", "running"], "{top}");
    assert!(cells[2].parse::<f64>().unwrap() > 500.0, "{top}");
    assert!(top.contains(" s ago, ") && !top.contains('\u{1b}'), "{top}");
    let json: Value = serde_json::from_str(&server.says(["top", "--format", "json"])).unwrap();
    assert_eq!(json[0]["name"], "p", "{json}");
}

#[test]
fn logs_are_followed_by_command_until_the_pipeline_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let server = server(&dir.path().join("data"));
    let text = hostile(dir.path(), "p", r#"do = "forge", on = '"n":7,'"#, "skip", "");
    server.apply("p", &text).expect(201);
    let follower = server.command(["logs", "p", "-f"]).spawn();
    wait_until(SOON, "the line is there", || follower.stdout().contains("forged [secret]"));
    server.wait_for_state("p", "stopped");
    server.send("DELETE", "/api/v1/pipelines/p", &[], b"").expect(204);
    let Finished { stdout, stderr, .. } = follower.wait(SOON).expect_success();
    assert_eq!(stdout.matches("forged [secret]").count(), 1, "{stdout}");
    assert!(stderr.contains("the pipeline was deleted"), "{stderr}");
    server.command(["logs", "p", "-f"]).finish(SOON).expect(Exit::Code(3));
    server.command(["logs", "p", "--since", "yesterday"]).finish(SOON).expect(Exit::Code(2));
}

#[test]
fn a_single_run_tells_the_same_of_its_one_pipeline() {
    let dir = tempfile::tempdir().unwrap();
    let input: PathBuf = dir.path().join("in.jsonl");
    let text = hostile(dir.path(), "p", r#"do = "forge", on = '"n":7,'"#, "skip", "");
    let text = text.replace("\"hostile@0.1.0\"", &format!("{:?}", guest("hostile")));
    // Goes on: a second source that does not end.
    let more = "[sources.more]\ntype = \"generator\"\nseed = 1\nrate = 100\ntemplate = '{\"n\":1}'\n[sinks.rest]\ntype = \
                \"discard\"\ninputs = [\"more\"]\n";
    fs::write(&input, "").unwrap();
    let file = dir.path().join("p.toml");
    fs::write(&file, format!("{text}{more}")).unwrap();
    let mut run = Weir::run(&file, dir.path().join("state"))
        .argument("--listen")
        .argument("127.0.0.1:0")
        .env("CANARY", CANARY)
        .spawn();
    let line = run.wait_for_line(SOON, "metrics and probes on http://");
    let address = line.rsplit("http://").next().unwrap().trim().to_owned();
    let read = |path: &str| {
        let path = format!("/api/v1/pipelines/p/{path}");
        weir_tests::http::request(&address, "GET", &path, &[("Accept", "application/json")], b"")
    };
    wait_until(SOON, "it has read its file", || read("problems").expect(200).body.contains("\"count\":5"));
    wait_until(SOON, "its operator has logged", || read("logs").expect(200).body.contains("forged [secret]"));
    assert!(read("events").expect(200).body.contains("\"state\":\"running\""));
    assert_eq!(read("restarts").expect(200).json()["items"], Value::Array(Vec::new()));
    assert_eq!(read("nodes/bad/status").expect(200).json()["total"]["records_in"], LINES);
    let mut events = Events::open(&address, "/api/v1/pipelines/p/events", &[]).expect();
    assert!(events.next_event().is_some());
    let url = format!("http://{address}");
    let top = Weir::new(["top", "--server", &url]).finish(SOON).expect_success().stdout;
    assert!(top.lines().nth(1).unwrap().starts_with("p "), "{top}");
    run.terminate();
    run.wait(SOON).expect_success();
}
