//! Writes one value a line into a staged file per epoch. Nothing that it writes is visible before the epoch is committed;
//! then `publish` renames it. Where there is no space rows wait, first here, then before it: none is lost, and none is written
//! twice. Never renames or deletes anything itself.

use std::fs::File;
use std::io::{self, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use weir_core::checkpoint::manifest::StagedPart;
use weir_core::ids::{Epoch, Name, Token};
use weir_core::record::Batch;

use super::publish::{STAGING, any_part, part_name};
use crate::connector::{Cut, Error, Sink};
use crate::{clock, durable};

/// Bytes of lines that are written at once, and that wait at most (by one row more) while there is no space.
const LINES_BYTES_MAX: usize = 256 << 10;
/// How long it waits before it looks again whether there is space.
const RETRY_AFTER: Duration = Duration::from_millis(100);

/// See the module.
pub struct FileSink {
    name: Name,
    folder: PathBuf,
    token: Token,
    /// The epoch that is being written.
    epoch: Epoch,
    part: Option<Part>,
    /// Lines that the part's file does not have yet.
    lines: Vec<u8>,
    /// When to look again, while there is no space.
    retry_at: Option<Instant>,
}

struct Part {
    staged: String,
    file: File,
    /// Bytes in the file.
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
        Ok(FileSink {
            name,
            folder: folder.to_owned(),
            token,
            epoch,
            part: None,
            lines: Vec::with_capacity(LINES_BYTES_MAX),
            retry_at: None,
        })
    }

    /// Makes the file of a part where there is none. `false`: there is no space.
    fn begin(&mut self) -> Result<bool, Error> {
        if self.part.is_some() || !self.may_try() {
            return Ok(self.part.is_some());
        }
        // A part of an epoch that was declined keeps its name; this epoch has another.
        let staged = format!("{}-{:020}-{}.jsonl", self.token, self.epoch.0, self.name);
        let made = File::create(self.folder.join(STAGING).join(&staged));
        let made = made.map(|file| self.part = Some(Part { staged, file, bytes: 0 }));
        self.has_space(made)
    }

    /// Only while there is no space is the time asked for.
    fn may_try(&self) -> bool {
        self.retry_at.is_none_or(|at| clock::now() >= at)
    }

    /// Writes the lines that wait. `false`: there is no space, and some still do.
    fn drain(&mut self) -> Result<bool, Error> {
        let Some(part) = &mut self.part else { return Ok(true) };
        let (written, result) = write_some(&mut part.file, &self.lines);
        part.bytes += written as u64;
        self.lines.drain(..written);
        self.has_space(result)
    }

    fn has_space(&mut self, result: io::Result<()>) -> Result<bool, Error> {
        let staging = || self.folder.join(STAGING).display().to_string();
        match result {
            Ok(()) => {
                if self.retry_at.take().is_some() {
                    tracing::info!("there is space again below {}", staging());
                }
                Ok(true)
            }
            Err(e) if durable::is_no_space(&e) => {
                if self.retry_at.replace(clock::now() + RETRY_AFTER).is_none() {
                    tracing::warn!("no space left below {}: rows of sink `{}` wait for it", staging(), self.name);
                }
                Ok(false)
            }
            Err(e) => Err(Error::Transient(format!("cannot write below {}: {e}", staging()))),
        }
    }
}

/// Whether a file sink could write here: a folder, or nothing yet. Makes nothing.
pub fn check_folder(folder: &Path) -> Result<(), String> {
    // The first that is there decides; below it folders are made.
    for path in folder.ancestors() {
        match std::fs::metadata(path) {
            Ok(found) if found.is_dir() => return Ok(()),
            Ok(_) => return Err(format!("{} is a file; a file sink writes into a folder", path.display())),
            Err(e) if e.kind() == io::ErrorKind::NotFound && path.is_symlink() => {
                return Err(format!(
                    "{} is a link that leads nowhere; a file sink writes into a folder",
                    path.display()
                ));
            }
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {}
            Err(e) => return Err(format!("cannot look at {}: {e}", path.display())),
        }
    }
    Ok(())
}

/// Writes from the front on, and says how much the file has also where it fails.
fn write_some(file: &mut File, bytes: &[u8]) -> (usize, io::Result<()>) {
    let mut written = 0;
    while written < bytes.len() {
        match file.write(&bytes[written..]) {
            Ok(0) => return (written, Err(io::ErrorKind::WriteZero.into())),
            Ok(more) => written += more,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return (written, Err(e)),
        }
    }
    (written, Ok(()))
}

impl Sink for FileSink {
    fn write(&mut self, rows: &Batch, range: Range<usize>) -> Result<usize, Error> {
        if range.is_empty() || !self.begin()? {
            return Ok(0);
        }
        for slot in range.clone() {
            if self.lines.len() >= LINES_BYTES_MAX && !(self.may_try() && self.drain()?) {
                return Ok(slot - range.start);
            }
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
            self.lines.extend_from_slice(value);
            self.lines.push(b'\n');
        }
        Ok(range.len())
    }

    fn on_barrier(&mut self, epoch: Epoch) -> Result<Cut, Error> {
        if !self.drain()? {
            // The part stays open: what is in it and what waits is of the next epoch, with the rows behind this barrier.
            let path = self.folder.join(STAGING);
            return Ok(Cut::NoSpace(format!("no space left while writing below {}", path.display())));
        }
        self.epoch = epoch.next();
        let Some(part) = self.part.take().filter(|part| part.bytes > 0) else {
            return Ok(Cut::Parts(Vec::new()));
        };
        Ok(Cut::Parts(vec![StagedPart {
            sink: self.name.clone(),
            staged: part.staged,
            published: part_name(epoch),
            bytes: part.bytes,
            // The snapshot writer fills it in when it makes the part durable: hashing is no work for the data path.
            sha256: String::new(),
        }]))
    }

    fn on_released(&mut self, _: Epoch) -> Result<(), Error> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_could_not_be_made_is_found_before_anything_is_made() {
        let dir = tempfile::tempdir().unwrap();
        let below = |name: &str| dir.path().join(name);
        std::fs::write(below("file"), "").unwrap();
        std::os::unix::fs::symlink(below("gone"), below("link")).unwrap();
        assert_eq!(check_folder(dir.path()), Ok(()));
        assert_eq!(check_folder(&below("new/folder")), Ok(()));
        assert_eq!(check_folder(Path::new("relative")), Ok(()));
        let refused = |name: &str| check_folder(&below(name)).unwrap_err();
        assert!(refused("file").contains("file is a file") && refused("file/below").contains("file is a file"));
        assert!(refused("link/below").contains("link is a link that leads nowhere"));
        assert!(refused(&"x".repeat(300)).starts_with("cannot look at "));
    }

    /// `/dev/full` takes nothing, for ever.
    #[test]
    fn a_sink_without_space_keeps_what_it_took_takes_no_more_than_fits_and_cuts_no_part() {
        let folder = tempfile::tempdir().unwrap();
        let mut sink = FileSink::open(Name::new("out").unwrap(), folder.path(), Token(7), Epoch(1)).unwrap();
        let staged = folder.path().join(STAGING).join(format!("7-{:020}-out.jsonl", 1));
        std::os::unix::fs::symlink("/dev/full", staged).unwrap();
        let mut rows = Batch::default();
        for row in 0..600 {
            rows.times.push(row);
            rows.keys.push(None);
            rows.values.push(Some(&[b'x'; 1023]));
        }
        assert_eq!(sink.write(&rows, 0..100).unwrap(), 100);
        assert!(matches!(sink.on_barrier(Epoch(1)), Ok(Cut::NoSpace(_))));
        assert_eq!(sink.write(&rows, 100..600).unwrap(), 156, "256 KiB in all");
        assert_eq!(sink.write(&rows, 256..600).unwrap(), 0, "it does not look again at once");
        sink.retry_at = Some(clock::now());
        assert_eq!(sink.write(&rows, 256..600).unwrap(), 0);
        assert!(matches!(sink.on_barrier(Epoch(2)), Ok(Cut::NoSpace(_))));
        // As if there were space from now on.
        let part = sink.part.as_mut().unwrap();
        part.file = File::create(folder.path().join("elsewhere")).unwrap();
        let Cut::Parts(parts) = sink.on_barrier(Epoch(3)).unwrap() else { panic!("there is space") };
        assert_eq!((parts.len(), parts[0].bytes, &parts[0].published), (1, 256 << 10, &part_name(Epoch(3))));
        assert_eq!(sink.write(&rows, 0..1).unwrap(), 1, "and there is none to wait for");
    }
}
