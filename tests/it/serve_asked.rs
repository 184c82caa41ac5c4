//! What a server answers about a pipeline while it turns: states, checkpoints and refusals are right at every moment, not only
//! once everything is at rest.

use serde_json::Value;
use weir_tests::wait::wait_until;

use crate::serve::{SOON, Server, TOML, plain};

const JSON: (&str, &str) = ("Content-Type", "application/json");

impl Server {
    fn ask(&self, action: &str, body: &str) -> Value {
        let path = format!("/api/v1/pipelines/{action}");
        let answer = self.send("POST", &path, &[JSON], body.as_bytes());
        assert!(matches!(answer.status, 200 | 202), "{action}: {answer:?}");
        answer.json()
    }
}

#[test]
fn a_stop_right_behind_a_restart_answers_when_it_has_stopped_and_its_newest_checkpoint_is_always_known() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&dir.path().join("data"));
    server.apply("p", &plain("p", &dir.path().join("out"), 10_000_000, 1_000)).expect(201);
    server.wait_for("p", "a checkpoint", |view| view["last_checkpoint"].is_object());
    let mut newest = 0;
    for round in 0..20 {
        let restarted = server.ask("p:restart", "{}");
        let mut views = vec![restarted, server.get("p")];
        if round % 2 == 0 {
            let stopped = server.ask("p:stop", "{\"wait\": true}");
            assert_eq!(stopped["state"], "stopped", "round {round}: {stopped}");
            views.push(stopped);
        }
        for view in views {
            let epoch = view["last_checkpoint"]["epoch"].as_u64().unwrap_or_else(|| panic!("round {round}: {view}"));
            assert!(epoch >= newest, "round {round}: {epoch} behind {newest}: {view}");
            newest = epoch;
        }
    }
}

#[test]
fn a_folder_that_another_pipeline_has_or_had_is_refused_before_anything_starts() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&dir.path().join("data"));
    let out = dir.path().join("out");
    let refused = |query: &str, name: &str, says: &str| {
        let path = format!("/api/v1/pipelines/{name}{query}");
        let text = plain(name, &dir.path().join("here/../out"), 100, 1_000);
        let problem =
            server.send("PUT", &path, &[TOML], text.as_bytes()).expect_problem(422, "pipeline-invalid").json();
        assert_eq!(problem["errors"][0]["path"], "sinks.out.path", "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains(says), "{problem}");
    };
    std::fs::create_dir(dir.path().join("here")).unwrap();
    server.apply("a", &plain("a", &out, 10_000_000, 1_000)).expect(201);
    for query in ["?dry_run=true", ""] {
        refused(query, "b", "sinks.out.path: pipeline `a` writes into /");
    }
    // While the revision that writes elsewhere is on trial, the one before it may come back.
    let elsewhere = plain("a", &dir.path().join("out2"), 10_000_000, 1_000);
    server.send("PUT", "/api/v1/pipelines/a?grace=60s", &[TOML], elsewhere.as_bytes()).expect(200);
    refused("", "b", "sinks.out.path: pipeline `a` writes into /");
    server.ask("a:rollback", "{}");
    wait_until(SOON, "a part", || std::fs::read_dir(&out).is_ok_and(|parts| parts.count() > 1));
    server.apply("a", &plain("a", &out, 10_000_000, 2_000)).expect(200);
    server.ask("a:stop", "{\"wait\": true}");
    server.send("DELETE", "/api/v1/pipelines/a", &[], b"").expect(204);
    for (query, name) in [("?dry_run=true", "b"), ("", "b"), ("", "a")] {
        refused(query, name, ", and is not of this pipeline");
    }
    assert_eq!(server.send("GET", "/api/v1/pipelines", &[], b"").json()["items"], Value::Array(Vec::new()));
    // Nor does one take them over that has commits of its own.
    server.apply("c", &plain("c", &dir.path().join("out3"), 10_000_000, 1_000)).expect(201);
    server.wait_for("c", "two checkpoints", |view| view["last_checkpoint"]["epoch"].as_u64() >= Some(2));
    for query in ["", "?from=empty&rewind=true"] {
        refused(query, "c", ", and is not of this pipeline");
    }
    let view = server.get("c");
    assert_eq!((&view["revision"], &view["state"]), (&1.into(), &"running".into()), "{view}");
}

#[test]
fn a_folder_that_two_sinks_would_share_by_another_name_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&dir.path().join("data"));
    std::fs::create_dir(dir.path().join("here")).unwrap();
    let again = format!(
        "[sinks.again]\ntype = \"file\"\npath = {:?}\ninputs = [\"numbers\"]\n",
        dir.path().join("here/../out")
    );
    let text = plain("p", &dir.path().join("out"), 100, 1_000) + &again;
    let problem = server.apply("p", &text).expect_problem(422, "pipeline-invalid").json();
    assert!(problem["detail"].as_str().unwrap().contains("sink `out` writes into /"), "{problem}");
}

#[test]
fn a_revision_that_is_not_the_one_that_was_meant_is_neither_deleted_nor_left_behind() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&dir.path().join("data"));
    server.apply("p", &plain("p", &dir.path().join("out"), 10_000_000, 1_000)).expect(201);
    server.ask("p:stop", "{\"wait\": true}");
    let send = |method: &str, path: &str, revision: &str| {
        server.send(method, &format!("/api/v1/pipelines/{path}"), &[JSON, ("If-Match", revision)], b"")
    };
    send("DELETE", "p", "\"2\"").expect_problem(412, "revision-changed");
    send("POST", "p:rollback", "\"2\"").expect_problem(409, "nothing-before");
    // What looks at no condition does not pretend to.
    send("POST", "p:restart", "\"1\"").expect_problem(400, "bad-request");
    assert_eq!(server.get("p")["state"], "stopped");
    send("DELETE", "p", "\"1\"").expect(204);
}

#[test]
fn no_pipeline_reads_what_the_server_keeps_and_folders_bound_where_it_writes() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("settings.toml");
    let here = |name: &str| dir.path().join(name);
    std::fs::create_dir(here("secrets")).unwrap();
    std::fs::create_dir(here("streams")).unwrap();
    std::fs::write(here("secrets/key"), "secret\n").unwrap();
    std::fs::write(&config, "[secrets]\nfiles = \"secrets\"\n[files]\nfolders = [\"streams\"]\n").unwrap();
    let server = Server::start_as(&here("data"), |weir| weir.argument("--config").argument(config));
    let file = |path: &std::path::Path| format!("type = \"file\"\npath = {path:?}");
    let reads = |path: &std::path::Path| {
        let (source, sink) = (file(path), file(&here("streams/out")));
        format!("version = 1\nname = \"p\"\n[sources.s]\n{source}\n[sinks.out]\n{sink}\ninputs = [\"s\"]\n")
    };
    let refused = |text: &str, says: &str| {
        let problem = server.apply("p", text).expect_problem(422, "pipeline-invalid").json();
        assert!(problem["detail"].as_str().unwrap().contains(says), "no {says:?} in {problem}");
    };
    refused(&reads(&here("secrets/key")), "lies in the server's secrets");
    refused(&reads(std::path::Path::new("/proc/self/environ")), "lies in /proc");
    refused(&reads(&here("settings.toml")), "lies in no folder that this server lets pipelines use");
    refused(&plain("p", &here("streams/../out"), 100, 1_000), "lies in no folder that this server lets pipelines use");
    // What would make lines of a log of its own is no path.
    let text = plain("p", &here("streams/out"), 100, 1_000).replace("streams/out", "streams/o\\nut");
    refused(&text, "`path` has the control character '\\n' in it");
    server.apply("p", &plain("p", &here("streams/out"), 10_000_000, 1_000)).expect(201);
    server.wait_for_state("p", "running");
    let savepoint = |to: &std::path::Path| {
        let body = serde_json::json!({"kind": "savepoint", "to": to}).to_string();
        server.send("POST", "/api/v1/pipelines/p/checkpoints", &[JSON], body.as_bytes())
    };
    for to in ["elsewhere", "streams/a\u{1b}[2J"] {
        savepoint(&here(to)).expect_problem(400, "bad-request");
    }
    savepoint(&here("streams/savepoint")).expect(201);
    let to = serde_json::json!({"to": here("streams/other")}).to_string();
    server.send("POST", "/api/v1/pipelines/p:stop", &[JSON], to.as_bytes()).expect_problem(400, "bad-request");
    assert_eq!(server.get("p")["state"], "running");
    // A link that leads elsewhere by the next start.
    let link = here("streams/link");
    let lead_to = |name: &str| {
        let _ = std::fs::remove_file(&link);
        std::fs::create_dir(here(name)).unwrap();
        std::os::unix::fs::symlink(here(name), &link).unwrap();
    };
    lead_to("streams/real");
    server.apply("q", &plain("q", &link.join("out"), 10_000_000, 1_000)).expect(201);
    server.wait_for_state("q", "running");
    server.ask("q:stop", "{\"wait\": true}");
    lead_to("elsewhere");
    server.ask("q:restart", "{\"wait\": true}");
    wait_until(SOON, "it has failed", || server.get("q")["state"] == "failed");
    let view = server.get("q");
    assert!(view["problem"].as_str().unwrap().contains("lies in no folder that this server lets"), "{view}");
    assert_eq!(std::fs::read_dir(here("elsewhere")).unwrap().count(), 0);
}

#[test]
fn the_log_of_a_server_says_of_each_line_whose_it_is_and_how_a_pipeline_ended() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::start(&dir.path().join("data"));
    let ends = |name: &str| plain(name, &dir.path().join(name), 100, 100_000);
    server.apply("good", &ends("good")).expect(201);
    let line = server.process.wait_for_line(SOON, "the pipeline has ended: ended with epoch");
    assert!(line.contains(" INFO ") && line.ends_with("pipeline=good"), "{line}");
    // Nothing of it can be made: where its folder would be is a file.
    std::fs::write(dir.path().join("data/pipelines/bad"), "").unwrap();
    server.apply("bad", &ends("bad")).expect(201);
    let line = server.process.wait_for_line(SOON, "the pipeline cannot start: ");
    assert!(line.contains("ERROR ") && line.ends_with("pipeline=bad"), "{line}");
}
