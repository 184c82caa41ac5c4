//! stdin, stdout and discard: outside every guarantee, and they say so at start. stdin cannot be replayed.

use std::io::{self, BufRead, Write};
use std::ops::Range;
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};

use weir_core::checkpoint::manifest::SourcePositions;
use weir_core::ids::Epoch;
use weir_core::record::Batch;

use super::{Cut, Error, Polled, ROWS_MAX, Sink, Source, SplitStatus, Waker};

/// Lines that the queue holds; a full one stops the reading.
const QUEUED_MAX: usize = 256;

/// Lines from standard input, read by a thread of their own.
pub struct Stdin {
    lines: Receiver<io::Result<Vec<u8>>>,
    position: i64,
}

impl Stdin {
    /// Starts to read. A line of more than `record_max` bytes is handed out cut to one byte more than that, which is what
    /// makes it a bad record.
    pub fn open(record_max: usize, waker: Waker) -> Stdin {
        let (send, lines) = sync_channel(QUEUED_MAX);
        std::thread::spawn(move || {
            let mut input = io::stdin().lock();
            while let Some(line) = read_line(&mut input, record_max.saturating_add(1)).transpose() {
                let is_last = line.is_err();
                if send.send(line).is_err() {
                    return;
                }
                waker();
                if is_last {
                    return;
                }
            }
            // The end is to be seen too.
            drop(send);
            waker();
        });
        Stdin { lines, position: 0 }
    }
}

/// The next line without its newline, and of a longer one its first `max` bytes; the rest is read and forgotten.
fn read_line(input: &mut impl BufRead, max: usize) -> io::Result<Option<Vec<u8>>> {
    let (mut line, mut is_there) = (Vec::new(), false);
    loop {
        let chunk = match input.fill_buf() {
            Ok([]) => return Ok(is_there.then_some(line)),
            Ok(chunk) => chunk,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(e),
        };
        is_there = true;
        let newline = memchr::memchr(b'\n', chunk);
        let text = &chunk[..newline.unwrap_or(chunk.len())];
        line.extend_from_slice(&text[..text.len().min(max - line.len())]);
        let used = newline.map_or(chunk.len(), |at| at + 1);
        input.consume(used);
        if newline.is_some() {
            return Ok(Some(line));
        }
    }
}

impl Source for Stdin {
    fn identity(&self) -> String {
        "stdin".to_owned()
    }

    fn poll(&mut self, out: &mut Batch) -> Result<Polled, Error> {
        while out.len() < ROWS_MAX {
            match self.lines.try_recv() {
                Ok(Ok(line)) => {
                    self.position += 1;
                    out.push_origin(0, 0, self.position);
                    out.times.push(0);
                    out.keys.push(None);
                    out.values.push(Some(&line));
                }
                Ok(Err(e)) => return Err(Error::Transient(format!("cannot read standard input: {e}"))),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) if out.is_empty() => return Ok(Polled::Ended),
                Err(TryRecvError::Disconnected) => break,
            }
        }
        Ok(if out.is_empty() { Polled::Empty } else { Polled::Rows })
    }

    fn splits(&self) -> Vec<SplitStatus> {
        vec![SplitStatus { split: String::new(), position: self.position, high_watermark: None, end: None }]
    }

    fn on_committed(&mut self, _: &SourcePositions) {}
}

/// One value a line on standard output, written at once: outside the guarantee.
#[derive(Debug, Default)]
pub struct Stdout;

impl Sink for Stdout {
    fn write(&mut self, rows: &Batch, range: Range<usize>) -> Result<usize, Error> {
        let mut out = io::stdout().lock();
        let mut line = Vec::with_capacity(rows.values.data.len() + range.len());
        for slot in range.clone() {
            line.extend_from_slice(rows.values.get(slot).unwrap_or(b"null"));
            line.push(b'\n');
        }
        match out.write_all(&line).and_then(|()| out.flush()) {
            Ok(()) => Ok(range.len()),
            Err(e) => Err(Error::Io(format!("cannot write to standard output: {e}"))),
        }
    }

    fn on_barrier(&mut self, _: Epoch) -> Result<Cut, Error> {
        Ok(Cut::Parts(Vec::new()))
    }

    fn on_released(&mut self, _: Epoch) -> Result<(), Error> {
        Ok(())
    }
}

/// Takes everything and keeps nothing.
#[derive(Debug, Default)]
pub struct Discard;

impl Sink for Discard {
    fn write(&mut self, _: &Batch, range: Range<usize>) -> Result<usize, Error> {
        Ok(range.len())
    }

    fn on_barrier(&mut self, _: Epoch) -> Result<Cut, Error> {
        Ok(Cut::Parts(Vec::new()))
    }

    fn on_released(&mut self, _: Epoch) -> Result<(), Error> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_line_over_the_limit_only_so_much_is_kept_as_shows_that_it_is() {
        let text = [&b"one\n\n"[..], &vec![b'x'; 5 << 20], b"\nlast"].concat();
        let mut input = io::BufReader::new(&text[..]);
        let mut lines = Vec::new();
        while let Some(line) = read_line(&mut input, 11).unwrap() {
            assert!(line.capacity() <= 64, "{} bytes are kept", line.capacity());
            lines.push(line);
        }
        assert_eq!(lines, [&b"one"[..], b"", b"xxxxxxxxxxx", b"last"]);
    }
}
