//! What a server does not allow in a pipeline that would be good elsewhere: its own folder, paths that mean nothing here,
//! keys that nobody gave. Looks at paths and opens no file.

use std::path::Path;

use weir_core::graph::fault::Fault;
use weir_core::graph::spec::{FilePath, KafkaClient, OperatorRef, Pipeline, Security, SinkKind, SourceKind};

use super::check::Ground;
use crate::pipeline::folder::resolved;

/// What a server does not allow. Files are the server's: a path means what it says only when it is absolute, none leads into
/// its own data folder, and operators come from the registry.
pub(super) fn misfits(pipeline: &Pipeline, ground: Ground<'_>) -> Vec<Fault> {
    let data = ground.data;
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
    let mut file = |at: String, path: &FilePath| {
        if let Some(fault) = in_data(&at, path, data) {
            faults.push(fault);
        } else if !Path::new(&path.written).is_absolute() {
            let message =
                format!("{} is relative, and over HTTP there is no folder that it could be relative to", path.written);
            faults.push(
                Fault::error("weir::server::relative_path", at, message)
                    .help("write an absolute path of the server's machine"),
            );
        }
    };
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

fn in_data(at: &str, path: &FilePath, data: &Path) -> Option<Fault> {
    resolved(&path.resolved).starts_with(data).then(|| {
        let message = format!("{} lies in the server's data folder, which no pipeline may read or write", path.written);
        Fault::error("weir::server::data_folder", at, message).help("use a folder outside of it")
    })
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
fn certificates(at: &str, security: &Security, Ground { data, secrets, .. }: Ground<'_>) -> Vec<Fault> {
    let files = [("ca", &security.ca), ("cert", &security.cert), ("key", &security.key)];
    let said = files.into_iter().filter_map(|(key, path)| Some((key, format!("{at}.security.{key}"), path.as_ref()?)));
    said.filter_map(|(key, at, path)| match in_data(&at, path, data) {
        None if key == "key" && !secrets.has(&path.resolved) => {
            // Not even the path: it may be the key itself.
            let fault =
                Fault::error("weir::server::secret", at, "`key` is no file that this server lets pipelines use");
            Some(fault.help("it lies below files in [secrets] of weir.toml, and no link leads out of there"))
        }
        fault => fault,
    })
    .collect()
}
