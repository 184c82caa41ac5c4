//! Topics as other programs make, fill, grow and delete them: without transactions, so offsets are as counted.

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::*;

/// The time of row `n`.
pub(super) fn at(n: i64) -> i64 {
    1_700_000_000_000 + n
}

/// Appends the numbers of a range to a partition, each with its time.
pub(super) fn put(topic: &str, partition: i32, numbers: std::ops::Range<u64>) {
    let producer: BaseProducer = config().set("linger.ms", "1").create().expect("a producer");
    for n in numbers {
        let value = n.to_string();
        let record = BaseRecord::<(), str>::to(topic).partition(partition).payload(&value).timestamp(at(n as i64));
        producer.send(record).map_err(|(error, _)| error).expect("room in the queue");
    }
    producer.flush(PATIENCE).expect("acknowledged");
}

/// Adds partitions until there are so many.
pub(super) fn grow(topic: &str, partitions: usize) {
    let admin: AdminClient<DefaultClientContext> = config().create().expect("an admin client");
    let more = NewPartitions::new(topic, partitions);
    let grown = block_on(admin.create_partitions([&more], &AdminOptions::new())).expect("an answer");
    assert!(grown.iter().all(Result::is_ok), "{grown:?}");
    let admin = self::admin();
    wait_for("new partitions", || admin.topic(topic).expect("metadata").partitions.len() == partitions);
}

/// Deletes a topic.
pub(super) fn delete(topic: &str) {
    let admin: AdminClient<DefaultClientContext> = config().create().expect("an admin client");
    let deleted = block_on(admin.delete_topics(&[topic], &AdminOptions::new())).expect("an answer");
    assert!(deleted.iter().all(Result::is_ok), "{deleted:?}");
    let admin = self::admin();
    wait_for("the topic's end", || admin.topic(topic).expect("metadata").partitions.is_empty());
}

/// Lets a consumer group stand at an offset of partition 0.
pub(super) fn commit_group(group: &str, topic: &str, offset: i64) {
    let consumer: BaseConsumer = config().set("group.id", group).create().expect("a consumer");
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, 0, Offset::Offset(offset)).expect("an offset");
    wait_for("the group", || consumer.commit(&list, CommitMode::Sync).is_ok());
}

fn config() -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers());
    config
}

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(future)
}
