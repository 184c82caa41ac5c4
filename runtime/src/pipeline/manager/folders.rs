//! Folders of file sinks: no two pipelines of a server write into one, and none begins in one that holds parts of others. Known
//! before anything stops; the start, which sees other processes too, looks again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use weir_core::graph::fault::Fault;
use weir_core::graph::spec::{Pipeline, SinkKind};
use weir_core::ids::Name;

use super::entry::Entry;
use super::{Error, Manager};
use crate::connector::file::{any_part, part_of_others, part_of_strangers};
use crate::pipeline::folder::{Folder, resolved};
use crate::settings::Diagnostics;

/// Where the file sinks of a pipeline write, by sink.
pub(super) fn folders(pipeline: &Pipeline) -> BTreeMap<Name, PathBuf> {
    let folder = |kind: &SinkKind| match kind {
        SinkKind::File { path } => Some(resolved(&path.resolved)),
        _ => None,
    };
    pipeline.sinks.iter().filter_map(|sink| Some((sink.name.clone(), folder(&sink.kind)?))).collect()
}

/// Refuses a folder that another pipeline has, or has again where its revision on trial fails, and one that two sinks share.
pub(super) fn check_others(
    entries: &BTreeMap<Name, Entry>,
    name: &Name,
    folders: &BTreeMap<Name, PathBuf>,
) -> Result<(), Error> {
    for (sink, folder) in folders {
        let has_it = |entry: &Entry| {
            let back_to = entry.record.trial.iter().flat_map(|trial| trial.folders.values());
            entry.revision.folders.values().chain(back_to).any(|taken| meet(taken, folder))
        };
        let own = "give the sink a folder of its own";
        if let Some((other, _)) = entries.iter().find(|(other, entry)| *other != name && has_it(entry)) {
            let message = format!("pipeline `{other}` writes into {}", folder.display());
            return Err(refusal(name, sink, message, own));
        }
        if let Some((other, _)) = folders.iter().find(|(other, taken)| *other != sink && meet(taken, folder)) {
            return Err(refusal(name, sink, format!("sink `{other}` writes into {}", folder.display()), own));
        }
    }
    Ok(())
}

/// Whether two sinks would be in each other's way: in one folder, or one of them where the other keeps what it has written.
fn meet(one: &Path, other: &Path) -> bool {
    let is_kept = |below: &Path| {
        let first = below.components().next().map(|it| it.as_os_str().to_string_lossy().into_owned());
        first.is_none_or(|first| first.starts_with('.') || first.starts_with("part-"))
    };
    let is_in = |inner: &Path, outer: &Path| inner.strip_prefix(outer).is_ok_and(is_kept);
    is_in(one, other) || is_in(other, one)
}

fn refusal(name: &Name, sink: &Name, message: String, help: &str) -> Error {
    let fault = Fault::error("weir::server::taken_folder", format!("sinks.{sink}.path"), message).help(help);
    Error::Invalid(Diagnostics::without_text(name.as_str(), fault))
}

impl Manager {
    /// Refuses folders that others write into or have written into. All parts are of others for a pipeline that has committed
    /// nothing, unless it begins anew, which moves those of its own name away.
    pub(super) fn check_folders(
        &self,
        name: &Name,
        folders: &BTreeMap<Name, PathBuf>,
        begins_anew: bool,
    ) -> Result<(), Error> {
        // Those that write there still are the better answer than their parts.
        check_others(&self.entries(), name, folders)?;
        // Order: the parts first, since its own come behind a commit.
        let parts: Vec<_> =
            folders.iter().filter_map(|(sink, folder)| Some((sink, folder, any_part(folder).ok()??))).collect();
        if parts.is_empty() {
            return Ok(());
        }
        let lineage = self.newest(name).and_then(|_| Folder::lineage_of(&self.state(name)).ok());
        let foreign = |folder: &Path, part| match &lineage {
            _ if begins_anew => part_of_strangers(folder, name),
            Some(lineage) => part_of_others(folder, lineage),
            None => Some(part),
        };
        for (sink, folder, part) in parts {
            if let Some(part) = foreign(folder, part) {
                let message = format!("{part} is in {}, and is not of this pipeline", folder.display());
                return Err(refusal(name, sink, message, "move it away, or give the sink a folder of its own"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_meet_where_one_is_the_other_or_lies_among_what_it_keeps() {
        let meets = |one: &str, other: &str| {
            let (one, other) = (Path::new(one), Path::new(other));
            assert_eq!(meet(one, other), meet(other, one));
            meet(one, other)
        };
        assert!(meets("/a", "/a") && meets("/a", "/a/.staging/b") && meets("/a", "/a/part-00000000000000000900.jsonl"));
        assert!(!meets("/a", "/a/errors") && !meets("/a", "/ab") && !meets("/a/b", "/a/c"));
    }
}
