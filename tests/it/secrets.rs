//! Secrets of a server that pipelines refer to: they run with them, and nobody finds them anywhere.

use std::fs;
use std::path::{Path, PathBuf};

use weir_tests::http::request;
use weir_tests::wait::wait_until;

use crate::serve::{SOON, Server, WASM, ip_count};

const IN_ENVIRONMENT: &str = "canary-of-the-environment";
const IN_FILE: &str = "canary-of-the-file";

fn settings(folder: &Path) -> PathBuf {
    let file = folder.join("settings.toml");
    fs::create_dir_all(folder.join("secrets")).unwrap();
    fs::write(folder.join("secrets/password"), format!("{IN_FILE}\n")).unwrap();
    fs::write(&file, "[secrets]\nenv = [\"CANARY_*\"]\nfiles = \"secrets\"\n").unwrap();
    file
}

fn start(folder: &Path) -> Server {
    let settings = settings(folder);
    Server::start_as(&folder.join("data"), |weir| {
        let weir = weir.argument("-vv").argument("--config").argument(settings);
        weir.env("CANARY_TOKEN", IN_ENVIRONMENT).env("OTHER_TOKEN", IN_ENVIRONMENT)
    })
}

/// An operator with a secret, behind a generator.
fn with_secret(secret: &str) -> String {
    format!(
        r#"version = 1
name = "p"
[sources.numbers]
type = "generator"
rate = 100
template = '{{"ip":"a","ts":{{{{int 1 1000000}}}}}}'
event_time = {{ json = "/ts", unit = "ms" }}
[nodes.count]
operator = "ip-count@0.1.0"
inputs = ["numbers"]
key = {{ json = "/ip" }}
config = {{ window = "5s" }}
secrets = {{ token = {secret:?} }}
[sinks.out]
type = "discard"
inputs = ["count"]
"#
    )
}

/// A Kafka end that nobody answers, with a password.
fn with_password(name: &str, password: &str) -> String {
    let login = "protocol = \"sasl_plaintext\", mechanism = \"PLAIN\", username = \"u\"";
    with_security(name, &format!("{login}, {password}"))
}

fn with_security(name: &str, security: &str) -> String {
    format!(
        "version = 1\nname = \"{name}\"\n[sources.s]\ntype = \"kafka\"\nbrokers = \"127.0.0.1:1\"\ntopic = \"t\"\n\
         security = {{ {security} }}\n\
         [sinks.out]\ntype = \"discard\"\ninputs = [\"s\"]\n"
    )
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

#[test]
fn a_pipeline_runs_with_secrets_that_stand_in_no_file_no_answer_and_no_log() {
    let dir = tempfile::tempdir().unwrap();
    let server = start(dir.path());
    server.send("PUT", "/api/v1/operators/ip-count/versions/0.1.0", &[WASM], &ip_count()).expect(201);
    server.apply("p", &with_secret("${env:CANARY_TOKEN}")).expect(201);
    server.apply("k", &with_password("k", "password = \"${file:password}\"")).expect(201);
    server.wait_for("p", "a checkpoint", |view| view["last_checkpoint"]["epoch"].as_u64() >= Some(1));
    wait_until(SOON, "the broker is found not to be there", || server.get("k")["problem"].is_string());
    let mut said = String::new();
    for path in ["/metrics", "/readyz", "/startupz"] {
        said.push_str(&request(&server.address, "GET", path, &[], b"").body);
    }
    for path in ["", "/graph", "/revisions", "/revisions/1", "/checkpoints", "/checkpoints/history"] {
        for name in ["p", "k"] {
            said.push_str(&server.send("GET", &format!("/api/v1/pipelines/{name}{path}"), &[], b"").expect(200).body);
        }
    }
    said.push_str(&server.send("GET", "/api/v1/audit", &[], b"").expect(200).body);
    assert!(said.contains("${env:CANARY_TOKEN}"), "the reference is shown as it was written: {said}");
    let server = start_again(server, dir.path());
    server.wait_for_state("p", "running");
    let log = server.process.stderr();
    for (place, text) in [("an answer", &said), ("the log", &log)] {
        assert!(!text.contains("canary-of"), "{place}: {text}");
    }
    let mut seen = 0;
    for file in files(&dir.path().join("data")) {
        let bytes = fs::read(&file).unwrap_or_default();
        assert!(!bytes.windows(9).any(|part| part == b"canary-of"), "{}", file.display());
        seen += 1;
    }
    assert!(seen > 10, "{seen}");
}

/// Killed: what is on disk is all that the next one knows.
fn start_again(mut server: Server, folder: &Path) -> Server {
    server.process.kill9();
    let log = server.process.stderr();
    assert!(!log.contains("canary-of"), "{log}");
    drop(server);
    start(folder)
}

#[test]
fn a_secret_is_looked_up_at_every_start() {
    let dir = tempfile::tempdir().unwrap();
    let server = start(dir.path());
    server.send("PUT", "/api/v1/operators/ip-count/versions/0.1.0", &[WASM], &ip_count()).expect(201);
    server.apply("p", &with_secret("${file:password}")).expect(201);
    server.wait_for_state("p", "running");
    fs::remove_file(dir.path().join("secrets/password")).unwrap();
    server.send("POST", "/api/v1/pipelines/p:restart", &[], b"").expect(202);
    wait_until(SOON, "it fails for want of its secret", || {
        let view = server.get("p");
        view["problem"].as_str().is_some_and(|why| why.contains("there is no file `password` that this server"))
    });
    settings(dir.path());
    server.send("POST", "/api/v1/pipelines/p:restart", &[], b"").expect(202);
    wait_until(SOON, "it runs again", || server.get("p")["state"] == "running");
}

#[test]
fn secrets_in_the_text_and_those_that_are_not_given_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let server = start(dir.path());
    server.send("PUT", "/api/v1/operators/ip-count/versions/0.1.0", &[WASM], &ip_count()).expect(201);
    let key = fs::read_to_string(weir_tests::repository().join("tests/fixtures/tls/first-key.pem")).unwrap();
    fs::write(dir.path().join("key.pem"), &key).unwrap();
    let outside = dir.path().join("key.pem");
    let with_key = |key: &str| with_security("p", &format!("protocol = \"ssl\", cert = \"/cert.pem\", key = {key:?}"));
    let password = |text: &str| with_password("p", &format!("password = \"{text}\""));
    let literal = "weir::server::literal_secret";
    let secret = "weir::server::secret";
    for (text, code) in [
        (with_secret("canary"), literal),
        (with_secret("${env:CANARY_TOKEN:-canary}"), literal),
        (with_secret("canary${env:CANARY_TOKEN}"), literal),
        (password("canary"), literal),
        (with_key(&key), literal),
        (with_key(outside.to_str().unwrap()), secret),
        (with_secret("${env:OTHER_TOKEN}"), secret),
        (with_secret("${env:CANARY_GONE}"), secret),
        (password("${file:../settings.toml}"), secret),
        (password("${file:/etc/hostname}"), secret),
        // Where no secret belongs it does not exist.
        (
            with_secret("${env:CANARY_TOKEN}").replace("\"5s\"", "\"${env:CANARY_TOKEN}\""),
            "weir::config::missing_variable",
        ),
        (password("${env:CANARY_TOKEN}").replace("\"t\"", "\"${file:password}\""), "weir::config::missing_file"),
    ] {
        let refused = server.apply("p", &text).expect_problem(422, "pipeline-invalid");
        assert_eq!(refused.json()["errors"][0]["code"], code, "{text}\n{refused:?}");
        let said = &refused.body;
        assert!(!said.contains("canary-of") && !said.contains("PRIVATE KEY"), "{said}");
    }
    assert_eq!(files(&dir.path().join("data/specs")), Vec::<PathBuf>::new(), "nothing was kept");
    assert!(!server.process.stderr().contains("PRIVATE KEY"));
}
