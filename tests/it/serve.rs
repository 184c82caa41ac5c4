//! `weir serve` as its users see it: real HTTP, real files, kills. What was asked for survives every end of the server.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use weir_tests::http::{Answer, request};
use weir_tests::process::{Exit, Process, Weir};
use weir_tests::wait::wait_until;

pub(crate) const SOON: Duration = Duration::from_secs(60);
pub(crate) const TOML: (&str, &str) = ("Content-Type", "application/toml");
pub(crate) const WASM: (&str, &str) = ("Content-Type", "application/wasm");

pub(crate) struct Server {
    pub(crate) process: Process,
    pub(crate) address: String,
    pub(crate) token: String,
    /// Its folder, as this process sees it.
    pub(crate) data: PathBuf,
}

impl Server {
    pub(crate) fn start(data: &Path) -> Server {
        Server::start_as(data, |weir| weir)
    }

    /// With a changed environment.
    pub(crate) fn start_as(data: &Path, change: impl FnOnce(Weir) -> Weir) -> Server {
        Server::start_on(data, data.to_owned(), change)
    }

    /// With a folder that has another path for this process.
    pub(crate) fn start_on(folder: &Path, data: PathBuf, change: impl FnOnce(Weir) -> Weir) -> Server {
        let arguments = ["serve", "--listen", "127.0.0.1:0", "--data"];
        let mut process = change(Weir::new(arguments).argument(folder)).spawn();
        let line = process.wait_for_line(SOON, "serves http://");
        let address = line.rsplit("http://").next().unwrap().trim().to_owned();
        let token = fs::read_to_string(data.join("admin-token")).unwrap().trim().to_owned();
        Server { process, address, token, data }
    }

    #[track_caller]
    pub(crate) fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let bearer = format!("Bearer {}", self.token);
        let headers = [&[("Authorization", bearer.as_str())], headers].concat();
        request(&self.address, method, path, &headers, body)
    }

    #[track_caller]
    pub(crate) fn apply(&self, name: &str, text: &str) -> Answer {
        self.send("PUT", &format!("/api/v1/pipelines/{name}"), &[TOML], text.as_bytes())
    }

    #[track_caller]
    pub(crate) fn get(&self, name: &str) -> Value {
        self.send("GET", &format!("/api/v1/pipelines/{name}"), &[], b"").expect(200).json()
    }

    #[track_caller]
    pub(crate) fn wait_for(&self, name: &str, what: &str, condition: impl Fn(&Value) -> bool) {
        let mut last = Value::Null;
        wait_until(SOON, &format!("{name}: {what}"), || {
            last = self.get(name);
            assert_ne!(last["state"], "failed", "{last}");
            condition(&last)
        });
    }

    #[track_caller]
    pub(crate) fn wait_for_state(&self, name: &str, state: &str) {
        self.wait_for(name, state, |view| view["state"] == state);
    }

    fn upload_ip_count(&self) {
        self.send("PUT", "/api/v1/operators/ip-count/versions/0.1.0", &[WASM], &ip_count()).expect(201);
    }
}

pub(crate) fn ip_count() -> Vec<u8> {
    fs::read(weir_tests::repository().join("tests/fixtures/ip_count-0.1.0.wasm")).unwrap()
}

/// A generator into a folder, without an operator.
pub(crate) fn plain(name: &str, out: &Path, count: u64, rate: u64) -> String {
    let out = out.display();
    format!(
        r#"version = 1
name = "{name}"
[checkpoint]
interval = "100ms"
[sources.numbers]
type = "generator"
seed = 1
count = {count}
rate = {rate}
template = '{{"n":{{{{int 1 1000000}}}}}}'
[sinks.out]
type = "file"
inputs = ["numbers"]
path = "{out}"
"#
    )
}

/// The published rows, in the order of their epochs.
pub(crate) fn rows(out: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(out) else { return Vec::new() };
    let mut parts: Vec<PathBuf> = entries.map(|e| e.unwrap().path()).filter(|path| path.is_file()).collect();
    parts.sort();
    parts
        .iter()
        .flat_map(|part| fs::read_to_string(part).unwrap().lines().map(str::to_owned).collect::<Vec<_>>())
        .collect()
}

#[test]
fn an_upload_that_costs_too_much_to_compile_is_422_and_the_server_stays_up() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&dir.path().join("data"));
    let refused = server.send("PUT", "/api/v1/operators/bomb/versions/1.0.0", &[WASM], &crate::compile::bomb());
    let problem = refused.expect(422).json();
    assert_eq!(problem["code"], "component-refused", "{problem}");
    let detail = problem["detail"].as_str().unwrap();
    assert_eq!(detail, "the component costs too much to compile: more than 1024 MiB of memory");
    server.upload_ip_count();
    let kept = fs::read_dir(dir.path().join("data/cache/native")).unwrap().count();
    assert_eq!(kept, 1, "the native code of the good one");
}

#[test]
fn a_folder_with_something_else_in_it_is_not_taken_for_data() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("thesis.tex"), "the only copy").unwrap();
    let serve = || Weir::new(["serve", "--listen", "127.0.0.1:0", "--data"]).argument(dir.path());
    let refused = serve().finish(SOON).expect(Exit::Code(6));
    let says = format!(
        "error: {} is not a data folder of weir: it holds \"thesis.tex\"; give an empty or a new folder as --data\n",
        dir.path().display()
    );
    assert_eq!(refused.stderr, says);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing was made");
    // In one that is a server's it lies in nobody's way; nor does what a new disk has, and a first start that was killed.
    fs::remove_file(dir.path().join("thesis.tex")).unwrap();
    fs::create_dir(dir.path().join("lost+found")).unwrap();
    fs::write(dir.path().join("lock"), "").unwrap();
    drop(Server::start(dir.path()));
    fs::write(dir.path().join("notes"), "").unwrap();
    drop(Server::start(dir.path()));
}

#[test]
fn an_operator_is_uploaded_once_and_its_pipeline_runs_to_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::start(&dir.path().join("data"));
    let path = "/api/v1/operators/ip-count/versions/0.1.0";
    let created = server.send("PUT", path, &[WASM], &ip_count()).expect(201);
    assert_eq!(created.json()["inspection"]["sha256"], created.json()["sha256"]);
    assert_eq!(created.json()["inspection"]["config_schema"]["type"], "object");
    assert_eq!(created.json()["warnings"].as_array().unwrap().len(), 0);
    let other = server.send("PUT", "/api/v1/operators/renamed/versions/0.1.0", &[WASM], &ip_count()).expect(201).json();
    let warning = "the component calls itself `ip-count`: pipelines and messages name it `renamed`";
    assert_eq!(other["warnings"][0], warning);
    assert_eq!(created.header("etag").unwrap().trim_matches('"'), created.json()["sha256"].as_str().unwrap());
    server.send("PUT", path, &[WASM], &ip_count()).expect(200);
    let mut other = ip_count();
    // An empty custom section at the end: the same operator in other bytes.
    other.extend([0, 2, 1, b'x']);
    server.send("PUT", path, &[WASM], &other).expect_problem(409, "version-exists");
    assert_eq!(
        server.send("GET", "/api/v1/operators", &[], b"").expect(200).json()["items"][0]["versions"][0],
        "0.1.0"
    );
    assert_eq!(
        server.send("GET", "/api/v1/operators/ip-count/versions", &[], b"").json()["items"][0]["name"],
        "ip-count"
    );
    server.send("GET", path, &[], b"").expect(200);
    server.send("GET", "/api/v1/operators/ip-count/versions/0.1.1", &[], b"").expect_problem(404, "unknown-operator");

    let example = fs::read_to_string(weir_tests::repository().join("examples/ip-count/local.toml")).unwrap();
    let out = dir.path().join("out");
    let text = example
        .replace("target/weir/ip_count.wasm", "ip-count@0.1.0")
        .replace("\"out\"", &format!("{:?}", out.display()));
    let text = text.replace("count = 200000\nrate = 20000", "count = 50000");
    let answer = server.apply("ip-count-local", &text).expect(201);
    assert_eq!(answer.header("etag"), Some("\"1\""));
    server.wait_for_state("ip-count-local", "stopped");
    assert!(!rows(&out).is_empty());
    let view = server.get("ip-count-local");
    assert!(view["last_checkpoint"]["completed_at"].as_str().unwrap().ends_with('Z'), "{view}");
    let metrics = request(&server.address, "GET", "/metrics", &[], b"").expect(200).body;
    assert!(metrics.contains(r#"pipeline="ip-count-local""#), "{metrics}");
    request(&server.address, "GET", "/readyz", &[], b"").expect(200);
    server.process.terminate();
    server.process.wait(SOON).expect_success();

    // The same operator for `weir run`, from the server's folder.
    let file = dir.path().join("ip.toml");
    fs::write(&file, text.replace(&format!("{:?}", out.display()), "\"out2\"")).unwrap();
    let run = Weir::run(&file, dir.path().join("state")).argument("--registry").argument(dir.path().join("data"));
    run.finish(SOON).expect_success();
    assert_eq!(rows(&dir.path().join("out2")).len(), rows(&out).len());
}

#[test]
fn pipelines_go_on_after_a_kill_and_a_stop_survives_it() {
    let dir = tempfile::tempdir().unwrap();
    let (data, out, truth) = (dir.path().join("data"), dir.path().join("out"), dir.path().join("truth"));
    let mut server = Server::start(&data);
    server.apply("truth", &plain("truth", &truth, 6000, 1_000_000)).expect(201);
    server.apply("goes-on", &plain("goes-on", &out, 6000, 2000)).expect(201);
    server.apply("halts", &plain("halts", &dir.path().join("halts"), 1_000_000, 1000)).expect(201);
    server.wait_for("goes-on", "two checkpoints", |view| view["last_checkpoint"]["epoch"].as_u64() >= Some(2));
    server.wait_for_state("halts", "running");
    server.send("DELETE", "/api/v1/pipelines/halts", &[], b"").expect_problem(409, "pipeline-running");
    server.send("POST", "/api/v1/pipelines/halts:stop", &[], b"").expect(202);
    server.process.kill_and_wait().expect(Exit::KILLED);

    server = Server::start(&data);
    assert!(!server.process.stderr().contains(&server.token), "a token is shown once");
    server.wait_for_state("goes-on", "stopped");
    server.wait_for_state("truth", "stopped");
    assert_eq!(rows(&out), rows(&truth));
    assert_eq!(server.get("halts")["state"], "stopped");

    // Applying again starts it, an end of the server does not stop it for good.
    let answer = server.apply("halts", &plain("halts", &dir.path().join("halts"), 1_000_000, 1000)).expect(200);
    assert_eq!(answer.json()["revision"], 1, "the same text is the same revision");
    server.wait_for_state("halts", "running");
    server.process.terminate();
    server.process.wait(SOON).expect_success();
    server = Server::start(&data);
    server.wait_for_state("halts", "running");
    server.send("POST", "/api/v1/pipelines/halts:stop", &[], b"").expect(202);
    server.wait_for_state("halts", "stopped");
    // A second stop finds it done; a cancel or a drain would claim what did not happen.
    server.send("POST", "/api/v1/pipelines/halts:stop", &[], b"").expect(202);
    for (action, body) in [("cancel", "{}"), ("stop", "{\"drain\": true}")] {
        let path = format!("/api/v1/pipelines/halts:{action}");
        let json = [("Content-Type", "application/json")];
        server.send("POST", &path, &json, body.as_bytes()).expect_problem(409, "pipeline-not-running");
    }
    server.send("DELETE", "/api/v1/pipelines/halts", &[], b"").expect(204);
    server.send("GET", "/api/v1/pipelines/halts", &[], b"").expect_problem(404, "unknown-pipeline");
    assert!(!data.join("pipelines/halts").exists());
}

#[test]
fn a_stop_at_once_after_an_apply_stops_it() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&dir.path().join("data"));
    let text = plain("brief", &dir.path().join("out"), 1_000_000, 1000);
    for _ in 0..20 {
        server.apply("brief", &text);
        server.send("POST", "/api/v1/pipelines/brief:stop", &[], b"").expect(202);
    }
    server.wait_for_state("brief", "stopped");
    server.send("DELETE", "/api/v1/pipelines/brief", &[], b"").expect(204);
    // What it may have written before a stop stays, and belongs to nobody any more.
    let text = plain("brief", &dir.path().join("again"), 1_000_000, 1000);
    server.apply("brief", &text).expect(201);
    server.wait_for_state("brief", "running");
}

#[test]
fn every_route_but_the_open_ones_wants_the_token() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut server = Server::start(&data);
    let token = data.join("admin-token");
    assert_eq!(fs::metadata(&token).unwrap().permissions().mode() & 0o777, 0o600);
    server.process.wait_for_line(SOON, &server.token.clone());
    let almost = format!("Bearer {}0", &server.token[..63]);
    let basic = format!("Basic {}", server.token);
    let closed = [
        ("GET", "/api/v1/operators"),
        ("GET", "/api/v1/operators/a/versions"),
        ("GET", "/api/v1/operators/a/versions/1.0.0"),
        ("PUT", "/api/v1/operators/a/versions/1.0.0"),
        ("GET", "/api/v1/pipelines"),
        ("GET", "/api/v1/pipelines/a"),
        ("PUT", "/api/v1/pipelines/a"),
        ("DELETE", "/api/v1/pipelines/a"),
        ("POST", "/api/v1/pipelines/a:stop"),
        ("PATCH", "/api/v1/pipelines"),
        ("GET", "/api/v1/nothing"),
        ("GET", "/"),
    ];
    for (method, path) in closed {
        let send = |headers: &[(&str, &str)]| request(&server.address, method, path, headers, b"");
        let none = send(&[]).expect_problem(401, "unauthorized");
        assert_eq!(none.header("www-authenticate"), Some("Bearer"));
        if !server.token.ends_with('0') {
            send(&[("Authorization", &almost)]).expect_problem(401, "unauthorized");
        }
        send(&[("Authorization", &basic)]).expect_problem(401, "unauthorized");
    }
    for path in ["/metrics", "/livez", "/readyz", "/startupz", "/version"] {
        request(&server.address, "GET", path, &[], b"").expect(200);
    }
    server
        .send("GET", "/api/v1/pipelines", &[("Origin", "http://evil.example")], b"")
        .expect_problem(403, "foreign-origin");
    server.send("GET", "/api/v1/pipelines", &[("Host", "evil.example")], b"").expect_problem(403, "foreign-host");
    // A whole URL as the target says so too; a request that says nowhere for whom it is cannot be read.
    server.send("GET", "http://evil.example/api/v1/pipelines", &[], b"").expect_problem(403, "foreign-host");
    server.send("GET", &format!("http://{}/api/v1/pipelines", server.address), &[], b"").expect(200);
    let mut nowhere = String::new();
    let mut stream = TcpStream::connect(&server.address).unwrap();
    stream.write_all(b"GET /api/v1/pipelines HTTP/1.1\r\nConnection: close\r\n\r\n").unwrap();
    stream.read_to_string(&mut nowhere).unwrap();
    assert!(nowhere.starts_with("HTTP/1.1 400 ") && nowhere.contains("the header `Host` is missing"), "{nowhere}");
    server.send("GET", "/api/v1/nothing", &[], b"").expect_problem(404, "no-route");
    let refused = server.send("PATCH", "/api/v1/pipelines", &[], b"").expect_problem(405, "method-not-allowed");
    assert!(refused.header("allow").is_some_and(|allow| allow.contains("GET")), "{refused:?}");

    // One server per folder, one per port.
    Weir::new(["serve", "--listen", "127.0.0.1:0", "--data"]).argument(&data).finish(SOON).expect(Exit::Code(7));
    let other = Weir::new(["serve", "--listen", &server.address, "--data"]).argument(dir.path().join("other"));
    other.finish(SOON).expect(Exit::Code(5));
    let file = Weir::new(["serve", "--listen", "127.0.0.1:0", "--data"]).argument(&token).finish(SOON);
    assert!(file.expect(Exit::Code(6)).stderr.contains("admin-token is a file, and --data is a folder"));
    fs::set_permissions(&token, fs::Permissions::from_mode(0o644)).unwrap();
    server.process.kill_and_wait();
    Weir::new(["serve", "--listen", "127.0.0.1:0", "--data"]).argument(&data).finish(SOON).expect(Exit::Code(3));
}

#[test]
fn what_is_wrong_is_refused_with_its_reason_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&dir.path().join("data"));
    let put = |path: &str, headers: &[(&str, &str)], body: &[u8]| server.send("PUT", path, headers, body);
    let operator = "/api/v1/operators/a/versions/1.0.0";
    put(operator, &[], b"x").expect_problem(415, "unsupported-type");
    put(operator, &[WASM, ("Content-Encoding", "gzip")], b"x").expect_problem(415, "unsupported-type");
    put(operator, &[WASM], b"not wasm").expect_problem(422, "component-refused");
    put(operator, &[WASM], b"\x7fELF compiled elsewhere").expect_problem(422, "component-refused");
    put(operator, &[WASM, ("Content-Length", "33554433")], b"").expect_problem(413, "too-large");
    put("/api/v1/operators/A/versions/1.0.0", &[WASM], b"x").expect_problem(422, "bad-name");
    put("/api/v1/operators/..%2Fa/versions/1.0.0", &[WASM], b"x").expect_problem(422, "bad-name");
    put("/api/v1/operators/a/versions/1", &[WASM], b"x").expect_problem(422, "bad-version");
    put("/api/v1/operators/a/versions/..%2F1.0.0", &[WASM], b"x").expect_problem(422, "bad-version");
    put("/api/v1/operators/a/versions/%ff", &[WASM], b"x").expect_problem(400, "bad-request");
    assert_eq!(server.send("GET", "/api/v1/operators", &[], b"").json()["items"].as_array().unwrap().len(), 0);

    let out = dir.path().join("out");
    let good = plain("p", &out, 1_000_000, 1000);
    let path = "/api/v1/pipelines/p";
    put(path, &[], good.as_bytes()).expect_problem(415, "unsupported-type");
    let long = format!("{:x}\r\n{}\r\n0\r\n\r\n", (256 << 10) + 1, "#".repeat((256 << 10) + 1));
    put(path, &[TOML, ("Transfer-Encoding", "chunked")], long.as_bytes()).expect_problem(413, "too-large");
    put("/api/v1/pipelines/q", &[TOML], good.as_bytes()).expect_problem(422, "name-mismatch");
    put(path, &[TOML, ("If-Match", "\"1\"")], good.as_bytes()).expect_problem(412, "revision-changed");
    put(path, &[TOML, ("If-Match", "*")], good.as_bytes()).expect_problem(412, "revision-changed");
    put(path, &[TOML, ("If-Match", "old")], good.as_bytes()).expect_problem(400, "bad-request");
    let relative = good.replace(&out.display().to_string(), "out");
    let refused = put(path, &[TOML], relative.as_bytes()).expect_problem(422, "pipeline-invalid");
    assert_eq!(refused.json()["errors"][0]["path"], "sinks.out.path");
    assert_eq!(refused.json()["errors"][0]["line"], 14);
    let unknown = good.replace("seed", "sead");
    assert!(
        put(path, &[TOML], unknown.as_bytes()).expect_problem(422, "pipeline-invalid").json()["errors"][0]["help"]
            .is_string()
    );
    let nodes = "[nodes.count]\noperator = \"OPERATOR\"\ninputs = [\"numbers\"]\nkey = { json = \"/n\" }\n";
    for (operator, code) in [("/etc/x.wasm", "weir::server::operator_path"), ("a@1.0.0", "weir::operator::unknown")] {
        let text =
            good.replace("inputs = [\"numbers\"]", "inputs = [\"count\"]") + &nodes.replace("OPERATOR", operator);
        let refused = put(path, &[TOML], text.as_bytes()).expect_problem(422, "pipeline-invalid");
        assert_eq!(refused.json()["errors"][0]["code"], code, "{refused:?}");
    }
    assert_eq!(
        server.send("GET", "/api/v1/pipelines", &[], b"").json(),
        serde_json::json!({"items": [], "next": null})
    );

    put(path, &[TOML], good.as_bytes()).expect(201);
    let other = good.replace("rate = 1000", "rate = 1001");
    put(path, &[TOML, ("If-Match", "\"1\"")], other.as_bytes()).expect(200);
    put(path, &[TOML, ("If-Match", "\"1\"")], good.as_bytes()).expect_problem(412, "revision-changed");
    put(path, &[TOML, ("If-Match", "*")], good.as_bytes()).expect(200);
    server.send("GET", "/api/v1/pipelines/p/tap", &[], b"").expect_problem(501, "comes-later");
    server.send("POST", "/api/v1/pipelines/p:dance", &[], b"").expect_problem(404, "unknown-action");
    server.send("POST", "/api/v1/pipelines/q:stop", &[], b"").expect_problem(404, "unknown-pipeline");
    server.send("DELETE", "/api/v1/pipelines/q", &[], b"").expect_problem(404, "unknown-pipeline");
}

#[test]
fn an_upload_that_was_answered_survives_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&dir.path().join("data"));
    server.upload_ip_count();
    drop(server);
    let server = Server::start(&dir.path().join("data"));
    server.send("GET", "/api/v1/operators/ip-count/versions/0.1.0", &[], b"").expect(200);
}
