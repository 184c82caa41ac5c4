//! What is done to the server, each against its refusal. Nothing here looks at the pipeline that shall not notice.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use weir_tests::http::{request, try_request};
use weir_tests::wait::wait_until;

use super::victim;
use crate::place::{guest, guest_text};
use crate::serve::{SOON, Server, TOML, WASM};

const JSON: (&str, &str) = ("Content-Type", "application/json");
const LEVELS: usize = 10_000;

const UPLOAD: &str = "/api/v1/operators/a/versions/1.0.0";

pub(super) fn no_operators(server: &Server) {
    let noise: Vec<u8> = (0..1_u32 << 20).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let zip_of_nothing = [b"PK\x05\x06".as_slice(), &[0; 18]].concat();
    let mut half = fs::read(guest("hostile")).unwrap();
    half.truncate(half.len() / 2);
    for bytes in [noise, zip_of_nothing, half, Vec::new(), guest_text("forbidden_import"), guest_text("core_module")] {
        server.send("PUT", UPLOAD, &[WASM], &bytes).expect_problem(422, "component-refused");
    }
    let whole = fs::read(guest("hostile")).unwrap();
    let wrong = ("Content-Digest", "sha-256=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:");
    server.send("PUT", UPLOAD, &[WASM, wrong], &whole).expect_problem(422, "other-digest");
}

pub(super) fn bodies(server: &Server) {
    server.send("PUT", UPLOAD, &[WASM, ("Content-Length", "2147483648")], b"").expect_problem(413, "too-large");
    server
        .send("PUT", "/api/v1/pipelines/a", &[TOML, ("Content-Length", "2147483648")], b"")
        .expect_problem(413, "too-large");
    let chunk = [b"100000\r\n".as_slice(), &vec![b'x'; 1 << 20], b"\r\n"].concat();
    let endless = chunk.repeat(33);
    server.send("PUT", UPLOAD, &[WASM, ("Transfer-Encoding", "chunked")], &endless).expect_problem(413, "too-large");
    // Half of what was said, then nothing, and the connection goes.
    for _ in 0..8 {
        let head = head(server, "PUT", UPLOAD, "Content-Type: application/wasm\r\nContent-Length: 1000000\r\n");
        let mut stream = TcpStream::connect(&server.address).unwrap();
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(&vec![b'x'; 500_000]).unwrap();
    }
    let data = server.data.join("registry/uploads");
    wait_until(SOON, "nothing of them is left", || fs::read_dir(&data).unwrap().count() == 0);
}

pub(super) fn bomb(server: &Server) {
    server.send("PUT", UPLOAD, &[WASM], &crate::compile::bomb()).expect_problem(422, "component-refused");
}

pub(super) fn paths(server: &Server) {
    for name in [
        "..%2F..%2Fa",
        "%2e%2e",
        "..",
        ".",
        "%00",
        "a%2Fb",
        "%2Fetc%2Fpasswd",
        "a%5Cb",
        "%c0%ae",
        "A",
        "%F0%9F%92%A3",
        "",
    ] {
        let paths = [
            format!("/api/v1/operators/{name}/versions/1.0.0"),
            format!("/api/v1/operators/a/versions/{name}"),
            format!("/api/v1/pipelines/{name}"),
            format!("/api/v1/pipelines/{name}/checkpoints/1-1"),
            format!("/api/v1/pipelines/victim/checkpoints/{name}"),
            format!("/api/v1/pipelines/victim/nodes/{name}/status"),
            format!("/api/v1/pipelines/victim/revisions/{name}"),
            format!("/api/v1/operations/{name}"),
            format!("/api/v1/tokens/{name}"),
        ];
        for (path, method) in paths.iter().flat_map(|path| ["GET", "PUT", "DELETE"].map(|method| (path, method))) {
            let kind = if path.contains("/operators/") { WASM } else { TOML };
            let answer = server.send(method, path, &[kind], b"version = 1\n");
            assert!((400..500).contains(&answer.status), "{method} {path}: {answer:?}");
        }
    }
    let to = ["relative", "..", server.data.to_str().unwrap()];
    for to in to.map(|to| serde_json::json!({"kind": "savepoint", "to": to}).to_string()) {
        server
            .send("POST", "/api/v1/pipelines/victim/checkpoints", &[JSON], to.as_bytes())
            .expect_problem(400, "bad-request");
    }
}

pub(super) fn heads(server: &Server) {
    let say = |text: &str| {
        let mut stream = TcpStream::connect(&server.address).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        let _ = stream.write_all(text.as_bytes());
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    };
    let list = |more: &str| head(server, "GET", "/api/v1/pipelines", more);
    // Where a server stops reading, its answer may be lost with the connection.
    let large = say(&list(&format!("X-Large: {}\r\n", "x".repeat(1 << 20))));
    let many = say(&list(&"X-Many: x\r\n".repeat(10_000)));
    let long = say(&format!("GET /{} HTTP/1.1\r\nHost: {}\r\n\r\n", "x".repeat(1 << 20), server.address));
    for refused in [large, many, long] {
        assert!(refused.is_empty() || refused.starts_with("HTTP/1.1 4"), "{refused}");
    }
    // What another reader of the same bytes could take for two requests is refused, or is the last of its connection; the one
    // inside it never counts.
    let inside = "POST /api/v1/pipelines/victim:stop HTTP/1.1\r\nHost: a\r\n\r\n";
    let apply = |more: &str, body: &str| {
        head(server, "PUT", "/api/v1/pipelines/a", &format!("Content-Type: application/toml\r\n{more}")) + body
    };
    let length = inside.len() + 5;
    for request in [
        apply(&format!("Content-Length: {length}\r\nTransfer-Encoding: chunked\r\n"), &format!("0\r\n\r\n{inside}")),
        apply(&format!("Content-Length: 0\r\nContent-Length: {}\r\n", inside.len()), inside),
        apply("Transfer-Encoding: chunked, identity\r\n", &format!("0\r\n\r\n{inside}")),
        apply("Transfer-Encoding : chunked\r\n", &format!("0\r\n\r\n{inside}")),
        apply("Content-Length: +0\r\n", inside),
        apply("Content-Length: 0\r\nX: a\r\n\tContent-Length: 9\r\n", ""),
    ] {
        let answer = say(&request);
        assert!(!answer.contains("HTTP/1.1 2"), "{request}: {answer}");
    }
    assert!(say("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").find("HTTP/1.1 2").is_none(), "HTTP/2 is not spoken");
}

pub(super) fn depth(server: &Server) {
    let json = format!("{}{}", "{\"a\":".repeat(LEVELS), "1".to_owned() + &"}".repeat(LEVELS));
    let list = format!("{}{}", "[".repeat(LEVELS), "]".repeat(LEVELS));
    for body in [&json, &list] {
        for (method, path) in [("PUT", "pipelines/a"), ("POST", "tokens"), ("POST", "pipelines/victim:restart")] {
            let answer = server.send(method, &format!("/api/v1/{path}"), &[JSON], body.as_bytes());
            assert!((400..500).contains(&answer.status), "{method} {path}: {answer:?}");
        }
    }
    let keys = format!("{}a = 1\n", "a.".repeat(LEVELS));
    let tables = format!("[{}a]\n", "a.".repeat(LEVELS));
    let inline = format!("a = {}{}\n", "{a=".repeat(LEVELS), "1".to_owned() + &"}".repeat(LEVELS));
    for body in [keys, tables, inline, format!("a = {list}\n")] {
        server.send("PUT", "/api/v1/pipelines/a", &[TOML], body.as_bytes()).expect_problem(422, "pipeline-invalid");
    }
}

pub(super) fn unknown(server: &Server) {
    for (method, path, status) in [
        ("BREW", "/api/v1/pipelines", 405),
        ("TRACE", "/api/v1/pipelines/victim", 405),
        ("GET", "/api/v2/pipelines", 404),
        ("GET", "/api/v1/pipelines/victim/../../..", 404),
        ("POST", "/api/v1/pipelines/victim:explode", 404),
    ] {
        let answer = server.send(method, path, &[], b"");
        assert_eq!(answer.status, status, "{method} {path}: {answer:?}");
    }
    let xml = ("Content-Type", "text/xml");
    server.send("PUT", "/api/v1/pipelines/a", &[xml], b"<a/>").expect_problem(415, "unsupported-type");
    for token in ["", "Bearer", "Bearer ", "Bearer x", "Basic YTpi", "Bearer weir_\u{1F4A3}"] {
        let stop = "/api/v1/pipelines/victim:stop";
        let refused = request(&server.address, "POST", stop, &[("Authorization", token)], b"");
        assert!(matches!(refused.status, 400 | 401), "{token}: {refused:?}");
    }
}

pub(super) fn idle(server: &Server) {
    let address: SocketAddr = server.address.parse().unwrap();
    let short = Duration::from_millis(4);
    let silent: Vec<TcpStream> = (0..1_000).filter_map(|_| TcpStream::connect_timeout(&address, short).ok()).collect();
    assert!(silent.len() >= 64, "{}", silent.len());
    drop(silent);
    wait_until(SOON, "it answers again", || try_request(&server.address, "GET", "/livez", &[], b"").is_ok());
}

pub(super) fn guests(server: &Server) {
    let kinds = ["loop", "memory", "trap", "recurse", "log", "output"];
    for what in kinds {
        server.apply(what, &harmful(what)).expect(201);
    }
    for what in kinds {
        let harmed = || {
            let status = server.send("GET", &format!("/api/v1/pipelines/{what}/nodes/same/status"), &[], b"");
            status.status == 200 && status.json()["total"]["failed_calls"].as_u64() > Some(5)
        };
        wait_until(SOON, what, harmed);
    }
    for what in kinds {
        server.send("POST", &format!("/api/v1/pipelines/{what}:cancel"), &[JSON], b"{\"wait\": true}").expect(200);
        server.send("DELETE", &format!("/api/v1/pipelines/{what}"), &[], b"").expect(204);
    }
}

/// The head of a request that has a good token.
fn head(server: &Server, method: &str, path: &str, more: &str) -> String {
    let Server { address, token, .. } = server;
    format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n{more}\r\n"
    )
}

/// The same with an operator that does harm, into nothing.
fn harmful(what: &str) -> String {
    let text = victim().replace("\"victim\"", &format!("\"{what}\"")).replace("\"stdout\"", "\"discard\"");
    text.replace("key = ", &format!("on_error = \"skip\"\nconfig = {{ do = \"{what}\" }}\nkey = "))
}
