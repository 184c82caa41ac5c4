//! Order and completeness over two shuffles, whatever fails where.

use weir_tests::draft::Draft;
use weir_tests::process::Exit;

use super::expect_chains;
use crate::place::{Place, SOON, guest};

const EACH: usize = 3_000;

/// Two sources, three subtasks by key, two by another split of the keys.
fn file(interval: &str, operator: &str) -> Draft {
    let made = format!("count = {EACH}\nrate = 2000");
    let draft = Draft::new("order", &format!("interval = \"{interval}\"\nretain = 1"))
        .table("restart", "strategy = \"fixed-delay\"\nattempts = 9\ndelay = \"10ms\"")
        .records("left", 10, &made)
        .records("right", 10, &made);
    let draft = draft.node("bad", &guest("hostile"), &["left", "right"], "/k", &format!("parallelism = 2\n{operator}"));
    let draft = draft.node("ledger", &guest("ledger"), &["bad"], "/k", "parallelism = 3");
    draft.node("same", &guest("identity"), &["ledger"], "/key", "parallelism = 2").file_sink("out", &["same"])
}

/// `UnalignedCheckpointITCase`, which Flink runs aligned too: five failures, in the map at a quarter, in the snapshot at half,
/// in the map and in the restore behind it at three quarters, and at the end.
#[test]
fn five_failures_over_two_shuffles_lose_double_and_reorder_nothing() {
    let seed = weir_tests::seed();
    let place = Place::new();
    let nth = |at| 3 + (weir_tests::mix(seed, at) % 4) as u32;
    let fails_at = |seq: usize| format!("config = {{ do = \"fail\", on = '\"seq\":{seq},' }}");
    let mut failures = 0;
    let mut expect = |exit, finished: weir_tests::process::Finished| {
        failures += 1;
        finished.expect(exit)
    };
    // In the map.
    place.pipeline(file("30ms", &fails_at(EACH / 4)).text());
    expect(Exit::Code(1), place.finish());
    let before = expect_chains(&place.rows("out"));
    assert!(before > 0 && before < 2 * EACH, "{before}");
    // In the snapshot.
    place.pipeline(file("30ms", "").text());
    expect(Exit::KILLED, place.run().crash_at("state.sealed", nth(1)).finish(SOON));
    // In the map, and in the restore behind it.
    place.pipeline(file("30ms", &fails_at(EACH / 4 * 3)).text());
    expect(Exit::Code(1), place.finish());
    place.pipeline(file("30ms", "").text());
    expect(Exit::KILLED, place.run().crash_at("restore.db_opened", 1).finish(SOON));
    // At the end: nothing more is committed before it.
    place.pipeline(file("10m", "").text());
    expect(Exit::KILLED, place.run().crash_at("sink.part_renamed", 1).finish(SOON));
    place.finish().expect_success();
    assert_eq!((expect_chains(&place.rows("out")), failures), (2 * EACH, 5), "WEIR_TEST_SEED={seed}");
}
