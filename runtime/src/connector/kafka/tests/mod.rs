//! The connector against a real broker (`WEIR_TEST_BROKERS`, see `tests/kafka/`). What librdkafka's mock can prove is in
//! `mock_tests`. Each test has topics and a pipeline of its own.

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
use super::settings::Source as SourceSettings;
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
    SourceSettings {
        cluster: cluster(),
        pipeline: "reader".into(),
        topics: Topics::Named(vec![topic.into()]),
        start: Start::Earliest,
        until: None,
    }
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

#[test]
fn rows_come_back_as_they_were_written_null_and_empty_apart() {
    let topic = topic("roundtrip", 1, &[]);
    let domain = domain("roundtrip", &[&topic]);
    let mut attempt = start(&domain, "n1");
    let mut sink = sink(&attempt, &topic);
    let mut rows = Batch::default();
    type Item = Option<&'static [u8]>;
    let cases: [(Item, Item, Item, i64); 5] = [
        (
            Some(b"k"),
            Some(b"v"),
            Some(b"\x01\x00h\x01\x00\x00\x00x\x01\x00n\xff\xff\xff\xff\x00\x00\x00\x00\x00\x00"),
            1_000,
        ),
        (None, Some(b"no key"), None, 2_000),
        (Some(b""), Some(b""), None, 3_000),
        (Some(b"tombstone"), None, None, 4_000),
        (Some(b"k"), Some(b"last"), Some(b"\x01\x00z\x00\x00\x00\x00"), 5_000),
    ];
    for (key, value, headers, time) in cases {
        rows.times.push(time);
        rows.keys.push(key);
        rows.values.push(value);
        rows.headers.push(headers);
    }
    attempt.authority.begin().expect("begun");
    write(&mut sink, &rows);
    attempt.authority.flush().expect("acknowledged");
    attempt.authority.mark(&commit(1, attempt.token)).expect("marked");
    committed(attempt.authority.commit());
    let mut back = Batch::default();
    wait_for("the rows", || {
        back = read_all(&topic);
        back.len() == rows.len()
    });
    assert_eq!((&back.keys, &back.values, &back.headers), (&rows.keys, &rows.values, &rows.headers));
    assert_eq!(back.times, rows.times);
    assert_eq!(back.origin(4), Some((0, 4)));
}

#[test]
fn rows_are_invisible_until_their_transaction_commits() {
    let topic = topic("invisible", 2, &[]);
    let domain = domain("invisible", &[&topic]);
    let mut attempt = start(&domain, "n1");
    let mut sink = sink(&attempt, &topic);
    attempt.authority.begin().expect("begun");
    write(&mut sink, &rows(0..100));
    attempt.authority.flush().expect("acknowledged");
    assert_eq!(read_all(&topic).len(), 0);
    attempt.authority.mark(&commit(1, attempt.token)).expect("marked");
    committed(attempt.authority.commit());
    wait_for("the rows", || sorted(&read_all(&topic)) == (0..100).collect::<Vec<_>>());
}

#[test]
fn resolve_sees_what_was_committed_and_nothing_of_an_open_transaction() {
    let topic = topic("resolve", 1, &[]);
    let domain = domain("resolve", &[&topic]);
    let mut first = start(&domain, "n1");
    assert!(first.resolved.commit.is_none() && first.resolved.claim_before.is_none());
    for epoch in 1..=2 {
        first.authority.begin().expect("begun");
        first.authority.mark(&commit(epoch, first.token)).expect("marked");
        committed(first.authority.commit());
    }
    first.authority.begin().expect("begun");
    first.authority.mark(&commit(3, first.token)).expect("marked");

    let second = start(&domain, "n2");
    assert_eq!(second.resolved.commit.as_ref().map(|c| c.epoch), Some(Epoch(2)));
    let (token, before) = second.resolved.claim_before.clone().expect("the first claim");
    assert_eq!((token, before.nonce.as_str()), (first.token, "n1"));
    assert!(second.token > first.token && !second.resolved.claim_above);
    // The first one is not deposed by being told so: it finds out.
    assert!(matches!(first.authority.commit(), Outcome::Unknown(_)));
}

#[test]
fn a_zombie_cannot_commit_and_learns_that_another_owns_the_pipeline() {
    let topic = topic("zombie", 2, &[]);
    let domain = domain("zombie", &[&topic]);
    let mut zombie = start(&domain, "old");
    let mut sink_of_zombie = sink(&zombie, &topic);
    zombie.authority.begin().expect("begun");
    write(&mut sink_of_zombie, &rows(0..10));
    zombie.authority.flush().expect("acknowledged");
    zombie.authority.mark(&commit(1, zombie.token)).expect("marked");

    let mut owner = start(&domain, "new");
    let mut sink_of_owner = sink(&owner, &topic);
    owner.authority.begin().expect("begun");
    write(&mut sink_of_owner, &rows(100..110));

    assert!(matches!(zombie.authority.commit(), Outcome::Unknown(_)));
    assert!(matches!(zombie.authority.begin(), Err(Error::Fenced(_))));
    owner.authority.flush().expect("acknowledged");
    owner.authority.mark(&commit(1, owner.token)).expect("marked");
    committed(owner.authority.commit());
    wait_for("the owner's rows", || sorted(&read_all(&topic)) == (100..110).collect::<Vec<_>>());
    let peek = owner.authority.peek().expect("a look");
    assert_eq!(peek.claim.map(|c| c.nonce), Some("new".into()));
}

#[test]
fn a_transaction_that_timed_out_is_transient_and_loses_nothing_that_was_committed() {
    let topic = topic("timeout", 1, &[]);
    let mut domain = domain("timeout", &[&topic]);
    domain.transaction_timeout = Duration::from_secs(2);
    domain.checkpoint_timeout = Duration::from_millis(500);
    domain.checkpoint_interval = Duration::from_millis(100);
    domain.margin = Duration::from_millis(100);
    let mut attempt = start(&domain, "n1");
    let mut sink = sink(&attempt, &topic);
    attempt.authority.begin().expect("begun");
    write(&mut sink, &rows(0..5));
    attempt.authority.flush().expect("acknowledged");
    wait_for("the coordinator to give the transaction up", || {
        list_transactions(&domain).expect("a listing").held.is_empty()
    });
    let outcome = match attempt.authority.mark(&commit(1, attempt.token)) {
        Ok(()) => attempt.authority.commit(),
        Err(Error::Transient(reason)) => Outcome::Unknown(reason),
        Err(other) => panic!("{other}"),
    };
    assert!(matches!(outcome, Outcome::Unknown(_)), "{outcome:?}");
    assert!(matches!(attempt.authority.begin(), Err(Error::Transient(_))));
    let again = start(&domain, "n2");
    assert!(again.resolved.commit.is_none());
    assert_eq!(read_all(&topic).len(), 0);
}

#[test]
fn rows_behind_a_barrier_belong_to_the_next_transaction_and_keep_their_order() {
    let topic = topic("hold", 1, &[]);
    let domain = domain("hold", &[&topic]);
    let mut attempt = start(&domain, "n1");
    let mut sink = sink(&attempt, &topic);
    attempt.authority.begin().expect("begun");
    write(&mut sink, &rows(0..50));
    sink.on_barrier(Epoch(1)).expect("a barrier");
    write(&mut sink, &rows(50..80));
    attempt.authority.flush().expect("acknowledged");
    attempt.authority.mark(&commit(1, attempt.token)).expect("marked");
    committed(attempt.authority.commit());
    wait_for("epoch 1", || values(&read_all(&topic)) == (0..50).collect::<Vec<_>>());

    attempt.authority.begin().expect("begun");
    sink.on_released(Epoch(1)).expect("released");
    write(&mut sink, &rows(80..100));
    sink.on_barrier(Epoch(2)).expect("a barrier");
    attempt.authority.flush().expect("acknowledged");
    attempt.authority.mark(&commit(2, attempt.token)).expect("marked");
    committed(attempt.authority.commit());
    wait_for("epoch 2", || values(&read_all(&topic)) == (0..100).collect::<Vec<_>>());
}

#[test]
fn sinks_follow_to_the_producer_of_a_re_claim() {
    let topic = topic("reclaim", 1, &[]);
    let domain = domain("reclaim", &[&topic]);
    let mut attempt = start(&domain, "n1");
    let mut sink = sink(&attempt, &topic);
    attempt.authority.begin().expect("begun");
    write(&mut sink, &rows(0..10));
    sink.on_barrier(Epoch(1)).expect("a barrier");
    attempt.authority.flush().expect("acknowledged");
    attempt.authority.mark(&commit(1, attempt.token)).expect("marked");
    committed(attempt.authority.commit());
    write(&mut sink, &rows(10..20));

    let ids = vec![domain.transactional_id()];
    attempt.authority.fence(&ids).expect("fenced again");
    committed(attempt.authority.claim(&claim("n2", ids)));
    let resolved = attempt.authority.resolve("n2").expect("resolved");
    assert_eq!(resolved.claim_before.map(|(token, c)| (token, c.nonce)), Some((attempt.token, "n1".into())));
    assert_eq!(resolved.commit.map(|c| c.epoch), Some(Epoch(1)));

    attempt.authority.begin().expect("begun");
    sink.on_released(Epoch(1)).expect("released");
    attempt.authority.flush().expect("acknowledged");
    attempt.authority.mark(&commit(2, attempt.token)).expect("marked");
    committed(attempt.authority.commit());
    wait_for("all rows", || values(&read_all(&topic)) == (0..20).collect::<Vec<_>>());
}

#[test]
fn a_full_producer_takes_fewer_rows_and_wakes_its_sink_when_there_is_room() {
    let topic = topic("full", 1, &[]);
    let mut domain = domain("full", &[&topic]);
    domain.cluster.options.insert("queue.buffering.max.messages".into(), "100".into());
    domain.cluster.options.insert("linger.ms".into(), "50".into());
    let mut attempt = start(&domain, "n1");
    let (waker, woken) = waker();
    let mut sink = KafkaSink::new(Arc::clone(&attempt.producer), &topic, 1 << 20, 64 << 20, waker).expect("a sink");
    attempt.authority.begin().expect("begun");
    let rows = rows(0..1_000);
    let mut from = 0;
    while from < rows.len() {
        let taken = sink.write(&rows, from..rows.len()).expect("writable");
        from += taken;
        if from < rows.len() {
            assert!(taken <= 100, "{taken}");
            woken.recv_timeout(PATIENCE).expect("woken");
        }
    }
    attempt.authority.flush().expect("acknowledged");
    attempt.authority.mark(&commit(1, attempt.token)).expect("marked");
    committed(attempt.authority.commit());
    wait_for("all rows", || values(&read_all(&topic)) == (0..1_000).collect::<Vec<_>>());
}

#[test]
fn a_row_that_the_topic_would_refuse_is_blamed_and_those_before_it_are_taken() {
    let topic = topic("blame", 1, &[("max.message.bytes", "5000")]);
    let domain = domain("blame", &[&topic]);
    let mut attempt = start(&domain, "n1");
    let mut sink = sink(&attempt, &topic);
    attempt.authority.begin().expect("begun");
    let mut rows = rows(0..3);
    rows.times.push(0);
    rows.keys.push(Some(b"k"));
    rows.values.push(Some(&[b'x'; 6_000]));
    // The year 3000: brokers of today refuse what is more than an hour ahead.
    rows.times.push(32_503_680_000_000);
    rows.keys.push(Some(b"k"));
    rows.values.push(Some(b"far"));
    match sink.write(&rows, 0..5) {
        Err(Error::Record { slot: 3, message }) => assert!(message.contains("6001 bytes"), "{message}"),
        other => panic!("{other:?}"),
    }
    match sink.write(&rows, 4..5) {
        Err(Error::Record { slot: 4, message }) => assert!(message.contains("ahead of the clock"), "{message}"),
        other => panic!("{other:?}"),
    }
    attempt.authority.flush().expect("acknowledged");
    attempt.authority.mark(&commit(1, attempt.token)).expect("marked");
    committed(attempt.authority.commit());
    wait_for("the good rows", || values(&read_all(&topic)) == [0, 1, 2]);
}

/// Fills a topic in `epochs` transactions of 10 rows each.
fn fill(topic: &str, epochs: u64) {
    let domain = domain("fill", &[topic]);
    let mut attempt = start(&domain, "n");
    let mut sink = sink(&attempt, topic);
    for epoch in 0..epochs {
        attempt.authority.begin().expect("begun");
        write(&mut sink, &rows(epoch * 10..epoch * 10 + 10));
        attempt.authority.flush().expect("acknowledged");
        attempt.authority.mark(&commit(epoch + 1, attempt.token)).expect("marked");
        committed(attempt.authority.commit());
    }
    wait_for("the commit markers", || list_transactions(&domain).expect("a listing").held.is_empty());
}

#[test]
fn a_bounded_read_ends_behind_the_control_record_that_ends_the_partition() {
    let topic = topic("bounded", 1, &[]);
    fill(&topic, 3);
    let settings = SourceSettings { until: Some(Until::Latest), ..source_settings(&topic) };
    let mut source = KafkaSource::open(&settings, None, waker().0).expect("a source");
    // Rows after the end was fixed are not part of it.
    fill(&topic, 1);
    assert_eq!(values(&drain(&mut source)), (0..30).collect::<Vec<_>>());
    let split = &source.splits()[0];
    // 30 rows and 3 control records.
    assert_eq!((split.position, split.end), (33, Some(33)));
    assert_eq!(split.split, format!("{topic}/0"));
}

#[test]
fn a_bounded_read_of_an_empty_topic_ends_at_once() {
    let topic = topic("empty", 3, &[]);
    assert_eq!(read_all(&topic).len(), 0);
}

#[test]
fn reading_goes_on_exactly_where_the_snapshot_stood() {
    let topic = topic("restore", 1, &[]);
    fill(&topic, 4);
    let settings = SourceSettings { until: Some(Until::Latest), ..source_settings(&topic) };
    let mut source = KafkaSource::open(&settings, None, waker().0).expect("a source");
    let mut before = Batch::default();
    wait_for("rows", || {
        source.poll(&mut before).expect("readable");
        !before.is_empty()
    });
    let positions = positions(&source);
    assert!(positions.splits[0].position > 0);
    source.on_committed(&positions);
    drop(source);
    let mut again = KafkaSource::open(&settings, Some(&positions), waker().0).expect("a source");
    let after = drain(&mut again);
    let all: Vec<u64> = values(&before).into_iter().chain(values(&after)).collect();
    assert_eq!(all, (0..40).collect::<Vec<_>>());

    let other = SourcePositions { identity: "kafka:other".into(), ..positions };
    let refused = KafkaSource::open(&settings, Some(&other), waker().0).err().expect("another topic");
    assert!(matches!(&refused, Error::Config(said) if said.contains("kafka:other")), "{refused}");
}

#[test]
fn reading_begins_where_the_settings_say_and_new_partitions_from_their_first_record() {
    let topic = topic("start", 2, &[]);
    let domain = domain("start", &[&topic]);
    let mut attempt = start(&domain, "n1");
    let mut sink = sink(&attempt, &topic);
    attempt.authority.begin().expect("begun");
    let mut rows = rows(0..20);
    rows.partitions = (0..20).map(|i| i % 2).collect();
    write(&mut sink, &rows);
    attempt.authority.flush().expect("acknowledged");
    attempt.authority.mark(&commit(1, attempt.token)).expect("marked");
    committed(attempt.authority.commit());
    wait_for("the commit markers", || list_transactions(&domain).expect("a listing").held.is_empty());

    let stand = |start, until| {
        let settings = SourceSettings { start, until, ..source_settings(&topic) };
        let source = KafkaSource::open(&settings, None, waker().0).expect("a source");
        source.splits().iter().map(|s| (s.position, s.end)).collect::<Vec<_>>()
    };
    // Ten rows and a control record in each partition.
    assert_eq!(stand(Start::Earliest, None), [(0, None); 2]);
    assert_eq!(stand(Start::Latest, Some(Until::Latest)), [(11, Some(11)); 2]);
    let at = |i: i64| 1_700_000_000_000 + i;
    assert_eq!(stand(Start::Timestamp(at(5)), Some(Until::Timestamp(at(9)))), [(3, Some(5)), (2, Some(4))]);

    let split = SplitPosition { split: format!("{topic}/1"), position: 8, end: None, largest_time: None };
    let known = SourcePositions { identity: format!("kafka:{topic}"), splits: vec![split], watermark: 0 };
    let settings = SourceSettings { start: Start::Latest, ..source_settings(&topic) };
    let mut source = KafkaSource::open(&settings, Some(&known), waker().0).expect("a source");
    let found: Vec<_> = source.splits().into_iter().map(|s| (s.split, s.position)).collect();
    assert_eq!(found, [(format!("{topic}/1"), 8), (format!("{topic}/0"), 0)]);
    let mut out = Batch::default();
    wait_for("the rows", || {
        source.poll(&mut out).expect("readable");
        out.len() == 12
    });
    // Origins name splits by their index in this order, partitions by their number.
    assert!(out.origins.iter().all(|run| (run.split, run.partition) == (0, 1) || (run.split, run.partition) == (1, 0)));
}

#[test]
fn committed_positions_show_as_lag_of_the_group_and_are_never_read() {
    let topic = topic("group", 1, &[]);
    fill(&topic, 1);
    let mut settings = source_settings(&topic);
    settings.pipeline = unique("group");
    let mut source = KafkaSource::open(&settings, None, waker().0).expect("a source");
    let positions = SourcePositions { splits: vec![split_at(&topic, 7)], ..positions(&source) };
    source.on_committed(&positions);
    let group = format!("weir-{}", settings.pipeline);
    let client = Client::new(Role::Consumer, &cluster(), &properties::consumer(&cluster(), &group)).expect("a client");
    let list = PartitionList::new([(topic.as_str(), 0, 0)]);
    wait_for("the group's offset", || {
        // SAFETY: the list lives for the call.
        unsafe { sys::rd_kafka_committed(client.native(), list.native(), 5_000) };
        list.get(0).0 == 7
    });
    let source = KafkaSource::open(&settings, None, waker().0).expect("a source");
    assert_eq!(source.splits()[0].position, 0);
}

fn split_at(topic: &str, position: i64) -> SplitPosition {
    SplitPosition { split: format!("{topic}/0"), position, end: None, largest_time: None }
}

fn positions(source: &KafkaSource) -> SourcePositions {
    let split = |s: crate::connector::SplitStatus| SplitPosition {
        split: s.split,
        position: s.position,
        end: s.end,
        largest_time: None,
    };
    let splits = source.splits().into_iter().map(split).collect();
    SourcePositions { identity: source.identity(), splits, watermark: 0 }
}

#[test]
fn offsets_that_retention_has_removed_stop_the_pipeline_with_both_offsets() {
    let topic = topic("retention", 1, &[]);
    fill(&topic, 3);
    let at = |position| SourcePositions {
        identity: format!("kafka:{topic}"),
        splits: vec![SplitPosition { split: format!("{topic}/0"), position, end: None, largest_time: None }],
        watermark: 0,
    };
    let refusal = |position| {
        let opened = KafkaSource::open(&source_settings(&topic), Some(&at(position)), waker().0);
        match opened.err() {
            Some(Error::Halt(said)) => said,
            other => panic!("{other:?}"),
        }
    };
    delete_records(&topic, 0, 20);
    let said = refusal(5);
    assert!(said.contains("from offset 5") && said.contains("up to offset 20"), "{said}");
    let said = refusal(500);
    assert!(said.contains("from offset 500") && said.contains("ends at offset 33"), "{said}");

    // While running: what is not fetched yet disappears under the reader.
    let mut settings = source_settings(&topic);
    settings.cluster.options.insert("queued.min.messages".into(), "1".into());
    settings.cluster.options.insert("max.partition.fetch.bytes".into(), "1024".into());
    let busy = self::topic("retention-running", 1, &[]);
    settings.topics = Topics::Named(vec![busy.clone()]);
    fill(&busy, 200);
    let mut source = KafkaSource::open(&settings, None, waker().0).expect("a source");
    let mut out = Batch::default();
    wait_for("a first row", || {
        source.poll(&mut out).expect("readable");
        !out.is_empty()
    });
    delete_records(&busy, 0, 2_150);
    let begun = crate::clock::now();
    let error = loop {
        assert!(begun.elapsed() < PATIENCE, "read {} rows and no error", out.len());
        match source.poll(&mut out) {
            Ok(_) => std::thread::park_timeout(Duration::from_millis(1)),
            Err(error) => break error,
        }
    };
    assert!(matches!(&error, Error::Halt(said) if said.contains("up to offset 2150")), "{error}");
    let read = values(&out);
    assert_eq!(read, (0..read.len() as u64).collect::<Vec<_>>());
}

#[test]
fn a_source_that_was_empty_wakes_its_shard() {
    let topic = topic("wake", 1, &[]);
    let (waker, woken) = waker();
    let mut source = KafkaSource::open(&source_settings(&topic), None, waker).expect("a source");
    let mut out = Batch::default();
    wait_for("the end of the partition", || {
        source.poll(&mut out).expect("readable") == Polled::Empty && source.splits()[0].high_watermark == Some(0)
    });
    while woken.try_recv().is_ok() {}
    fill(&topic, 1);
    woken.recv_timeout(PATIENCE).expect("woken");
    wait_for("the rows", || {
        source.poll(&mut out).expect("readable");
        out.len() == 10
    });
    wait_for("the position behind the control record", || {
        source.poll(&mut out).expect("readable");
        source.splits()[0].position == 11
    });
    // The position at an end is where the next record will be, neither before it nor behind it: librdkafka's own count
    // goes one too far there.
    let positions = positions(&source);
    fill(&topic, 1);
    let settings = SourceSettings { until: Some(Until::Latest), ..source_settings(&topic) };
    let mut again = KafkaSource::open(&settings, Some(&positions), self::waker().0).expect("a source");
    let mut next = Batch::default();
    wait_for("the next row", || {
        again.poll(&mut next).expect("readable");
        next.len() == 10
    });
    assert_eq!((values(&next), next.origin(0)), ((0..10).collect(), Some((0, 11))));
}

#[test]
fn many_partitions_are_read_whole_and_in_order_within_each() {
    let topic = topic("many", 8, &[]);
    let domain = domain("many", &[&topic]);
    let mut attempt = start(&domain, "n1");
    let mut sink = sink(&attempt, &topic);
    attempt.authority.begin().expect("begun");
    let mut rows = rows(0..20_000);
    rows.partitions = (0..20_000).map(|i| i % 8).collect();
    write(&mut sink, &rows);
    attempt.authority.flush().expect("acknowledged");
    attempt.authority.mark(&commit(1, attempt.token)).expect("marked");
    committed(attempt.authority.commit());
    wait_for("the commit markers", || list_transactions(&domain).expect("a listing").held.is_empty());
    let back = read_all(&topic);
    let firsts: Vec<_> =
        (0..8).map(|p| back.origins.iter().find(|r| r.partition == p).map(|r| r.first_offset)).collect();
    assert_eq!((back.len(), firsts), (20_000, vec![Some(0); 8]));
    let numbers = values(&back);
    let mut next = [0i64; 8];
    for (slot, number) in numbers.iter().enumerate() {
        let (partition, offset) = back.origin(slot).expect("an origin");
        assert_eq!((partition as u64, offset), (number % 8, next[partition as usize]));
        next[partition as usize] += 1;
    }
}

#[test]
fn what_is_missing_or_contradicts_is_said_before_anything_starts() {
    let there = topic("preflight", 1, &[]);
    let refusal = |domain: &Domain| open(domain).err().expect("a refusal");

    let absent = domain("preflight", &["no-such-topic"]);
    let error = refusal(&absent);
    let said = error.to_string();
    assert!(
        matches!(error, Error::Config(_)) && said.contains("`no-such-topic`") && said.contains("--create"),
        "{said}"
    );
    let error = KafkaSource::open(&source_settings("no-such-topic"), None, waker().0).err().expect("a refusal");
    assert!(matches!(error, Error::Config(_)), "{error}");

    let mut long = domain("preflight", &[&there]);
    long.transaction_timeout = Duration::from_secs(3_600);
    let error = refusal(&long);
    let said = error.to_string();
    assert!(matches!(error, Error::Config(_)) && said.contains("3600s") && said.contains("900s"), "{said}");

    let mut nobody = domain("preflight", &[&there]);
    nobody.cluster = Cluster { connect_timeout: Some(Duration::from_secs(1)), ..Cluster::at("127.0.0.1:1") };
    let error = refusal(&nobody);
    assert!(matches!(error, Error::Unreachable(_)) && error.to_string().contains("127.0.0.1:1"), "{error}");
}

#[test]
fn a_check_of_rights_leaves_no_trace_and_fences_nobody() {
    let topic = topic("check", 1, &[]);
    let domain = domain("check", &[&topic]);
    let report = check(&domain).expect("a report");
    assert!(report.warnings.iter().any(|line| line.contains("will make the commit topic")), "{report:?}");
    let mut attempt = start(&domain, "n1");
    attempt.authority.begin().expect("begun");
    let report = check(&domain).expect("a report");
    assert_eq!(report.topics[&topic].partitions, 1);
    attempt.authority.mark(&commit(1, attempt.token)).expect("marked");
    committed(attempt.authority.commit());
    let again = start(&domain, "n2");
    assert_eq!(again.resolved.commit.map(|c| c.epoch), Some(Epoch(1)));
}

#[test]
fn a_commit_topic_that_is_not_as_the_protocol_needs_it_is_refused() {
    let there = topic("policy", 1, &[]);
    let with = |partitions: i32, policy: &str| {
        let domain = domain("policy", &[&there]);
        let admin = admin();
        admin.create_topic(&domain.commit_topic(), partitions, 1, &[("cleanup.policy", policy)]).expect("a topic");
        match open(&domain).err() {
            Some(Error::Halt(said)) => said,
            other => panic!("{other:?}"),
        }
    };
    let said = with(1, "delete");
    assert!(said.contains("cleanup.policy=delete"), "{said}");
    let said = with(2, "compact");
    assert!(said.contains("2 partitions") && said.contains("1 domain"), "{said}");
}

#[test]
fn an_open_transaction_is_listed_and_abort_ends_it() {
    let topic = topic("list", 1, &[]);
    let domain = domain("list", &[&topic]);
    let mut attempt = start(&domain, "n1");
    let mut sink = sink(&attempt, &topic);
    attempt.authority.begin().expect("begun");
    write(&mut sink, &rows(0..3));
    attempt.authority.flush().expect("acknowledged");
    let listing = list_transactions(&domain).expect("a listing");
    assert_eq!(listing.owner.map(|c| c.nonce), Some("n1".into()));
    let held = Held { topic: topic.clone(), partition: 0, last_stable_offset: 0, high_watermark: 3 };
    assert_eq!(listing.held, [held]);
    assert_eq!(abort_transactions(&domain).expect("aborted"), [domain.transactional_id()]);
    wait_for("the partition to be free", || list_transactions(&domain).expect("a listing").held.is_empty());
    assert!(matches!(attempt.authority.commit(), Outcome::Unknown(_)));
}
