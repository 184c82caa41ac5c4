//! `[sources.NAME]` and `[sinks.NAME]`.

use weir_core::graph::spec::{
    EventTime, FilePath, GeneratorSource, KafkaSink, KafkaSource, OnError, Sink, SinkKind, Source, SourceKind,
    WatermarkSettings,
};
use weir_core::ids::Name;
use weir_core::template::Template;

use super::field::Field;
use super::kafka::{Common, topic_name};
use super::kafka_source::kafka_source;
use super::table::Table;
use super::{Reader, node, on_error, time};

/// Records up to this large can be allowed: a column of a batch ends below 2 GiB.
const RECORD_BYTES_CAP: u64 = 256 << 20;

#[derive(Clone, Copy)]
enum SourceType {
    Kafka,
    File,
    Stdin,
    Generator,
}

#[derive(Clone, Copy)]
enum SinkType {
    Kafka,
    File,
    Stdout,
    Discard,
}

const SOURCE_TYPES: [(&str, Option<SourceType>); 4] = [
    ("kafka", Some(SourceType::Kafka)),
    ("file", Some(SourceType::File)),
    ("stdin", Some(SourceType::Stdin)),
    ("generator", Some(SourceType::Generator)),
];

const SINK_TYPES: [(&str, Option<SinkType>); 4] = [
    ("kafka", Some(SinkType::Kafka)),
    ("file", Some(SinkType::File)),
    ("stdout", Some(SinkType::Stdout)),
    ("discard", Some(SinkType::Discard)),
];

pub(super) fn source(name: Name, table: &mut Table<'_>, reader: &mut Reader<'_>) -> Source {
    let example = "type = \"kafka\", \"file\", \"stdin\" or \"generator\"";
    let kind = table.required(reader, "type", example).and_then(|f| f.choice(reader, &SOURCE_TYPES));
    let event_time = table.field("event_time");
    let has_event_time = event_time.is_some();
    let event_time = event_time.and_then(|f| time::event_time(&f, reader));
    let mut watermark = WatermarkSettings::default();
    table.set(reader, "watermark", time::watermark, &mut watermark);
    let on_error = table.field("on_error").and_then(|f| on_error(&f, reader));
    let record_bytes_max = table.field("limits").map_or(reader.record_bytes_max, |f| record_limit(f, reader));
    let parallelism = table.parallelism(reader).unwrap_or(1);
    table.later(reader, "format", "a choice of formats");
    let is_kafka = matches!(kind, Some(SourceType::Kafka) | None);
    let kind = match kind {
        Some(SourceType::Kafka) => SourceKind::Kafka(kafka_source(table, reader)),
        Some(SourceType::File) => SourceKind::File { path: path(table, reader, "path = \"in.jsonl\"") },
        Some(SourceType::Stdin) => SourceKind::Stdin,
        Some(SourceType::Generator) => SourceKind::Generator(generator(table, reader)),
        None => {
            table.skip_unknown();
            SourceKind::Kafka(KafkaSource::default())
        }
    };
    let event_time = event_time.unwrap_or(if is_kafka { EventTime::KafkaTimestamp } else { EventTime::None });
    if !has_event_time
        && !is_kafka
        && let Some(field) = table.field("watermark")
    {
        let message = "a watermark needs an event time, and this source has none".to_string();
        field.report_invalid(reader, message, "add event_time = { json = \"/ts\" }, or take `watermark` out");
    }
    Source { name, kind, event_time, watermark, on_error, record_bytes_max, parallelism }
}

pub(super) fn sink(name: Name, table: &mut Table<'_>, reader: &mut Reader<'_>) -> Sink {
    let example = "type = \"kafka\", \"file\", \"stdout\" or \"discard\"";
    let kind = table.required(reader, "type", example).and_then(|f| f.choice(reader, &SINK_TYPES));
    let inputs = node::sink_inputs(table, reader);
    let mut policy = OnError::default();
    table.set(reader, "on_error", on_error, &mut policy);
    let record_bytes_max = table.field("limits").map_or(reader.record_bytes_max, |f| record_limit(f, reader));
    let parallelism = table.parallelism(reader);
    table.later(reader, "format", "a choice of formats");
    let kind = match kind {
        Some(SinkType::Kafka) => SinkKind::Kafka(kafka_sink(table, reader)),
        Some(SinkType::File) => SinkKind::File { path: path(table, reader, "path = \"out\", a folder") },
        Some(SinkType::Stdout) => SinkKind::Stdout,
        Some(SinkType::Discard) => SinkKind::Discard,
        None => {
            table.skip_unknown();
            SinkKind::Discard
        }
    };
    Sink { name, kind, inputs, on_error: policy, record_bytes_max, parallelism }
}

/// `limits = { record = "1MiB" }` where nothing else can be limited.
pub(super) fn record_limit(field: Field<'_>, reader: &mut Reader<'_>) -> u64 {
    let mut limit = reader.record_bytes_max;
    if let Some(mut table) = field.table(reader) {
        table.set(reader, "record", record_bytes, &mut limit);
        table.finish(reader);
    }
    limit
}

/// `limits.record`.
pub(super) fn record_bytes(field: &Field<'_>, reader: &mut Reader<'_>) -> Option<u64> {
    field.size(reader, 1..=RECORD_BYTES_CAP)
}

fn path(table: &mut Table<'_>, reader: &mut Reader<'_>, example: &str) -> FilePath {
    let path = table.required(reader, "path", example).and_then(|f| f.path_value(reader));
    path.unwrap_or_else(|| FilePath { written: String::new(), resolved: Default::default() })
}

fn kafka_sink(table: &mut Table<'_>, reader: &mut Reader<'_>) -> KafkaSink {
    let topic = table.required(reader, "topic", "topic = \"NAME\"").and_then(|f| topic_name(&f, reader));
    let transaction_timeout = table.field("transaction").and_then(|field| {
        let mut table = field.table(reader)?;
        let timeout = table.field("timeout").and_then(|f| f.duration(reader));
        table.finish(reader);
        timeout
    });
    let common = Common::read(table, reader);
    let compression = common.compression.or(reader.kafka.compression).unwrap_or_default();
    let topic = topic.unwrap_or_default();
    KafkaSink { client: common.client(table, reader), topic, transaction_timeout, compression }
}

fn generator(table: &mut Table<'_>, reader: &mut Reader<'_>) -> GeneratorSource {
    let mut seed = 0;
    table.set(reader, "seed", |f, r| f.integer(r, 0..=i64::MAX).map(|n| n as u64), &mut seed);
    let count = table.field("count").and_then(|f| f.integer(reader, 0..=i64::MAX)).map(|n| n as u64);
    let rate = table.field("rate").and_then(|f| f.integer(reader, 1..=1_000_000_000)).map(|n| n as u64);
    let example = "template = '{\"ts\":{{time 1700000000000 10}},\"ip\":\"10.0.0.{{zipf 50}}\"}'";
    let template = table.required(reader, "template", example).and_then(|f| template(&f, reader));
    GeneratorSource { seed, count, rate, template: template.unwrap_or_default() }
}

/// Compiles the template to see whether it does; the caret stands under the function that does not.
fn template(field: &Field<'_>, reader: &mut Reader<'_>) -> Option<String> {
    let text = field.string(reader)?;
    match Template::compile(&text) {
        Ok(_) => Some(text),
        Err(error) => {
            let span = field.span_within(reader, &error.span);
            reader.error(field.problem("weir::config::template", error.message).help(error.help), span);
            None
        }
    }
}
