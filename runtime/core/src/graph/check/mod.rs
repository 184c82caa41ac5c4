//! What must hold for a pipeline before anything else is looked at: names, edges, cycles, times that contradict each
//! other. Pure: components, folders and brokers are checked by those who open them.

mod edges;
#[cfg(test)]
mod tests;
mod times;

use std::collections::BTreeMap;

use super::fault::Fault;
use super::spec::{EventTime, FilePath, Guarantee, Key, Pipeline, Security, SinkKind, SourceKind, Storage};
use crate::extract::Pointer;

/// Everything that is wrong with a pipeline, errors and warnings, in no particular order.
pub fn check(pipeline: &Pipeline) -> Vec<Fault> {
    let mut faults = Vec::new();
    ends_exist(pipeline, &mut faults);
    names_are_unique(pipeline, &mut faults);
    previous_names_are_free(pipeline, &mut faults);
    edges::lead_somewhere(pipeline, &mut faults);
    edges::make_no_cycle(pipeline, &mut faults);
    edges::are_consumed(pipeline, &mut faults);
    times::fit(pipeline, &mut faults);
    pointers_parse(pipeline, &mut faults);
    guarantee_can_be_given(pipeline, &mut faults);
    logins_are_complete(pipeline, &mut faults);
    folders_are_apart(pipeline, &mut faults);
    faults
}

/// Name and place of every source, node and sink, in file order within each kind.
fn names(pipeline: &Pipeline) -> impl Iterator<Item = (&str, String)> {
    let sources = pipeline.sources.iter().map(|s| (s.name.as_str(), format!("sources.{}", s.name)));
    let nodes = pipeline.nodes.iter().map(|n| (n.name.as_str(), format!("nodes.{}", n.name)));
    let sinks = pipeline.sinks.iter().map(|s| (s.name.as_str(), format!("sinks.{}", s.name)));
    sources.chain(nodes).chain(sinks)
}

fn ends_exist(pipeline: &Pipeline, faults: &mut Vec<Fault>) {
    if pipeline.sources.is_empty() {
        faults.push(
            Fault::error("weir::config::no_source", "", "the pipeline has no source")
                .help("add one: [sources.NAME] with type = \"kafka\", \"file\", \"stdin\" or \"generator\""),
        );
    }
    if pipeline.sinks.is_empty() {
        faults.push(
            Fault::error("weir::config::no_sink", "", "the pipeline has no sink")
                .help("add one: [sinks.NAME] with type = \"kafka\", \"file\", \"stdout\" or \"discard\""),
        );
    }
}

fn names_are_unique(pipeline: &Pipeline, faults: &mut Vec<Fault>) {
    let mut seen = BTreeMap::new();
    for (name, path) in names(pipeline) {
        if let Some(first) = seen.insert(name, path.clone()) {
            let message = format!("the name `{name}` stands twice: {first} and {path}");
            let help = "sources, nodes and sinks share one space of names; rename one of them";
            faults.push(Fault::error("weir::config::duplicate_name", path, message).help(help));
        }
    }
}

/// State has one heir.
fn previous_names_are_free(pipeline: &Pipeline, faults: &mut Vec<Fault>) {
    let mut heirs = BTreeMap::new();
    for node in &pipeline.nodes {
        let Some(previous) = &node.previous_name else { continue };
        let path = format!("nodes.{}.previous_name", node.name);
        let mut fault = |message: String, help: &str| {
            faults.push(Fault::error("weir::config::previous_name", path.clone(), message).help(help));
        };
        if let Some((_, place)) = names(pipeline).find(|(name, _)| *name == previous.as_str()) {
            let message = format!("`{previous}` is there: {place} keeps its own state");
            fault(message, "a previous name is one that nothing has any more");
        } else if let Some(heir) = heirs.insert(previous, &node.name) {
            let message = format!("`{previous}` is the previous name of `{heir}` too");
            fault(message, "state goes to one node: take it out of the other");
        }
    }
}

fn pointers_parse(pipeline: &Pipeline, faults: &mut Vec<Fault>) {
    let mut pointer = |text: &str, path: String| {
        if let Err(error) = Pointer::parse(text) {
            let help = "a JSON pointer is empty or starts with /, as in \"/ip\" or \"/user/id\"";
            faults.push(Fault::error("weir::config::bad_pointer", path, error.to_string()).help(help));
        }
    };
    for source in &pipeline.sources {
        if let EventTime::Json { pointer: text, .. } = &source.event_time {
            pointer(text, format!("sources.{}.event_time.json", source.name));
        }
    }
    for node in &pipeline.nodes {
        for input in &node.inputs {
            if let Some(Key::Json(text)) = &input.key {
                pointer(text, key_path(node.name.as_str(), input.port.as_deref()));
            }
        }
    }
}

/// Where the pointer to the key of an input stands.
fn key_path(node: &str, port: Option<&str>) -> String {
    match port {
        Some(port) => format!("nodes.{node}.key.{port}.json"),
        None => format!("nodes.{node}.key.json"),
    }
}

fn guarantee_can_be_given(pipeline: &Pipeline, faults: &mut Vec<Fault>) {
    let guarantee = pipeline.checkpoint.guarantee;
    if pipeline.checkpoint.storage == Storage::Memory && guarantee != Guarantee::None {
        let message = format!(
            "checkpoints in memory are gone with the process, so a pipeline that has no others cannot be {}",
            guarantee.as_str()
        );
        let help = "write storage = \"local\" to keep the guarantee, or guarantee = \"none\" under [checkpoint] if each start of the process may begin anew";
        faults.push(Fault::error("weir::config::guarantee", "checkpoint.storage", message).help(help));
    }
    for source in &pipeline.sources {
        let path = format!("sources.{}.event_time", source.name);
        if source.kind == SourceKind::Stdin && guarantee != Guarantee::None {
            let message = format!("stdin cannot be read twice, so it cannot be {}", guarantee.as_str());
            let help = "write guarantee = \"none\" under [checkpoint], or read from a file";
            let path = format!("sources.{}.type", source.name);
            faults.push(Fault::error("weir::config::guarantee", path, message).help(help));
        }
        if source.event_time == EventTime::KafkaTimestamp && !matches!(source.kind, SourceKind::Kafka(_)) {
            let message = format!("a source of type {} has no Kafka timestamp", source.kind.as_str());
            let help = "write event_time = { json = \"/ts\" }";
            faults.push(Fault::error("weir::config::event_time", path, message).help(help));
        }
    }
    for sink in &pipeline.sinks {
        if guarantee == Guarantee::None && matches!(sink.kind, SinkKind::Kafka(_)) {
            let message = "a Kafka sink writes in transactions, so the guarantee \"none\" comes later for it";
            let path = format!("sinks.{}.type", sink.name);
            faults.push(
                Fault::error("weir::config::guarantee", path, message)
                    .help("leave the guarantee at exactly-once, or write at-least-once"),
            );
        }
    }
    for sink in pipeline.sinks.iter().filter(|_| guarantee != Guarantee::None) {
        let message = match sink.kind {
            SinkKind::Stdout => "stdout stands outside the guarantee: after a failure rows can appear again",
            SinkKind::Discard => "discard stands outside the guarantee: rows are counted and thrown away",
            SinkKind::Kafka(_) | SinkKind::File { .. } => continue,
        };
        faults.push(Fault::warning("weir::config::outside_guarantee", format!("sinks.{}.type", sink.name), message));
    }
}

fn logins_are_complete(pipeline: &Pipeline, faults: &mut Vec<Fault>) {
    let sources = pipeline.sources.iter().filter_map(|s| match &s.kind {
        SourceKind::Kafka(kafka) => Some((format!("sources.{}.security", s.name), &kafka.client.security)),
        _ => None,
    });
    let sinks = pipeline.sinks.iter().filter_map(|s| match &s.kind {
        SinkKind::Kafka(kafka) => Some((format!("sinks.{}.security", s.name), &kafka.client.security)),
        _ => None,
    });
    for (path, security) in sources.chain(sinks) {
        if let Some((message, help)) = missing_in(security) {
            faults.push(Fault::error("weir::config::security", path, message).help(help));
        }
    }
}

fn missing_in(security: &Security) -> Option<(String, &'static str)> {
    let protocol = security.protocol.as_str();
    let login = security.mechanism.is_some() || security.username.is_some() || security.password.is_some();
    let tls = security.ca.is_some() || security.cert.is_some() || security.key.is_some();
    let complete = security.mechanism.is_some() && security.username.is_some() && security.password.is_some();
    if security.protocol.has_login() && !complete {
        return Some((format!("{protocol} needs mechanism, username and password"), "add what is missing"));
    }
    if !security.protocol.has_login() && login {
        let message = format!("mechanism, username and password are not used with protocol {protocol}");
        return Some((message, "write protocol = \"sasl_ssl\" or \"sasl_plaintext\""));
    }
    if !security.protocol.has_tls() && tls {
        let message = format!("ca, cert and key are not used with protocol {protocol}");
        return Some((message, "write protocol = \"ssl\" or \"sasl_ssl\""));
    }
    if security.cert.is_some() != security.key.is_some() {
        return Some(("cert and key belong together".to_string(), "give both or none"));
    }
    None
}

fn folders_are_apart(pipeline: &Pipeline, faults: &mut Vec<Fault>) {
    let mut seen: Vec<(&FilePath, &str)> = Vec::new();
    for sink in &pipeline.sinks {
        let SinkKind::File { path } = &sink.kind else { continue };
        if let Some((_, other)) = seen.iter().find(|(p, _)| p.resolved == path.resolved) {
            let message = format!("the sinks `{other}` and `{}` write into the same folder", sink.name);
            let help = "part files are named by epoch: give each sink its own folder";
            faults.push(
                Fault::error("weir::config::same_folder", format!("sinks.{}.path", sink.name), message).help(help),
            );
        }
        seen.push((path, sink.name.as_str()));
    }
}
