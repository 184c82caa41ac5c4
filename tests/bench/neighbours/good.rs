//! The well-behaved pipelines, and how long their records take: from when one was to be sent to a source topic, to when it is
//! read from the sink topic, before its commit. A sender that is late does not make it look faster.

use std::thread;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use weir_tests::figures::Figures;
use weir_tests::kafka::{Broker, PATIENCE};
use weir_tests::probe::clock;
use weir_tests::server::Server;

const PIPELINES: usize = 4;
/// Between two records of one pipeline; the pipelines take turns in between.
const APART: Duration = Duration::from_millis(10);

/// See the module.
pub(crate) struct Good<'b> {
    broker: &'b Broker,
    sources: Vec<String>,
    consumer: BaseConsumer,
    round: u32,
}

impl<'b> Good<'b> {
    /// Starts them, and reads what comes out of them from the beginning.
    pub(crate) fn start(server: &Server, broker: &'b Broker) -> Good<'b> {
        let (mut sources, mut sinks) = (Vec::new(), TopicPartitionList::new());
        for _ in 0..PIPELINES {
            let (source, sink) = (broker.topic("good-in", 1), broker.topic("good-out", 1));
            let name = weir_tests::unique("good");
            server.apply(&name, &pipeline(&name, broker.brokers(), &source, &sink));
            server.wait_for(&name, "it runs", |view| view["state"] == "running");
            sinks.add_partition_offset(&sink, 0, Offset::Offset(0)).unwrap();
            sources.push(source);
        }
        let mut config = broker.config();
        config.set("group.id", "bench").set("enable.auto.commit", "false").set("isolation.level", "read_uncommitted");
        let consumer: BaseConsumer = config.create().unwrap();
        consumer.assign(&sinks).unwrap();
        Good { broker, sources, consumer, round: 0 }
    }

    pub(crate) fn what(&self) -> String {
        let rate = Duration::from_secs(1).as_millis() / APART.as_millis();
        format!("{PIPELINES} pipelines from Kafka over an operator to Kafka, {rate} records a second each")
    }

    /// Sends for so long, waits for all of it to come out, and gives back how long each record took.
    pub(crate) fn latencies(&mut self, round: Duration) -> Figures {
        self.round += 1;
        let this = self.round;
        let between = APART / PIPELINES as u32;
        let count = (round.as_nanos() / between.as_nanos()) as u32;
        let begun = clock();
        let (broker, sources) = (self.broker, &self.sources);
        let mut latencies = Figures::default();
        thread::scope(|scope| {
            scope.spawn(move || send(broker, sources, (this, count), |n| begun + between * n));
            let until = begun + round + PATIENCE;
            while latencies.len() < count as usize {
                assert!(clock() < until, "{} of {count} records came out", latencies.len());
                let Some(message) = self.consumer.poll(Duration::from_millis(100)) else { continue };
                let message = message.unwrap();
                let record: serde_json::Value = serde_json::from_slice(message.payload().unwrap()).unwrap();
                assert_eq!(record["round"], this, "every record comes out once, in its own round");
                let due = begun + between * record["n"].as_u64().unwrap() as u32;
                latencies.add_time(clock().saturating_duration_since(due));
            }
        });
        latencies
    }
}

/// Each record when it is due.
fn send(broker: &Broker, topics: &[String], (round, count): (u32, u32), due: impl Fn(u32) -> Instant) {
    let producer: BaseProducer = broker.config().set("linger.ms", "0").create().unwrap();
    for n in 0..count {
        let due = due(n);
        loop {
            let left = due.saturating_duration_since(clock());
            if left.is_zero() {
                break;
            }
            thread::park_timeout(left);
        }
        let value = format!(r#"{{"k":"{}","round":{round},"n":{n}}}"#, n % 100);
        let topic = &topics[n as usize % topics.len()];
        let record = BaseRecord::<(), _>::to(topic).partition(0).payload(&value);
        producer.send(record).map_err(|(error, _)| error).unwrap();
        producer.poll(Duration::ZERO);
    }
    producer.flush(PATIENCE).unwrap();
}

/// Rows go to the broker as they come. Those behind the barrier of a checkpoint are held until its commit, some hundred
/// milliseconds on a busy machine, which would be all that a p99 sees: so checkpoints come as rarely as the broker's longest
/// transaction allows.
fn pipeline(name: &str, brokers: &str, source: &str, sink: &str) -> String {
    format!(
        r#"version = 1
name = "{name}"
[checkpoint]
interval = "10s"
[defaults.kafka]
brokers = "{brokers}"
[sources.records]
type = "kafka"
topic = "{source}"
[nodes.copy]
operator = "identity@0.1.0"
inputs = ["records"]
[sinks.copies]
type = "kafka"
inputs = ["copy"]
topic = "{sink}"
options = {{ "linger.ms" = "0" }}
"#
    )
}
