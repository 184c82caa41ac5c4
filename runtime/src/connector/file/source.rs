//! Reads a file line by line, from a byte position. Bounded: it ends where the file ended at the first start. Positions are
//! bytes, origins are line numbers (from 1), so that an error names the line. Of a line that is too long no more is kept
//! than shows that it is.

use std::fs::File;
use std::io::{BufRead, BufReader, Seek, SeekFrom};
use std::path::Path;
use std::time::Duration;

use weir_core::checkpoint::manifest::SourcePositions;
use weir_core::record::Batch;

use crate::connector::{BATCH_BYTES_MAX, Error, Polled, ROWS_MAX, Source, SplitStatus};

/// See the module.
pub struct FileSource {
    shown: String,
    file: BufReader<File>,
    /// Where the line begins that is read now.
    position: u64,
    /// How far the file was read: in the middle of a line, behind `position`.
    read: u64,
    end: u64,
    line: i64,
    /// The line so far.
    buffer: Vec<u8>,
    line_max: usize,
}

impl FileSource {
    /// Opens at the restored position, or at the start. `shown` is the path as the pipeline file writes it. A line of more
    /// than `record_max` bytes is handed out cut to one byte more than that, which is what makes it a bad record.
    pub fn open(
        path: &Path,
        shown: &str,
        record_max: usize,
        restored: Option<&SourcePositions>,
    ) -> Result<FileSource, Error> {
        let fail = |what: &str, e: std::io::Error| Error::Config(format!("cannot {what} {}: {e}", path.display()));
        let file = File::open(path).map_err(|e| fail("open", e))?;
        let metadata = file.metadata().map_err(|e| fail("read", e))?;
        if metadata.is_dir() {
            return Err(Error::Config(format!("{} is a folder, a file source reads one file", path.display())));
        }
        // Those of another source mean nothing here; whoever gave them compares the identities.
        let restored = restored.filter(|positions| positions.identity == identity(shown));
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
        let (shown, line_max) = (shown.to_owned(), record_max.saturating_add(1));
        Ok(FileSource { shown, file, position, read: position, end, line, buffer: Vec::new(), line_max })
    }

    /// Reads on in the current line; says how many bytes that were, and whether it is whole.
    fn read_on(&mut self) -> Result<(usize, bool), Error> {
        let chunk = self.file.fill_buf().map_err(|e| Error::Transient(format!("cannot read {}: {e}", self.shown)))?;
        let left = (self.end - self.read).min(chunk.len() as u64) as usize;
        let chunk = &chunk[..left];
        if chunk.is_empty() {
            return Err(Error::Halt(format!("{} became shorter while it was read", self.shown)));
        }
        let newline = memchr::memchr(b'\n', chunk);
        let used = newline.map_or(chunk.len(), |at| at + 1);
        let kept = newline.unwrap_or(chunk.len()).min(self.line_max - self.buffer.len());
        self.buffer.extend_from_slice(&chunk[..kept]);
        self.file.consume(used);
        self.read += used as u64;
        Ok((used, newline.is_some() || self.read == self.end))
    }
}

fn identity(shown: &str) -> String {
    format!("file:{shown}")
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
        identity(&self.shown)
    }

    fn poll(&mut self, out: &mut Batch) -> Result<Polled, Error> {
        let mut bytes = 0;
        while self.read < self.end && out.len() < ROWS_MAX && bytes < BATCH_BYTES_MAX {
            let (read, is_whole) = self.read_on()?;
            bytes += read;
            if is_whole {
                self.position = self.read;
                self.line += 1;
                out.push_origin(0, 0, self.line);
                out.times.push(0);
                out.keys.push(None);
                out.values.push(Some(&self.buffer));
                self.buffer.clear();
            }
        }
        Ok(if !out.is_empty() {
            Polled::Rows
        } else if self.position >= self.end {
            Polled::Ended
        } else {
            // In the middle of a long line.
            Polled::Later(Duration::ZERO)
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

#[cfg(test)]
mod tests {
    use std::io::Write;

    use weir_core::checkpoint::manifest::SplitPosition;

    use super::*;

    /// Reads from a position to the end: the lines with their numbers, and where the source stood before each poll.
    fn read(path: &Path, from: i64) -> (Vec<(i64, Vec<u8>)>, Vec<i64>) {
        let split = SplitPosition { split: "in".to_owned(), position: from, end: None, largest_time: None };
        let restored = SourcePositions { identity: "file:in".to_owned(), splits: vec![split], watermark: 0 };
        let mut source = FileSource::open(path, "in", 10, Some(&restored)).unwrap();
        let (mut lines, mut positions) = (Vec::new(), Vec::new());
        loop {
            positions.push(source.splits()[0].position);
            let mut out = Batch::default();
            let polled = source.poll(&mut out).unwrap();
            assert!(source.buffer.capacity() <= 64, "{} bytes are kept", source.buffer.capacity());
            let first = out.origins.first().map_or(0, |run| run.first_offset);
            lines.extend(out.values.iter().zip(first..).map(|(line, number)| (number, line.unwrap().to_vec())));
            if polled == Polled::Ended {
                return (lines, positions);
            }
        }
    }

    #[test]
    fn of_a_line_over_the_limit_only_so_much_is_kept_as_shows_that_it_is() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"one\n0123456789\n").unwrap();
        file.write_all(&vec![b'x'; 5 << 20]).unwrap();
        file.write_all(b"\n\nlast").unwrap();
        let lines = |texts: &[(i64, &str)]| texts.iter().map(|(n, t)| (*n, t.as_bytes().to_vec())).collect::<Vec<_>>();
        let rest = [(3, "xxxxxxxxxxx"), (4, ""), (5, "last")];
        let (all, positions) = read(file.path(), 0);
        assert_eq!(all, lines(&[&[(1, "one"), (2, "0123456789")][..], &rest].concat()));
        // A barrier in the middle of the long line cuts at its beginning.
        assert_eq!(positions[1], 15);
        assert_eq!(read(file.path(), 15).0, lines(&rest));
    }
}
