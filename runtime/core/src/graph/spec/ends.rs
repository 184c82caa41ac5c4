//! Sources and sinks as written.

use std::path::PathBuf;

use super::{EventTime, Input, KafkaSink, KafkaSource, OnError, WatermarkSettings};
use crate::ids::Name;

/// `[sources.NAME]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Source {
    /// Its name.
    pub name: Name,
    /// Its type and what belongs to it.
    pub kind: SourceKind,
    /// Where event time comes from.
    pub event_time: EventTime,
    /// How the watermark moves.
    pub watermark: WatermarkSettings,
    /// What happens to a record that is over the limit or whose time or key is not found; `None`: as its consumers say.
    pub on_error: Option<OnError>,
    /// The largest record taken: key + value + headers, bytes.
    pub record_bytes_max: u64,
    /// Subtasks, 1 to 128: each reads its share of the splits.
    pub parallelism: u32,
}

/// The type of a source.
#[derive(Debug, Clone, PartialEq)]
#[allow(clippy::large_enum_variant, reason = "a pipeline has a handful of them, made once")]
pub enum SourceKind {
    /// A Kafka topic.
    Kafka(KafkaSource),
    /// A file, one record a line.
    File {
        /// Which.
        path: FilePath,
    },
    /// Standard input, one record a line. Cannot be read twice.
    Stdin,
    /// Records made from a template.
    Generator(GeneratorSource),
}

impl SourceKind {
    /// The `type` in the file.
    pub fn as_str(&self) -> &'static str {
        match self {
            SourceKind::Kafka(_) => "kafka",
            SourceKind::File { .. } => "file",
            SourceKind::Stdin => "stdin",
            SourceKind::Generator(_) => "generator",
        }
    }
}

/// `type = "generator"`: record i is the template, filled in purely from (seed, i).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GeneratorSource {
    /// Seed.
    pub seed: u64,
    /// How many records; `None`: without end.
    pub count: Option<u64>,
    /// Records a second; `None`: as fast as they are taken.
    pub rate: Option<u64>,
    /// The template, as [`crate::template`] reads it; already found to compile.
    pub template: String,
}

/// `[sinks.NAME]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Sink {
    /// Its name.
    pub name: Name,
    /// Its type and what belongs to it.
    pub kind: SinkKind,
    /// What it takes. One input without a port name.
    pub inputs: Vec<Input>,
    /// What happens to a row that cannot be written.
    pub on_error: OnError,
    /// The largest row written: key + value + headers, bytes.
    pub record_bytes_max: u64,
    /// Subtasks, 1 to 128; `None`: as many as what it takes from has, where the type can.
    pub parallelism: Option<u32>,
}

/// The type of a sink.
#[derive(Debug, Clone, PartialEq)]
#[allow(clippy::large_enum_variant, reason = "a pipeline has a handful of them, made once")]
pub enum SinkKind {
    /// A Kafka topic, in the transaction.
    Kafka(KafkaSink),
    /// A folder of part files, each appearing at its commit.
    File {
        /// The folder.
        path: FilePath,
    },
    /// Standard output: outside the guarantee.
    Stdout,
    /// Nowhere: outside the guarantee.
    Discard,
}

impl SinkKind {
    /// The `type` in the file.
    pub fn as_str(&self) -> &'static str {
        match self {
            SinkKind::Kafka(_) => "kafka",
            SinkKind::File { .. } => "file",
            SinkKind::Stdout => "stdout",
            SinkKind::Discard => "discard",
        }
    }
}

/// A path in a pipeline file. Relative ones are relative to that file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilePath {
    /// As written: what identifies it when file and folder are copied elsewhere.
    pub written: String,
    /// What to open.
    pub resolved: PathBuf,
}
