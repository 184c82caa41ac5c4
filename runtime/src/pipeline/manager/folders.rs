//! Folders of file sinks: no two pipelines of a server write into one, and none begins in one that holds parts already. Known
//! before anything stops; the start, which sees other processes too, looks again.

use std::collections::BTreeMap;
use std::path::PathBuf;

use weir_core::graph::spec::{Pipeline, SinkKind};
use weir_core::ids::Name;

use super::entry::Entry;
use super::{Error, Manager};
use crate::connector::file::any_part;
use crate::pipeline::folder::resolved;

/// Where the file sinks of a pipeline write, by sink.
pub(super) fn folders(pipeline: &Pipeline) -> BTreeMap<Name, PathBuf> {
    let folder = |kind: &SinkKind| match kind {
        SinkKind::File { path } => Some(resolved(&path.resolved)),
        _ => None,
    };
    pipeline.sinks.iter().filter_map(|sink| Some((sink.name.clone(), folder(&sink.kind)?))).collect()
}

/// Refuses a folder that another pipeline has, or has again where its revision on trial fails.
pub(super) fn check_others(
    entries: &BTreeMap<Name, Entry>,
    name: &Name,
    folders: &BTreeMap<Name, PathBuf>,
) -> Result<(), Error> {
    for (sink, folder) in folders {
        let has_it = |entry: &Entry| {
            let back_to = entry.record.trial.iter().flat_map(|trial| trial.folders.values());
            entry.revision.folders.values().chain(back_to).any(|taken| taken == folder)
        };
        if let Some((other, _)) = entries.iter().find(|(other, entry)| *other != name && has_it(entry)) {
            let (sink, folder, by) = (sink.clone(), folder.clone(), format!("pipeline `{other}` writes there"));
            return Err(Error::TakenFolder { sink, folder, by });
        }
    }
    Ok(())
}

impl Manager {
    /// Refuses parts in the folder of a pipeline that has committed nothing: they are not its own.
    pub(super) fn check_parts(&self, name: &Name, folders: &BTreeMap<Name, PathBuf>) -> Result<(), Error> {
        // Order: the parts first, since its own come behind a commit.
        let parts = |(sink, folder): (&Name, &PathBuf)| Some((sink.clone(), folder.clone(), any_part(folder).ok()??));
        match folders.iter().find_map(parts) {
            Some((sink, folder, part)) if self.newest(name).is_none() => {
                let by = format!("{part} is there, which is not of this pipeline as it begins: move it away");
                Err(Error::TakenFolder { sink, folder, by })
            }
            _ => Ok(()),
        }
    }
}
