//! Writes one value a line into a staged file per epoch. Nothing that it writes is visible before the epoch is committed;
//! then `publish` renames it. Never renames or deletes anything itself.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use weir_core::checkpoint::manifest::StagedPart;
use weir_core::ids::{Epoch, Name, Token};
use weir_core::record::Batch;

use super::publish::{STAGING, any_part, part_name};
use crate::connector::{Error, Sink};

/// See the module.
pub struct FileSink {
    name: Name,
    folder: PathBuf,
    token: Token,
    /// The epoch that is being written.
    epoch: Epoch,
    part: Option<Part>,
}

struct Part {
    staged: String,
    file: BufWriter<File>,
    bytes: u64,
}

impl FileSink {
    /// A sink whose first rows belong to `epoch`. Makes the folder and its staging folder. The first epoch of all needs a
    /// folder without parts: those would be another pipeline's, or those of a state that is gone.
    pub fn open(name: Name, folder: &Path, token: Token, epoch: Epoch) -> Result<FileSink, Error> {
        if epoch <= Epoch(1)
            && let Ok(Some(part)) = any_part(folder)
        {
            return Err(Error::Config(format!(
                "{} holds {part} of another pipeline, or of one whose state folder is gone: give the sink `{name}` another \
                 `path`, or move the parts away",
                folder.display()
            )));
        }
        let staging = folder.join(STAGING);
        std::fs::create_dir_all(&staging)
            .map_err(|e| Error::Config(format!("cannot make the folder {}: {e}", staging.display())))?;
        Ok(FileSink { name, folder: folder.to_owned(), token, epoch, part: None })
    }

    fn fail(&self, e: &std::io::Error) -> Error {
        let path = self.folder.join(STAGING);
        Error::Transient(format!("cannot write below {}: {e}", path.display()))
    }
}

/// Whether a file sink could write here: a folder, or nothing yet. Makes nothing.
pub fn check_folder(folder: &Path) -> Result<(), String> {
    // The first that is there decides; below it folders are made.
    match folder.ancestors().find_map(|path| Some((path, std::fs::metadata(path).ok()?))) {
        Some((path, found)) if !found.is_dir() => {
            Err(format!("{} is a file; a file sink writes into a folder", path.display()))
        }
        _ => Ok(()),
    }
}

impl Sink for FileSink {
    fn write(&mut self, rows: &Batch, range: Range<usize>) -> Result<usize, Error> {
        if self.part.is_none() && !range.is_empty() {
            let staged = format!("{}-{:020}-{}.jsonl", self.token, self.epoch.0, self.name);
            let path = self.folder.join(STAGING).join(&staged);
            // A part of an epoch that was declined keeps its name; this epoch has another.
            let file = File::create(path).map_err(|e| self.fail(&e))?;
            self.part = Some(Part { staged, file: BufWriter::with_capacity(256 << 10, file), bytes: 0 });
        }
        for slot in range.clone() {
            let Some(value) = rows.values.get(slot) else {
                return Err(Error::Record {
                    slot,
                    message: "a row without a value cannot be a line of a file".to_owned(),
                });
            };
            if memchr::memchr(b'\n', value).is_some() {
                return Err(Error::Record {
                    slot,
                    message: "a value with a newline cannot be a line of a file".to_owned(),
                });
            }
            let Some(part) = &mut self.part else { break };
            let written = part.file.write_all(value).and_then(|()| part.file.write_all(b"\n"));
            part.bytes += value.len() as u64 + 1;
            written.map_err(|e| self.fail(&e))?;
        }
        Ok(range.len())
    }

    fn on_barrier(&mut self, epoch: Epoch) -> Result<Vec<StagedPart>, Error> {
        let part = self.part.take().filter(|part| part.bytes > 0);
        self.epoch = epoch.next();
        let Some(mut part) = part else { return Ok(Vec::new()) };
        part.file.flush().map_err(|e| self.fail(&e))?;
        Ok(vec![StagedPart {
            sink: self.name.clone(),
            staged: part.staged,
            published: part_name(epoch),
            bytes: part.bytes,
            // The snapshot writer fills it in when it makes the part durable: hashing is no work for the data path.
            sha256: String::new(),
        }])
    }

    fn on_released(&mut self, _: Epoch) -> Result<(), Error> {
        Ok(())
    }
}
