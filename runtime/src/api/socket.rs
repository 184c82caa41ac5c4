//! The control socket of a state folder: only its owner can connect, so it asks for no token. Owns how it is made; its
//! routes are those of the server.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use crate::pipeline::folder::SOCKET;

/// Listens on the socket of a state folder whose lock is held. One that a killed process left is replaced.
pub(super) fn bind(state: &Path) -> io::Result<UnixListener> {
    let opened = Opened::new(state)?;
    // Nobody else may enter this folder, so there is no moment at which others could connect.
    let private = tempfile::Builder::new()
        .prefix("control-")
        .permissions(Permissions::from_mode(0o700))
        .tempdir_in(opened.path("live"))?;
    let path = private.path().join("s");
    let listener = UnixListener::bind(&path)?;
    fs::set_permissions(&path, Permissions::from_mode(0o600))?;
    fs::rename(&path, opened.path(SOCKET))?;
    Ok(listener)
}

/// A path to a folder that is short however long the folder's own is: a socket's path ends at 107 bytes.
pub struct Opened(File);

impl Opened {
    /// Opens the folder.
    pub fn new(folder: &Path) -> io::Result<Opened> {
        File::open(folder).map(Opened)
    }

    /// The path of something in it, for as long as this lives.
    pub fn path(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}/{name}", self.0.as_raw_fd()))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn socket_is_its_owners_alone_however_long_the_path_and_replaces_what_a_kill_left() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("x".repeat(120));
        fs::create_dir_all(state.join("live")).unwrap();
        drop(bind(&state).unwrap());
        let opened = Opened::new(&state).unwrap();
        let refused = UnixStream::connect(opened.path(SOCKET)).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        let _listener = bind(&state).unwrap();
        UnixStream::connect(opened.path(SOCKET)).unwrap();
        assert_eq!(fs::metadata(state.join(SOCKET)).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(state.join("live")).unwrap().count(), 0);
    }
}
