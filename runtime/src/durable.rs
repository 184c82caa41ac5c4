//! A file that is there whole or not at all, and survives a power cut: temporary file, fsync, rename, fsync of the folder.
//! Only its owner may read it. Knows nothing of what is written.

use std::fs::File;
use std::io::{self, Write};
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
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_folder_that_is_not_there_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        assert!(write(&dir.path().join("gone/x"), b"").is_err());
        assert!(write(Path::new("/"), b"").is_err());
    }
}
