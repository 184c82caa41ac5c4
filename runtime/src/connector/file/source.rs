//! Reads a file line by line, from a byte position. Bounded: it ends where the file ended at the first start. Positions are
//! bytes, origins are line numbers (from 1), so that an error names the line. Of a line that is too long no more is kept
//! than shows that it is. A digest of what lies before the position tells at a restore whether it is still the same file.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, FileTypeExt};
use std::path::Path;
use std::time::Duration;

use weir_core::checkpoint::manifest::SourcePositions;
use weir_core::record::Batch;

use crate::connector::{BATCH_BYTES_MAX, Error, Polled, ROWS_MAX, Source, SplitStatus};
use crate::hex;

/// Bytes before the position that are compared at a restore.
const TAIL: u64 = 4 << 10;

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
        let (file, position, end) = at(path, shown, restored)?;
        let mut file = BufReader::with_capacity(256 << 10, file);
        let line = count_lines(&mut file, position).map_err(|e| Error::Config(cannot_read(path, &e)))?;
        let (shown, line_max) = (shown.to_owned(), record_max.saturating_add(1));
        Ok(FileSource { shown, file, position, read: position, end, line, buffer: Vec::new(), line_max })
    }

    /// Whether there is a file to read.
    pub fn check(path: &Path) -> Result<(), String> {
        open(path).map(drop)
    }

    /// Whether it is still the file that was read up to these positions.
    pub fn check_restored(path: &Path, shown: &str, restored: &SourcePositions) -> Result<(), Error> {
        at(path, shown, Some(restored)).map(drop)
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

/// The file, where to read on in it, and where it ends.
fn at(path: &Path, shown: &str, restored: Option<&SourcePositions>) -> Result<(File, u64, u64), Error> {
    let (file, bytes) = open(path).map_err(Error::Config)?;
    // Those of another source mean nothing here; whoever gave them compares the identities.
    let restored = restored.filter(|positions| positions.identity == identity(shown));
    let split = restored.and_then(|positions| positions.splits.first());
    let position = split.map_or(0, |split| split.position.max(0) as u64);
    let end = split.and_then(|split| split.end).map_or(bytes, |end| end.max(0) as u64);
    if bytes < end {
        let path = path.display();
        return Err(Error::Halt(format!(
            "{path} has {bytes} bytes, but {end} were there at the first start: it was cut"
        )));
    }
    // Positions of before there were digests have none.
    if let Some(was) = split.and_then(|split| split.tail.as_ref())
        && *was != tail(&file, position).map_err(|e| Error::Config(cannot_read(path, &e)))?
    {
        return Err(Error::Halt(format!(
            "{} is not the file that was read up to byte {position}: what lies before that is another text; put the old \
             file back, or start with --from empty --rewind",
            path.display()
        )));
    }
    Ok((file, position, end))
}

/// The file and its size.
fn open(path: &Path) -> Result<(File, u64), String> {
    // Looked at before it is opened: a pipe without a writer would keep us waiting.
    let metadata = std::fs::metadata(path).map_err(|e| cannot_read(path, &e))?;
    if metadata.is_dir() {
        return Err(format!("{} is a folder, a file source reads one file", path.display()));
    }
    if metadata.file_type().is_fifo() {
        let path = path.display();
        return Err(format!("{path} is a pipe, which cannot be read twice: pipe it into a source of type \"stdin\""));
    }
    Ok((File::open(path).map_err(|e| cannot_read(path, &e))?, metadata.len()))
}

fn cannot_read(path: &Path, e: &io::Error) -> String {
    match e.kind() {
        io::ErrorKind::NotFound => format!("{} does not exist", path.display()),
        _ => format!("cannot read {}: {e}", path.display()),
    }
}

/// Digest of the bytes before a position.
fn tail(file: &File, position: u64) -> io::Result<String> {
    let length = position.min(TAIL);
    let mut bytes = vec![0; length as usize];
    file.read_exact_at(&mut bytes, position - length)?;
    Ok(hex::sha256(&bytes))
}

fn identity(shown: &str) -> String {
    format!("file:{shown}")
}

/// Lines before `position`, leaving the file there.
fn count_lines(file: &mut BufReader<File>, position: u64) -> io::Result<i64> {
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

    fn tail(&self) -> Option<String> {
        // Without one the next restore has less to compare, which is no reason to stop here.
        tail(self.file.get_ref(), self.position).ok()
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
        let split = SplitPosition { split: "in".to_owned(), position: from, end: None, tail: None, largest_time: None };
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

    #[test]
    fn a_file_that_was_replaced_is_noticed_though_it_is_not_shorter() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("in");
        let text: String = (0..2_000).map(|n| format!("line {n}\n")).collect();
        std::fs::write(&path, &text).unwrap();
        let mut source = FileSource::open(&path, "in", 10, None).unwrap();
        source.poll(&mut Batch::default()).unwrap();
        let (status, tail) = (source.splits().remove(0), source.tail());
        assert!(tail.is_some() && status.position > TAIL as i64);
        let mut split =
            SplitPosition { split: status.split, position: status.position, end: status.end, tail, largest_time: None };
        let mut check = |tail: Option<Option<String>>| {
            split.tail = tail.unwrap_or(split.tail.take());
            let splits = vec![split.clone()];
            let restored = SourcePositions { identity: "file:in".to_owned(), splits, watermark: 0 };
            let opened = FileSource::open(&path, "in", 10, Some(&restored)).map(drop);
            assert_eq!(opened.is_ok(), FileSource::check_restored(&path, "in", &restored).is_ok());
            opened
        };
        check(None).unwrap();
        std::fs::write(&path, format!("{text}more\n")).unwrap();
        check(None).unwrap();
        // As long, and another text.
        std::fs::write(&path, text.replace("line", "LINE")).unwrap();
        let refused = check(None).unwrap_err();
        assert!(matches!(&refused, Error::Halt(why) if why.contains("is not the file that was read")), "{refused}");
        // Positions of before there were digests.
        check(Some(None)).unwrap();
    }

    #[test]
    fn what_cannot_be_read_is_refused_in_words() {
        let folder = tempfile::tempdir().unwrap();
        let refused = |path: &Path| FileSource::check(path).unwrap_err();
        assert!(refused(&folder.path().join("gone")).ends_with("gone does not exist"));
        assert!(refused(folder.path()).contains("is a folder"));
        let pipe = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        assert!(refused(&pipe).contains("is a pipe"));
    }
}
