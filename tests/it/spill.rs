//! State ten times as large as the memory that it may take, under kills: what comes out is what it is with all the memory
//! there is. `WEIR_TEST_KEYS` sets the number of keys; the memory follows from it.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::time::Duration;

use weir_core::key_group::hash;
use weir_tests::draft::Draft;
use weir_tests::process::Exit;

use crate::local::Output;
use crate::place::{Place, SOON, guest};

/// So much state a key, at a tenth of what the ledger keeps for it: 256 MiB at ten million keys.
pub(crate) const MEMORY_PER_KEY: u64 = 27;

fn keys() -> u64 {
    std::env::var("WEIR_TEST_KEYS").map_or(40_000, |keys| keys.parse().expect("WEIR_TEST_KEYS is a number"))
}

/// Each key about three times, in random order. Where there are many, a checkpoint takes longer than the shortest interval.
pub(crate) fn many_keys(keys: u64, backend: &str) -> Place {
    let interval = if keys > 1_000_000 { "1s" } else { "50ms" };
    let draft = Draft::new("many", &format!("interval = \"{interval}\"")).key(&format!("state = \"{backend}\""));
    let draft = draft.records("made", keys, &format!("count = {}", keys * 3));
    let draft = draft.node("ledger", &guest("ledger"), &["made"], "/k", "");
    Place::over(&draft.file_sink("chain", &["ledger.out"]).file_sink("timers", &["ledger.fired"]))
}

/// What came out, read line by line: gigabytes at ten million keys. One source and one subtask, so the rows of records come
/// in one order; those of timers that fire together do not.
pub(crate) fn digest(place: &Place) -> [(u64, u64); 2] {
    ["chain", "timers"].map(|sink| {
        let mut parts: Vec<PathBuf> = fs::read_dir(place.path(sink)).unwrap().map(|e| e.unwrap().path()).collect();
        parts.retain(|path| path.extension().is_some_and(|extension| extension == "jsonl"));
        parts.sort();
        let lines = parts.iter().flat_map(|part| BufReader::new(File::open(part).unwrap()).lines());
        lines.fold((0, 0), |(count, digest): (u64, u64), line| {
            let line = hash(line.unwrap().as_bytes());
            let digest = if sink == "chain" { digest.rotate_left(5) ^ line } else { digest.wrapping_add(line) };
            (count + 1, digest)
        })
    })
}

#[test]
fn ten_times_the_memory_killed_again_and_again_gives_what_all_the_memory_gives() {
    let keys = keys();
    let patience = Duration::from_secs(120 + keys / 2_000);
    let memory = format!("{}B", keys * MEMORY_PER_KEY);
    let truth = many_keys(keys, "memory");
    truth.run().finish(patience).expect_success();
    let place = many_keys(keys, "rocksdb");
    let run = || place.run().env("WEIR_LOG", "weir=info").argument("--state-memory").argument(&memory);
    let mut evicted = false;
    // Further in, where there is more.
    let later = (keys / 400_000) as u32;
    for (point, nth) in [("epoch.advanced", 9), ("state.written", 6), ("gc.first_unlink", 7), ("state.sealed", 12)] {
        let finished = run().crash_at(point, nth + later).finish(patience);
        evicted |= finished.stderr.contains("what is not in use is evicted");
        assert!(matches!(finished.exit, Exit::KILLED | Exit::Code(0)), "{point}: {:?}", finished.exit);
    }
    run().finish(patience).expect_success();
    assert!(evicted, "the memory was enough: the test shows nothing");
    assert_eq!(digest(&place), digest(&truth), "rows and digest of records, and of timers");
}

#[test]
fn state_that_must_stay_in_memory_and_does_not_fit_ends_the_run_and_the_other_backend_goes_on() {
    let place = many_keys(20_000, "memory");
    let run = |place: &Place| place.run().argument("--state-memory").argument("600KiB");
    let said = run(&place).finish(SOON).expect(Exit::Code(6)).stderr;
    assert!(said.contains("node `ledger`: the state is over the 600KiB of memory"), "{said}");
    let text = fs::read_to_string(place.path("p.toml")).unwrap();
    place.pipeline(&text.replace("state = \"memory\"", "state = \"rocksdb\""));
    run(&place).finish(SOON).expect_success();
    let truth = many_keys(20_000, "rocksdb");
    truth.finish().expect_success();
    Output::of(&place).expect(&Output::of(&truth), "memory, then rocksdb");
}
