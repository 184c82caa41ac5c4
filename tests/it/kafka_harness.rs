//! The harness proved on the real broker: what it says about topics, transactions and held frames is what Kafka does.
//! Without this, a test of weir that sees nothing wrong might only be looking the wrong way.

use std::time::Duration;

use rdkafka::producer::DefaultProducerContext;
use rdkafka::producer::{BaseRecord, Producer, ThreadedProducer};
use weir_tests::kafka::{Broker, Isolation, PATIENCE, Record};
use weir_tests::proxy::{Act, Api, Client, Detail, ErrorCode, Proxy, Side};
use weir_tests::unique;
use weir_tests::wait::wait_until;

type TransactionalProducer = ThreadedProducer<DefaultProducerContext>;

#[test]
fn records_come_back_with_partition_key_value_and_time() {
    let broker = Broker::of_this_run();
    let topic = broker.topic("harness-round-trip", 2);
    let records = [
        Record::new("a").key("k").partition(1).time(1_700_000_000_000),
        Record { partition: Some(1), time: Some(5), ..Record::default() },
        Record::new("").key("").partition(0).time(6),
    ];
    broker.produce(&topic, records.clone());

    let mut reader = broker.reader(&topic, Isolation::Committed);
    let mut rows = reader.read_to_end().to_vec();
    rows.sort_by_key(|row| (-row.partition, row.offset));
    for (row, record) in rows.iter().zip(&records) {
        assert_eq!((&row.key, &row.value, row.time), (&record.key, &record.value, record.time));
    }
    assert_eq!(rows.len(), 3);

    broker.produce(&topic, [Record::new("b").partition(0)]);
    assert_eq!(reader.read_to_end().len(), 4, "a reader goes on where it stood");
    broker.delete_records(&topic, 1, 1);
    assert_eq!(broker.read(&topic, Isolation::Committed).len(), 3, "what retention removed is not there");
}

#[test]
fn open_transaction_is_seen_and_hidden_from_committed_readers() {
    let broker = Broker::of_this_run();
    let topic = broker.topic("harness-open", 1);
    let producer = transactional(broker.brokers(), &unique("harness"), "harness");
    begin_with_row(&producer, &topic, "1");
    assert_eq!(broker.open_transactions(&topic), [0]);
    assert_eq!(broker.read(&topic, Isolation::Committed).len(), 0);
    assert_eq!(broker.read(&topic, Isolation::Uncommitted).len(), 1);

    producer.commit_transaction(PATIENCE).unwrap();
    expect_committed(&topic, &["1"]);
}

#[test]
fn held_commit_of_a_fenced_producer_is_rejected_when_it_arrives() {
    let topic = Broker::of_this_run().topic("harness-fenced", 1);
    let id = unique("harness-fenced");
    let (client, first) = through_proxy(&id, "first");
    client.on_nth(1, Api::END_TXN, Side::Request, Act::Hold);
    begin_with_row(&first, &topic, "of the first");
    commit_in_vain(&first);
    let held = client.wait_for_held(PATIENCE);
    drop(first);

    // The successor's init_transactions aborts the open transaction and takes the id.
    let (_, second) = through_proxy(&id, "second");
    held.release();
    client.wait_for(PATIENCE, "the late commit is answered", |entry| {
        matches!(entry.detail, Some(Detail::EndTxnAnswer { .. }))
    });
    let errors = client.errors(Api::END_TXN);
    assert!(errors.iter().all(|error| error.is_fenced()), "{errors:?}\n{:#?}", client.log());

    begin_with_row(&second, &topic, "of the second");
    second.commit_transaction(PATIENCE).unwrap();
    expect_committed(&topic, &["of the second"]);
}

#[test]
fn held_commit_that_arrives_before_any_successor_commits() {
    let topic = Broker::of_this_run().topic("harness-late", 1);
    let (client, producer) = through_proxy(&unique("harness-late"), "only");
    client.on_nth(1, Api::END_TXN, Side::Request, Act::Hold);
    begin_with_row(&producer, &topic, "late");
    commit_in_vain(&producer);
    let held = client.wait_for_held(PATIENCE);
    drop(producer);
    assert_eq!(committed(&topic), [""; 0]);

    held.release();
    // The client is gone: only because the proxy kept its connection open does the broker hear of the commit at all.
    wait_until(PATIENCE, "the late commit has committed", || committed(&topic) == ["late"]);
    client.wait_for(PATIENCE, "the answer is logged", |entry| {
        entry.detail == Some(Detail::EndTxnAnswer { error: ErrorCode::NONE })
    });
}

#[test]
fn dropped_answer_leaves_the_transaction_committed_and_the_client_asks_again() {
    let topic = Broker::of_this_run().topic("harness-answer", 1);
    let (client, producer) = through_proxy(&unique("harness-answer"), "only");
    client.on_nth(1, Api::END_TXN, Side::Answer, Act::Cut);
    begin_with_row(&producer, &topic, "once");
    producer.commit_transaction(PATIENCE).unwrap();
    expect_committed(&topic, &["once"]);
    let log = client.log();
    let asked = log.iter().filter(|entry| entry.detail.as_ref().is_some_and(Detail::is_commit)).count();
    assert!(asked >= 2, "{log:#?}");
}

#[test]
fn doubled_request_is_answered_twice_and_the_client_does_not_notice() {
    let topic = Broker::of_this_run().topic("harness-double", 1);
    let (client, producer) = through_proxy(&unique("harness-double"), "only");
    client.on_nth(1, Api::END_TXN, Side::Request, Act::Double);
    begin_with_row(&producer, &topic, "once");
    producer.commit_transaction(PATIENCE).unwrap();
    wait_until(PATIENCE, "both answers are logged", || client.errors(Api::END_TXN).len() == 2);
    expect_committed(&topic, &["once"]);
}

#[test]
fn injected_copy_of_a_commit_ends_the_next_transaction_of_the_same_epoch() {
    // Why weir takes its id anew after a commit that may have been sent twice: librdkafka's EndTxn says nothing about
    // which transaction it ends.
    let topic = Broker::of_this_run().topic("harness-inject", 1);
    let (client, producer) = through_proxy(&unique("harness-inject"), "only");
    client.on_nth(1, Api::END_TXN, Side::Request, Act::Copy);
    begin_with_row(&producer, &topic, "whole");
    producer.commit_transaction(PATIENCE).unwrap();
    let copy = client.wait_for_held(PATIENCE);

    begin_with_row(&producer, &topic, "half");
    copy.inject().unwrap();
    wait_until(PATIENCE, "the copy is answered", || client.errors(Api::END_TXN).len() == 2);
    assert_eq!(client.errors(Api::END_TXN), [ErrorCode::NONE; 2]);
    expect_committed(&topic, &["whole", "half"]);
}

#[test]
fn broker_of_a_tests_own_comes_back_where_it_was_with_its_data() {
    let mut broker = Broker::start();
    let topic = broker.topic("harness-own", 1);
    broker.produce(&topic, [Record::new("kept")]);
    let brokers = broker.brokers().to_owned();
    broker.kill9();
    broker.start_again();
    assert_eq!(broker.brokers(), brokers);
    let rows = broker.read(&topic, Isolation::Committed);
    assert_eq!(rows.iter().map(|row| row.value_text()).collect::<Vec<_>>(), ["kept"]);
}

fn through_proxy(id: &str, attempt: &str) -> (Client, TransactionalProducer) {
    let proxy = Proxy::of_this_run();
    let client = proxy.client(&format!("{id}/{attempt}"));
    let producer = transactional(proxy.address(), id, client.id());
    (client, producer)
}

fn transactional(brokers: &str, transactional_id: &str, client_id: &str) -> TransactionalProducer {
    let producer: TransactionalProducer = Broker::of_this_run()
        .config()
        .set("bootstrap.servers", brokers)
        .set("client.id", client_id)
        .set("transactional.id", transactional_id)
        .set("transaction.timeout.ms", "60000")
        .set("linger.ms", "0")
        .create()
        .unwrap();
    producer.init_transactions(PATIENCE).unwrap();
    producer
}

/// Begins a transaction and returns when the broker has its row.
fn begin_with_row(producer: &TransactionalProducer, topic: &str, value: &str) {
    producer.begin_transaction().unwrap();
    producer.send(BaseRecord::<[u8], [u8]>::to(topic).payload(value.as_bytes())).map_err(|(error, _)| error).unwrap();
    producer.flush(PATIENCE).unwrap();
}

/// Sends a commit that the proxy keeps, and does not wait long for its answer.
fn commit_in_vain(producer: &TransactionalProducer) {
    producer.commit_transaction(Duration::from_millis(300)).unwrap_err();
}

/// A commit is answered once it is decided; its markers reach the partitions a moment later.
#[track_caller]
fn expect_committed(topic: &str, values: &[&str]) {
    Broker::of_this_run().wait_until_no_open_transaction(topic, PATIENCE);
    assert_eq!(committed(topic), values);
}

fn committed(topic: &str) -> Vec<String> {
    let rows = Broker::of_this_run().read(topic, Isolation::Committed);
    rows.iter().map(|row| row.value_text()).collect()
}
