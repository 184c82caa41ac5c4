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
        assert!(problem["detail"].as_str().unwrap().contains(says), "{problem}");
    };
    std::fs::create_dir(dir.path().join("here")).unwrap();
    server.apply("a", &plain("a", &out, 10_000_000, 1_000)).expect(201);
    for query in ["?dry_run=true", ""] {
        refused(query, "b", "sinks.out.path: pipeline `a` writes there");
    }
    // While the revision that writes elsewhere is on trial, the one before it may come back.
    let elsewhere = plain("a", &dir.path().join("out2"), 10_000_000, 1_000);
    server.send("PUT", "/api/v1/pipelines/a?grace=60s", &[TOML], elsewhere.as_bytes()).expect(200);
    refused("", "b", "sinks.out.path: pipeline `a` writes there");
    server.ask("a:rollback", "{}");
    wait_until(SOON, "a part", || std::fs::read_dir(&out).is_ok_and(|parts| parts.count() > 1));
    server.apply("a", &plain("a", &out, 10_000_000, 2_000)).expect(200);
    server.ask("a:stop", "{\"wait\": true}");
    server.send("DELETE", "/api/v1/pipelines/a", &[], b"").expect(204);
    for (query, name) in [("?dry_run=true", "b"), ("", "b"), ("", "a")] {
        refused(query, name, ".jsonl is there, which is not of this pipeline");
    }
    assert_eq!(server.send("GET", "/api/v1/pipelines", &[], b"").json()["items"], Value::Array(Vec::new()));
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
