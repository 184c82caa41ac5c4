//! The authority that a pipeline's sinks ask for, and a Kafka client's settings in the connector's own words. Nothing is
//! decided or committed here.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use weir_core::domain::{Failure, Settings};
use weir_core::graph::spec::{self, KafkaSink, Pipeline, SinkKind};
use weir_core::ids::Name;

use super::authority_thread::failure;
use super::current::Current;
use super::job::Job;
use super::terms;
use crate::connector::{self, Authority, kafka};

/// What the authority and the sinks of an attempt share.
pub(super) struct Shared {
    pub(super) producer: Option<Arc<kafka::SharedProducer>>,
}

/// What a connector calls a domain: one transactional id, one commit topic, all Kafka sinks of one cluster.
pub type KafkaDomain = kafka::Domain;

/// The sink whose transaction decides: the Kafka sink that the file names first.
fn deciding_sink(pipeline: &Pipeline) -> Option<&KafkaSink> {
    pipeline.sinks.iter().find_map(|sink| match &sink.kind {
        SinkKind::Kafka(kafka) => Some(kafka),
        _ => None,
    })
}

/// The domain of a pipeline's Kafka sinks, where it has any.
pub fn kafka_domain(pipeline: &Pipeline) -> Option<KafkaDomain> {
    let sink = deciding_sink(pipeline)?;
    let checkpoint = &pipeline.checkpoint;
    Some(kafka::Domain {
        transaction_timeout: pipeline.transaction_timeout(sink),
        checkpoint_interval: checkpoint.interval,
        checkpoint_timeout: checkpoint.timeout,
        margin: checkpoint.margin,
        compression: sink.compression.as_str().to_owned(),
        ..kafka::Domain::new(cluster(&sink.client), pipeline.name.as_str(), sink_topics(pipeline))
    })
}

/// The domain of a pipeline of which only the name is known.
pub fn kafka_domain_of(name: &Name, brokers: &str) -> KafkaDomain {
    kafka::Domain::new(kafka::Cluster::at(brokers), name.as_str(), Vec::new())
}

/// How long a transaction may be open; `None` where no broker limits it.
pub(super) fn transaction_timeout(job: &Job) -> Option<Duration> {
    deciding_sink(job.pipeline()).map(|sink| job.pipeline().transaction_timeout(sink))
}

/// The authority of the plan, after its preflight.
pub(super) fn open(job: &Job, settings: &Settings) -> Result<(Box<dyn Authority>, Shared), Failure> {
    terms::check(job, settings.start)?;
    // Later starts find out when they read on; the first one leaves nothing behind.
    if job.folder.is_new() && settings.attempt == 0 {
        super::clusters::check_source_topics(job.pipeline(), true).map_err(failure)?;
    }
    let Some(domain) = kafka_domain(job.pipeline()) else {
        return Ok((
            Box::new(Current::new(&job.folder, &job.store, settings.start.is_rewind())),
            Shared { producer: None },
        ));
    };
    super::clusters::check_one_cluster(job.pipeline()).map_err(failure)?;
    let opened = kafka::open(&domain).map_err(failure)?;
    job.warned.call_once(|| opened.warnings.iter().for_each(|warning| tracing::warn!("{warning}")));
    Ok((Box::new(opened.authority), Shared { producer: Some(opened.producer) }))
}

fn sink_topics(pipeline: &Pipeline) -> Vec<String> {
    let topic = |sink: &spec::Sink| match &sink.kind {
        SinkKind::Kafka(kafka) => Some(kafka.topic.clone()),
        _ => None,
    };
    pipeline.sinks.iter().filter_map(topic).collect()
}

/// A client's settings in the connector's own words.
pub(super) fn cluster(spec: &spec::KafkaClient) -> kafka::Cluster {
    let security = &spec.security;
    let path = |path: &Option<spec::FilePath>| path.as_ref().map(|path| path.resolved.display().to_string());
    kafka::Cluster {
        brokers: spec.brokers.clone(),
        security: kafka::Security {
            protocol: Some(security.protocol.as_str().to_owned()),
            mechanism: security.mechanism.map(|m| m.as_str().to_owned()),
            username: security.username.clone(),
            password: security.password.as_ref().map(|p| p.reveal().to_owned()),
            ca: path(&security.ca),
            cert: path(&security.cert),
            key: path(&security.key),
        },
        options: spec.options.clone(),
        connect_timeout: None,
    }
}

/// The folders of the pipeline's file sinks.
pub(super) fn sink_folders(job: &Job) -> connector::file::Folders {
    let folder = |sink: &spec::Sink| match &sink.kind {
        SinkKind::File { path } => Some((sink.name.clone(), path.resolved.clone())),
        _ => None,
    };
    let folders = job.pipeline().sinks.iter().filter_map(folder).collect::<BTreeMap<_, _>>();
    connector::file::Folders::new(folders, (job.pipeline().name.clone(), job.folder.lineage()), job.folder.published())
}
