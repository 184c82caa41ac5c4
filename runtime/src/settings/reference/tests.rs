//! The reader, the reference and the documentation know the same keys.

use std::collections::{BTreeMap, BTreeSet};

use super::{Key, keys};
use crate::settings::read::seen;
use crate::settings::{Environment, Format, parse};

/// Files that together have each type of source and sink, each strategy, and each table that there can be.
const FILES: [&str; 4] = [
    r#"version = 1
name = "a"
limits = { record = "1MiB" }
[checkpoint]
interval = "1s"
[restart]
strategy = "exponential"
[problems]
samples = "show"
[defaults.kafka]
brokers = "b:1"
security = { protocol = "plaintext" }
[sources.k]
type = "kafka"
topic = "t"
security = { protocol = "plaintext" }
limits = { record = "1KiB" }
watermark = { tick = "1s" }
event_time = { json = "/ts" }
[nodes.n]
operator = "o@1"
inputs = [{ from = "k", exchange = "rebalance" }]
key = { json = "/a" }
limits = { memory = "1MiB" }
[nodes.m]
operator = "o@1"
inputs = { left = { from = "k" }, right = "n" }
key = { left = { kafka = "key" } }
[sinks.k2]
type = "kafka"
topic = "t"
inputs = [{ from = "n" }]
transaction = { timeout = "5m" }
security = { protocol = "plaintext" }
limits = { record = "1KiB" }
"#,
    "version = 1\nname = \"a\"\n[restart]\nstrategy = \"fixed-delay\"\n[sources.f]\ntype = \"file\"\npath = \"/f\"\n\
     [sinks.f2]\ntype = \"file\"\npath = \"/o\"\ninputs = [\"f\"]\n",
    "version = 1\nname = \"a\"\n[restart]\nstrategy = \"failure-rate\"\n[sources.s]\ntype = \"stdin\"\n\
     [sinks.s2]\ntype = \"stdout\"\ninputs = [\"s\"]\n",
    "version = 1\nname = \"a\"\n[restart]\nstrategy = \"none\"\n[sources.g]\ntype = \"generator\"\ntemplate = \"x\"\n\
     [sinks.d]\ntype = \"discard\"\ninputs = [\"g\"]\n",
];

/// Read, so that it can be refused with a reason.
const ALWAYS_REFUSED: [(&str, &str); 1] = [("sources.*", "compression")];

/// The table of a path, as the reference calls it.
fn table(path: &str) -> String {
    let parts: Vec<&str> = path.split('.').collect();
    match parts[..] {
        ["nodes" | "sinks", _, inputs, ..] if inputs.starts_with("inputs") => "edge".to_owned(),
        ["nodes", _, "key", ..] => "key".to_owned(),
        [section @ ("sources" | "nodes" | "sinks"), _, ref rest @ ..] => [&[section, "*"], rest].concat().join("."),
        _ => path.to_owned(),
    }
}

#[test]
fn the_reader_and_the_reference_know_the_same_keys() {
    seen::clear();
    let environment = Environment { variable: &|_| None, file: None, base: None, secrets: None };
    for file in FILES {
        // Whether it makes a pipeline does not matter here.
        let _ = parse(file, "a.toml", Format::Toml, &environment);
    }
    let mut read: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for (path, known) in seen::all() {
        read.entry(table(&path)).or_default().extend(known);
    }
    for (table, key) in ALWAYS_REFUSED {
        read.get_mut(table).unwrap().remove(key);
    }
    let mut written: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for Key { table, key, .. } in keys() {
        assert!(written.entry(table.to_owned()).or_default().insert(key), "{table}.{key} stands twice");
    }
    assert_eq!(read, written, "left: the reader; right: reference.txt");
}

/// Where `docs/pipeline.md` speaks of a table.
fn heading(table: &str, key: &str) -> &'static str {
    let is_common = ["brokers", "security", "options"].contains(&key) || table.ends_with(".security");
    match table.split('.').next().unwrap_or_default() {
        _ if is_common => "## Kafka ends",
        "" | "limits" | "defaults" => "## Top level",
        "checkpoint" => "## `[checkpoint]`",
        "restart" => "## `[restart]`",
        "sources" => "## `[sources.NAME]`",
        "problems" => "## `[problems]`",
        "sinks" => "## `[sinks.NAME]`",
        _ => "## `[nodes.NAME]`",
    }
}

#[test]
fn the_documentation_has_every_key_with_its_default() {
    let docs = include_str!("../../../../docs/pipeline.md");
    for Key { table, key, default, .. } in keys() {
        // What is there to be empty is said at the end of the page.
        if key == "capabilities" {
            continue;
        }
        let heading = heading(table, key);
        let (_, section) = docs.split_once(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("no {heading:?}"));
        let section = section.split("\n## ").next().unwrap_or_default();
        let inner = table.rsplit('.').next().unwrap_or_default();
        let path = if table.is_empty() { key.to_owned() } else { format!("{table}.{key}") };
        // A key of its own, one of an inner table, a table's heading, one that an example shows, and a table by a key in it.
        let forms = [
            format!("`{key}`"),
            format!("`{inner}.{key}`"),
            format!("[{path}"),
            format!("{key} = "),
            format!("`{key}."),
        ];
        let found: Vec<&str> = section.lines().filter(|line| forms.iter().any(|form| line.contains(form))).collect();
        assert!(!found.is_empty(), "docs/pipeline.md does not have {table}.{key} under {heading}");
        let is_value = serde_json::from_str::<serde_json::Value>(default).is_ok();
        let shown =
            [format!("`{default}`"), format!("| {default} |"), format!(" {default},"), format!("unit `{default}`")];
        assert!(
            !is_value || found.iter().any(|line| shown.iter().any(|shown| line.contains(shown))),
            "docs/pipeline.md does not give {default} as the default of {table}.{key}: {found:#?}"
        );
    }
}
