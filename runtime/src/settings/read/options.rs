//! `options = { … }`: which of librdkafka's settings a user may change. What the protocol rests on is refused with the
//! reason; what has a key of its own is sent there; anything else is refused by name.

use std::collections::BTreeMap;

use weir_core::graph::nearest::nearest;

use super::super::tree::Value;
use super::Reader;
use super::field::Field;

/// What may be set: sizes, waits and network details that change speed and not meaning.
const ALLOWED: [&str; 27] = [
    "batch.num.messages",
    "batch.size",
    "broker.address.family",
    "broker.address.ttl",
    "client.id",
    "client.rack",
    "compression.level",
    "connections.max.idle.ms",
    "debug",
    "enable.ssl.certificate.verification",
    "fetch.max.bytes",
    "fetch.message.max.bytes",
    "fetch.min.bytes",
    "fetch.wait.max.ms",
    "linger.ms",
    "message.max.bytes",
    "message.timeout.ms",
    "metadata.max.age.ms",
    "queue.buffering.max.kbytes",
    "queue.buffering.max.messages",
    "queued.max.messages.kbytes",
    "queued.min.messages",
    "receive.message.max.bytes",
    "socket.connection.setup.timeout.ms",
    "socket.keepalive.enable",
    "socket.timeout.ms",
    "ssl.endpoint.identification.algorithm",
];

/// What may not, and why.
const LOCKED: [(&str, &str); 27] = [
    ("transactional.id", "weir's ids are weir.<pipeline>.<domain>.a: fencing rests on them"),
    ("isolation.level", "a source always reads read_committed: an aborted row must not enter"),
    ("enable.auto.commit", "positions belong to the checkpoint"),
    ("auto.commit.enable", "positions belong to the checkpoint"),
    ("enable.auto.offset.store", "positions belong to the checkpoint"),
    ("enable.idempotence", "a transaction needs the idempotent producer"),
    ("retry.backoff.ms", "the commit's time-out is computed from it"),
    ("retry.backoff.max.ms", "the commit's time-out is computed from it"),
    ("reconnect.backoff.ms", "the commit's time-out is computed from it"),
    ("reconnect.backoff.max.ms", "the commit's time-out is computed from it"),
    ("acks", "a committed row must be on all replicas in sync"),
    ("request.required.acks", "a committed row must be on all replicas in sync"),
    ("max.in.flight", "order per partition rests on it"),
    ("max.in.flight.requests.per.connection", "order per partition rests on it"),
    ("message.send.max.retries", "rows are retried until message.timeout.ms"),
    ("retries", "rows are retried until message.timeout.ms"),
    ("auto.offset.reset", "use `start`: after a restore a lost position is an error, never a jump"),
    ("enable.partition.eof", "`until` rests on it"),
    ("check.crcs", "damaged batches must be seen"),
    ("partitioner", "rows are placed as the Java client does (murmur2), so that topics stay co-partitioned"),
    ("group.id", "partitions are assigned, not subscribed: the group only shows the lag"),
    ("transaction.timeout.ms", "use transaction = { timeout = \"2m\" }"),
    ("compression.type", "use `compression`"),
    ("compression.codec", "use `compression`"),
    ("bootstrap.servers", "use `brokers`"),
    ("metadata.broker.list", "use `brokers`"),
    ("statistics.interval.ms", "weir's own metrics are made from it"),
];

/// Reads the options, each as text.
pub(super) fn read(field: &Field<'_>, reader: &mut Reader<'_>) -> BTreeMap<String, String> {
    let Some(table) = field.table(reader) else { return BTreeMap::new() };
    let mut options = BTreeMap::new();
    for option in flatten(table.into_fields(), reader) {
        let (name, option) = option;
        if let Some(value) = check(&name, &option, reader) {
            options.insert(name, value);
        }
    }
    options
}

/// In TOML `linger.ms = 5` without quotes is a table `linger` with a key `ms`: both ways of writing mean the same.
fn flatten<'t>(fields: Vec<Field<'t>>, reader: &mut Reader<'_>) -> Vec<(String, Field<'t>)> {
    let mut flat = Vec::new();
    for field in fields {
        match field.tree().entries() {
            Some(_) => {
                let inner = field.table(reader).map(|t| t.into_fields()).unwrap_or_default();
                flat.extend(flatten(inner, reader).into_iter().map(|(name, f)| (format!("{}.{name}", field.key()), f)));
            }
            None => flat.push((field.key().to_string(), field)),
        }
    }
    flat
}

fn check(name: &str, field: &Field<'_>, reader: &mut Reader<'_>) -> Option<String> {
    if !ALLOWED.contains(&name) {
        let fault = match LOCKED.iter().find(|(locked, _)| *locked == name) {
            Some((_, reason)) => field
                .problem("weir::config::locked_option", format!("the option `{name}` cannot be set: {reason}"))
                .help("take it out"),
            None if name.starts_with("sasl.") || name.starts_with("ssl.") || name == "security.protocol" => field
                .problem("weir::config::locked_option", format!("the option `{name}` cannot be set here"))
                .help("use security = { protocol, mechanism, username, password, ca, cert, key }"),
            None => {
                let close = nearest(name, &ALLOWED).map(|c| format!("did you mean `{c}`? ")).unwrap_or_default();
                let fault =
                    field.problem("weir::config::unknown_option", format!("the option `{name}` is not allowed"));
                fault.help(format!("{close}Allowed: {}", ALLOWED.join(", ")))
            }
        };
        reader.error(fault, field.name_span());
        return None;
    }
    match &field.tree().value {
        Value::String(text) => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        Value::Boolean(value) => Some(value.to_string()),
        _ => {
            field.report_shape(
                reader,
                "a string, an integer or true or false",
                "librdkafka's own documentation says which",
            );
            None
        }
    }
}
