//! What a state folder says of snapshots that lie in memory: in which, and what is left of the folder when that is gone. Knows
//! nothing of the memory itself.

use std::fs;
use std::io;
use std::path::Path;

use super::error::io_error;
use super::{Error, Folder, Format, new_format, read_format, write_format};
use crate::durable;

impl Folder {
    /// The id of the memory that holds what is committed here; none: it lies in `checkpoints/`.
    pub fn memory(&self) -> Result<Option<String>, Error> {
        Ok(read_format(&self.path)?.memory)
    }

    /// Whether what is committed in a folder lies in the memory of a process.
    pub fn is_in_memory(path: &Path) -> Result<bool, Error> {
        Ok(read_format(path)?.memory.is_some())
    }

    /// Notes in which memory the snapshots lie from now on, if in any.
    pub fn note_memory(&self, memory: Option<&str>) -> Result<(), Error> {
        let memory = memory.map(str::to_owned);
        write_format(&self.path, &Format { memory, ..read_format(&self.path)? })
    }

    /// Makes the folder as it is before a first start, for snapshots that lie in this memory, if in any: what was committed is
    /// gone with the memory that it was in. It continues the history of this lineage, or has a new one.
    pub fn begin_anew(&mut self, memory: Option<&str>, lineage: Option<&str>) -> Result<(), Error> {
        // Order: while `format` names the memory that is gone, whoever comes next begins anew too. Behind it, nothing of
        // before may be left: it would be taken for a commit whose snapshot is lost.
        for path in [self.current(), self.published()] {
            match fs::remove_file(&path) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(io_error("removing", &path)(e)),
                _ => {}
            }
        }
        let live = self.live();
        fs::remove_dir_all(&live).and_then(|()| fs::create_dir(&live)).map_err(io_error("clearing", &live))?;
        durable::sync_folder(&self.path).map_err(io_error("tidying", &self.path))?;
        let format = Format {
            memory: memory.map(str::to_owned),
            ..new_format(&self.path, &read_format(&self.path)?.pipeline, lineage)?
        };
        write_format(&self.path, &format)?;
        self.lineage = format.lineage;
        Ok(())
    }
}
