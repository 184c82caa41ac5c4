//! What a Kafka source reads, where it begins and where it ends. Which partitions there are, only brokers can tell.

use std::collections::BTreeSet;
use std::time::Duration;

use weir_core::graph::fault::Fault;
use weir_core::graph::spec::{DISCOVERY, KafkaSource, Offsets, Otherwise, Partition, Removed, Start, Topics, Until};

use super::super::pattern;
use super::Reader;
use super::field::Field;
use super::kafka::{Common, is_topic, topic_name};
use super::table::Table;

pub(super) fn kafka_source(table: &mut Table<'_>, reader: &mut Reader<'_>) -> KafkaSource {
    let topics = topics(table, reader);
    let start = table.field("start").and_then(|f| start(&f, &topics, reader)).unwrap_or_default();
    let until_field = table.field("until");
    let until = until_field.as_ref().and_then(|f| until(f, &topics, reader));
    if let (Some(field), Some(why)) = (&until_field, until.as_ref().and_then(|until| before(&start, until))) {
        field.report_invalid(reader, why, "nothing would be read: end behind the start");
    }
    let discovery = match table.field("discovery") {
        Some(field) if until_field.is_some() => {
            let message = "a read that ends looks for no new partitions".to_owned();
            field.report_invalid(reader, message, "take `discovery` out, or `until`");
            None
        }
        Some(field) => discovery(&field, reader).unwrap_or(Some(DISCOVERY)),
        None => Some(DISCOVERY).filter(|_| until_field.is_none()),
    };
    let mut removed = Removed::default();
    table.set(reader, "removed", |f, r| f.choice(r, &REMOVED), &mut removed);
    let common = Common::read(table, reader);
    if let Some(span) = common.compression_span.clone() {
        let fault = Fault::error(
            "weir::config::invalid_value",
            format!("{}.compression", table.path()),
            "a source finds out by itself how batches are compressed",
        );
        reader.error(fault.help("take `compression` out; it belongs to sinks"), span);
    }
    KafkaSource { client: common.client(table, reader), topics, start, until, discovery, removed }
}

const REMOVED: [(&str, Option<Removed>); 2] = [("fail", Some(Removed::Fail)), ("forget", Some(Removed::Forget))];

/// A duration, or "never", which "0s" says too.
fn discovery(field: &Field<'_>, reader: &mut Reader<'_>) -> Option<Option<Duration>> {
    if field.shown() == "never" {
        return Some(None);
    }
    field.duration(reader).map(|period| Some(period).filter(|period| !period.is_zero()))
}

/// One of `topic`, `topics`, `pattern` and `partitions`.
fn topics(table: &mut Table<'_>, reader: &mut Reader<'_>) -> Topics {
    let ways = ["topic", "topics", "pattern", "partitions"].map(|key| table.field(key));
    let mut written = ways.into_iter().flatten();
    let Some(first) = written.next() else {
        table.required(reader, "topic", "topic = \"NAME\", or topics, pattern or partitions");
        return Topics::default();
    };
    if let Some(second) = written.next() {
        let message = format!("`{}` stands beside `{}`", second.key(), first.key());
        second.report_invalid(reader, message, "write one of topic, topics, pattern and partitions");
        return Topics::default();
    }
    let topics = match first.key() {
        "topic" => topic_name(&first, reader).map(|name| Topics::Named(vec![name])),
        "topics" => list(&first, reader, "topics = [\"a\", \"b\"]", topic_name).map(Topics::Named),
        "pattern" => read_pattern(&first, reader).map(Topics::Pattern),
        _ => list(&first, reader, "partitions = [\"orders/0\", \"orders/3\"]", partition)
            .map(|partitions| Topics::Partitions(partitions.into_iter().collect())),
    };
    topics.unwrap_or_default()
}

/// A list in which something stands, and nothing twice.
fn list<T: Ord + Clone>(
    field: &Field<'_>,
    reader: &mut Reader<'_>,
    example: &str,
    read: fn(&Field<'_>, &mut Reader<'_>) -> Option<T>,
) -> Option<Vec<T>> {
    let help = format!("write {example}");
    let Some(items) = field.items() else {
        field.report_shape(reader, "a list", &help);
        return None;
    };
    if items.is_empty() {
        field.report_invalid(reader, format!("`{}` is empty", field.key()), &help);
        return None;
    }
    let (mut seen, mut all) = (BTreeSet::new(), Vec::new());
    for item in items {
        let value = read(&item, reader)?;
        if !seen.insert(value.clone()) {
            item.report_invalid(reader, format!("\"{}\" stands twice", item.shown()), "name it once");
            return None;
        }
        all.push(value);
    }
    Some(all)
}

fn read_pattern(field: &Field<'_>, reader: &mut Reader<'_>) -> Option<String> {
    let text = field.string(reader)?;
    if let Err(error) = pattern::compile(&text) {
        let message = format!("`pattern` is not a regular expression: {error}");
        field.report_invalid(reader, message, "it is compared with whole names, as in pattern = \"orders-.*\"");
        return None;
    }
    Some(text)
}

fn partition(field: &Field<'_>, reader: &mut Reader<'_>) -> Option<Partition> {
    let text = field.string(reader)?;
    named_partition(field, &text, reader)
}

fn named_partition(field: &Field<'_>, text: &str, reader: &mut Reader<'_>) -> Option<Partition> {
    let partition = Partition::parse(text).filter(|partition| is_topic(&partition.topic));
    if partition.is_none() {
        let help = "a partition is a topic, a slash and a number: \"orders/3\"";
        field.report_invalid(reader, format!("\"{text}\" is not a partition"), help);
    }
    partition
}

const START: &str = "write \"earliest\", \"latest\", { timestamp = MILLISECONDS }, { group = \"NAME\" } or { offsets = { \
                     \"TOPIC/0\" = 42 } }";

fn start(field: &Field<'_>, topics: &Topics, reader: &mut Reader<'_>) -> Option<Start> {
    if field.tree().entries().is_none() {
        if let "group" | "committed" = field.shown() {
            let message = format!("`start` cannot be \"{}\": it names no group", field.shown());
            field.report_invalid(reader, message, "write { group = \"NAME\" }");
            return None;
        }
        let is_latest = field.choice(reader, &[("earliest", Some(false)), ("latest", Some(true))])?;
        return Some(if is_latest { Start::Latest } else { Start::Earliest });
    }
    let mut table = field.table(reader)?;
    let [timestamp, group, offsets_field] = ["timestamp", "group", "offsets"].map(|key| table.field(key));
    let otherwise_field = table.field("otherwise");
    let otherwise = otherwise_field.as_ref().and_then(|f| f.choice(reader, &OTHERWISE)).unwrap_or_default();
    let start = match (&timestamp, &group, &offsets_field) {
        (Some(field), None, None) => {
            if let Some(otherwise) = &otherwise_field {
                let message = "a time needs no `otherwise`: where no record is that late, reading begins at the end";
                otherwise.report_invalid(reader, message.to_owned(), "take `otherwise` out");
            }
            field.integer(reader, 0..=i64::MAX).map(Start::Timestamp)
        }
        (None, Some(field), None) => field.string(reader).map(|group| Start::Group { group, otherwise }),
        (None, None, Some(field)) => {
            offsets(field, topics, reader).map(|offsets| Start::Offsets { offsets, otherwise })
        }
        _ => {
            field.report_invalid(reader, "`start` must say one of timestamp, group and offsets".to_owned(), START);
            None
        }
    };
    table.finish(reader);
    start
}

const OTHERWISE: [(&str, Option<Otherwise>); 3] =
    [("fail", Some(Otherwise::Fail)), ("earliest", Some(Otherwise::Earliest)), ("latest", Some(Otherwise::Latest))];

const UNTIL: &str = "write \"latest\", { timestamp = MILLISECONDS } or { offsets = { \"TOPIC/0\" = 42 } }";

fn until(field: &Field<'_>, topics: &Topics, reader: &mut Reader<'_>) -> Option<Until> {
    if field.tree().entries().is_none() {
        return field.choice(reader, &[("latest", Some(()))]).map(|()| Until::Latest);
    }
    let mut table = field.table(reader)?;
    let [timestamp, offsets_field] = ["timestamp", "offsets"].map(|key| table.field(key));
    let until = match (&timestamp, &offsets_field) {
        (Some(field), None) => field.integer(reader, 0..=i64::MAX).map(Until::Timestamp),
        (None, Some(field)) => offsets(field, topics, reader).map(Until::Offsets),
        _ => {
            field.report_invalid(reader, "`until` must say one of timestamp and offsets".to_owned(), UNTIL);
            None
        }
    };
    table.finish(reader);
    until
}

fn offsets(field: &Field<'_>, topics: &Topics, reader: &mut Reader<'_>) -> Option<Offsets> {
    let fields = field.table(reader)?.into_fields();
    if fields.is_empty() {
        field.report_invalid(reader, "`offsets` names no partition".to_owned(), "write { \"TOPIC/0\" = 42 }");
        return None;
    }
    let mut offsets = Offsets::new();
    for field in fields {
        let partition = named_partition(&field, field.key(), reader)?;
        if !is_read(topics, &partition) {
            field.report_invalid(reader, format!("this source does not read `{partition}`"), "take it out");
        }
        offsets.insert(partition, field.integer(reader, 0..=i64::MAX)?);
    }
    Some(offsets)
}

/// As far as the file can tell. What was wrong with the topics has been said.
fn is_read(topics: &Topics, partition: &Partition) -> bool {
    match topics {
        Topics::Named(names) => names.is_empty() || names.contains(&partition.topic),
        Topics::Partitions(partitions) => partitions.contains(partition),
        Topics::Pattern(text) => pattern::compile(text).is_ok_and(|pattern| pattern.matches(&partition.topic)),
    }
}

/// Why nothing lies between start and end.
fn before(start: &Start, until: &Until) -> Option<String> {
    match (start, until) {
        (Start::Timestamp(start), Until::Timestamp(until)) if until < start => {
            Some(format!("`until` at {until} is before `start` at {start}"))
        }
        (Start::Offsets { offsets, .. }, Until::Offsets(ends)) => {
            let mut both =
                offsets.iter().filter_map(|(partition, start)| Some((partition, start, ends.get(partition)?)));
            let (partition, start, end) = both.find(|(_, start, end)| end < start)?;
            Some(format!("`until` at offset {end} of `{partition}` is before `start` at offset {start}"))
        }
        _ => None,
    }
}
