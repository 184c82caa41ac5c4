//! Reads a file line by line, from a byte position. Bounded: it ends where the file ended at the first start. Positions are
//! bytes, origins are line numbers (from 1), so that an error names the line.

use std::fs::File;
use std::io::{BufRead, BufReader, Seek, SeekFrom};
use std::path::Path;

use weir_core::checkpoint::manifest::SourcePositions;
use weir_core::record::Batch;

use crate::connector::{BATCH_BYTES_MAX, Error, Polled, ROWS_MAX, Source, SplitStatus};

/// See the module.
pub struct FileSource {
    shown: String,
    file: BufReader<File>,
    position: u64,
    end: u64,
    line: i64,
    buffer: Vec<u8>,
}

impl FileSource {
    /// Opens at the restored position, or at the start. `shown` is the path as the pipeline file writes it.
    pub fn open(path: &Path, shown: &str, restored: Option<&SourcePositions>) -> Result<FileSource, Error> {
        let fail = |what: &str, e: std::io::Error| Error::Config(format!("cannot {what} {}: {e}", path.display()));
        let file = File::open(path).map_err(|e| fail("open", e))?;
        let metadata = file.metadata().map_err(|e| fail("read", e))?;
        if metadata.is_dir() {
            return Err(Error::Config(format!("{} is a folder, a file source reads one file", path.display())));
        }
        let split = restored.and_then(|positions| positions.splits.first());
        let position = split.map_or(0, |split| split.position.max(0) as u64);
        let end = split.and_then(|split| split.end).map_or(metadata.len(), |end| end.max(0) as u64);
        if metadata.len() < end {
            let (path, bytes) = (path.display(), metadata.len());
            return Err(Error::Halt(format!(
                "{path} has {bytes} bytes, but {end} were there at the first start: it was cut"
            )));
        }
        let mut file = BufReader::with_capacity(256 << 10, file);
        let line = count_lines(&mut file, position).map_err(|e| fail("read", e))?;
        Ok(FileSource { shown: shown.to_owned(), file, position, end, line, buffer: Vec::new() })
    }
}

/// Lines before `position`, leaving the file there.
fn count_lines(file: &mut BufReader<File>, position: u64) -> std::io::Result<i64> {
    let (mut left, mut lines) = (position as usize, 0);
    while left > 0 {
        let chunk = file.fill_buf()?;
        if chunk.is_empty() {
            break;
        }
        let used = chunk.len().min(left);
        lines += memchr::memchr_iter(b'\n', &chunk[..used]).count() as i64;
        file.consume(used);
        left -= used;
    }
    file.seek(SeekFrom::Start(position))?;
    Ok(lines)
}

impl Source for FileSource {
    fn identity(&self) -> String {
        format!("file:{}", self.shown)
    }

    fn poll(&mut self, out: &mut Batch) -> Result<Polled, Error> {
        while self.position < self.end && out.len() < ROWS_MAX && out.values.data.len() < BATCH_BYTES_MAX {
            self.buffer.clear();
            let left = (self.end - self.position) as usize;
            let read = std::io::Read::take(&mut self.file, left as u64)
                .read_until(b'\n', &mut self.buffer)
                .map_err(|e| Error::Transient(format!("cannot read {}: {e}", self.shown)))?;
            if read == 0 {
                return Err(Error::Halt(format!("{} became shorter while it was read", self.shown)));
            }
            self.position += read as u64;
            self.line += 1;
            let line = self.buffer.strip_suffix(b"\n").unwrap_or(&self.buffer);
            out.push_origin(0, 0, self.line);
            out.times.push(0);
            out.keys.push(None);
            out.values.push(Some(line));
        }
        Ok(if !out.is_empty() {
            Polled::Rows
        } else if self.position >= self.end {
            Polled::Ended
        } else {
            Polled::Empty
        })
    }

    fn splits(&self) -> Vec<SplitStatus> {
        vec![SplitStatus {
            split: self.shown.clone(),
            position: self.position as i64,
            high_watermark: Some(self.end as i64),
            end: Some(self.end as i64),
        }]
    }

    fn on_committed(&mut self, _: &SourcePositions) {}
}
