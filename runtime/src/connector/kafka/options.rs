//! Which properties of librdkafka a pipeline file may name under `options`. Everything else is refused by name: some load
//! libraries or open addresses, others would take the guarantee away.

use std::collections::BTreeMap;

use super::properties::Properties;
use crate::connector::Error;

/// Who takes a property.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Taker {
    Both,
    Consumer,
    Producer,
}

use Taker::{Both, Consumer, Producer};

/// The allow-list.
const ALLOWED: [(&str, Taker); 27] = [
    ("batch.num.messages", Producer),
    ("batch.size", Producer),
    ("broker.address.family", Both),
    ("broker.address.ttl", Both),
    ("check.crcs", Consumer),
    ("client.dns.lookup", Both),
    ("client.id", Both),
    ("client.rack", Both),
    ("compression.level", Producer),
    ("connections.max.idle.ms", Both),
    ("fetch.max.bytes", Consumer),
    ("fetch.min.bytes", Consumer),
    ("fetch.queue.backoff.ms", Consumer),
    ("fetch.wait.max.ms", Consumer),
    ("linger.ms", Producer),
    ("max.partition.fetch.bytes", Consumer),
    ("message.timeout.ms", Producer),
    ("metadata.max.age.ms", Both),
    ("queue.buffering.max.messages", Producer),
    ("queued.max.messages.kbytes", Consumer),
    ("queued.min.messages", Consumer),
    ("receive.message.max.bytes", Both),
    ("request.timeout.ms", Producer),
    ("socket.connection.setup.timeout.ms", Both),
    ("socket.nagle.disable", Both),
    ("socket.timeout.ms", Both),
    ("ssl.endpoint.identification.algorithm", Both),
];

/// Properties that people look for, and where they are set or why they are not.
const ELSEWHERE: [(&str, &str); 17] = [
    ("acks", "weir needs all replicas to acknowledge"),
    ("auto.offset.reset", "set `start`; an offset that is gone stops the pipeline, it never jumps"),
    ("bootstrap.servers", "set `brokers`"),
    ("compression.codec", "set `compression`"),
    ("compression.type", "set `compression`"),
    ("enable.auto.commit", "positions belong to the checkpoint"),
    ("enable.auto.offset.store", "positions belong to the checkpoint"),
    ("enable.idempotence", "the transaction needs it"),
    ("group.id", "the group is `weir-<pipeline>` and shows lag only"),
    ("isolation.level", "sources read committed records only"),
    ("message.max.bytes", "set `limits.record`; the topic's own limit is asked from the broker"),
    ("queue.buffering.max.kbytes", "it follows from the memory budget"),
    ("retry.backoff.ms", "the commit protocol relies on it"),
    ("retry.backoff.max.ms", "the commit protocol relies on it"),
    ("security.protocol", "set `security`"),
    ("transaction.timeout.ms", "set `transaction.timeout`"),
    ("transactional.id", "the id is `weir.<pipeline>.<domain>.a`, for ever"),
];

/// Names that `options` may have, for messages.
pub fn allowed() -> impl Iterator<Item = &'static str> {
    ALLOWED.iter().map(|(name, _)| *name)
}

/// Refuses what is not allowed, by name (V14).
pub fn check(options: &BTreeMap<String, String>) -> Result<(), Error> {
    for name in options.keys() {
        if ALLOWED.iter().any(|(allowed, _)| allowed == name) {
            continue;
        }
        let why = match ELSEWHERE.iter().find(|(other, _)| other == name) {
            Some((_, why)) => (*why).to_owned(),
            None => format!("allowed are {}", allowed().collect::<Vec<_>>().join(", ")),
        };
        return Err(Error::Config(format!("option `{name}` cannot be set: {why}")));
    }
    Ok(())
}

pub(super) fn for_consumer(options: &BTreeMap<String, String>) -> Properties {
    taken_by(options, Consumer)
}

pub(super) fn for_producer(options: &BTreeMap<String, String>) -> Properties {
    taken_by(options, Producer)
}

fn taken_by(options: &BTreeMap<String, String>, taker: Taker) -> Properties {
    let takes = |name: &str| ALLOWED.iter().any(|(n, t)| *n == name && (*t == Both || *t == taker));
    options.iter().filter(|(name, _)| takes(name)).map(|(name, value)| (name.clone(), value.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(name: &str) -> String {
        check(&BTreeMap::from([(name.to_owned(), "x".to_owned())])).expect_err(name).to_string()
    }

    #[test]
    fn what_loads_libraries_or_takes_the_guarantee_away_is_refused_by_name() {
        for name in ["plugin.library.paths", "ssl.engine.location", "sasl.oauthbearer.token.endpoint.url", "debug"] {
            assert!(refusal(name).contains("allowed are batch.num.messages"), "{name}");
        }
        assert_eq!(
            refusal("isolation.level"),
            "option `isolation.level` cannot be set: sources read committed records only"
        );
        assert!(refusal("transactional.id").contains("for ever"));
        assert!(check(&BTreeMap::from([("linger.ms".to_owned(), "20".to_owned())])).is_ok());
    }
}
