//! Which of librdkafka's properties a user may set under `options`, who takes them, and why the others may not be set: the
//! one list, for the reader of pipeline files, for the Kafka connector and for `docs/kafka.md`. Opens nothing.

/// Which clients take a property.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taker {
    /// Sources and sinks.
    Both,
    /// Sources.
    Source,
    /// Sinks.
    Sink,
}

use Taker::{Both, Sink, Source};

/// What may be set: sizes, waits and network details that change speed and not meaning.
pub const ALLOWED: [(&str, Taker); 27] = [
    ("batch.num.messages", Sink),
    ("batch.size", Sink),
    ("broker.address.family", Both),
    ("broker.address.ttl", Both),
    ("client.dns.lookup", Both),
    ("client.id", Both),
    ("client.rack", Both),
    ("compression.level", Sink),
    ("connections.max.idle.ms", Both),
    ("fetch.max.bytes", Source),
    ("fetch.min.bytes", Source),
    ("fetch.queue.backoff.ms", Source),
    ("fetch.wait.max.ms", Source),
    ("linger.ms", Sink),
    ("max.partition.fetch.bytes", Source),
    ("message.timeout.ms", Sink),
    ("metadata.max.age.ms", Both),
    ("queue.buffering.max.messages", Sink),
    ("queued.max.messages.kbytes", Source),
    ("queued.min.messages", Source),
    ("receive.message.max.bytes", Both),
    ("request.timeout.ms", Sink),
    ("socket.connection.setup.timeout.ms", Both),
    ("socket.keepalive.enable", Both),
    ("socket.nagle.disable", Both),
    ("socket.timeout.ms", Both),
    ("ssl.endpoint.identification.algorithm", Both),
];

/// What people look for and may not set, and why.
const LOCKED: [(&str, &str); 31] = [
    ("acks", "a committed row must be on all replicas in sync"),
    ("auto.commit.enable", "positions belong to the checkpoint"),
    ("auto.offset.reset", "use `start`: after a restore a lost position is an error, never a jump"),
    ("bootstrap.servers", "use `brokers`"),
    ("check.crcs", "damaged batches must be seen"),
    ("compression.codec", "use `compression`"),
    ("compression.type", "use `compression`"),
    ("debug", "use `weir -vv`"),
    ("enable.auto.commit", "positions belong to the checkpoint"),
    ("enable.auto.offset.store", "positions belong to the checkpoint"),
    ("enable.idempotence", "a transaction needs the idempotent producer"),
    ("enable.partition.eof", "`until` rests on it"),
    ("enable.ssl.certificate.verification", "name who signed the broker's certificate: security = { ca = … }"),
    ("group.id", "partitions are assigned, not subscribed: the group only shows the lag"),
    ("isolation.level", "a source always reads read_committed: an aborted row must not enter"),
    ("max.in.flight", "order per partition rests on it"),
    ("max.in.flight.requests.per.connection", "order per partition rests on it"),
    ("message.max.bytes", "use `limits.record`; the topic's own limit is asked from the broker"),
    ("message.send.max.retries", "rows are retried until message.timeout.ms"),
    ("metadata.broker.list", "use `brokers`"),
    ("partitioner", "rows are placed as the Java client does (murmur2), so that topics stay co-partitioned"),
    ("queue.buffering.max.kbytes", "it follows from the memory that weir gives a sink"),
    ("reconnect.backoff.max.ms", "the commit's time-out is computed from it"),
    ("reconnect.backoff.ms", "the commit's time-out is computed from it"),
    ("request.required.acks", "a committed row must be on all replicas in sync"),
    ("retries", "rows are retried until message.timeout.ms"),
    ("retry.backoff.max.ms", "the commit's time-out is computed from it"),
    ("retry.backoff.ms", "the commit's time-out is computed from it"),
    ("statistics.interval.ms", "weir's own metrics are made from it"),
    ("transaction.timeout.ms", "use transaction = { timeout = \"2m\" }"),
    ("transactional.id", "weir's ids are weir.<pipeline>.<domain>.a: fencing rests on them"),
];

/// Who takes it; `None`: it may not be set.
pub fn taker(name: &str) -> Option<Taker> {
    ALLOWED.iter().find(|(allowed, _)| *allowed == name).map(|(_, taker)| *taker)
}

/// Why a property may not be set, where there is more to say than that it is in no list.
pub(super) fn reason(name: &str) -> Option<&'static str> {
    LOCKED.iter().find(|(locked, _)| *locked == name).map(|(_, reason)| *reason)
}

/// All names that may be set.
pub(super) fn names() -> [&'static str; ALLOWED.len()] {
    ALLOWED.map(|(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_loads_libraries_opens_addresses_or_takes_the_guarantee_away_is_in_no_list() {
        for name in ["plugin.library.paths", "ssl.engine.location", "sasl.oauthbearer.token.endpoint.url", "debug"] {
            assert_eq!(taker(name), None, "{name}");
        }
        for (locked, _) in LOCKED {
            assert_eq!(taker(locked), None, "{locked}");
        }
        assert_eq!(taker("linger.ms"), Some(Sink));
    }

    #[test]
    fn the_docs_show_the_same_list() {
        let docs = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/kafka.md")).unwrap();
        for (row, taker) in [("| both | ", Both), ("| sources | ", Source), ("| sinks | ", Sink)] {
            let shown = docs.lines().find_map(|line| line.strip_prefix(row)).unwrap();
            let listed: Vec<String> =
                ALLOWED.iter().filter(|(_, t)| *t == taker).map(|(name, _)| format!("`{name}`")).collect();
            assert_eq!(shown.trim_end_matches(" |"), listed.join(", "), "{row}");
        }
    }
}
