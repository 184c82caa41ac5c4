//! The Kafka ends of a pipeline as written. Which client options are allowed is decided where the file is read.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{FilePath, Secret};

/// How to reach a cluster: the same for sources and sinks, and under `[defaults.kafka]`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KafkaClient {
    /// `host:port`, comma-separated.
    pub brokers: String,
    /// Encryption and login.
    pub security: Security,
    /// Further client options, by librdkafka's names, all of them on the allow-list.
    pub options: BTreeMap<String, String>,
}

/// `type = "kafka"` of a sink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KafkaSink {
    /// The cluster.
    pub client: KafkaClient,
    /// The topic.
    pub topic: String,
    /// As written; [`super::Pipeline::transaction_timeout`] gives what holds.
    pub transaction_timeout: Option<Duration>,
    /// How batches are compressed on the wire.
    pub compression: Compression,
}

/// Compression of produced batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    /// None.
    None,
    /// LZ4, the default.
    #[default]
    Lz4,
    /// Zstandard.
    Zstd,
    /// gzip.
    Gzip,
    /// Snappy.
    Snappy,
}

impl Compression {
    /// librdkafka's name of it.
    pub fn as_str(self) -> &'static str {
        match self {
            Compression::None => "none",
            Compression::Lz4 => "lz4",
            Compression::Zstd => "zstd",
            Compression::Gzip => "gzip",
            Compression::Snappy => "snappy",
        }
    }
}

/// `security = { … }`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Security {
    /// Encryption and login.
    pub protocol: Protocol,
    /// How to log in.
    pub mechanism: Option<Mechanism>,
    /// Who.
    pub username: Option<String>,
    /// The password.
    pub password: Option<Secret>,
    /// File with the certificates of those who sign for the brokers.
    pub ca: Option<FilePath>,
    /// File with our certificate.
    pub cert: Option<FilePath>,
    /// File with our key.
    pub key: Option<FilePath>,
}

/// librdkafka's `security.protocol`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Protocol {
    /// Neither encrypted nor logged in.
    #[default]
    Plaintext,
    /// TLS.
    Ssl,
    /// Login without encryption.
    SaslPlaintext,
    /// Login over TLS.
    SaslSsl,
}

impl Protocol {
    /// librdkafka's name of it.
    pub fn as_str(self) -> &'static str {
        match self {
            Protocol::Plaintext => "plaintext",
            Protocol::Ssl => "ssl",
            Protocol::SaslPlaintext => "sasl_plaintext",
            Protocol::SaslSsl => "sasl_ssl",
        }
    }

    /// Whether it logs in.
    pub fn has_login(self) -> bool {
        matches!(self, Protocol::SaslPlaintext | Protocol::SaslSsl)
    }

    /// Whether it encrypts.
    pub fn has_tls(self) -> bool {
        matches!(self, Protocol::Ssl | Protocol::SaslSsl)
    }
}

/// librdkafka's `sasl.mechanism`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mechanism {
    /// PLAIN.
    Plain,
    /// SCRAM-SHA-256.
    ScramSha256,
    /// SCRAM-SHA-512.
    ScramSha512,
}

impl Mechanism {
    /// librdkafka's name of it.
    pub fn as_str(self) -> &'static str {
        match self {
            Mechanism::Plain => "PLAIN",
            Mechanism::ScramSha256 => "SCRAM-SHA-256",
            Mechanism::ScramSha512 => "SCRAM-SHA-512",
        }
    }
}
