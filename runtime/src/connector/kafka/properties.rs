//! The librdkafka properties that follow from the settings, with their defaults. Owns which of them a user may never
//! change; opens nothing.

use super::options;
use super::settings::{Cluster, Domain, RETRY_BACKOFF};

/// Properties in order: a later one wins. Names and values as librdkafka wants them.
pub(super) type Properties = Vec<(String, String)>;

/// For every kind of client.
fn common(cluster: &Cluster) -> Properties {
    let mut properties: Properties = [
        ("client.id", "weir"),
        ("socket.timeout.ms", "15000"),
        ("socket.keepalive.enable", "true"),
        ("reconnect.backoff.ms", "50"),
        ("reconnect.backoff.max.ms", "1000"),
        ("enable.metrics.push", "false"),
        ("log.connection.close", "false"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    let mut set = |name: &str, value: &str| properties.push((name.to_owned(), value.to_owned()));
    set("bootstrap.servers", &cluster.brokers);
    let security = &cluster.security;
    for (name, value) in [
        ("security.protocol", &security.protocol),
        ("sasl.mechanism", &security.mechanism),
        ("sasl.username", &security.username),
        ("sasl.password", &security.password),
    ] {
        if let Some(value) = value {
            set(name, value);
        }
    }
    for (pem, location, value) in [
        ("ssl.ca.pem", "ssl.ca.location", &security.ca),
        ("ssl.certificate.pem", "ssl.certificate.location", &security.cert),
        ("ssl.key.pem", "ssl.key.location", &security.key),
    ] {
        if let Some(value) = value {
            set(if value.contains("-----BEGIN") { pem } else { location }, value);
        }
    }
    properties
}

/// Fetched records that may wait in one reader, as librdkafka counts them.
const FETCHED_KBYTES: usize = 32 << 10;

/// A consumer that is only ever assigned, never subscribed: also the handle for metadata and administration, since it
/// never makes the broker create a topic. Each of the `partitions` that it reads has a queue of its own; together they
/// hold `FETCHED_KBYTES`.
pub(super) fn consumer(cluster: &Cluster, group: &str, partitions: usize) -> Properties {
    let mut properties = common(cluster);
    let queued = (FETCHED_KBYTES / partitions.max(1)).max(256).to_string();
    let defaults = [
        ("group.id", group),
        ("allow.auto.create.topics", "false"),
        ("queued.min.messages", "100000"),
        ("queued.max.messages.kbytes", &queued),
        // With the default of 1,000 a partition whose queue is full is not asked again for a second.
        ("fetch.queue.backoff.ms", "5"),
        ("fetch.wait.max.ms", "20"),
        ("fetch.min.bytes", "1"),
        ("max.partition.fetch.bytes", "4194304"),
        ("check.crcs", "true"),
        ("max.poll.interval.ms", "86400000"),
    ];
    properties.extend(defaults.map(|(name, value)| (name.to_owned(), value.to_owned())));
    properties.extend(options::for_consumer(&cluster.options));
    // Behind the options: these carry the guarantee. Positions come from the snapshot only, and an offset that is gone
    // must be an error, never a jump.
    let locked = [
        ("isolation.level", "read_committed"),
        ("auto.offset.reset", "error"),
        ("enable.auto.commit", "false"),
        ("enable.auto.offset.store", "false"),
        ("enable.partition.eof", "true"),
    ];
    properties.extend(locked.map(|(name, value)| (name.to_owned(), value.to_owned())));
    properties
}

/// The producer of a transactional id. `batch_bytes` is what the smallest sink topic takes in one batch.
pub(super) fn producer(domain: &Domain, id: &str, batch_bytes: usize, message_bytes: usize) -> Properties {
    let mut properties = common(&domain.cluster);
    let timeout = domain.transaction_timeout.as_millis();
    let defaults = [
        // Nobody waits for it: rows are seen at the commit, full batches go at once, and the flush before the commit sends
        // the rest. A short one costs a core: librdkafka has one request a partition under way, and while the next batch
        // is over its time, it asks its sockets in a loop.
        ("linger.ms", (timeout / 4).min(5_000).to_string()),
        ("socket.timeout.ms", timeout.min(15_000).to_string()),
        ("batch.size", batch_bytes.to_string()),
        ("batch.num.messages", "100000".to_owned()),
        ("queue.buffering.max.messages", "1000000".to_owned()),
        ("queue.buffering.max.kbytes", (domain.buffer_bytes / 1024).clamp(1, 2_097_151).to_string()),
        ("message.timeout.ms", timeout.min(60_000).to_string()),
        ("compression.type", domain.compression.clone()),
    ];
    properties.extend(defaults.map(|(name, value)| (name.to_owned(), value)));
    properties.extend(options::for_producer(&domain.cluster.options));
    let locked = [
        ("transactional.id", id.to_owned()),
        ("transaction.timeout.ms", timeout.to_string()),
        ("enable.idempotence", "true".to_owned()),
        ("acks", "all".to_owned()),
        ("max.in.flight", "5".to_owned()),
        ("retry.backoff.ms", RETRY_BACKOFF.as_millis().to_string()),
        ("retry.backoff.max.ms", "1000".to_owned()),
        ("message.max.bytes", message_bytes.to_string()),
        // Success needs no report: what is outstanding is counted by librdkafka, and `flush` waits for it.
        ("delivery.report.only.error", "true".to_owned()),
    ];
    properties.extend(locked.map(|(name, value)| (name.to_owned(), value)));
    properties
}

#[cfg(test)]
mod tests {
    use super::super::settings::Security;
    use super::*;

    fn last<'a>(properties: &'a Properties, name: &str) -> Option<&'a str> {
        properties.iter().rev().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    #[test]
    fn a_full_queue_is_asked_again_soon_and_positions_never_jump() {
        let properties = consumer(&Cluster::at("b:9092"), "weir-p", 1);
        assert_eq!(last(&properties, "fetch.queue.backoff.ms"), Some("5"));
        assert_eq!(last(&properties, "queued.max.messages.kbytes"), Some("32768"));
        assert_eq!(last(&properties, "auto.offset.reset"), Some("error"));
        assert_eq!(last(&properties, "isolation.level"), Some("read_committed"));
        assert_eq!(last(&properties, "bootstrap.servers"), Some("b:9092"));
    }

    #[test]
    fn options_win_over_defaults_and_never_over_what_carries_the_guarantee() {
        let mut cluster = Cluster::at("b:9092");
        for (name, value) in [("linger.ms", "7"), ("fetch.min.bytes", "65536"), ("acks", "0")] {
            cluster.options.insert(name.into(), value.into());
        }
        let producer = producer(&Domain::new(cluster.clone(), "p", vec![]), "weir.p.0.a", 1_000_000, 1_000_000);
        assert_eq!(last(&producer, "linger.ms"), Some("7"));
        assert_eq!(last(&producer, "fetch.min.bytes"), None);
        assert_eq!(last(&producer, "acks"), Some("all"));
        assert_eq!(last(&consumer(&cluster, "g", 1), "fetch.min.bytes"), Some("65536"));
    }

    #[test]
    fn pem_text_and_paths_are_told_apart_and_secrets_are_not_printed() {
        let security = Security {
            ca: Some("/etc/ca.pem".into()),
            key: Some("-----BEGIN PRIVATE KEY-----".into()),
            password: Some("hunter2".into()),
            ..Security::default()
        };
        assert!(!format!("{security:?}").contains("hunter2"));
        let properties = consumer(&Cluster { security, ..Cluster::at("b") }, "g", 1);
        assert_eq!(last(&properties, "ssl.ca.location"), Some("/etc/ca.pem"));
        assert!(last(&properties, "ssl.key.pem").is_some());
        assert_eq!(last(&properties, "ssl.key.location"), None);
    }
}
