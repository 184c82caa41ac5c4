//! Watermarks over restarts: what may fire behind one is what might have fired before it.

use weir_tests::draft::Draft;
use weir_tests::kafka::{Broker, PATIENCE, Record};
use weir_tests::process::Exit;
use weir_tests::repository;
use weir_tests::wait::try_wait_for;

use crate::place::{Place, SOON, guest};

/// Wide of what the busy source reaches while the test waits.
const QUIET: i64 = 1_700_000_600_000;

/// A source says something once, far ahead of the other one, and then nothing more. Restored, the node behind it stands where it
/// stood; if it did not say so again, the windows behind it would wait for a record that may never come.
#[test]
fn source_that_says_nothing_after_a_restart_holds_back_no_more_than_before() {
    let (broker, name) = (Broker::of_this_run(), weir_tests::unique("quiet"));
    let topic = broker.topic("quiet", 1);
    broker.produce(&topic, [Record::new(format!("{{\"ip\":\"quiet\",\"ts\":{QUIET}}}"))]);
    let watermark = "event_time = { json = \"/ts\" }\nwatermark = { idle_after = \"never\" }";
    let brokers = broker.brokers();
    let busy = "type = \"generator\"\nseed = 1\nrate = 200\ntemplate = '{\"ip\":\"busy\",\"ts\":{{time 1700000000000 50 0 0}}}'";
    let counts = repository().join("examples/ip-count/target/weir/ip_count.wasm");
    let draft = Draft::new(&name, "interval = \"50ms\"")
        .table("sources.quiet", &format!("type = \"kafka\"\nbrokers = \"{brokers}\"\ntopic = \"{topic}\"\n{watermark}"))
        .table("sources.busy", &format!("{busy}\n{watermark}"))
        .node("passed", &guest("identity"), &["quiet"], "/ip", "")
        .node("count", &counts, &["passed", "busy"], "/ip", "")
        .file_sink("out", &["count"]);
    let place = Place::over(&draft);
    let mut process = place.run().spawn();
    let rows = |more_than: usize| {
        let found = try_wait_for(PATIENCE, || Some(place.rows("out").len()).filter(|rows| *rows > more_than));
        found.unwrap_or_else(|| panic!("no more than {more_than} windows fire"))
    };
    let before = rows(0);
    process.kill9();
    process.wait(SOON).expect(Exit::KILLED);
    let mut process = place.run().spawn();
    rows(before + 1);
    process.terminate();
    process.wait(SOON).expect_success();
}
