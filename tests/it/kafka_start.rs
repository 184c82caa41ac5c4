//! Starts on Kafka that are refused leave nothing behind, and `weir txn` says what there is and what there is not.

use std::path::{Path, PathBuf};
use std::time::Duration;

use weir_tests::kafka::Broker;
use weir_tests::process::{Exit, Weir};

const SOON: Duration = Duration::from_secs(60);

#[test]
fn a_source_topic_that_is_missing_is_refused_and_nothing_is_made() {
    let broker = Broker::of_this_run();
    let folder = tempfile::tempdir().unwrap();
    let (gone, name) = (weir_tests::unique("gone"), weir_tests::unique("start"));
    let sink = broker.topic("sink", 1);
    for out in [format!("type = \"kafka\"\ntopic = \"{sink}\""), "type = \"file\"\npath = \"out\"".to_owned()] {
        let source = format!("type = \"kafka\"\ntopic = \"{gone}\"");
        let file = pipeline(folder.path(), &name, broker.brokers(), &source, &out);
        for command in [Weir::new(["run"]), Weir::new(["check", "--connect"])] {
            let said = command.argument(&file).finish(SOON).expect(Exit::Code(3)).stderr;
            assert!(said.contains(&format!("`in`: source topic `{gone}` does not exist")), "{said}");
            assert!(said.contains("kafka-topics.sh"), "{said}");
        }
        let left = std::fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(left, 1, "the pipeline file is all there is");
    }
    assert!(!broker.has_topic(&format!("__weir.{name}.commits")), "nothing was made");
}

#[test]
fn txn_knows_only_pipelines_that_ran_and_asks_the_brokers_that_it_is_given() {
    let broker = Broker::of_this_run();
    let folder = tempfile::tempdir().unwrap();
    let (sink, name) = (broker.topic("sink", 1), weir_tests::unique("txn"));
    let made = "type = \"generator\"\ncount = 10\ntemplate = \"x\"";
    // A broker that is not there: the one that is given counts.
    let out = format!("type = \"kafka\"\ntopic = \"{sink}\"");
    let file = pipeline(folder.path(), &name, "127.0.0.1:1", made, &out);
    let txn = |what: &str| {
        let txn = Weir::new(["txn", what, "--brokers", broker.brokers()]).argument(&file);
        txn.finish(SOON)
    };
    let listed = txn("list").expect_success();
    assert!(listed.stdout.contains("none: this pipeline never ran"), "{listed}");
    let refused = txn("abort").expect(Exit::Code(3));
    assert!(refused.stderr.contains(&format!("there is no transactional id `weir.{name}.0.a`")), "{refused}");
    assert!(!broker.has_topic(&format!("__weir.{name}.commits")), "nothing was made");
    let file = pipeline(folder.path(), &name, broker.brokers(), made, &out);
    Weir::run(&file, folder.path().join("state")).finish(SOON).expect_success();
    let aborted = txn("abort").expect_success();
    assert!(aborted.stdout.contains(&format!("fenced: weir.{name}.0.a")), "{aborted}");
}

fn pipeline(folder: &Path, name: &str, brokers: &str, source: &str, sink: &str) -> PathBuf {
    let file = folder.join("p.toml");
    let text = format!(
        "version = 1\nname = \"{name}\"\n[defaults.kafka]\nbrokers = \"{brokers}\"\n[sources.in]\n{source}\n\
         [sinks.out]\n{sink}\ninputs = [\"in\"]\n"
    );
    std::fs::write(&file, text).unwrap();
    file
}
