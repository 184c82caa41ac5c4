//! A server whose disk is full: what cannot be kept is 507 and leaves nothing behind, what runs goes on, and once there is space
//! the same request is taken.

use std::fs;
use std::path::Path;

use weir_tests::http::Answer;
use weir_tests::small_disk::SmallDisk;

use crate::place::guest;
use crate::serve::{Server, TOML, WASM, ip_count, plain};

/// All that is in the registry and among the texts and tokens, by name and length.
fn kept(data: &Path) -> Vec<(String, u64)> {
    let mut found = Vec::new();
    let mut open: Vec<_> = ["registry", "specs", "tokens", "cache"].map(|folder| data.join(folder)).into();
    while let Some(folder) = open.pop() {
        let Ok(entries) = fs::read_dir(folder) else { continue };
        for path in entries.map(|entry| entry.unwrap().path()) {
            match path.is_dir() {
                true => open.push(path),
                false => found.push((path.display().to_string(), fs::metadata(&path).unwrap().len())),
            }
        }
    }
    found.sort();
    found
}

#[test]
fn a_full_disk_is_507_for_whatever_would_be_kept_and_leaves_no_half_file() {
    let Some(disk) = SmallDisk::mount(24) else {
        eprintln!("not permitted to mount a disk: not tested");
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let start = || Server::start_on(&disk.path().join("data"), disk.from_outside().join("data"), |weir| disk.on(weir));
    let mut server = start();
    let text = |name: &str| plain(name, &dir.path().join(name), 1_000_000, 100);
    let hostile = fs::read(guest("hostile")).unwrap();
    server.send("PUT", "/api/v1/operators/hostile/versions/0.1.0", &[WASM], &hostile).expect(201);
    server.apply("there", &text("there")).expect(201);
    server.wait_for_state("there", "running");

    disk.fill();
    let before = kept(&server.data);
    let json = ("Content-Type", "application/json");
    let token = br#"{"name": "late", "scopes": ["read"]}"#;
    let requests = |server: &Server| -> [Answer; 5] {
        [
            server.send("PUT", "/api/v1/operators/ip-count/versions/0.1.0", &[WASM], &ip_count()),
            // Bytes that are there under another name: a line of the audit and a version.
            server.send("PUT", "/api/v1/operators/again/versions/0.1.0", &[WASM], &hostile),
            server.apply("new", &text("new")),
            server.send("PUT", "/api/v1/pipelines/there", &[TOML], text("there").replace("100", "101").as_bytes()),
            server.send("POST", "/api/v1/tokens", &[json], token),
        ]
    };
    for answer in requests(&server) {
        answer.expect_problem(507, "no-space");
    }
    assert_eq!(kept(&server.data), before);
    assert_eq!(server.get("there")["revision"], 1);
    let restarts = server.get("there")["restarts"].clone();

    disk.free();
    for answer in requests(&server) {
        assert!(matches!(answer.status, 200 | 201), "{answer:?}");
    }
    server.process.kill_and_wait();
    server = start();
    assert_eq!(server.get("there")["revision"], 2);
    assert_eq!(restarts, 0, "what ran went on");
    for path in ["operators/ip-count/versions/0.1.0", "operators/again/versions/0.1.0", "pipelines/new"] {
        server.send("GET", &format!("/api/v1/{path}"), &[], b"").expect(200);
    }
}
