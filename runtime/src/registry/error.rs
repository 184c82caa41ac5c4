//! Why an upload, a look-up or a deletion failed.

use std::io;
use std::path::{Path, PathBuf};

use weir_core::ids::Name;

use crate::access::OverQuota;
use crate::guest::RefusedComponent;

/// See the module.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not semver.
    #[error("{0:?} is not a version: versions are semver, such as 1.0.0")]
    BadVersion(String),
    /// The component was refused.
    #[error(transparent)]
    Refused(#[from] RefusedComponent),
    /// What came is not what was sent.
    #[error("Content-Digest says sha-256 {said}, and what arrived has {found}: send it again")]
    OtherDigest {
        /// As the request said, in hex.
        said: String,
        /// As it arrived.
        found: String,
    },
    /// More than one component may have.
    #[error("the limit is {0} bytes")]
    TooLarge(usize),
    /// The version exists, or once existed, with other bytes.
    #[error("{name}@{version} exists with sha256 {existing}; a version never changes: upload another version")]
    Immutable {
        /// Operator.
        name: Name,
        /// Version.
        version: String,
        /// Digest that it has.
        existing: String,
    },
    /// The token has no more room.
    #[error(transparent)]
    OverQuota(#[from] OverQuota),
    /// The registry has no more room.
    #[error("the registry holds {kept} bytes, and may hold {max}: delete versions that no pipeline uses")]
    Full {
        /// Bytes that are there.
        kept: u64,
        /// Bytes that may be there.
        max: u64,
    },
    /// Not there.
    #[error("there is no operator {0}")]
    Unknown(String),
    /// The disk.
    #[error("registry: {path}: {source}")]
    Io {
        /// File or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A record that cannot be read, or a blob whose bytes are not those that its name says.
    #[error("registry: {} is damaged: {why}; it is left as it is: put a good copy there, or move it away, and start again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// How that shows.
        why: String,
    },
}

impl Error {
    pub(super) fn io(path: &Path) -> impl FnOnce(io::Error) -> Error {
        let path = path.to_owned();
        move |source| Error::Io { path, source }
    }
}
