//! What can go wrong with stored bytes, as facts: whether there is no space, whether a name is taken or missing, or whether
//! nothing may be tried again. The sentences for users are those of whoever asked.

use std::io;
use std::path::{Path, PathBuf};

use crate::durable;

/// A failure of a store.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no room, and nothing was made durable.
    #[error("no space left while {action} {}", path.display())]
    NoSpace {
        /// What was done.
        action: &'static str,
        /// With what.
        path: PathBuf,
    },
    /// Something has the name, or is about to get it.
    #[error("{} is there already", .0.display())]
    Exists(PathBuf),
    /// Nothing has the name.
    #[error("{} is missing", .0.display())]
    Missing(PathBuf),
    /// Nothing may be tried on top of it.
    #[error("{action} {} failed", path.display())]
    Fatal {
        /// What was done.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Error {
    /// Takes an I/O error of a write that nothing durable has followed yet.
    pub(super) fn write(action: &'static str, path: &Path, error: io::Error) -> Error {
        match durable::is_no_space(&error) {
            true => Error::NoSpace { action, path: path.to_owned() },
            false => Error::fatal(action, path, error),
        }
    }

    /// Takes an I/O error of a read.
    pub(super) fn read(path: &Path, error: io::Error) -> Error {
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Error::Missing(path.to_owned()),
            _ => Error::fatal("reading", path, error),
        }
    }

    /// Takes an error after which nothing may be tried again.
    pub(super) fn fatal(action: &'static str, path: &Path, source: io::Error) -> Error {
        Error::Fatal { action, path: path.to_owned(), source }
    }
}
