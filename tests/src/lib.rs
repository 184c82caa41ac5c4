//! The harness of weir's system tests: a real Kafka and a proxy in front of it, the weir binary as a child process, and
//! a ledger that judges what came out. It owns no test; those are in `it/`. A failed expectation panics with what was
//! expected, what was there, and where to look: callers are tests.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a harness fails its test by panicking")]

pub mod draft;
pub mod events;
pub mod figures;
pub mod http;
pub mod ip_count;
pub mod kafka;
pub mod ledger;
pub mod probe;
pub mod process;
pub mod proxy;
pub mod redact;
pub mod server;
pub mod small_disk;
pub mod wait;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// The repository's root.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package tests/ lies in the repository")
}

/// A name that no other test of this run, and no earlier run on the same broker, has used. Fits weir's name rule.
pub fn unique(stem: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let run = weir::clock::now_millis() % 100_000_000;
    format!("{stem}-{run}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// The weir binary under test: `WEIR_BIN`, or the one that `make print-bin` names.
pub fn weir_binary() -> PathBuf {
    let path = match std::env::var_os("WEIR_BIN") {
        Some(path) => PathBuf::from(path),
        None => repository().join("target/debug/weir"),
    };
    assert!(path.is_file(), "no weir binary at {}; build it with `make build`, or set WEIR_BIN", path.display());
    path
}

/// The seed of what is random in this run: `WEIR_TEST_SEED`, or a new one. A test that uses it prints it when it fails.
pub fn seed() -> u64 {
    let set = std::env::var("WEIR_TEST_SEED").ok();
    set.map_or_else(|| weir::clock::now_millis() as u64, |seed| seed.parse().expect("WEIR_TEST_SEED is a number"))
}

/// The `nth` number of a seed.
pub fn mix(seed: u64, nth: u64) -> u64 {
    ledger::Random::new(seed.wrapping_add(nth.wrapping_mul(0xd1b5_4a32_d192_ed03))).next()
}
