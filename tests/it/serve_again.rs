//! `weir serve` over its own ends: what a reader sees right after a start, a bounded pipeline that stays ended, and a kill
//! while a new revision comes.

use std::collections::VecDeque;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use weir_tests::process::Exit;
use weir_tests::wait::wait_until;

use crate::serve::{SOON, Server, TOML, WASM, plain, rows};

#[test]
fn a_bounded_pipeline_that_has_ended_stays_ended() {
    let dir = tempfile::tempdir().unwrap();
    let (data, out) = (dir.path().join("data"), dir.path().join("out"));
    let text = plain("bounded", &out, 500, 1_000_000);
    let mut server = Server::start(&data);
    server.apply("bounded", &text).expect(201);
    let has_ended =
        |view: &serde_json::Value| view["problem"].as_str().is_some_and(|why| why.starts_with("ended with epoch"));
    server.wait_for("bounded", "ended, with the reason", |view| view["state"] == "stopped" && has_ended(view));
    let before = server.get("bounded");
    server.process.kill_and_wait();

    server = Server::start(&data);
    let again = server.get("bounded");
    assert_eq!(again["last_checkpoint"]["epoch"], before["last_checkpoint"]["epoch"]);
    assert!(again["state"] == "stopped" && has_ended(&again), "{again}");
    // The same text is no new revision, and no new run.
    let applied = server.apply("bounded", &text).expect(200).json();
    assert_eq!((&applied["state"], &applied["revision"]), (&"stopped".into(), &1.into()), "{applied}");
    // Whatever runs says so at its end.
    assert!(!server.process.stderr().contains("pipeline=bounded"), "{}", server.process.stderr());
    // Another text is: it finds that its input was committed to the end.
    server.apply("bounded", &format!("{text}# changed\n")).expect(200);
    server.wait_for("bounded", "ended again", |view| {
        view["revision"] == 2 && view["state"] == "stopped" && has_ended(view)
    });
    assert_eq!(rows(&out).len(), 500);
    // Deleted, it begins anew.
    fs::remove_dir_all(&out).unwrap();
    server.send("DELETE", "/api/v1/pipelines/bounded", &[], b"").expect(204);
    server.apply("bounded", &text).expect(201);
    server.wait_for("bounded", "ended", has_ended);
    assert_eq!(rows(&out).len(), 500);
}

#[test]
fn the_last_checkpoint_is_known_right_after_a_start() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut server = Server::start(&data);
    for name in ["runs", "rests"] {
        server.apply(name, &plain(name, &dir.path().join(name), 1_000_000, 1000)).expect(201);
        server.wait_for(name, "two checkpoints", |view| view["last_checkpoint"]["epoch"].as_u64() >= Some(2));
    }
    server.send("POST", "/api/v1/pipelines/rests:stop", &[], b"").expect(202);
    server.wait_for_state("rests", "stopped");
    server.process.kill_and_wait();
    server = Server::start(&data);
    for name in ["runs", "rests"] {
        let view = server.get(name);
        assert!(view["last_checkpoint"]["epoch"].as_u64() >= Some(2), "{view}");
        assert!(view["last_checkpoint"]["completed_at"].as_str().unwrap().starts_with("20"), "{view}");
    }
}

#[test]
fn killed_while_a_revision_comes_it_is_the_old_or_the_new_one_as_a_whole() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let (old, new) = (dir.path().join("old"), dir.path().join("new"));
    let text = |out: &Path| plain("p", out, 1_000_000, 1000);

    // Half of a new text is none.
    let mut server = Server::start(&data);
    server.apply("p", &text(&old)).expect(201);
    server.wait_for_state("p", "running");
    let mut half = begin_to_apply(&server, "p", &text(&new));
    half.flush().unwrap();
    server.process.kill_and_wait();
    server = Server::start(&data);
    assert_eq!(server.get("p")["revision"], 1);
    wait_until(SOON, "the old one goes on", || rows(&old).len() > 100);
    assert!(!new.exists());
    server.process.kill_and_wait();

    // Kept, and nobody told: the new one runs.
    server = Server::start_as(&data, |weir| weir.crash_at("deploy.switched", 1));
    server.wait_for_state("p", "running");
    let mut whole = begin_to_apply(&server, "p", &text(&new));
    whole.write_all(&text(&new).as_bytes()[text(&new).len() / 2..]).unwrap();
    server.process.wait(SOON).expect(Exit::KILLED);
    server = Server::start(&data);
    let view = server.get("p");
    assert_eq!(view["revision"], 2, "{view}");
    wait_until(SOON, "the new one runs", || !rows(&new).is_empty());
}

/// The head of a PUT and the first half of its body.
fn begin_to_apply(server: &Server, name: &str, text: &str) -> TcpStream {
    let path = format!("/api/v1/pipelines/{name}");
    let half = (&text.as_bytes()[..text.len() / 2], text.len());
    begin_to_put(&server.address, &server.token, &path, TOML, half)
}

/// The head of a PUT and the beginning of its body.
fn begin_to_put(
    address: &str,
    token: &str,
    path: &str,
    (header, value): (&str, &str),
    (sent, length): (&[u8], usize),
) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(
        stream,
        "PUT {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n{header}: {value}\r\n\
         Content-Length: {length}\r\n\r\n"
    )
    .unwrap();
    stream.write_all(sent).unwrap();
    stream
}

#[test]
fn connections_that_say_nothing_lose_their_places() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&dir.path().join("data"));
    let mut silent: Vec<TcpStream> = (0..64).map(|_| TcpStream::connect(&server.address).unwrap()).collect();
    // Bytes now and then are not a head either.
    for stream in &mut silent {
        stream.write_all(b"GET /livez HTTP/1.1\r\nX: ").unwrap();
    }
    let begun = weir::clock::now();
    // All places are taken: whoever has waited longest makes room.
    weir_tests::http::request(&server.address, "GET", "/livez", &[], b"").expect(200);
    let ended = |stream: &mut TcpStream| {
        stream.set_read_timeout(Some(SOON)).unwrap();
        matches!(stream.read(&mut [0; 1]), Ok(0) | Err(_))
    };
    assert!(ended(&mut silent[0]) && begun.elapsed().as_secs() < 5, "the first one ended after {:?}", begun.elapsed());
    // The others in time.
    assert!(ended(&mut silent[63]));
    let waited = begun.elapsed().as_secs();
    assert!((5..40).contains(&waited), "the last one ended after {waited} s");
}

#[test]
fn connections_without_end_keep_no_probe_and_no_request_out() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&dir.path().join("data"));
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut silent = VecDeque::new();
            while !is_over.load(Ordering::Relaxed) {
                silent.push_back(TcpStream::connect(&server.address).unwrap());
                if silent.len() > 200 {
                    silent.pop_front();
                }
                thread::park_timeout(Duration::from_millis(2));
            }
        });
        for _ in 0..50 {
            weir_tests::http::request(&server.address, "GET", "/livez", &[], b"").expect(200);
            server.send("GET", "/api/v1/pipelines", &[], b"").expect(200);
        }
        is_over.store(true, Ordering::Relaxed);
    });
}

#[test]
fn slow_bodies_with_a_good_token_keep_no_probe_and_no_reader_out() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&dir.path().join("data"));
    let text = plain("p", &dir.path().join("out"), 10, 1000);
    // As many as find room: one by one, since one whose head is not read yet makes room for the next.
    let mut slow: Vec<TcpStream> = Vec::new();
    wait_until(SOON, "a change finds no room", || {
        slow.push(begin_to_apply(&server, "p", &text));
        server.send("POST", "/api/v1/pipelines/none:stop", &[], b"").status == 503
    });
    for _ in 0..20 {
        weir_tests::http::request(&server.address, "GET", "/livez", &[], b"").expect(200);
        server.send("GET", "/api/v1/pipelines", &[], b"").expect(200);
    }
    let refused = server.apply("p", &text).expect_problem(503, "too-many-changes");
    assert!(refused.head.contains("retry-after: 1"), "{refused:?}");
    // Those that came first are read to their end.
    slow[0].write_all(&text.as_bytes()[text.len() / 2..]).unwrap();
    let mut answer = [0; 12];
    slow[0].read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 201");
}

#[test]
fn what_a_token_sends_that_is_deleted_meanwhile_is_not_taken() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&dir.path().join("data"));
    let made = server.send(
        "POST",
        "/api/v1/tokens",
        &[("Content-Type", "application/json")],
        br#"{"name": "gone", "scopes": ["pipelines:write", "operators:write"]}"#,
    );
    let token = made.expect(201).json()["token"].as_str().unwrap().to_owned();
    let component = crate::serve::ip_count();
    let puts = [
        ("/api/v1/pipelines/p", TOML, plain("p", &dir.path().join("out"), 10, 1000).into_bytes()),
        ("/api/v1/operators/ip-count/versions/1.0.0", WASM, component),
    ];
    let mut begun: Vec<(TcpStream, &[u8])> = puts
        .iter()
        .map(|(path, content_type, body)| {
            let (sent, rest) = body.split_at(body.len() / 2);
            (begin_to_put(&server.address, &token, path, *content_type, (sent, body.len())), rest)
        })
        .collect();
    wait_until(SOON, "both bodies are being read", || {
        fs::read_dir(dir.path().join("data/registry/uploads")).is_ok_and(|uploads| uploads.count() == 1)
    });
    server.send("DELETE", "/api/v1/tokens/gone", &[], b"").expect(204);
    for (stream, rest) in &mut begun {
        stream.write_all(rest).unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"HTTP/1.1 401");
    }
    server.send("GET", "/api/v1/operators/ip-count/versions/1.0.0", &[], b"").expect(404);
    server.send("GET", "/api/v1/pipelines/p", &[], b"").expect(404);
}

#[test]
fn a_request_that_could_be_read_in_two_ways_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&dir.path().join("data"));
    let twice = |extra: &[(&str, &str)]| server.send("GET", "/api/v1/pipelines", extra, b"");
    twice(&[("host", "localhost")]).expect_problem(400, "bad-request");
    twice(&[("authorization", "Bearer other")]).expect_problem(400, "bad-request");
    twice(&[("Accept", "*/*"), ("Accept", "*/*")]).expect(200);
}

#[test]
fn a_damaged_record_costs_its_own_pipeline_and_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let (data, out) = (dir.path().join("data"), dir.path().join("out"));
    let mut server = Server::start(&data);
    for name in ["good", "hurt"] {
        server.apply(name, &plain(name, &out.join(name), 1_000_000, 1000)).expect(201);
        server.wait_for_state(name, "running");
    }
    server.process.kill_and_wait();
    let spec = data.join("specs/hurt.json");
    fs::write(&spec, "{\"name\": \"hu").unwrap();
    fs::write(data.join("registry/versions/count@1.0.0.json"), "").unwrap();
    fs::remove_file(data.join("admin-token")).unwrap();

    server = Server::start(&data);
    // A token that is made anew is shown as the first one was.
    server.process.wait_for_line(SOON, &server.token.clone());
    for file in ["specs/hurt.json", "count@1.0.0.json"] {
        let line = server.process.wait_for_line(SOON, file);
        assert!(line.contains("is damaged: EOF") && line.contains("left as it is"), "{line}");
    }
    server.wait_for_state("good", "running");
    let list = server.send("GET", "/api/v1/pipelines", &[], b"").expect(200).json();
    let hurt = &list["items"][1];
    assert!(hurt["name"] == "hurt" && hurt["state"] == "failed", "{list}");
    assert!(hurt["problem"].as_str().unwrap().contains("specs/hurt.json is damaged"), "{list}");
    let text = plain("hurt", &out.join("hurt"), 10, 1000);
    server.apply("hurt", &text).expect_problem(500, "damaged");
    for (method, path) in [("GET", "hurt"), ("POST", "hurt:stop"), ("DELETE", "hurt")] {
        server.send(method, &format!("/api/v1/pipelines/{path}"), &[], b"").expect_problem(500, "damaged");
    }
    server.send("GET", "/api/v1/operators/count/versions/1.0.0", &[], b"").expect_problem(500, "damaged");
    assert_eq!(fs::read_to_string(&spec).unwrap(), "{\"name\": \"hu");
    assert!(data.join("pipelines/hurt").is_dir(), "its state is there");
}

#[test]
fn what_would_not_start_is_not_applied_and_can_be_deleted_when_it_came_so() {
    let dir = tempfile::tempdir().unwrap();
    let (data, input) = (dir.path().join("data"), dir.path().join("in.jsonl"));
    let server = Server::start(&data);
    let text = |path: &Path| {
        format!(
            "version = 1\nname = \"p\"\n[sources.s]\ntype = \"file\"\npath = \"{}\"\n[sinks.out]\ntype = \"file\"\n\
             path = \"{}\"\ninputs = [\"s\"]\n",
            path.display(),
            dir.path().join("out").display()
        )
    };
    let refused = server.apply("p", &text(&input)).expect_problem(422, "pipeline-invalid").json();
    assert!(refused["detail"].as_str().unwrap().contains("in.jsonl does not exist"), "{refused}");
    assert_eq!(refused["errors"][0]["line"], 5, "{refused}");
    let refused = server.apply("p", &text(&data.join("admin-token"))).expect_problem(422, "pipeline-invalid").json();
    assert!(refused["detail"].as_str().unwrap().contains("lies in the server's data folder"), "{refused}");
    fs::write(&input, "1\n2\n").unwrap();
    server.apply("p", &text(&input)).expect(201);
    server.wait_for_state("p", "stopped");
    fs::remove_file(&input).unwrap();
    server.send("DELETE", "/api/v1/pipelines/p", &[], b"").expect(204);
}
