//! A component on its way in: bytes go into a temporary file as they come, are counted and digested, and have no name before
//! they were checked. Dropped, nothing of it is left.

use std::fs;
use std::io::Write;
use std::path::Path;

use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

use super::Error;
use crate::guest::COMPONENT_BYTES_MAX;
use crate::{crash, durable, hex};

/// See the module.
#[derive(Debug)]
pub struct Upload {
    file: NamedTempFile,
    hasher: Sha256,
    bytes: usize,
}

/// All of it is there, and is what was sent.
#[derive(Debug)]
pub struct Received {
    file: NamedTempFile,
    /// sha256, lower-case hex.
    pub sha256: String,
    /// The component.
    pub bytes: Vec<u8>,
}

impl Upload {
    /// Into a folder of its own, which a start empties.
    pub(super) fn begin(folder: &Path) -> Result<Upload, Error> {
        let file = tempfile::Builder::new().prefix("upload.").suffix(".tmp").tempfile_in(folder);
        Ok(Upload { file: file.map_err(Error::io(folder))?, hasher: Sha256::new(), bytes: 0 })
    }

    /// Takes the next bytes.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        // What a client announces is its own affair: only what arrives counts.
        self.bytes += bytes.len();
        if self.bytes > COMPONENT_BYTES_MAX {
            return Err(Error::TooLarge(COMPONENT_BYTES_MAX));
        }
        self.hasher.update(bytes);
        self.file.write_all(bytes).map_err(Error::io(self.file.path()))
    }

    /// All of it came. `said` is the digest that came with it, in hex.
    pub fn finish(self, said: Option<&str>) -> Result<Received, Error> {
        let found = hex::encode(&self.hasher.finalize());
        if let Some(said) = said.filter(|said| *said != found) {
            return Err(Error::OtherDigest { said: said.to_owned(), found });
        }
        let bytes = fs::read(self.file.path()).map_err(Error::io(self.file.path()))?;
        Ok(Received { file: self.file, sha256: found, bytes })
    }
}

impl Received {
    /// Gives the bytes a name, durably.
    pub(super) fn name(self, path: &Path) -> Result<(), Error> {
        self.file.as_file().sync_all().map_err(Error::io(self.file.path()))?;
        crash::point("upload.tmp_written");
        self.file.persist(path).map_err(|e| e.error).map_err(Error::io(path))?;
        let folder = path.parent().unwrap_or(Path::new("."));
        durable::sync_folder(folder).map_err(Error::io(folder))?;
        crash::point("upload.renamed");
        Ok(())
    }
}
