//! `[nodes.NAME]`, and the `inputs` of nodes and sinks.

use std::collections::BTreeMap;
use std::time::Duration;

use weir_core::graph::nearest::nearest;
use weir_core::graph::spec::{
    Edge, Exchange, FilePath, Input, Key, Limits, MEMORY_BYTES_MAX, Node, OnError, OperatorRef, Secret,
};
use weir_core::ids::Name;

use super::field::Field;
use super::table::Table;
use super::{Reader, ends, on_error};

const INPUTS: &str = "write inputs = [\"NAME\"], [\"NAME.PORT\"] or { PORT = \"NAME\" }";
const KEY: &str = "write key = { json = \"/ip\" } or { kafka = \"key\" }";
const OPERATOR: &str = "a file: \"target/weir/NAME.wasm\"; or one of the registry: \"NAME@1.0.0\"";

pub(super) fn node(name: Name, table: &mut Table<'_>, reader: &mut Reader<'_>) -> Node {
    let operator = table.required(reader, "operator", "operator = \"target/weir/NAME.wasm\"");
    let operator = operator.and_then(|f| operator_ref(&f, reader));
    let mut inputs = node_inputs(table, reader);
    if let Some(field) = table.field("key") {
        keys(&field, &mut inputs, reader);
    }
    let mut policy = OnError::default();
    table.set(reader, "on_error", on_error, &mut policy);
    let config = table.field("config").and_then(|f| {
        f.table(reader)?;
        f.json(reader)
    });
    let secrets = table.field("secrets").map(|f| secrets(&f, reader)).unwrap_or_default();
    let limits = match table.field("limits") {
        Some(field) => limits(field, reader),
        None => defaults(reader),
    };
    let parallelism = table.parallelism(reader).unwrap_or(1);
    if let Some(field) = table.field("capabilities")
        && field.items().is_none_or(|items| !items.is_empty())
    {
        field.report_value_later(reader, "anything beyond state, timers and logs");
    }
    let previous_name = table.field("previous_name").and_then(|f| f.name(reader));
    let operator = operator
        .unwrap_or_else(|| OperatorRef::Path(FilePath { written: String::new(), resolved: Default::default() }));
    Node {
        name,
        previous_name,
        operator,
        inputs,
        on_error: policy,
        config: config.unwrap_or_else(|| serde_json::json!({})),
        secrets,
        limits,
        parallelism,
    }
}

fn operator_ref(field: &Field<'_>, reader: &mut Reader<'_>) -> Option<OperatorRef> {
    let text = field.string(reader)?;
    if text.contains(['/', '\\']) || text.ends_with(".wasm") || text.starts_with('.') {
        return field.path_value(reader).map(OperatorRef::Path);
    }
    let Some((name, version)) = text.split_once('@') else {
        field.report_invalid(
            reader,
            format!("`{}` is neither a path nor a version of an operator", field.shown()),
            OPERATOR,
        );
        return None;
    };
    match Name::new(name) {
        Ok(name) if is_version(version) => Some(OperatorRef::Registry { name, version: version.to_string() }),
        _ => {
            field.report_invalid(reader, format!("`{}` is not a version of an operator", field.shown()), OPERATOR);
            None
        }
    }
}

/// `1`, `1.2`, or a whole semantic version. The registry decides whether it has one.
fn is_version(text: &str) -> bool {
    let core = text.split(['-', '+']).next().unwrap_or_default();
    let numbers: Vec<&str> = core.split('.').collect();
    let number = |n: &&str| {
        !n.is_empty() && n.len() <= 9 && n.bytes().all(|b| b.is_ascii_digit()) && (*n == "0" || !n.starts_with('0'))
    };
    let rest = &text[core.len()..];
    let legal = rest.bytes().all(|b| b.is_ascii_alphanumeric() || b"-+.".contains(&b));
    numbers.iter().all(number) && legal && (numbers.len() == 3 || numbers.len() < 3 && rest.is_empty())
}

fn node_inputs(table: &mut Table<'_>, reader: &mut Reader<'_>) -> Vec<Input> {
    let Some(field) = table.required(reader, "inputs", "inputs = [\"NAME\"]") else { return vec![] };
    if field.items().is_some() {
        return vec![Input { port: None, from: edges(&field, reader), key: None }];
    }
    if field.tree().entries().is_none() {
        field.report_shape(reader, "a list or a table of inputs", INPUTS);
        return vec![];
    }
    let fields = field.table(reader).map(Table::into_fields).unwrap_or_default();
    let input = |f: Field<'_>| Input { port: Some(f.key().to_string()), from: edges(&f, reader), key: None };
    fields.into_iter().map(input).collect()
}

/// The inputs of a sink, which has one port.
pub(super) fn sink_inputs(table: &mut Table<'_>, reader: &mut Reader<'_>) -> Vec<Input> {
    let Some(field) = table.required(reader, "inputs", "inputs = [\"NAME\"]") else { return vec![] };
    if field.items().is_none() {
        field.report_shape(reader, "a list of inputs", "write inputs = [\"NAME\"] or [\"NAME.PORT\"]");
        return vec![];
    }
    vec![Input { port: None, from: edges(&field, reader), key: None }]
}

/// One edge or a list of them.
fn edges(field: &Field<'_>, reader: &mut Reader<'_>) -> Vec<Edge> {
    match field.items() {
        Some(items) => items.iter().filter_map(|item| edge(item, reader)).collect(),
        None => edge(field, reader).into_iter().collect(),
    }
}

fn edge(field: &Field<'_>, reader: &mut Reader<'_>) -> Option<Edge> {
    if field.tree().entries().is_none() {
        return named(field, field, None, reader);
    }
    let mut table = field.table(reader)?;
    let from = table.required(reader, "from", "from = \"NAME\"");
    let exchange = table.field("exchange").and_then(|field| field.choice(reader, &EXCHANGES));
    table.finish(reader);
    named(&from?, field, exchange, reader)
}

const EXCHANGES: [(&str, Option<Exchange>); 3] = [
    ("forward", Some(Exchange::Forward)),
    ("broadcast", Some(Exchange::Broadcast)),
    ("rebalance", Some(Exchange::Rebalance)),
];

fn named(field: &Field<'_>, at: &Field<'_>, exchange: Option<Exchange>, reader: &mut Reader<'_>) -> Option<Edge> {
    let text = field.string(reader)?;
    let (node, port) = match text.split_once('.') {
        Some((node, port)) => (node.to_string(), Some(port.to_string())),
        None => (text, None),
    };
    Some(Edge { node, port, exchange, path: at.path().to_string() })
}

/// `{ json = … }` for all inputs, or `{ left = { json = … }, … }` for each.
fn keys(field: &Field<'_>, inputs: &mut [Input], reader: &mut Reader<'_>) {
    let Some(table) = field.table(reader) else { return };
    let fields = table.into_fields();
    if !fields.iter().any(|f| f.tree().entries().is_some()) {
        let key = key(field, reader);
        inputs.iter_mut().for_each(|input| input.key = key.clone());
        return;
    }
    for field in fields {
        if reader.has_enough() {
            return;
        }
        let key = key(&field, reader);
        match inputs.iter_mut().find(|i| i.port.as_deref() == Some(field.key())) {
            Some(input) => input.key = key,
            None => unknown_port(&field, inputs, reader),
        }
    }
}

fn unknown_port(field: &Field<'_>, inputs: &[Input], reader: &mut Reader<'_>) {
    let known: Vec<&str> = inputs.iter().filter_map(|i| i.port.as_deref()).collect();
    let help = match (nearest(field.key(), &known), known.is_empty()) {
        (_, true) => KEY.to_string(),
        (Some(close), _) => format!("did you mean `{close}`? The inputs: {}", known.join(", ")),
        (None, _) => format!("the inputs: {}", known.join(", ")),
    };
    let fault = field.problem("weir::config::unknown_port", format!("there is no input `{}` to key", field.key()));
    reader.error(fault.help(help), field.name_span());
}

fn key(field: &Field<'_>, reader: &mut Reader<'_>) -> Option<Key> {
    let mut table = field.table(reader)?;
    let json = table.field("json");
    let kafka = table.field("kafka");
    table.finish(reader);
    match (json, kafka) {
        (Some(json), None) => json.text(reader).map(|pointer| Key::Json(pointer.to_string())),
        (None, Some(kafka)) => kafka.choice(reader, &[("key", Some(()))]).map(|()| Key::Record),
        _ => {
            field.report_invalid(reader, "`key` says neither json nor kafka, or both".to_string(), KEY);
            None
        }
    }
}

fn secrets(field: &Field<'_>, reader: &mut Reader<'_>) -> BTreeMap<String, Secret> {
    let fields = field.table(reader).map(Table::into_fields).unwrap_or_default();
    fields.iter().filter_map(|f| Some((f.key().to_string(), Secret::new(f.text(reader)?)))).collect()
}

fn defaults(reader: &Reader<'_>) -> Limits {
    Limits { record_bytes_max: reader.record_bytes_max, ..Limits::default() }
}

fn limits(field: Field<'_>, reader: &mut Reader<'_>) -> Limits {
    let mut limits = defaults(reader);
    let Some(mut table) = field.table(reader) else { return limits };
    table.set(reader, "memory", |f, r| f.size(r, 64 << 10..=MEMORY_BYTES_MAX), &mut limits.memory_bytes);
    table.set(reader, "call_timeout", call_timeout, &mut limits.call_timeout);
    table.set(reader, "record", ends::record_bytes, &mut limits.record_bytes_max);
    table.finish(reader);
    limits
}

fn call_timeout(field: &Field<'_>, reader: &mut Reader<'_>) -> Option<Duration> {
    let timeout = field.duration(reader)?;
    if timeout < Duration::from_millis(1) || timeout > Duration::from_secs(2) {
        // The watchdog that ends the process stands at 3 s: a guest must have met its own limit before.
        field.report_invalid(reader, format!("`call_timeout` of {} is out of bounds", field.shown()), "1ms to 2s");
        return None;
    }
    Some(timeout)
}
