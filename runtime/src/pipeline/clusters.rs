//! What only brokers can tell before a start: whether all Kafka sinks of a pipeline write to one cluster (one transaction
//! cannot span two, and two addresses may be one cluster), and whether the topics of its sources exist. Changes nothing.

use weir_core::graph::spec::{KafkaClient, Pipeline, SinkKind, SourceKind};
use weir_core::ids::Name;

use super::authority::cluster;
use super::sources::kafka_settings;
use crate::connector::{Error, kafka};

/// Refuses a second cluster, with both ends in the message. Asks nobody where all sinks name the same brokers.
pub fn check_one_cluster(pipeline: &Pipeline) -> Result<(), Error> {
    let kafka = |sink: &'_ weir_core::graph::spec::Sink| match &sink.kind {
        SinkKind::Kafka(kafka) => Some((sink.name.clone(), kafka.client.clone())),
        _ => None,
    };
    let mut sinks = pipeline.sinks.iter().filter_map(kafka);
    let Some(first) = sinks.next() else { return Ok(()) };
    let mut first_id = None;
    for other in sinks.filter(|(_, client)| client.brokers != first.1.brokers) {
        let first_id = match &first_id {
            Some(id) => id,
            None => first_id.insert(id(&first)?),
        };
        let other_id = id(&other)?;
        if other_id != *first_id {
            return Err(Error::Config(format!(
                "sink `{}` writes to the Kafka cluster {first_id} ({}) and sink `{}` to {other_id} ({}): rows are committed in one \
                 transaction, and none spans two clusters; write to one of them, and let a second pipeline read from there",
                first.0, first.1.brokers, other.0, other.1.brokers
            )));
        }
    }
    Ok(())
}

/// Refuses a source whose topics are not there; at the first start also one that does not begin or end where it should.
pub fn check_source_topics(pipeline: &Pipeline, is_first_start: bool) -> Result<(), Error> {
    for source in &pipeline.sources {
        if let SourceKind::Kafka(kafka) = &source.kind {
            let settings = kafka_settings(pipeline, kafka, source.parallelism);
            kafka::check_source(&settings, is_first_start)
                .map_err(|error| named(error, |why| format!("`{}`: {why}", source.name)))?;
        }
    }
    Ok(())
}

fn id((name, client): &(Name, KafkaClient)) -> Result<String, Error> {
    kafka::cluster_id(&cluster(client)).map_err(|error| named(error, |why| format!("sink `{name}`: {why}")))
}

/// An error with the end that it is about.
fn named(error: Error, at: impl Fn(String) -> String) -> Error {
    match error {
        Error::Unreachable(why) => Error::Unreachable(at(why)),
        Error::Config(why) => Error::Config(at(why)),
        other => other,
    }
}
