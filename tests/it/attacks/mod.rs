//! A server that is attacked over its port and by its guests while a pipeline runs on it: each attack meets its refusal, the
//! process lives, nothing is left behind, and the pipeline's output never falls below half for longer than two seconds. What
//! is refused and how is the matter of `serve` and `hostile`; here it is the neighbour's.

mod ways;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use weir_tests::http::request;
use weir_tests::wait::wait_until;

use crate::place::guest;
use crate::serve::{SOON, Server, WASM};

/// Rows a second of the pipeline that shall not notice, and the length of each with its end of line.
const RATE: f64 = 500.0;
const ROW_BYTES: f64 = 13.0;
/// For so long it may be slower than half.
const SLOW_MAX: Duration = Duration::from_secs(2);
/// For all attacks together.
const ALL: Duration = Duration::from_secs(300);

/// A generator through an operator to the server's own stdout, whose length says how far it is.
fn victim() -> String {
    format!(
        "version = 1\nname = \"victim\"\n[checkpoint]\nguarantee = \"none\"\n[sources.made]\ntype = \"generator\"\nrate = {RATE}\n\
         template = '{{\"n\":{{{{int 100000 999999}}}}}}'\n[nodes.same]\noperator = \"hostile@0.1.0\"\ninputs = [\"made\"]\n\
         key = {{ json = \"/n\" }}\n[sinks.terminal]\ntype = \"stdout\"\ninputs = [\"same\"]\n"
    )
}

#[test]
fn no_attack_ends_the_server_or_slows_a_pipeline_below_half_for_long() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let server = Server::start(&data);
    let hostile = fs::read(guest("hostile")).unwrap();
    server.send("PUT", "/api/v1/operators/hostile/versions/0.1.0", &[WASM], &hostile).expect(201);
    server.apply("victim", &victim()).expect(201);
    wait_until(SOON, "it runs", || server.process.stdout().len() > 1_000);
    let before = folders(dir.path());

    let attacks: [Attack; 9] = [
        ("bytes that are no operator", ways::no_operators),
        ("bodies without end, cut bodies", ways::bodies),
        ("a component that costs a compiler a gigabyte", ways::bomb),
        ("names that are paths", ways::paths),
        ("heads that are too large or ambiguous", ways::heads),
        ("text of ten thousand levels", ways::depth),
        ("methods, types and tokens that are none", ways::unknown),
        ("a thousand connections that say nothing", ways::idle),
        ("operators that loop, hog and trap", ways::guests),
    ];
    let done = AtomicBool::new(false);
    let seen = thread::scope(|scope| {
        let watcher = scope.spawn(|| watch(&server, &done));
        // Also where an attack is not met as it should be: the scope waits for the watcher.
        let over = Over(&done);
        for (what, attack) in attacks {
            let begun = weir::clock::now();
            attack(&server);
            request(&server.address, "GET", "/livez", &[], b"").expect(200);
            assert_eq!(server.get("victim")["state"], "running", "{what}");
            println!("{what}: {:.1} s", begun.elapsed().as_secs_f64());
        }
        drop(over);
        watcher.join().unwrap()
    });
    let slow = slowest(&seen);
    println!("least share of its rate in two seconds: {slow:.2}");
    assert!(slow >= 0.5, "{slow}");
    assert_eq!(server.get("victim")["restarts"], 0);
    let operators = server.send("GET", "/api/v1/operators", &[], b"").expect(200).json();
    assert_eq!(operators["items"].as_array().unwrap().len(), 1, "{operators}");
    assert_eq!(folders(dir.path()), before, "nothing outside of the data folder, and nothing half in it");
}

/// What it is, and how it is done.
type Attack = (&'static str, fn(&Server));

struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// How much has come out, and when, until the attacks are over.
fn watch(server: &Server, done: &AtomicBool) -> Vec<(Instant, usize)> {
    let mut seen = Vec::new();
    wait_until(ALL, "the attacks are over", || {
        seen.push((weir::clock::now(), server.process.stdout().len()));
        done.load(Ordering::SeqCst)
    });
    seen
}

/// The least share of its rate over any time that is just longer than [`SLOW_MAX`].
fn slowest(seen: &[(Instant, usize)]) -> f64 {
    let shares = seen.iter().enumerate().filter_map(|(from, (start, bytes))| {
        let (end, more) = seen[from..].iter().find(|(at, _)| *at - *start > SLOW_MAX)?;
        Some((more - bytes) as f64 / ROW_BYTES / RATE / (*end - *start).as_secs_f64())
    });
    shares.fold(f64::INFINITY, f64::min)
}

/// Every folder below, and every file that an upload could leave.
fn folders(root: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut open = vec![root.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let path = entry.path();
            let name = path.strip_prefix(root).unwrap().display().to_string();
            let is_pipeline = ["data/pipelines/", "data/specs/", "data/audit"].iter().any(|own| name.starts_with(own));
            if !is_pipeline {
                found.insert(name);
            }
            if path.is_dir() {
                open.push(path);
            }
        }
    }
    found
}
