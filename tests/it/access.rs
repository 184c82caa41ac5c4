//! Who may do what on a server: tokens, scopes, quotas, and the audit log of what they did.

use std::fs;

use serde_json::{Value, json};
use weir_tests::http::{Answer, request};

use crate::serve::{Server, WASM, ip_count, plain};

const JSON: (&str, &str) = ("Content-Type", "application/json");

fn make(server: &Server, body: &Value) -> Answer {
    server.send("POST", "/api/v1/tokens", &[JSON], body.to_string().as_bytes())
}

/// The secret of a new token.
fn token(server: &Server, name: &str, scopes: &[&str]) -> String {
    let made = make(server, &json!({"name": name, "scopes": scopes})).expect(201).json();
    made["token"].as_str().unwrap().to_owned()
}

fn send(server: &Server, token: &str, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let bearer = format!("Bearer {token}");
    request(&server.address, method, path, &[&[("Authorization", bearer.as_str())], headers].concat(), body)
}

#[test]
fn every_operation_of_the_document_wants_a_token_with_its_scope() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&dir.path().join("data"));
    let read = token(&server, "reader", &["read"]);
    let expired =
        make(&server, &json!({"name": "expired", "scopes": ["admin"], "expires_in": "1us"})).expect(201).json();
    let expired = expired["token"].as_str().unwrap();
    let document = request(&server.address, "GET", "/openapi.json", &[], b"").expect(200).json();
    assert_eq!(document["openapi"], "3.1.0");
    let mut seen = 0;
    for (path, item) in document["paths"].as_object().unwrap().iter().filter(|(path, _)| path.starts_with("/api/")) {
        for (method, operation) in item.as_object().unwrap() {
            let filled = path.replace("{name}", "a").replace("{version}", "1.0.0").replace("{node}", "n");
            let filled = filled.replace("{id}", "1-1").replace("{number}", "1");
            let (method, at) = (method.to_uppercase(), format!("{method} {path}"));
            let scope = operation["security"][0]["token"][0].as_str().unwrap_or_else(|| panic!("{at} has no scope"));
            request(&server.address, &method, &filled, &[], b"").expect_problem(401, "unauthorized");
            send(&server, "weir_0000", &method, &filled, &[], b"").expect_problem(401, "unauthorized");
            let said = send(&server, expired, &method, &filled, &[], b"").expect_problem(401, "unauthorized").json();
            assert!(said["detail"].as_str().unwrap().starts_with("this token expired at 2"), "{said}");
            let answer = send(&server, &read, &method, &filled, &[], b"");
            match scope {
                "read" => assert_ne!(answer.status, 403, "{at}: {answer:?}"),
                _ => drop(answer.expect_problem(403, "out-of-scope")),
            }
            seen += 1;
        }
    }
    assert!(seen > 30, "{seen}");
}

#[test]
fn a_quota_ends_what_a_token_may_bring_and_the_audit_log_has_every_change_that_was_made() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut server = Server::start(&data);
    let quota = json!({"operators": 1, "pipelines": 1});
    let made = json!({"name": "team", "scopes": ["operators:write", "pipelines:write"], "quota": quota});
    let secret = make(&server, &made).expect(201).json()["token"].as_str().unwrap().to_owned();
    make(&server, &made).expect_problem(409, "token-exists");
    let put = |server: &Server, version: &str| {
        let path = format!("/api/v1/operators/ip-count/versions/{version}");
        send(server, &secret, "PUT", &path, &[WASM], &ip_count())
    };
    put(&server, "1.0.0").expect(201);
    let over = put(&server, "1.0.1").expect_problem(403, "over-quota").json();
    assert_eq!(
        over["detail"],
        "the token `team` may have 1 versions of operators, and this would make 2: delete some, or ask for a larger quota"
    );
    let apply = |server: &Server, name: &str| {
        let called = name.split('?').next().unwrap();
        let text = plain(called, &dir.path().join(called), 1_000_000, 10);
        send(server, &secret, "PUT", &format!("/api/v1/pipelines/{name}"), &[crate::serve::TOML], text.as_bytes())
    };
    apply(&server, "one").expect(201);
    apply(&server, "two?dry_run=true").expect_problem(403, "over-quota");
    apply(&server, "two").expect_problem(403, "over-quota");
    send(&server, &secret, "GET", "/api/v1/audit", &[], b"").expect_problem(403, "out-of-scope");
    send(&server, &secret, "DELETE", "/api/v1/operators/ip-count/versions/1.0.0", &[], b"").expect(204);
    // Its name means its bytes for ever.
    let mut other = ip_count();
    other.extend([0, 2, 1, b'x']);
    let path = "/api/v1/operators/ip-count/versions/1.0.0";
    send(&server, &secret, "PUT", path, &[WASM], &other).expect_problem(409, "version-exists");
    send(&server, &secret, "PUT", path, &[WASM], &ip_count()).expect(201);

    server.process.kill9();
    server = Server::start(&data);
    let log = server.send("GET", "/api/v1/audit", &[], b"").expect(200).json();
    let lines: Vec<(&str, &str, &str)> = log["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| {
            let text = |key: &str| line[key].as_str().unwrap();
            (text("who"), text("action"), text("subject"))
        })
        .collect();
    let expected = [
        ("admin", "token.make", "team"),
        ("team", "operator.put", "ip-count@1.0.0"),
        ("team", "pipeline.apply", "one"),
        ("team", "operator.delete", "ip-count@1.0.0"),
        ("team", "operator.put", "ip-count@1.0.0"),
    ];
    assert_eq!(lines, expected);
    let (mut newest, mut cursor) = (Vec::new(), String::new());
    loop {
        let path = format!("/api/v1/audit?newest_first=true&limit=2&cursor={cursor}");
        let page = server.send("GET", &path, &[], b"").expect(200).json();
        newest.extend(page["items"].as_array().unwrap().iter().map(|line| line["seq"].as_u64().unwrap()));
        let Some(next) = page["next"].as_str() else { break };
        cursor = next.to_owned();
    }
    assert_eq!(newest, [5, 4, 3, 2, 1]);
    assert!(log["items"][1]["from"].as_str().unwrap().starts_with("127.0.0.1:"), "{log}");
    for file in ["audit.jsonl", "tokens/team.json"] {
        assert!(!fs::read_to_string(data.join(file)).unwrap().contains(&secret), "{file}");
    }
    // Once it is deleted it is nobody's.
    server.send("DELETE", "/api/v1/tokens/team", &[], b"").expect(204);
    send(&server, &secret, "GET", "/api/v1/pipelines", &[], b"").expect_problem(401, "unauthorized");
}

#[test]
fn a_version_that_a_pipeline_uses_or_would_go_back_to_stays_and_bytes_that_changed_on_the_way_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&dir.path().join("data"));
    let path = |version: &str| format!("/api/v1/operators/ip-count/versions/{version}");
    let wrong = ("Content-Digest", "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:");
    server.send("PUT", &path("1.0.0"), &[WASM, wrong], &ip_count()).expect_problem(422, "other-digest");
    server.send("GET", &path("1.0.0"), &[], b"").expect_problem(404, "unknown-operator");
    for version in ["1.0.0", "1.1.0"] {
        server.send("PUT", &path(version), &[WASM], &ip_count()).expect(201);
    }
    let example = fs::read_to_string(weir_tests::repository().join("examples/ip-count/local.toml")).unwrap();
    let text = example.replace("\"out\"", &format!("{:?}", dir.path().join("out"))).replace("count = 200000\n", "");
    let text = |version: &str| text.replace("target/weir/ip_count.wasm", &format!("ip-count@{version}"));
    server.apply("ip-count-local", &text("1.0.0")).expect(201);
    server.wait_for_state("ip-count-local", "running");
    // A range means the newest, now; that it once meant another one is kept with the revision.
    let dry = server.send(
        "PUT",
        "/api/v1/pipelines/ip-count-local?dry_run=true",
        &[crate::serve::TOML],
        text("1").as_bytes(),
    );
    let plan = dry.expect(200).json();
    assert_eq!(plan["operators"]["ip-count@1"]["version"], "1.1.0", "{plan}");
    assert_eq!((&plan["creates"], &plan["changes"]), (&json!(false), &json!(true)), "{plan}");
    assert_eq!(server.get("ip-count-local")["revision"], 1, "a dry run changes nothing");
    server.apply("ip-count-local", &text("1")).expect(200);
    for version in ["1.0.0", "1.1.0"] {
        let used = server.send("DELETE", &path(version), &[], b"").expect_problem(409, "version-used").json();
        assert_eq!(
            used["detail"],
            format!("ip-count@{version} is used by `ip-count-local`: stop using it there first")
        );
    }
    server.send("PUT", &path("1.2.0"), &[WASM], &ip_count()).expect(201);
    server.send("DELETE", &path("1.2.0"), &[], b"").expect(204);
    // The same text again is the same revision.
    assert_eq!(server.apply("ip-count-local", &text("1")).expect(200).json()["revision"], 2);
}

#[test]
fn of_two_that_apply_over_the_same_revision_one_wins() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&dir.path().join("data"));
    let text = |rate: u64| plain("p", &dir.path().join("out"), 1_000_000, rate);
    server.apply("p", &text(100)).expect(201);
    let taken =
        server.send("PUT", "/api/v1/pipelines/p", &[crate::serve::TOML, ("If-None-Match", "*")], text(1).as_bytes());
    taken.expect_problem(409, "pipeline-exists");
    let results: Vec<u16> = std::thread::scope(|scope| {
        let apply = |rate: u64| {
            let (server, text) = (&server, text(rate));
            scope.spawn(move || {
                let headers = [crate::serve::TOML, ("If-Match", "\"1\"")];
                server.send("PUT", "/api/v1/pipelines/p", &headers, text.as_bytes()).status
            })
        };
        [apply(101), apply(102), apply(103)].map(|thread| thread.join().unwrap()).to_vec()
    });
    let count = |status: u16| results.iter().filter(|found| **found == status).count();
    assert_eq!((count(200), count(412)), (1, 2), "{results:?}");
    assert_eq!(server.get("p")["revision"], 2);
}
