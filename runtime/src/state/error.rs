//! What can go wrong with durable state, as facts. Owns the sentences; whoever receives one decides by its variant.

use std::io;
use std::path::{Path, PathBuf};

use crate::durable;
use crate::settings::size;
use crate::storage;

/// A failure of state or of its files.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The disk is full and nothing was fsynced: the checkpoint is declined, the pipeline goes on.
    #[error("no space left while {action} {}: free some, the next checkpoint covers this one", path.display())]
    NoSpace {
        /// What was done.
        action: &'static str,
        /// With which file.
        path: PathBuf,
    },
    /// An I/O error or a failed fsync: nothing may be tried on top of it, the process ends.
    #[error("{action} {} failed; the last committed checkpoint stands", path.display())]
    Fatal {
        /// What was done.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why.
        source: Cause,
    },
    /// A file that a snapshot needs is not there.
    #[error("{what} {} is missing: the snapshot cannot be restored without it", path.display())]
    Missing {
        /// What kind of file.
        what: &'static str,
        /// Which.
        path: PathBuf,
    },
    /// A file is not what was written.
    #[error("{what} {} is damaged: {detail}; nothing was changed", path.display())]
    Damaged {
        /// What kind of file.
        what: &'static str,
        /// Which.
        path: PathBuf,
        /// How that shows.
        detail: String,
    },
    /// Written by a newer weir.
    #[error("{what} {} has format {found}, this weir reads up to {known}: use the newer weir that wrote it", path.display())]
    Newer {
        /// What kind of file.
        what: &'static str,
        /// Which.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The newest that is known here.
        known: u32,
    },
    /// The snapshot holds a state that the pipeline no longer declares.
    #[error(
        "the snapshot holds {name}, which the pipeline does not declare: declare it again, leave it out with --allow-non-restored, or start with --from empty --rewind"
    )]
    UnknownState {
        /// `state "<name>" of node "<node>"`, or its number where the manifest does not name it.
        name: String,
    },
    /// State that may not leave memory has outgrown what there is for it.
    #[error(
        "the state is over the {} of memory that the process has for state, and `state = \"memory\"` keeps all of it there: raise --state-memory, or write `state = \"rocksdb\"`, which evicts what is not in use",
        size::format(*limit as u64)
    )]
    OverBudget {
        /// Bytes.
        limit: usize,
    },
    /// An operator did not rewrite a value of an older schema version.
    #[error("{0}")]
    NotMigrated(String),
    /// An entry of the database that this layout cannot have.
    #[error("an entry of the state is not readable: {0}")]
    Entry(String),
}

/// The cause of an [`Error::Fatal`].
pub(super) type Cause = Box<dyn std::error::Error + Send + Sync>;

impl Error {
    /// Takes an I/O error of a write that no fsync has followed yet.
    pub(crate) fn write(action: &'static str, path: &Path, error: io::Error) -> Error {
        match durable::is_no_space(&error) {
            true => Error::NoSpace { action, path: path.to_owned() },
            false => Error::fatal(action, path, error),
        }
    }

    /// Takes an error after which nothing may be tried again.
    pub(crate) fn fatal(action: &'static str, path: &Path, error: impl Into<Cause>) -> Error {
        Error::Fatal { action, path: path.to_owned(), source: error.into() }
    }

    /// What it says, and its cause, in one line.
    pub(crate) fn sentence(&self) -> String {
        let cause = std::error::Error::source(self).map(|cause| format!(": {cause}")).unwrap_or_default();
        format!("{self}{cause}")
    }
}

/// What a store says. Who expects a name to be missing asks before; here nothing may be tried on top of it.
impl From<storage::Error> for Error {
    fn from(error: storage::Error) -> Error {
        match error {
            storage::Error::NoSpace { action, path } => Error::NoSpace { action, path },
            storage::Error::Fatal { action, path, source } => Error::fatal(action, &path, source),
            storage::Error::Exists(path) => {
                Error::fatal("creating", &path, io::Error::from(io::ErrorKind::AlreadyExists))
            }
            storage::Error::Missing(path) => Error::fatal("reading", &path, io::Error::from(io::ErrorKind::NotFound)),
        }
    }
}
