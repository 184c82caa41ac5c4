//! What a user may set about Kafka, as plain values with their defaults. What librdkafka makes of them is in `properties`.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

pub use weir_core::graph::spec::{Offsets, Otherwise, Partition, Removed, Start, Topics, Until};

/// How a cluster is reached.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cluster {
    /// `host:port`, separated by commas.
    pub brokers: String,
    /// TLS and SASL.
    pub security: Security,
    /// Properties of librdkafka from the allow-list in `options`.
    pub options: BTreeMap<String, String>,
    /// How long a start waits for a first broker.
    pub connect_timeout: Option<Duration>,
}

impl Cluster {
    /// A cluster without security or options.
    pub fn at(brokers: impl Into<String>) -> Cluster {
        Cluster { brokers: brokers.into(), ..Cluster::default() }
    }

    /// How long a start waits for a first broker: 10 s where nothing is said.
    pub fn connect_timeout(&self) -> Duration {
        self.connect_timeout.unwrap_or(Duration::from_secs(10))
    }
}

/// TLS and SASL. `ca`, `cert` and `key` are PEM text or the path of a file with it.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Security {
    /// `plaintext`, `ssl`, `sasl_plaintext` or `sasl_ssl`.
    pub protocol: Option<String>,
    /// `PLAIN`, `SCRAM-SHA-256`, `SCRAM-SHA-512`.
    pub mechanism: Option<String>,
    /// SASL user.
    pub username: Option<String>,
    /// SASL password: never printed.
    pub password: Option<String>,
    /// Certificates of the authorities that are trusted.
    pub ca: Option<String>,
    /// Our certificate.
    pub cert: Option<String>,
    /// Our private key: never printed.
    pub key: Option<String>,
}

impl fmt::Debug for Security {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Security")
            .field("protocol", &self.protocol)
            .field("mechanism", &self.mechanism)
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

/// What a source reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Where.
    pub cluster: Cluster,
    /// The pipeline's name: the consumer group is `weir-<pipeline>`, for displays of lag only.
    pub pipeline: String,
    /// What.
    pub topics: Topics,
    /// Where partitions begin at the first start.
    pub start: Start,
    /// Where a bounded read ends; `None` reads for ever.
    pub until: Option<Until>,
    /// How often new partitions are looked for; `None`: only at a start.
    pub discovery: Option<Duration>,
    /// What happens when something that was read is gone.
    pub removed: Removed,
    /// Readers, each with a share of the partitions.
    pub readers: u32,
}

impl Source {
    /// One reader of these topics, from their oldest records on, for ever; it looks for nothing new.
    pub fn new(cluster: Cluster, pipeline: impl Into<String>, topics: Topics) -> Source {
        Source {
            cluster,
            pipeline: pipeline.into(),
            topics,
            start: Start::Earliest,
            until: None,
            discovery: None,
            removed: Removed::Fail,
            readers: 1,
        }
    }

    /// Type and place, as in the manifest.
    pub(super) fn identity(&self) -> String {
        format!("{IDENTITY}{}", self.topics)
    }
}

/// What the identity of every Kafka source begins with. What follows may change: which positions are of use, each
/// partition says by its name.
pub(super) const IDENTITY: &str = "kafka:";

/// A domain: one transactional id, one commit topic, all Kafka sinks of one cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Domain {
    /// Where.
    pub cluster: Cluster,
    /// The pipeline's name.
    pub pipeline: String,
    /// Number of this domain.
    pub domain: u32,
    /// Domains of the pipeline: partitions of its commit topic.
    pub domains: u32,
    /// Topics of all sinks.
    pub topics: Vec<String>,
    /// `transaction.timeout.ms`.
    pub transaction_timeout: Duration,
    /// Between two checkpoints.
    pub checkpoint_interval: Duration,
    /// After which a checkpoint is given up.
    pub checkpoint_timeout: Duration,
    /// What must be left of the transaction's time for the commit itself.
    pub margin: Duration,
    /// `none`, `lz4`, `zstd`, `gzip`, `snappy`.
    pub compression: String,
    /// Memory for rows that are not yet acknowledged.
    pub buffer_bytes: u64,
    /// Memory for rows of the next epoch while a commit is under way.
    pub hold_bytes: usize,
    /// Largest row (key, value and headers).
    pub record_bytes_max: usize,
    /// Re-claim the id after every commit and not only after one that may have been sent twice.
    pub reclaim_always: bool,
}

/// `retry.backoff.ms`: locked, since the time a commit took is compared with it.
pub const RETRY_BACKOFF: Duration = Duration::from_millis(200);

impl Domain {
    /// A domain with the defaults of everything but these.
    pub fn new(cluster: Cluster, pipeline: impl Into<String>, topics: Vec<String>) -> Domain {
        Domain {
            cluster,
            pipeline: pipeline.into(),
            domain: 0,
            domains: 1,
            topics,
            transaction_timeout: Duration::from_secs(120),
            checkpoint_interval: Duration::from_secs(1),
            checkpoint_timeout: Duration::from_secs(60),
            margin: Duration::from_secs(30),
            compression: "lz4".into(),
            buffer_bytes: 128 << 20,
            hold_bytes: 64 << 20,
            record_bytes_max: 1 << 20,
            reclaim_always: false,
        }
    }

    /// The transactional id, for ever.
    pub fn transactional_id(&self) -> String {
        format!("weir.{}.{}.a", self.pipeline, self.domain)
    }

    /// The topic of CLAIM and COMMIT.
    pub fn commit_topic(&self) -> String {
        format!("__weir.{}.commits", self.pipeline)
    }

    /// The consumer group, for displays of lag only.
    pub fn group(&self) -> String {
        group(&self.pipeline)
    }
}

/// The consumer group of a pipeline.
pub(super) fn group(pipeline: &str) -> String {
    format!("weir-{pipeline}")
}
