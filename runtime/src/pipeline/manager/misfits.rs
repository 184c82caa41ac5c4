//! What a server does not allow in a pipeline that would be good elsewhere: its own folder, paths that mean nothing here,
//! keys that nobody gave. Looks at paths and opens no file.

use std::path::Path;

use weir_core::graph::fault::Fault;
use weir_core::graph::spec::{FilePath, KafkaClient, OperatorRef, Pipeline, Security, SinkKind, SourceKind};

use super::check::Ground;
use crate::pipeline::folder::resolved;
use crate::settings::Files;

/// What a server does not allow. Files are the server's: a path means what it says only when it is absolute, none leads into
/// its own data folder, and operators come from the registry.
pub(super) fn misfits(pipeline: &Pipeline, ground: Ground<'_>) -> Vec<Fault> {
    let mut faults = Vec::new();
    for node in &pipeline.nodes {
        if let OperatorRef::Path(path) = &node.operator {
            let message = format!("{} is a path, and a server takes operators from its registry only", path.written);
            let fault = Fault::error("weir::server::operator_path", format!("nodes.{}.operator", node.name), message);
            faults.push(
                fault.help("upload it with PUT /api/v1/operators/NAME/versions/VERSION and write NAME@VERSION here"),
            );
        }
    }
    let mut file = |at: String, path: &FilePath| faults.extend(refused(&at, path, Files::refusal, ground));
    for source in &pipeline.sources {
        if let SourceKind::File { path } = &source.kind {
            file(format!("sources.{}.path", source.name), path);
        }
    }
    for sink in &pipeline.sinks {
        if let SinkKind::File { path } = &sink.kind {
            file(format!("sinks.{}.path", sink.name), path);
        }
    }
    for source in pipeline.sources.iter().filter(|source| matches!(source.kind, SourceKind::Stdin)) {
        let at = format!("sources.{}.type", source.name);
        faults.push(Fault::error("weir::server::stdin", at, "a server has no stdin to read"));
    }
    for (at, client) in clients(pipeline) {
        faults.extend(certificates(&at, &client.security, ground));
    }
    faults
}

fn refused(at: &str, path: &FilePath, why: fn(&Files, &Path) -> Option<String>, ground: Ground<'_>) -> Option<Fault> {
    let why = why(ground.files, &resolved(&path.resolved))?;
    let fault = Fault::error("weir::server::file", at, format!("{} {why}", path.written));
    Some(fault.help("use another path: who runs the server can say which folders are for pipelines"))
}

fn clients(pipeline: &Pipeline) -> impl Iterator<Item = (String, &KafkaClient)> {
    let sources = pipeline.sources.iter().filter_map(|source| match &source.kind {
        SourceKind::Kafka(kafka) => Some((format!("sources.{}", source.name), &kafka.client)),
        _ => None,
    });
    let sinks = pipeline.sinks.iter().filter_map(|sink| match &sink.kind {
        SinkKind::Kafka(kafka) => Some((format!("sinks.{}", sink.name), &kafka.client)),
        _ => None,
    });
    sources.chain(sinks)
}

/// Files of a client. Whoever can name a key logs in with it, so it is a secret that the server must have given.
fn certificates(at: &str, security: &Security, ground: Ground<'_>) -> Vec<Fault> {
    let files = [("ca", &security.ca), ("cert", &security.cert), ("key", &security.key)];
    let said = files.into_iter().filter_map(|(key, path)| Some((key, format!("{at}.security.{key}"), path.as_ref()?)));
    said.filter_map(|(key, at, path)| match key {
        _ if ground.secrets.has(&path.resolved) => None,
        "key" => {
            // Not even the path: it may be the key itself.
            let fault =
                Fault::error("weir::server::secret", at, "`key` is no file that this server lets pipelines use");
            Some(fault.help("it lies below files in [secrets] of weir.toml, and no link leads out of there"))
        }
        // Those of the system lie where they lie.
        _ => refused(&at, path, Files::keeps, ground),
    })
    .collect()
}
