//! What Kafka sources, Kafka sinks and `[defaults.kafka]` have in common.

use std::collections::BTreeMap;

use weir_core::graph::fault::Fault;
use weir_core::graph::spec::{Compression, FilePath, KafkaClient, Mechanism, Protocol, Secret, Security};

use super::super::tree::Span;
use super::Reader;
use super::field::Field;
use super::options;
use super::table::Table;

/// The common part of one place. What is absent comes from `[defaults.kafka]`.
#[derive(Default)]
pub(super) struct Common {
    brokers: Option<String>,
    /// Whether `brokers` was written, well or not: one that is wrong is not also missing.
    has_brokers: bool,
    security: Option<Security>,
    pub(super) compression: Option<Compression>,
    /// Where `compression` stands, if it was written.
    pub(super) compression_span: Option<Option<Span>>,
    options: BTreeMap<String, String>,
}

impl Common {
    pub(super) fn read(table: &mut Table<'_>, reader: &mut Reader<'_>) -> Common {
        let brokers = table.field("brokers");
        let has_brokers = brokers.is_some();
        let brokers = brokers.and_then(|f| read_brokers(&f, reader));
        let security = table.field("security").and_then(|f| read_security(&f, reader));
        let compression = table.field("compression");
        let compression_span = compression.as_ref().map(Field::span);
        let compression = compression.and_then(|f| f.choice(reader, &COMPRESSIONS));
        let options = table.field("options").map(|f| options::read(&f, reader)).unwrap_or_default();
        table.later(reader, "id_prefix", "a choice of transactional ids");
        Common { brokers, has_brokers, security, compression, compression_span, options }
    }

    /// With the defaults filled in. Options are merged one by one.
    pub(super) fn client(self, table: &Table<'_>, reader: &mut Reader<'_>) -> KafkaClient {
        let brokers = self.brokers.or_else(|| reader.kafka.brokers.clone());
        if brokers.is_none() && !self.has_brokers && !reader.kafka.has_brokers {
            let message = format!("`brokers` is missing in [{}]", table.path());
            let fault = Fault::error("weir::config::missing_key", table.path(), message);
            let help = "add brokers = \"${env:KAFKA_BROKERS:-localhost:9092}\", here or under [defaults.kafka]";
            reader.error(fault.help(help), table.span());
        }
        let security = self.security.or_else(|| reader.kafka.security.clone()).unwrap_or_default();
        let mut options = reader.kafka.options.clone();
        options.extend(self.options);
        KafkaClient { brokers: brokers.unwrap_or_default(), security, options }
    }
}

const COMPRESSIONS: [(&str, Option<Compression>); 5] = [
    ("none", Some(Compression::None)),
    ("lz4", Some(Compression::Lz4)),
    ("zstd", Some(Compression::Zstd)),
    ("gzip", Some(Compression::Gzip)),
    ("snappy", Some(Compression::Snappy)),
];

fn read_brokers(field: &Field<'_>, reader: &mut Reader<'_>) -> Option<String> {
    let text = field.string(reader)?;
    let Some(wrong) = text.split(',').map(str::trim).find(|broker| !is_host_and_port(broker)) else {
        return Some(text);
    };
    if field.shown() == text {
        field.report_invalid(reader, format!("\"{wrong}\" is not a broker"), BROKERS);
    } else {
        field.report_invalid(
            reader,
            format!("`brokers` does not name brokers: \"{}\" gave \"{wrong}\"", field.shown()),
            BROKERS,
        );
    }
    None
}

/// A topic's name, by Kafka's own rule, so that the caret comes before the broker's refusal.
pub(super) fn topic_name(field: &Field<'_>, reader: &mut Reader<'_>) -> Option<String> {
    let topic = field.string(reader)?;
    if is_topic(&topic) {
        return Some(topic);
    }
    let message = format!("\"{}\" is not the name of a topic", field.shown());
    field.report_invalid(reader, message, "a topic is 1 to 249 characters of a-z, A-Z, 0-9, ., _ and -");
    None
}

pub(super) fn is_topic(name: &str) -> bool {
    let legal = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    legal && !name.is_empty() && name.len() <= 249 && name != "." && name != ".."
}

const BROKERS: &str = "brokers are written \"host:port\", several with commas: \"a:9092,b:9092\"";

fn is_host_and_port(text: &str) -> bool {
    let host_and_port = text.rsplit_once(':');
    host_and_port.is_some_and(|(host, port)| {
        !host.is_empty() && !host.contains(char::is_whitespace) && port.parse::<u16>().is_ok_and(|port| port > 0)
    })
}

fn read_security(field: &Field<'_>, reader: &mut Reader<'_>) -> Option<Security> {
    let mut table = field.table(reader)?;
    let mut security = Security::default();
    table.set(reader, "protocol", protocol, &mut security.protocol);
    security.mechanism = table.field("mechanism").and_then(|f| mechanism(&f, reader));
    security.username = table.field("username").and_then(|f| f.string(reader));
    security.password = table.field("password").and_then(|f| f.text(reader).map(Secret::new));
    security.ca = table.field("ca").and_then(|f| f.path_value(reader));
    security.cert = table.field("cert").and_then(|f| f.path_value(reader));
    security.key = table.field("key").and_then(|f| key_file(&f, reader));
    table.finish(reader);
    Some(security)
}

/// A complaint about a path shows it, so a key that stands in the text must not be taken for one.
fn key_file(field: &Field<'_>, reader: &mut Reader<'_>) -> Option<FilePath> {
    if field.text(reader)?.contains("-----BEGIN") {
        let code = if reader.environment.secrets.is_some() {
            "weir::server::literal_secret"
        } else {
            "weir::config::invalid_value"
        };
        let fault = field.problem(code, "`key` is the path of a file in PEM, not the key itself");
        reader.error(fault.help("put the key into a file and write its path"), field.span());
        // In its place, so that `cert` is not also alone.
        return Some(FilePath { written: String::new(), resolved: Default::default() });
    }
    field.path_value(reader)
}

fn protocol(field: &Field<'_>, reader: &mut Reader<'_>) -> Option<Protocol> {
    let all = [Protocol::Plaintext, Protocol::Ssl, Protocol::SaslPlaintext, Protocol::SaslSsl];
    field.choice(reader, &all.map(|p| (p.as_str(), Some(p))))
}

fn mechanism(field: &Field<'_>, reader: &mut Reader<'_>) -> Option<Mechanism> {
    let all = [Mechanism::Plain, Mechanism::ScramSha256, Mechanism::ScramSha512];
    let [plain, sha256, sha512] = all.map(|m| (m.as_str(), Some(m)));
    field.choice(reader, &[plain, sha256, sha512, ("OAUTHBEARER", None), ("GSSAPI", None)])
}
