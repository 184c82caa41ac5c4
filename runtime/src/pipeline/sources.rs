//! The sources of an attempt: readers at their restored positions, several of one source behind one enumerator. Owns the
//! step from what is written to what is read; reads nothing itself.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use weir_core::checkpoint::manifest::SourcePositions;
use weir_core::domain::{Class, Failure};
use weir_core::graph::plan::Vertex;
use weir_core::graph::spec::{self, EventTime, Pipeline, SourceKind};
use weir_core::ids::Name;
use weir_core::template::Template;
use weir_core::watermark::Watermarks;

use super::assemble::{at, policy};
use super::authority::cluster;
use super::job::Job;
use crate::connector::file::FileSource;
use crate::connector::generator::Generator;
use crate::connector::standard::Stdin;
use crate::connector::{self, Source, Waker, kafka};
use crate::dataflow::{NodeMetrics, SourceNode, SourceSettings};
use crate::guest::Subtask;

/// What the readers of an attempt come from.
pub(super) struct Sources<'a> {
    job: &'a Job,
    /// Of the Kafka sources, from their first reader on.
    enumerators: BTreeMap<Name, kafka::Enumerator>,
}

impl<'a> Sources<'a> {
    pub(super) fn new(job: &'a Job) -> Sources<'a> {
        Sources { job, enumerators: BTreeMap::new() }
    }

    /// A subtask of a source.
    pub(super) fn node(
        &mut self,
        vertex: &Vertex,
        spec: &spec::Source,
        positions: Option<&SourcePositions>,
        subtask: Subtask,
        metrics: Arc<NodeMetrics>,
        waker: &Waker,
    ) -> Result<SourceNode, Failure> {
        let output = self.job.checked.plan.output(vertex.outputs[0]);
        let reader = self.reader(spec, positions, subtask, waker).map_err(|error| at(&spec.name, error))?;
        // A Kafka source looks at its positions one by one.
        if let Some(positions) = positions.filter(|_| !matches!(spec.kind, SourceKind::Kafka(_)))
            && positions.identity != reader.identity()
        {
            let (name, was, is) = (&spec.name, &positions.identity, reader.identity());
            let why = format!(
                "source `{name}` reads {is}, but its positions are those of {was}; give the source another name, or start with --from empty --rewind"
            );
            return Err(Failure { class: Class::Halt, why });
        }
        let settings = SourceSettings {
            node: spec.name.clone(),
            event_time: match &spec.event_time {
                EventTime::Json { pointer, unit } => Some((pointer.clone(), *unit)),
                EventTime::KafkaTimestamp | EventTime::None => None,
            },
            keys: output.keys.clone().into(),
            policy: policy(self.job, output.on_error),
            record_max: spec.record_bytes_max as usize,
        };
        let watermarks = (spec.event_time != EventTime::None).then(|| {
            // A split that the snapshot does not know has shown nothing yet.
            let known = |split: &connector::SplitStatus| {
                positions?.splits.iter().find(|known| known.split == split.split)?.largest_time
            };
            let largest: Vec<Option<i64>> = reader.splits().iter().map(known).collect();
            let sent = positions.map_or(i64::MIN, |positions| positions.watermark);
            Watermarks::restore((&spec.watermark).into(), &largest, sent)
        });
        SourceNode::new(settings, reader, watermarks, metrics)
            .map_err(|e| Failure { class: Class::Bug, why: e.to_string() })
    }

    /// All readers are made: from now on what is new reaches them. What looks for it ends with them.
    pub(super) fn watch(self) -> Result<Vec<kafka::Watch>, Failure> {
        let watch = |(name, enumerator): (Name, kafka::Enumerator)| {
            enumerator.watch().map_err(|error| at(&name, error)).transpose()
        };
        self.enumerators.into_iter().filter_map(watch).collect()
    }

    fn reader(
        &mut self,
        spec: &spec::Source,
        positions: Option<&SourcePositions>,
        subtask: Subtask,
        waker: &Waker,
    ) -> Result<Box<dyn Source>, connector::Error> {
        let record_max = spec.record_bytes_max as usize;
        Ok(match &spec.kind {
            SourceKind::Generator(generator) => {
                let template =
                    Template::compile(&generator.template).map_err(|e| connector::Error::Config(e.to_string()))?;
                let rate = generator.rate.map(|rate| rate as f64);
                Box::new(Generator::new(template, generator.seed, generator.count, rate, positions))
            }
            SourceKind::File { path } => {
                Box::new(FileSource::open(&path.resolved, &path.written, record_max, positions)?)
            }
            SourceKind::Stdin => Box::new(Stdin::open(record_max, Arc::clone(waker))),
            SourceKind::Kafka(kafka) => {
                let enumerator = match self.enumerators.entry(spec.name.clone()) {
                    Entry::Occupied(entry) => entry.into_mut(),
                    Entry::Vacant(entry) => {
                        let settings = kafka_settings(self.job.pipeline(), kafka, subtask.of);
                        entry.insert(kafka::Enumerator::open(settings, positions)?)
                    }
                };
                Box::new(enumerator.reader(subtask.index, Arc::clone(waker))?)
            }
        })
    }
}

/// A Kafka source in the connector's own words.
pub(super) fn kafka_settings(pipeline: &Pipeline, source: &spec::KafkaSource, readers: u32) -> kafka::SourceSettings {
    kafka::SourceSettings {
        pipeline: pipeline.name.to_string(),
        cluster: cluster(&source.client),
        topics: source.topics.clone(),
        start: source.start.clone(),
        until: source.until.clone(),
        discovery: source.discovery,
        removed: source.removed,
        readers,
    }
}

/// Whether the sources still are what was read up to these positions, where that can be known without opening them for
/// good. Changes nothing.
pub(super) fn check_sources(job: &Job, positions: &BTreeMap<Name, SourcePositions>) -> Result<(), Failure> {
    for source in &job.pipeline().sources {
        if let (SourceKind::File { path }, Some(restored)) = (&source.kind, positions.get(&source.name)) {
            FileSource::check_restored(&path.resolved, &path.written, restored)
                .map_err(|error| at(&source.name, error))?;
        }
    }
    Ok(())
}
