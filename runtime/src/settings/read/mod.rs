//! From a tree to a pipeline, key by key. Goes on behind an error with a default in its place, so that one run reports
//! them all; whether the parts fit together is checked elsewhere.

mod ends;
mod field;
mod kafka;
mod kafka_source;
mod node;
mod options;
mod restart;
#[cfg(test)]
pub(super) mod seen;
mod server;
mod table;
mod time;

use weir_core::graph::spec::{
    Backend, Checkpoint, Guarantee, OnCancel, OnError, Pipeline, RECORD_BYTES_MAX, Samples, Storage, VERSION,
};
use weir_core::ids::Name;

use field::Field;
use table::Table;

use super::diagnostics::Problem;
use super::source::Environment;
use super::tree::Tree;

pub(super) use server::server;

/// Sources, nodes and sinks that a file may have, each: far above what anyone writes, and a bound for what is quadratic.
const ENTRIES_MAX: usize = 1_000;

const BACKENDS: [(&str, Option<Backend>); 2] = [("rocksdb", Some(Backend::RocksDb)), ("memory", Some(Backend::Memory))];

/// What all readers share.
pub(super) struct Reader<'a> {
    environment: &'a Environment<'a>,
    problems: &'a mut Vec<Problem>,
    /// The text itself, to find a part of a string in it.
    text: &'a str,
    /// `limits.record` of the whole file.
    record_bytes_max: u64,
    kafka: kafka::Common,
}

/// Reads a pipeline. `None`: the outline is wrong, and looking at it as a graph would only repeat that.
pub(super) fn pipeline(
    tree: &Tree,
    text: &str,
    environment: &Environment<'_>,
    problems: &mut Vec<Problem>,
) -> Option<Pipeline> {
    let mut reader =
        Reader { environment, problems, text, record_bytes_max: RECORD_BYTES_MAX, kafka: kafka::Common::default() };
    let mut table = Table::root(tree, &mut reader)?;
    version(&mut table, &mut reader);
    let name = table.required(&mut reader, "name", "name = \"NAME\"").and_then(|f| f.name(&mut reader));
    let checkpoint = table.field("checkpoint").map(|f| checkpoint(f, &mut reader)).unwrap_or_default();
    let state = table.field("state").and_then(|f| f.choice(&mut reader, &BACKENDS)).unwrap_or_default();
    let restart = table.field("restart").map(|f| restart::restart(f, &mut reader)).unwrap_or_default();
    let samples = table.field("problems").map(|f| samples(f, &mut reader)).unwrap_or_default();
    if let Some(field) = table.field("limits") {
        reader.record_bytes_max = ends::record_limit(field, &mut reader);
    }
    if let Some(field) = table.field("defaults") {
        defaults(field, &mut reader);
    }
    let sources = entries(&mut table, &mut reader, "sources", ends::source);
    let nodes = entries(&mut table, &mut reader, "nodes", node::node);
    let sinks = entries(&mut table, &mut reader, "sinks", ends::sink);
    table.later(&mut reader, "tests", "tests in the pipeline file");
    table.finish(&mut reader);
    Some(Pipeline { name: name?, state, checkpoint, restart, samples, sources: sources?, nodes: nodes?, sinks: sinks? })
}

fn version(table: &mut Table<'_>, reader: &mut Reader<'_>) {
    let Some(field) = table.required(reader, "version", "version = 1") else { return };
    match field.integer(reader, 0..=i64::MAX) {
        Some(version) if version != i64::from(VERSION) => {
            let message = format!("this weir reads version {VERSION} of the pipeline file, not {version}");
            reader.error(field.problem("weir::config::version", message).help("write version = 1"), field.span());
        }
        _ => {}
    }
}

fn defaults(field: Field<'_>, reader: &mut Reader<'_>) {
    let Some(mut table) = field.table(reader) else { return };
    if let Some(field) = table.field("kafka")
        && let Some(mut kafka) = field.table(reader)
    {
        reader.kafka = kafka::Common::read(&mut kafka, reader);
        kafka.finish(reader);
    }
    table.finish(reader);
}

fn checkpoint(field: Field<'_>, reader: &mut Reader<'_>) -> Checkpoint {
    let mut checkpoint = Checkpoint::default();
    let Some(mut table) = field.table(reader) else { return checkpoint };
    table.set(reader, "interval", Field::duration, &mut checkpoint.interval);
    table.set(reader, "guarantee", guarantee, &mut checkpoint.guarantee);
    table.set(reader, "timeout", Field::duration, &mut checkpoint.timeout);
    table.set(reader, "min_pause", Field::duration, &mut checkpoint.min_pause);
    table.set(reader, "tolerable_failures", small, &mut checkpoint.tolerable_failures);
    table.set(reader, "retain", small, &mut checkpoint.retain);
    table.set(reader, "storage", storage, &mut checkpoint.storage);
    table.set(reader, "on_cancel", on_cancel, &mut checkpoint.on_cancel);
    table.set(reader, "margin", Field::duration, &mut checkpoint.margin);
    table.finish(reader);
    checkpoint
}

fn samples(field: Field<'_>, reader: &mut Reader<'_>) -> Samples {
    let mut samples = Samples::default();
    let Some(mut table) = field.table(reader) else { return samples };
    let read: fn(&Field<'_>, &mut Reader<'_>) -> Option<Samples> =
        |field, reader| field.choice(reader, &[("show", Some(Samples::Show)), ("hide", Some(Samples::Hide))]);
    table.set(reader, "samples", read, &mut samples);
    table.finish(reader);
    samples
}

fn small(field: &Field<'_>, reader: &mut Reader<'_>) -> Option<u32> {
    field.integer(reader, 0..=10_000).map(|n| n as u32)
}

fn guarantee(field: &Field<'_>, reader: &mut Reader<'_>) -> Option<Guarantee> {
    let all = [Guarantee::ExactlyOnce, Guarantee::AtLeastOnce, Guarantee::None];
    field.choice(reader, &all.map(|g| (g.as_str(), Some(g))))
}

fn storage(field: &Field<'_>, reader: &mut Reader<'_>) -> Option<Storage> {
    let text = field.text(reader)?;
    let shown = field.shown();
    let what = match text {
        _ if text.contains("://") => format!("checkpoints in object storage: \"{shown}\""),
        _ if text.contains('/') || text.starts_with(['.', '~']) => {
            format!("checkpoints in a folder of their own: \"{shown}\"")
        }
        _ => return field.choice(reader, &[("local", Some(Storage::Local)), ("memory", Some(Storage::Memory))]),
    };
    field.report_value_later(reader, &what);
    None
}

fn on_cancel(field: &Field<'_>, reader: &mut Reader<'_>) -> Option<OnCancel> {
    field.choice(reader, &[("keep", Some(OnCancel::Keep)), ("delete", Some(OnCancel::Delete))])
}

fn on_error(field: &Field<'_>, reader: &mut Reader<'_>) -> Option<OnError> {
    field.choice(reader, &[("fail", Some(OnError::Fail)), ("skip", Some(OnError::Skip)), ("dead-letter", None)])
}

/// Reads `[sources.NAME]` and its like, in file order. `None` if a name or the section itself is wrong.
fn entries<T>(
    table: &mut Table<'_>,
    reader: &mut Reader<'_>,
    section: &'static str,
    read: fn(Name, &mut Table<'_>, &mut Reader<'_>) -> T,
) -> Option<Vec<T>> {
    let Some(field) = table.field(section) else { return Some(vec![]) };
    let fields = field.table(reader)?.into_fields();
    if fields.len() > ENTRIES_MAX {
        let message = format!("{} {section} are more than the {ENTRIES_MAX} that a pipeline may have", fields.len());
        reader.error(field.problem("weir::config::too_many", message), field.span());
        return None;
    }
    let mut all = Some(Vec::with_capacity(fields.len()));
    for field in fields {
        let name = field.key_as_name(reader);
        let Some(mut table) = field.table(reader) else {
            all = None;
            continue;
        };
        // One with a wrong name is read all the same, for what else is wrong in it.
        let is_named = name.is_some();
        let name = name.unwrap_or_else(|| Name::new("unnamed").expect("it follows the rule for names"));
        let value = read(name, &mut table, reader);
        table.finish(reader);
        match &mut all {
            Some(all) if is_named => all.push(value),
            _ => all = None,
        }
    }
    all
}
