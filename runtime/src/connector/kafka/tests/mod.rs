//! The connector against a real broker (`WEIR_TEST_BROKERS`, see `tests/kafka/`). What librdkafka's mock can prove is in
//! `mock_tests`. Each test has topics and a pipeline of its own.

mod assignments;
mod bounds;
mod owners;
mod plain;
mod reads;
mod refusals;
mod writes;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rdkafka_sys::bindings as sys;
use weir_core::checkpoint::commit::{Claim, Commit, VERSION};
use weir_core::checkpoint::manifest::{CommitKind, SourcePositions, SplitPosition};
use weir_core::ids::{Epoch, Token};
use weir_core::record::Batch;

use super::admin::Admin;
use super::client::{Client, Role};
use super::native::PartitionList;
use super::*;
use crate::connector::{Authority, Outcome, Polled, Sink, Source, Waker};

const PATIENCE: Duration = Duration::from_secs(30);

fn brokers() -> String {
    std::env::var("WEIR_TEST_BROKERS").expect(
        "set WEIR_TEST_BROKERS to a Kafka broker for tests, such as 127.0.0.1:9092 (`make test` starts one by itself)",
    )
}

/// A name that no other test and no other run has.
fn unique(name: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{name}-{}-{}-{n}", std::process::id(), crate::clock::now_millis() % 100_000_000)
}

fn cluster() -> Cluster {
    Cluster::at(brokers())
}

fn admin() -> Admin {
    Admin::connect(&cluster(), "weir-tests").expect("a broker")
}

fn topic(name: &str, partitions: i32, config: &[(&str, &str)]) -> String {
    let name = unique(name);
    let admin = admin();
    // The rows' times are long ago: with any retention by time the broker deletes them at its next look.
    let config: Vec<_> = [("retention.ms", "-1")].iter().chain(config).copied().collect();
    admin.create_topic(&name, partitions, 1, &config).expect("a topic");
    wait_for("the topic", || admin.topic(&name).expect("metadata").partitions.len() == partitions as usize);
    name
}

fn wait_for(what: &str, mut is_true: impl FnMut() -> bool) {
    let begun = crate::clock::now();
    while !is_true() {
        assert!(begun.elapsed() < PATIENCE, "waited too long for {what}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// A waker and where its calls arrive.
fn waker() -> (Waker, Receiver<()>) {
    let (sender, receiver) = std::sync::mpsc::sync_channel(1024);
    let sender = Mutex::new(sender);
    let wake = move || {
        let _ = sender.lock().expect("no panic").send(());
    };
    (Arc::new(wake), receiver)
}

fn claim(nonce: &str, ids: Vec<String>) -> Claim {
    Claim {
        v: VERSION,
        nonce: nonce.into(),
        lineage: "l".into(),
        txn_ids: ids,
        host: "h".into(),
        boot_id: "b".into(),
        pid: 1,
        started_at: 0,
        build: "test".into(),
    }
}

fn commit(epoch: u64, token: Token) -> Commit {
    Commit {
        v: VERSION,
        kind: CommitKind::Checkpoint,
        lineage: "l".into(),
        epoch: Epoch(epoch),
        token,
        snapshot: None,
        positions: BTreeMap::new(),
        at: 0,
    }
}

/// A domain through its first steps: fenced, claimed, resolved.
struct Attempt {
    authority: KafkaAuthority,
    producer: Arc<SharedProducer>,
    token: Token,
    resolved: crate::connector::Resolved,
}

fn start(domain: &Domain, nonce: &str) -> Attempt {
    let Opened { mut authority, producer, .. } = open(domain).expect("a domain");
    let ids = vec![domain.transactional_id()];
    authority.fence(&ids).expect("fenced");
    committed(authority.claim(&claim(nonce, ids)));
    let resolved = authority.resolve(nonce).expect("resolved");
    Attempt { token: resolved.token, authority, producer, resolved }
}

fn committed(outcome: Outcome) -> bool {
    match outcome {
        Outcome::Committed { may_have_resent } => may_have_resent,
        Outcome::Unknown(reason) => panic!("not committed: {reason}"),
    }
}

fn domain(name: &str, topics: &[&str]) -> Domain {
    Domain::new(cluster(), unique(name), topics.iter().map(|t| (*t).to_owned()).collect())
}

fn sink(attempt: &Attempt, topic: &str) -> KafkaSink {
    KafkaSink::new(Arc::clone(&attempt.producer), topic, 1 << 20, 64 << 20, waker().0).expect("a sink")
}

fn rows(range: std::ops::Range<u64>) -> Batch {
    let mut rows = Batch::default();
    for i in range {
        rows.times.push(1_700_000_000_000 + i as i64);
        rows.keys.push(Some(format!("k{}", i % 7).as_bytes()));
        rows.values.push(Some(i.to_string().as_bytes()));
    }
    rows
}

fn write(sink: &mut KafkaSink, rows: &Batch) {
    let mut from = 0;
    wait_for("room in the producer", || {
        from += sink.write(rows, from..rows.len()).expect("writable");
        from == rows.len()
    });
}

fn source_settings(topic: &str) -> SourceSettings {
    SourceSettings::new(cluster(), "reader", Topics::Named(vec![topic.into()]))
}

/// Reads a topic to its present end.
fn read_all(topic: &str) -> Batch {
    let settings = SourceSettings { until: Some(Until::Latest), ..source_settings(topic) };
    let mut source = KafkaSource::open(&settings, None, waker().0).expect("a source");
    drain(&mut source)
}

fn drain(source: &mut KafkaSource) -> Batch {
    let mut out = Batch::default();
    wait_for("the end of a bounded read", || source.poll(&mut out).expect("readable") == Polled::Ended);
    out
}

fn values(batch: &Batch) -> Vec<u64> {
    let number = |v: Option<&[u8]>| String::from_utf8_lossy(v.expect("a value")).parse().expect("a number");
    batch.values.iter().map(number).collect()
}

fn sorted(batch: &Batch) -> Vec<u64> {
    let mut values = values(batch);
    values.sort_unstable();
    values
}

fn delete_records(topic: &str, partition: i32, before: i64) {
    let admin = admin();
    let list = PartitionList::new([(topic, partition, before)]);
    // SAFETY: a test's own request; everything is destroyed with the process.
    admin.raw(|rk, options, queue| unsafe {
        let mut delete = sys::rd_kafka_DeleteRecords_new(list.native());
        sys::rd_kafka_DeleteRecords(rk, &mut delete, 1, options, queue);
        sys::rd_kafka_DeleteRecords_destroy(delete);
    });
}
