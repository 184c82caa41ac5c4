//! Running a server for others: what it is told and by whom, how it starts, and how it stops in the time that it has.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

use serde_json::Value;
use weir_tests::http::request;
use weir_tests::process::{Exit, Weir};
use weir_tests::wait::wait_until;

use crate::serve::{SOON, Server, TOML, plain, rows};

/// What takes connections and never answers: a pipeline that reads from it comes to no checkpoint, and waits for seconds.
struct Mute {
    address: String,
    connected: Receiver<()>,
}

impl Mute {
    fn listen() -> Mute {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (sender, connected) = sync_channel(16);
        // It ends with the test's process.
        thread::spawn(move || {
            let mut held = Vec::new();
            for stream in listener.incoming() {
                held.push(stream);
                // Nobody asks for more than one.
                let _ = sender.try_send(());
            }
        });
        Mute { address, connected }
    }

    /// A pipeline that waits for it.
    fn pipeline(&self, name: &str) -> String {
        format!(
            "version = 1\nname = \"{name}\"\n[sources.s]\ntype = \"kafka\"\nbrokers = \"{}\"\ntopic = \"t\"\n\
             [sinks.out]\ntype = \"discard\"\ninputs = [\"s\"]\n",
            self.address
        )
    }
}

/// A server with a pipeline that cannot finish and one that can.
fn stuck(data: &Path, out: &Path, shutdown_timeout: &str) -> Server {
    let mute = Mute::listen();
    let server = Server::start_as(data, |weir| weir.argument("--shutdown-timeout").argument(shutdown_timeout));
    server.apply("good", &plain("good", out, 1_000_000, 1000)).expect(201);
    server.wait_for("good", "a checkpoint", |view| view["last_checkpoint"]["epoch"].as_u64() >= Some(2));
    server.apply("stuck", &mute.pipeline("stuck")).expect(201);
    mute.connected.recv_timeout(SOON).unwrap();
    server
}

#[test]
fn a_stop_waits_for_last_checkpoints_as_long_as_it_may_and_takes_no_change_meanwhile() {
    let dir = tempfile::tempdir().unwrap();
    let (data, out) = (dir.path().join("data"), dir.path().join("out"));
    let mut server = stuck(&data, &out, "3s");
    let started = weir::clock::now();
    server.process.terminate();
    let ready = || request(&server.address, "GET", "/readyz", &[], b"");
    wait_until(SOON, "the server says that it stops", || ready().status == 503 && ready().body.contains("is stopping"));
    request(&server.address, "GET", "/livez", &[], b"").expect(200);
    server.send("GET", "/api/v1/pipelines", &[], b"").expect(200);
    server.send("PUT", "/api/v1/pipelines/new", &[TOML], b"").expect_problem(503, "shutting-down");
    server.send("POST", "/api/v1/pipelines/good:restart", &[], b"").expect_problem(503, "shutting-down");
    server.send("DELETE", "/api/v1/operators/a/versions/1.0.0", &[], b"").expect_problem(503, "shutting-down");
    let ended = server.process.wait(SOON).expect_success();
    let took = started.elapsed();
    assert!((3.0..6.0).contains(&took.as_secs_f64()), "{took:?}");
    assert!(ended.stderr.contains("warning: pipeline `stuck` has no last checkpoint after 3 s"), "{ended}");
    assert!(!ended.stderr.contains("pipeline `good` has no last"), "{ended}");
    let before = rows(&out).len();
    assert!(before > 0);
    let server = Server::start(&data);
    server.wait_for("good", "goes on", |view| view["state"] == "running");
    wait_until(SOON, "more rows", || rows(&out).len() > before);
}

#[test]
fn a_second_signal_ends_a_stop_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = stuck(&dir.path().join("data"), &dir.path().join("out"), "1h");
    server.process.terminate();
    server.process.wait_for_line(SOON, "stopping: ");
    // Signals that follow close on each other are one.
    wait_until(SOON, "the second signal ends it", || {
        server.process.terminate();
        server.process.try_exit().is_some()
    });
    let ended = server.process.wait(SOON).expect(Exit::Code(130));
    assert!(ended.stderr.contains("second signal: ending now"), "{ended}");
}

#[test]
fn a_start_is_over_when_each_pipeline_has_run_or_waits_for_others_and_stays_over() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mute = Mute::listen();
    let mut server = Server::start(&data);
    let asked = |server: &Server, path: &str| request(&server.address, "GET", path, &[], b"");
    assert_eq!(asked(&server, "/startupz").expect(200).body, "ok\n", "there is nothing to wait for");
    server.apply("good", &plain("good", &dir.path().join("out"), 1_000_000, 1000)).expect(201);
    server.apply("stuck", &mute.pipeline("stuck")).expect(201);
    server.process.kill9();
    server = Server::start(&data);
    let said = asked(&server, "/startupz").expect(503).body;
    assert!(said.contains("stuck is starting"), "{said}");
    wait_until(SOON, "the start is over", || asked(&server, "/startupz").status == 200);
    assert!(server.get("stuck")["problem"].is_string(), "the broker does not answer, and that is said");
    assert_eq!(server.get("good")["state"], "running");
    // From now on the start is over, whatever becomes of them.
    server.send("POST", "/api/v1/pipelines/stuck:restart", &[], b"").expect(202);
    wait_until(SOON, "it starts once more", || server.get("stuck")["problem"].is_null());
    assert!(asked(&server, "/readyz").expect(503).body.contains("stuck is starting"));
    asked(&server, "/startupz").expect(200);
    asked(&server, "/livez").expect(200);
}

#[test]
fn settings_come_from_file_environment_and_flags_and_say_so() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    fs::create_dir(&data).unwrap();
    fs::write(
        data.join("weir.toml"),
        "[server]\nlisten = \"127.0.0.1:1\"\n[limits]\nconnections = 7\nuploads_at_once = 2\n",
    )
    .unwrap();
    let show = |more: &[&str]| {
        let weir = Weir::new(["config", "show", "--data"]).argument(&data).argument("--listen").argument("127.0.0.1:0");
        let weir = more.iter().fold(weir, |weir, more| weir.argument(more));
        weir.env("WEIR__LIMITS__CONNECTIONS", "9").finish(SOON).expect_success().stdout
    };
    let shown: Value = serde_json::from_str(&show(&["--format", "json"])).unwrap();
    let at = |key: &str| {
        let all = shown.as_array().unwrap();
        let found = all.iter().find(|it| it["key"] == key).unwrap();
        (found["value"].clone(), found["origin"].as_str().unwrap().to_owned())
    };
    assert_eq!(at("server.listen"), ("127.0.0.1:0".into(), "--listen".to_owned()));
    assert_eq!(at("limits.connections"), (9.into(), "WEIR__LIMITS__CONNECTIONS".to_owned()));
    let file = format!("{}:5", data.join("weir.toml").display());
    assert_eq!(at("limits.uploads_at_once"), (2.into(), file.clone()));
    assert_eq!(at("server.shutdown_timeout"), ("25s".into(), "default".to_owned()));
    let text = show(&["--origin"]);
    assert!(
        text.lines()
            .any(|line| line.starts_with("limits.uploads_at_once = 2 ") && line.ends_with(&format!("# {file}"))),
        "{text}"
    );
    // What is shown is what a server takes.
    drop(Server::start(&data));

    fs::write(data.join("weir.toml"), "[limits]\nconections = 7\n").unwrap();
    let refused = Weir::new(["serve", "--data"]).argument(&data).finish(SOON).expect(Exit::Code(3));
    assert!(refused.stderr.contains("weir.toml:2"), "{refused}");
    assert!(refused.stderr.contains("did you mean `connections`?"), "{refused}");
    Weir::new(["serve"]).finish(SOON).expect(Exit::Code(2));
    let schema: Value =
        serde_json::from_str(&Weir::new(["schema", "server"]).finish(SOON).expect_success().stdout).unwrap();
    assert_eq!(schema["properties"]["limits"]["properties"]["connections"]["maximum"], 10_000, "{schema}");
}

#[test]
fn limits_of_the_settings_hold() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start_as(&dir.path().join("data"), |weir| {
        weir.env("WEIR__LIMITS__REGISTRY_BYTES", "1MiB")
            .env("WEIR__COMPILE__MEMORY", "128MiB")
            .env("WEIR__COMPILE__CPU", "1s")
    });
    let path = |version: &str| format!("/api/v1/operators/ip-count/versions/{version}");
    let bytes = crate::serve::ip_count();
    let fit = (1 << 20) / bytes.len();
    for n in 0..fit {
        server.send("PUT", &path(&format!("0.1.{n}")), &[crate::serve::WASM], &bytes).expect(201);
    }
    let full = server.send("PUT", &path("0.2.0"), &[crate::serve::WASM], &bytes);
    full.expect_problem(507, "no-space");
}
