//! Kafka sinks of one pipeline in two clusters: refused before anything is written, since no transaction spans both. Two
//! addresses of one cluster are not that.

use std::path::{Path, PathBuf};
use std::time::Duration;

use weir_tests::kafka::{Broker, Isolation};
use weir_tests::process::{Exit, Weir};
use weir_tests::proxy::Proxy;

const SOON: Duration = Duration::from_secs(60);

#[test]
fn a_second_cluster_is_refused_with_both_ends_by_check_and_by_run() {
    let (broker, other) = (Broker::of_this_run(), Broker::start());
    let folder = tempfile::tempdir().unwrap();
    let (topic, name) = (broker.topic("here", 1), weir_tests::unique("two"));
    other.create_topic(&topic, 1, &[]);
    let file = pipeline(folder.path(), &name, &topic, broker.brokers(), other.brokers());
    // Offline nobody can know.
    Weir::new(["check"]).argument(&file).finish(SOON).expect_success();
    let check = Weir::new(["check", "--connect"]).argument(&file);
    for refused in [check, Weir::run(&file, folder.path().join("state"))] {
        let said = refused.finish(SOON).expect(Exit::Code(3)).stderr;
        for end in ["sink `here`", "sink `there`", broker.brokers(), other.brokers()] {
            assert!(said.contains(end), "{end} in {said}");
        }
    }
    assert!(!broker.has_topic(&format!("__weir.{name}.commits")), "nothing was made");
}

#[test]
fn two_addresses_of_one_cluster_are_one() {
    let broker = Broker::of_this_run();
    let folder = tempfile::tempdir().unwrap();
    let (topic, name) = (broker.topic("same", 1), weir_tests::unique("same"));
    let file = pipeline(folder.path(), &name, &topic, broker.brokers(), Proxy::of_this_run().address());
    Weir::run(&file, folder.path().join("state")).finish(SOON).expect_success();
    broker.wait_until_no_open_transaction(&topic, SOON);
    assert_eq!(broker.read(&topic, Isolation::Committed).len(), 20, "ten rows of each sink");
}

fn pipeline(folder: &Path, name: &str, topic: &str, here: &str, there: &str) -> PathBuf {
    let file = folder.join("p.toml");
    let text = format!(
        r#"version = 1
name = "{name}"
[sources.numbers]
type = "generator"
count = 10
template = "{{{{seq}}}}"
[sinks.here]
type = "kafka"
inputs = ["numbers"]
brokers = "{here}"
topic = "{topic}"
[sinks.there]
type = "kafka"
inputs = ["numbers"]
brokers = "{there}"
topic = "{topic}"
"#
    );
    std::fs::write(&file, text).unwrap();
    file
}
