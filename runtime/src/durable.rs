//! A file that is there whole or not at all, and survives a power cut: temporary file, fsync, rename, fsync of the folder.
//! Only its owner may read it. Knows nothing of what is written.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Writes `bytes` to `path`, in place of what was there. When it returns, they are durable.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    stage(path, bytes)?.name()
}

/// The first half of [`write`]: the bytes are durable, in a temporary file `NAME.….tmp` beside `path`.
pub fn stage(path: &Path, bytes: &[u8]) -> io::Result<Staged> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::other("a file needs a folder and a name"));
    };
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let mut prefix = name.to_owned();
    prefix.push(".");
    let mut file = tempfile::Builder::new().prefix(&prefix).suffix(".tmp").tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    Ok(Staged { file, path: path.to_owned(), folder: folder.to_owned() })
}

/// Durable bytes without their name; dropped, they are gone.
#[derive(Debug)]
pub struct Staged {
    file: tempfile::NamedTempFile,
    path: PathBuf,
    folder: PathBuf,
}

impl Staged {
    /// Gives the file its name, durably.
    pub fn name(self) -> io::Result<()> {
        self.file.persist(&self.path).map_err(|e| e.error)?;
        sync_folder(&self.folder)
    }
}

/// Removes the temporary files that a kill has left in a folder. For whoever writes there, alone, before it does.
pub fn remove_leftovers(folder: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "tmp") && path.is_file() {
            std::fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// Renames, unless something has the name already ([`io::ErrorKind::AlreadyExists`]).
pub fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    let c_path = |path: &Path| CString::new(path.as_os_str().as_bytes()).map_err(io::Error::other);
    let (from, to) = (c_path(from)?, c_path(to)?);
    // SAFETY: both strings live for the call.
    let code =
        unsafe { libc::renameat2(libc::AT_FDCWD, from.as_ptr(), libc::AT_FDCWD, to.as_ptr(), libc::RENAME_NOREPLACE) };
    if code == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Whether the disk is full, or what the user may have of it.
pub fn is_no_space(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Makes the names in a folder durable.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_there_is_replaced_and_no_temporary_file_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.json");
        write(&path, b"old").unwrap();
        let staged = stage(&path, b"new").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        staged.name().unwrap();
        drop(stage(&path, b"never").unwrap());
        std::mem::forget(stage(&path, b"killed").unwrap());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
        remove_leftovers(dir.path()).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_name_that_is_taken_is_not_taken_away() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        std::fs::write(&a, "1").unwrap();
        rename_new(&a, &b).unwrap();
        std::fs::write(&a, "2").unwrap();
        assert_eq!(rename_new(&a, &b).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!((std::fs::read(&a).unwrap(), std::fs::read(&b).unwrap()), (b"2".to_vec(), b"1".to_vec()));
        assert_eq!(rename_new(&dir.path().join("c"), &b).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_folder_that_is_not_there_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        assert!(write(&dir.path().join("gone/x"), b"").is_err());
        assert!(write(Path::new("/"), b"").is_err());
    }
}
