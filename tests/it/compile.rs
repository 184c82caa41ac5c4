//! Compiling what somebody else wrote: once, in a process of its own, which a component that costs too much ends instead of
//! weir's.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use weir::guest::{CompileLimits, Compiler, Engine, Operator, RefusedComponent};
use weir_tests::process::{Exit, Finished, Weir};
use weir_tests::{repository, weir_binary};

const SOON: Duration = Duration::from_secs(400);

fn ip_count() -> Vec<u8> {
    fs::read(repository().join("tests/fixtures/ip_count-0.1.0.wasm")).unwrap()
}

/// 250 KB that take the compiler more than 1 GiB in its first second.
pub(crate) fn bomb() -> Vec<u8> {
    with_nested_loops(30_000)
}

/// ip-count with a module behind it that nothing uses: one function whose 2,000 locals live through so many nested loops.
fn with_nested_loops(loops: usize) -> Vec<u8> {
    const LOCALS: usize = 2_000;
    let body: String =
        (0..LOCALS).map(|i| format!("(local.set {i} (i32.add (local.get {i}) (i32.const 1)))")).collect();
    let ends: String = (0..loops).map(|i| format!("(br_if 0 (local.get {})) end ", i % LOCALS)).collect();
    let function = format!("(func (local {}) {} {body} {ends})", "i32 ".repeat(LOCALS), "loop ".repeat(loops));
    let module = wat::parse_str(format!("(module {function})")).unwrap();
    let mut component = ip_count();
    // A component is a row of sections, and a module is section 1.
    component.push(1);
    let mut length = module.len();
    while length >= 0x80 {
        component.push(length as u8 | 0x80);
        length >>= 7;
    }
    component.push(length as u8);
    component.extend(module);
    component
}

#[test]
fn component_that_costs_too_much_is_refused_with_the_limit_that_it_met() {
    let limits = CompileLimits::default();
    let cases = [
        (CompileLimits { memory_mib: 256, ..limits }, bomb(), "256 MiB of memory"),
        // 20 KB that take 5 s.
        (CompileLimits { cpu_seconds: 1, ..limits }, with_nested_loops(400), "1 s of CPU time"),
        (CompileLimits { wall_seconds: 1, ..limits }, with_nested_loops(400), "1 s on the clock"),
    ];
    for (limits, bomb, says) in cases {
        let engine = Engine::new(1).unwrap().with_compiler(Compiler::in_child(weir_binary(), limits));
        match Operator::load(&engine, &bomb).map(drop) {
            Err(RefusedComponent::TooCostly(limit)) => assert_eq!(limit, says),
            other => panic!("{says}: {other:?}"),
        }
    }
    // What the limits are for is left: the same component without the module behind it.
    let engine = Engine::new(1).unwrap().with_compiler(Compiler::in_child(weir_binary(), limits));
    Operator::load(&engine, &ip_count()).unwrap();
}

#[test]
fn costly_component_ends_the_command_with_3_and_the_limit() {
    let place = tempfile::tempdir().unwrap();
    fs::write(place.path().join("bomb.wasm"), bomb()).unwrap();
    let finished = inspect(&place.path().join("bomb.wasm"), place.path()).expect(Exit::Code(3));
    let says = "bomb.wasm: the component costs too much to compile: more than 1024 MiB of memory";
    assert!(finished.stderr.contains(says), "{finished}");
}

/// `weir -v inspect` with this folder for caches.
#[track_caller]
fn inspect(component: &Path, caches: &Path) -> Finished {
    Weir::new(["-v", "inspect"]).argument(component).env("XDG_CACHE_HOME", caches).finish(SOON)
}

fn entry(caches: &Path) -> PathBuf {
    let mut entries = fs::read_dir(caches.join("weir/native")).unwrap().map(|entry| entry.unwrap().path());
    let entry = entries.next().unwrap();
    assert_eq!(entries.next(), None);
    entry
}

#[test]
fn native_code_is_kept_until_it_is_damaged() {
    let place = tempfile::tempdir().unwrap();
    let (component, caches) = (place.path().join("ip_count.wasm"), place.path().join("caches"));
    fs::write(&component, ip_count()).unwrap();
    let compiled = |finished: Finished| finished.expect_success().stderr.contains("bytes of native code");
    assert!(compiled(inspect(&component, &caches)));
    assert!(!compiled(inspect(&component, &caches)));
    let path = entry(&caches);
    let whole = fs::read(&path).unwrap();
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    fs::write(&path, flipped).unwrap();
    assert!(compiled(inspect(&component, &caches)));
    assert_eq!(entry(&caches), path);
    assert!(fs::read(&path).unwrap() == whole, "the entry is whole again");
    assert!(!compiled(inspect(&component, &caches)));
}

#[test]
fn cache_folder_that_cannot_be_made_is_no_error() {
    let place = tempfile::tempdir().unwrap();
    let component = place.path().join("ip_count.wasm");
    fs::write(&component, ip_count()).unwrap();
    inspect(&component, &component).expect_success();
}
