//! Why a state folder is not used, in the words of whoever gave it.

use std::io;
use std::path::{Path, PathBuf};

use weir_core::ids::Name;

use super::VERSION;

/// Why a state folder is not used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A running process has it: exit 7.
    #[error(
        "the state folder {} is in use{}: stop that process, or give this one another --state",
        path.display(), pid.map_or(String::new(), |pid| format!(" by process {pid}"))
    )]
    Locked {
        /// The folder.
        path: PathBuf,
        /// Who holds the lock, as far as the lock file tells.
        pid: Option<u32>,
    },
    /// It belongs to another pipeline: exit 6.
    #[error("the state folder {} belongs to the pipeline {found}, not to {wanted}: give another --state", path.display())]
    OtherPipeline {
        /// The folder.
        path: PathBuf,
        /// Whose it is.
        found: Name,
        /// Who asked.
        wanted: Name,
    },
    /// Written by a newer weir: exit 6.
    #[error("the state folder {} has format {found}, this weir reads up to {VERSION}: use the newer weir that wrote it", path.display())]
    Newer {
        /// The folder.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
    /// Something else lives there: exit 6.
    #[error("{} is not a state folder of weir: it holds {found:?}; give an empty or a new folder as --state", path.display())]
    Foreign {
        /// The folder.
        path: PathBuf,
        /// What was found in it.
        found: String,
    },
    /// Its `format` file cannot be read: exit 6.
    #[error("{} is damaged: {detail}; nothing was changed", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// How that shows.
        detail: String,
    },
    /// The file system refuses: exit 6.
    #[error("{action} {} failed: {source}; give a --state that this user may write to", path.display())]
    Io {
        /// What was done.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

pub(super) fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Io { action, path, source }
}
