//! Kafka, through librdkafka: the only place that knows it. A source, sinks, and the authority that commits rows and COMMIT
//! record in one transaction. Rows cross the seam in columns; nothing of librdkafka's leaves this folder.
//!
//! [`open`] checks a domain and gives its authority with the slot that sinks find their producer in; an [`Enumerator`] stands
//! alone and gives the readers of a source.

mod admin;
mod authority;
mod client;
mod commit_log;
mod commit_topic;
mod enumerator;
mod error;
mod fetcher;
mod headers;
mod metadata;
mod native;
mod offsets;
mod options;
mod partitioner;
mod preflight;
mod producer;
mod properties;
mod rights;
mod selection;
mod settings;
mod shared;
mod sink;
mod source;
mod splits;
mod transactions;

#[cfg(test)]
mod mock_tests;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use super::Error;
use admin::Admin;
use commit_log::CommitLog;

pub use authority::KafkaAuthority;
pub use enumerator::{Enumerator, Watch, check_source};
pub use preflight::{Report, TopicFacts, check_limits};
pub use settings::{Cluster, Domain, RETRY_BACKOFF, Security, Source as SourceSettings};
pub use settings::{Offsets, Otherwise, Partition, Removed, Start, Topics, Until};
pub use shared::SharedProducer;
pub use sink::KafkaSink;
pub use source::KafkaSource;
pub use transactions::{Held, Listing, abort as abort_transactions, leave, list as list_transactions};

/// A domain that has passed its preflight.
pub struct Opened {
    /// For the thread that runs the protocol.
    pub authority: KafkaAuthority,
    /// For the sinks.
    pub producer: Arc<SharedProducer>,
    /// One line each, to be printed at start.
    pub warnings: Vec<String>,
}

/// Checks everything that can be checked, makes the commit topic where it is missing, and gives the ends of the domain.
/// No transactional id is touched: the first FENCE does that.
pub fn open(domain: &Domain) -> Result<Opened, Error> {
    check_limits(domain)?;
    let admin = Admin::connect(&domain.cluster, &domain.group())?;
    let mut report = preflight::check_cluster(&admin, domain)?;
    commit_topic::ensure(&admin, domain, &mut report)?;
    let producer = SharedProducer::new(report.topics);
    let authority = KafkaAuthority::new(domain.clone(), Arc::clone(&producer));
    Ok(Opened { authority, producer, warnings: report.warnings })
}

/// What [`open`] would find, without making anything: for `weir check --connect`. Where the commit topic exists, the right
/// to write to it is tried with a record that is aborted.
pub fn check(domain: &Domain) -> Result<Report, Error> {
    check_limits(domain)?;
    let admin = Admin::connect(&domain.cluster, &domain.group())?;
    let mut report = preflight::check_cluster(&admin, domain)?;
    if commit_topic::exists(&admin, domain)? {
        commit_topic::check_existing(&admin, domain, &mut report)?;
        rights::check(domain)?;
        // Reading needs the group's rights as well.
        CommitLog::open(domain, Arc::default())?.read(None, domain.cluster.connect_timeout())?;
    } else {
        report.warnings.push(format!("the first start will make the commit topic `{}`", domain.commit_topic()));
    }
    Ok(report)
}

/// An id of the cluster, for telling two addresses of one cluster from two clusters.
pub fn cluster_id(cluster: &Cluster) -> Result<String, Error> {
    Admin::connect(cluster, "weir")?.cluster_id()
}

/// Makes a topic, with as many replicas as there are brokers, up to three. One that exists already is left as it is.
pub fn create_topic(cluster: &Cluster, name: &str, partitions: u32, config: &[(&str, &str)]) -> Result<(), Error> {
    let admin = Admin::connect(cluster, "weir")?;
    let replicas = admin.brokers()?.brokers.clamp(1, 3) as i32;
    let made = admin.create_topic(name, partitions as i32, replicas, config);
    made.map_err(|failure| failure.into_error(&format!("create topic `{name}`")))?;
    commit_topic::wait_for_partitions(&admin, name).map(drop)
}
