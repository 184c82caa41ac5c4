//! A real Kafka as a test sees it: topics of its own, records in, rows out under either isolation. It owns brokers that a
//! test started for itself, never the run's broker, which `make test` starts and stops. What weir does with Kafka is
//! not here: the harness uses librdkafka's plain clients so that a fault of weir's own is not repeated by its judge.

mod broker;
mod reader;
mod record;

pub use broker::Broker;
pub use reader::{Isolation, Reader};
pub use record::{Record, Row};

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

/// Longer than anything a healthy broker does on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

impl Broker {
    /// A client's settings: this broker and nothing else.
    pub fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.brokers());
        config
    }

    /// Creates a topic whose name no other test has, and returns the name.
    #[track_caller]
    pub fn topic(&self, stem: &str, partitions: i32) -> String {
        let name = crate::unique(stem);
        self.create_topic(&name, partitions, &[]);
        name
    }

    /// Creates a topic with this name and these settings, and waits until clients see it.
    #[track_caller]
    pub fn create_topic(&self, name: &str, partitions: i32, settings: &[(&str, &str)]) {
        let mut topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
        for (key, value) in settings {
            topic = topic.set(key, value);
        }
        let created = block_on(self.admin().create_topics([&topic], &options())).expect("the broker answers");
        assert_all_done("create topic", created);
        let consumer = self.consumer(Isolation::Uncommitted);
        crate::wait::wait_until(PATIENCE, "a new topic is in the metadata", || {
            partition_count(&consumer, name) == Some(partitions)
        });
    }

    /// Adds partitions to a topic until it has so many, and waits until clients see them.
    #[track_caller]
    pub fn grow_topic(&self, name: &str, partitions: i32) {
        let more = NewPartitions::new(name, partitions as usize);
        let grown = block_on(self.admin().create_partitions([&more], &options())).expect("the broker answers");
        assert_all_done("add partitions to", grown);
        let consumer = self.consumer(Isolation::Uncommitted);
        crate::wait::wait_until(PATIENCE, "new partitions are in the metadata", || {
            partition_count(&consumer, name) == Some(partitions)
        });
    }

    /// Deletes a topic.
    #[track_caller]
    pub fn delete_topic(&self, name: &str) {
        let deleted = block_on(self.admin().delete_topics(&[name], &options())).expect("the broker answers");
        assert_all_done("delete topic", deleted);
    }

    /// Removes the records of a partition below an offset, as retention does.
    #[track_caller]
    pub fn delete_records(&self, topic: &str, partition: i32, below: i64) {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Offset(below)).expect("an offset in range");
        let left = block_on(self.admin().delete_records(&list, &options())).expect("the broker answers");
        for element in left.elements() {
            element.error().unwrap_or_else(|error| panic!("delete records of {topic}/{partition}: {error}"));
        }
    }

    /// Whether the topic exists.
    pub fn has_topic(&self, name: &str) -> bool {
        partition_count(&self.consumer(Isolation::Uncommitted), name).is_some()
    }

    /// Appends records, in order within each partition, and waits until the broker has all of them.
    #[track_caller]
    pub fn produce(&self, topic: &str, records: impl IntoIterator<Item = Record>) {
        let producer: BaseProducer = self
            .config()
            .set("enable.idempotence", "true")
            .set("partitioner", "murmur2_random")
            .set("linger.ms", "5")
            .create()
            .expect("a producer with these settings");
        for record in records {
            let mut pending = record.to_produce(topic);
            // The queue of the client is bounded: serve its reports until there is room.
            while let Err((error, back)) = producer.send(pending) {
                assert!(
                    matches!(error, KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull)),
                    "produce to {topic}: {error}"
                );
                pending = back;
                producer.poll(Duration::from_millis(10));
            }
        }
        producer.flush(PATIENCE).unwrap_or_else(|error| panic!("produce to {topic}: {error}"));
    }

    /// Everything in a topic up to the end that this isolation sees now, in offset order within each partition. A commit
    /// is answered before its markers are written: for what must be committed, wait with
    /// [`Broker::wait_until_no_open_transaction`] first.
    #[track_caller]
    pub fn read(&self, topic: &str, isolation: Isolation) -> Vec<Row> {
        self.reader(topic, isolation).read_to_end().to_vec()
    }

    /// A reader that keeps its place, for following a topic.
    #[track_caller]
    pub fn reader(&self, topic: &str, isolation: Isolation) -> Reader {
        let consumer = self.consumer(isolation);
        let partitions = partition_count(&consumer, topic).unwrap_or_else(|| panic!("no topic {topic}"));
        Reader::new(consumer, topic, partitions)
    }

    /// Per partition the end that this isolation sees: the high watermark, or the last stable offset.
    #[track_caller]
    pub fn ends(&self, topic: &str, isolation: Isolation) -> Vec<i64> {
        let consumer = self.consumer(isolation);
        let partitions = partition_count(&consumer, topic).unwrap_or_else(|| panic!("no topic {topic}"));
        // A topic that was just made has no leader for a moment.
        let end = |partition| {
            let ends = || consumer.fetch_watermarks(topic, partition, PATIENCE).ok();
            crate::wait::wait_for(PATIENCE, "the broker answers", ends).1
        };
        (0..partitions).map(end).collect()
    }

    /// The partitions in which a transaction is open: the last stable offset is below the high watermark.
    #[track_caller]
    pub fn open_transactions(&self, topic: &str) -> Vec<i32> {
        // Order: the stable end is asked first. Were it asked second, a commit in between could hide an open one; this
        // way round a running producer may show one that has just ended, so callers stop it or wait.
        let stable = self.ends(topic, Isolation::Committed);
        let high = self.ends(topic, Isolation::Uncommitted);
        stable.iter().zip(&high).zip(0..).filter(|((stable, high), _)| stable < high).map(|(_, p)| p).collect()
    }

    /// Waits until no transaction is open in the topic.
    #[track_caller]
    pub fn wait_until_no_open_transaction(&self, topic: &str, deadline: Duration) {
        let what = format!("no open transaction in {topic}");
        crate::wait::wait_until(deadline, &what, || self.open_transactions(topic).is_empty());
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        self.config().create().expect("an admin client with these settings")
    }

    fn consumer(&self, isolation: Isolation) -> BaseConsumer {
        self.config()
            // Mandatory even for a consumer that only assigns; nothing is ever committed under it.
            .set("group.id", "weir-tests")
            .set("enable.auto.commit", "false")
            .set("isolation.level", isolation.level())
            .set("auto.offset.reset", "earliest")
            .set("enable.partition.eof", "true")
            .set("fetch.wait.max.ms", "20")
            .create()
            .expect("a consumer with these settings")
    }
}

impl Record {
    fn to_produce<'a>(&'a self, topic: &'a str) -> BaseRecord<'a, [u8], [u8]> {
        let mut record = BaseRecord::to(topic);
        record.key = self.key.as_deref();
        record.payload = self.value.as_deref();
        record.partition = self.partition;
        record.timestamp = self.time;
        record
    }
}

fn partition_count(consumer: &BaseConsumer, topic: &str) -> Option<i32> {
    let metadata = consumer.fetch_metadata(Some(topic), PATIENCE).expect("the broker answers");
    let found = metadata.topics().iter().find(|found| found.name() == topic && found.error().is_none())?;
    (!found.partitions().is_empty()).then(|| found.partitions().len() as i32)
}

fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(PATIENCE)).operation_timeout(Some(PATIENCE))
}

fn assert_all_done(what: &str, results: Vec<Result<String, (String, RDKafkaErrorCode)>>) {
    for result in results {
        if let Err((name, code)) = result {
            panic!("{what} {name}: {code}");
        }
    }
}

/// librdkafka's admin calls are futures that its own thread completes; they need no reactor.
fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime without a reactor").block_on(future)
}
