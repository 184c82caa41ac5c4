//! What a server asks of a pipeline's text: that it is a pipeline, of the name in its path, and needs nothing of the server
//! but its registry. Keeps nothing and runs nothing.

use std::path::Path;

use weir_core::graph::fault::Fault;
use weir_core::graph::spec::{FilePath, OperatorRef, Pipeline, SinkKind, SourceKind};
use weir_core::ids::Name;

use super::{Error, Language};
use crate::pipeline::job::Checked;
use crate::registry::Registry;
use crate::settings::{self, Environment, Format};

/// Parses and checks a text; its operators are compiled.
pub(super) fn check(registry: &Registry, name: &Name, language: Language, text: &str) -> Result<Checked, Error> {
    let (format, file) = match language {
        Language::Toml => (Format::Toml, format!("{name}.toml")),
        Language::Json => (Format::Json, format!("{name}.json")),
    };
    // The server's own environment and files are not for those who may apply a pipeline.
    let environment = Environment { variable: &|_| None, file: None, base: None };
    let loaded = settings::parse(text, &file, format, &environment).map_err(Error::Invalid)?;
    if loaded.spec.name != *name {
        return Err(Error::OtherName { path: name.clone(), file: loaded.spec.name.clone() });
    }
    let misfits = misfits(&loaded.spec);
    if !misfits.is_empty() {
        return Err(Error::Invalid(loaded.faults(misfits)));
    }
    let lookup = |name: &Name, version: &str| registry.lookup(name, version);
    Checked::new(loaded.spec.clone(), registry.engine(), Some(&lookup))
        .map_err(|faults| Error::Invalid(loaded.faults(faults)))
}

/// What a server does not allow. Files are the server's: a path means what it says only when it is absolute, and operators
/// come from the registry.
fn misfits(pipeline: &Pipeline) -> Vec<Fault> {
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
    let mut relative = |at: String, path: &FilePath| {
        if !Path::new(&path.written).is_absolute() {
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
            relative(format!("sources.{}.path", source.name), path);
        }
    }
    for sink in &pipeline.sinks {
        if let SinkKind::File { path } = &sink.kind {
            relative(format!("sinks.{}.path", sink.name), path);
        }
    }
    for source in pipeline.sources.iter().filter(|source| matches!(source.kind, SourceKind::Stdin)) {
        let at = format!("sources.{}.type", source.name);
        faults.push(Fault::error("weir::server::stdin", at, "a server has no stdin to read"));
    }
    faults
}
