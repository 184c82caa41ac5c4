//! Why a server does not start, in the words of whoever starts it.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::tls;
use crate::pipeline::ManagerError;
use crate::registry;

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Another server has the folder.
    #[error("{} is in use{}: stop that server, or give this one another --data", path.display(), pid.map_or(String::new(), |pid| format!(" by process {pid}")))]
    Locked {
        /// The folder.
        path: PathBuf,
        /// Who has it, as far as the lock file tells.
        pid: Option<u32>,
    },
    /// Something else lives there.
    #[error("{} is not a data folder of weir: it holds {found:?}; give an empty or a new folder as --data", path.display())]
    Foreign {
        /// The folder.
        path: PathBuf,
        /// What was found in it.
        found: String,
    },
    /// There is no folder, and none can be made.
    #[error("{} is a file, and --data is a folder", path.display())]
    File {
        /// The file.
        path: PathBuf,
    },
    /// The address is not to be had.
    #[error("cannot listen on {address}: {source}; --listen 127.0.0.1:0 takes a free port")]
    Listen {
        /// As asked for.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// The token's file is not as it must be.
    #[error("{}: {source}", path.display())]
    Token {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Other machines could read along.
    #[error(
        "{address} can be reached from other machines, and without TLS token and data are readable on the way: give --tls-cert \
         and --tls-key, or listen on 127.0.0.1; --allow-plain-http if something before this server speaks TLS"
    )]
    PlainHttp {
        /// What was bound.
        address: SocketAddr,
    },
    /// The certificate or its key.
    #[error("TLS: {0}")]
    Tls(#[from] tls::Error),
    /// The disk.
    #[error("{}: {source}", path.display())]
    Io {
        /// File or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The tokens cannot be read.
    #[error(transparent)]
    Tokens(#[from] crate::access::tokens::Error),
    /// The registry cannot be read.
    #[error(transparent)]
    Registry(#[from] registry::Error),
    /// What is kept about pipelines cannot be read.
    #[error(transparent)]
    Pipelines(#[from] ManagerError),
}
