//! `?from=`: a pipeline of a server starts from a savepoint, from nothing, or goes on under another guarantee. Once: a kill before
//! its first commit starts from there again, one behind it does not.

use std::fs;
use std::path::{Path, PathBuf};

use weir_tests::http::{Answer, try_request};
use weir_tests::process::Exit;

use crate::serve::{SOON, Server, TOML, plain, rows};

const ROWS: u64 = 6_000;

fn put(server: &Server, query: &str, text: &str) -> Answer {
    server.send("PUT", &format!("/api/v1/pipelines/p?{query}"), &[TOML], text.as_bytes())
}

fn text(out: &Path) -> String {
    plain("p", out, ROWS, 2_000)
}

fn truth(dir: &Path) -> Vec<String> {
    let server = Server::start(&dir.join("truth-data"));
    server.apply("p", &plain("p", &dir.join("truth"), ROWS, 1_000_000)).expect(201);
    server.wait_for_state("p", "stopped");
    rows(&dir.join("truth"))
}

/// In the middle of its work, stopped with a savepoint, and forgotten: its rows and the savepoint are what is left.
fn kept(dir: &Path) -> PathBuf {
    let server = Server::start(&dir.join("data"));
    server.apply("p", &text(&dir.join("out"))).expect(201);
    server.wait_for("p", "some epochs", |view| view["last_checkpoint"]["epoch"].as_u64() >= Some(3));
    let how = format!(r#"{{"savepoint": true, "to": {:?}, "wait": true}}"#, dir.join("kept").display());
    let json = ("Content-Type", "application/json");
    let stopped = server.send("POST", "/api/v1/pipelines/p:stop", &[json], how.as_bytes()).expect(200).json();
    server.send("DELETE", "/api/v1/pipelines/p", &[], b"").expect(204);
    PathBuf::from(stopped["savepoint"]["path"].as_str().unwrap())
}

#[test]
fn started_from_a_savepoint_once_wherever_a_kill_comes() {
    let dir = tempfile::tempdir().unwrap();
    let truth = truth(dir.path());
    for (point, nth) in [
        ("deploy.switched", 1),
        ("fence.done", 1),
        ("current.swapped", 1),
        ("current.swapped", 2),
        ("current.swapped", 3),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let (data, out) = (dir.path().join("data"), dir.path().join("out"));
        let folder = kept(dir.path());
        let mut server = Server::start_as(&data, |weir| weir.crash_at(point, nth));
        let bearer = format!("Bearer {}", server.token);
        let path = format!("/api/v1/pipelines/p?from={}", folder.display());
        let headers = [("Authorization", bearer.as_str()), TOML];
        // It may die before it has answered.
        drop(try_request(&server.address, "PUT", &path, &headers, text(&out).as_bytes()));
        server.process.wait(SOON).expect(Exit::KILLED);
        server = Server::start(&data);
        server.wait_for_state("p", "stopped");
        assert!(rows(&out) == truth, "{point} {nth}: {} rows", rows(&out).len());
        let record = fs::read_to_string(data.join("specs/p.json")).unwrap();
        assert!(!record.contains("origin"), "{point} {nth}: {record}");
    }
}

#[test]
fn started_from_nothing_only_where_that_is_said_and_then_it_begins_anew() {
    let dir = tempfile::tempdir().unwrap();
    let (out, truth) = (dir.path().join("out"), truth(dir.path()));
    let server = Server::start(&dir.path().join("data"));
    server.apply("p", &text(&out)).expect(201);
    server.wait_for("p", "a checkpoint", |view| view["last_checkpoint"].is_object());
    let refused = put(&server, "from=empty", &text(&out)).expect_problem(422, "bad-origin").json();
    assert!(refused["detail"].as_str().unwrap().contains("it would be forgotten"), "{refused}");
    put(&server, "from=empty&dry_run=true", &text(&out)).expect_problem(422, "bad-origin");
    assert_eq!(server.get("p")["state"], "running");
    put(&server, "from=empty&rewind=true", &text(&out)).expect(200);
    server.wait_for_state("p", "stopped");
    assert!(rows(&out) == truth, "{} rows", rows(&out).len());
}

#[test]
fn another_guarantee_goes_on_from_what_the_one_before_has_committed() {
    let dir = tempfile::tempdir().unwrap();
    let (out, truth) = (dir.path().join("out"), truth(dir.path()));
    let server = Server::start(&dir.path().join("data"));
    server.apply("p", &text(&out)).expect(201);
    server.wait_for("p", "a checkpoint", |view| view["last_checkpoint"].is_object());
    let other = text(&out).replace("interval = ", "guarantee = \"at-least-once\"\ninterval = ");
    for query in ["dry_run=true", ""] {
        let refused = put(&server, query, &other).expect_problem(409, "incompatible-state").json();
        assert!(refused["detail"].as_str().unwrap().contains("the guarantee has changed"), "{refused}");
    }
    assert_eq!((&server.get("p")["revision"], &server.get("p")["restarts"]), (&1.into(), &0.into()));
    put(&server, "from=latest", &other).expect(200);
    server.wait_for_state("p", "stopped");
    assert!(rows(&out) == truth, "{} rows", rows(&out).len());
}

#[test]
fn what_nothing_can_be_started_from_is_refused_before_anything_stops() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let server = Server::start(&dir.path().join("data"));
    server.apply("p", &text(&out)).expect(201);
    server.wait_for("p", "a checkpoint", |view| view["last_checkpoint"].is_object());
    for query in
        ["dryrun=true", "from=kept", "from=../kept", "rewind=true", "from=latest&rewind=true", "from=empty&grace=1s"]
    {
        put(&server, query, &text(&out)).expect_problem(400, "bad-request");
    }
    let nowhere = format!("from={}", dir.path().join("nowhere").display());
    put(&server, &nowhere, &text(&out)).expect_problem(422, "bad-origin");
    // What the newest checkpoint holds has no place there.
    put(&server, "", &text(&out).replace("numbers", "digits")).expect_problem(409, "incompatible-state");
    // A word behind the `?` that nobody reads was meant to do something.
    server.send("POST", "/api/v1/pipelines/p:stop?dry_run=true", &[], b"").expect_problem(400, "bad-request");
    server.send("DELETE", "/api/v1/pipelines/p?dry_run=true", &[], b"").expect_problem(400, "bad-request");
    server.send("POST", "/api/v1/pipelines/p?dry_run=true", &[], b"").expect_problem(405, "method-not-allowed");
    server.send("POST", "/api/v1/pipelines/p%3Astop?dry_run=true", &[], b"").expect_problem(400, "bad-request");
    let asked = [
        ("GET", "/api/v1/pipelines?curso=1", "", "there is no parameter \"curso\" here: there are `limit`, `cursor`"),
        ("GET", "/api/v1/pipelines/p/logs?follow=yes", "", "follow=yes: `follow` is to be true or false"),
        ("PUT", "/api/v1/pipelines/p?dry_run=1", "", "dry_run=1: `dry_run` is to be true or false"),
        ("POST", "/api/v1/pipelines/p:stop", "[]", "the body is to be an object, and is a list"),
        ("POST", "/api/v1/pipelines/p:stop", "{\"wait\": 1}", "`wait` is to be true or false, and is 1"),
        (
            "POST",
            "/api/v1/pipelines/p/checkpoints",
            "{\"kind\": \"new\"}",
            "`kind` is to be one of \"checkpoint\", \"savepoint\"",
        ),
        ("POST", "/api/v1/pipelines/p:upgrade", "{\"node\": \"n\"}", "`operator` is missing"),
    ];
    for (method, path, body, says) in asked {
        let problem = server.send(method, path, &[], body.as_bytes()).expect_problem(400, "bad-request").json();
        assert_eq!(problem["detail"], says, "{method} {path}");
    }
    let dry = put(&server, &format!("{nowhere}&dry_run=true"), &text(&out));
    dry.expect_problem(422, "bad-origin");
    assert_eq!((&server.get("p")["revision"], &server.get("p")["restarts"]), (&1.into(), &0.into()));
}
