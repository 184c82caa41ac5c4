//! What only shows when a pipeline's ends and operators are tried: a source's file that is not there, an operator whose
//! `open` refuses its configuration. Runs no record, keeps nothing, and touches no state, sink or broker.

use weir_core::graph::fault::Fault;
use weir_core::graph::spec::{Node, Pipeline, SinkKind, SourceKind};
use weir_core::key_group::KEY_GROUPS;

use super::job::{self, Checked};
use super::writer::keyed_state;
use crate::connector::file::{FileSource, check_folder};
use crate::guest::{Instance, Logs, Measured, Operator, Reason, Subtask};

/// Everything that would stop the first start, as far as it can be seen from here.
pub(super) fn faults(checked: &Checked) -> Vec<Fault> {
    let pipeline = &checked.pipeline;
    let mut faults = files(pipeline);
    faults.extend(pipeline.nodes.iter().filter_map(|node| open(checked, node, checked.operators.get(&node.name)?)));
    faults
}

fn files(pipeline: &Pipeline) -> Vec<Fault> {
    let fault = |path: String, message: String| Fault::error("weir::config::file", path, message);
    let sources = pipeline.sources.iter().filter_map(|source| match &source.kind {
        SourceKind::File { path } => {
            let why = FileSource::check(&path.resolved).err()?;
            Some(fault(format!("sources.{}.path", source.name), why))
        }
        _ => None,
    });
    let sinks = pipeline.sinks.iter().filter_map(|sink| match &sink.kind {
        SinkKind::File { path } => {
            let why = check_folder(&path.resolved).err()?;
            Some(fault(format!("sinks.{}.path", sink.name), why))
        }
        _ => None,
    });
    sources.chain(sinks).collect()
}

/// Opens an instance over empty state and throws it away. It is opened again when it runs, and says the same.
fn open(checked: &Checked, node: &Node, operator: &Operator) -> Option<Fault> {
    let (pipeline, descriptor) = (&checked.pipeline, operator.descriptor());
    let settings =
        job::guest_settings(pipeline, node, Subtask::ONLY, Measured::of(&descriptor.metrics), Logs::default());
    let state = keyed_state(descriptor, 0..KEY_GROUPS, |_| 0);
    // What it logs belongs to the run.
    let opened = tracing::subscriber::with_default(tracing::subscriber::NoSubscriber::default(), || {
        Instance::start(operator, settings, state)
    });
    // One that asks to be opened again later may be right.
    let failure = opened.err().filter(|failure| failure.reason != Reason::Retry)?;
    let said = |key: &&String| failure.message.contains(&format!("`{key}`"));
    let key = node.config.as_object().and_then(|config| config.keys().find(said));
    let path = match key {
        Some(key) => format!("nodes.{}.config.{key}", node.name),
        None if failure.code == "config" => format!("nodes.{}.config", node.name),
        None => format!("nodes.{}.operator", node.name),
    };
    let (name, code, message) = (checked.operator_name(&node.name), &failure.code, &failure.message);
    Some(Fault::error("weir::operator::open", path, format!("{name} fails in `open` ({code}): {message}")))
}
