//! The black-box tests by which Flink and its Kafka connector hold their promises, rebuilt: each names the test that it comes
//! from. The table with all ten is in `docs/semantics.md`, section 5. Each takes a new seed (`WEIR_TEST_SEED`), and `make
//! nightly` runs them 20 times.

mod broker;
mod ends;
mod order;
mod rescale;
mod savepoints;
mod sinks;

use std::collections::BTreeMap;

use serde_json::Value;
use weir_tests::draft::Draft;
use weir_tests::kafka::{Broker, Isolation};

use crate::place::guest;

/// The rows of the ledger in the order in which they came: each key's counts are 1, 2, 3 … without a hole and without a
/// double, and its records in their order. Returns how many there are.
#[track_caller]
fn expect_chains<'r>(rows: impl IntoIterator<Item = &'r String>) -> usize {
    let mut known: BTreeMap<String, (u64, i64)> = BTreeMap::new();
    let mut total = 0;
    for row in rows {
        let parsed: Value = serde_json::from_str(row).unwrap();
        let (count, seq) = known.entry(parsed["key"].as_str().unwrap().to_owned()).or_insert((0, -1));
        *count += 1;
        assert_eq!(parsed["count"], *count, "lost or doubled before {row}");
        assert!(parsed["seq"].as_i64().unwrap() > *seq, "reordered: {row}");
        *seq = parsed["seq"].as_i64().unwrap();
        total += 1;
    }
    total
}

/// The values of a topic, per partition in order.
fn values(broker: &Broker, topic: &str, isolation: Isolation) -> Vec<String> {
    broker.read(topic, isolation).iter().map(|row| row.value_text()).collect()
}

/// Records through the ledger into a topic, as many as `made` says.
fn to_kafka(name: &str, checkpoint: &str, made: &str, broker: &Broker, topic: &str) -> Draft {
    let draft = Draft::new(name, checkpoint).records("made", 10, made);
    let draft = draft.node("ledger", &guest("ledger"), &["made"], "/k", "");
    draft.kafka_sink("out", &["ledger"], broker.brokers(), topic)
}
