//! stdin, stdout and discard: outside every guarantee, and they say so at start. stdin cannot be replayed.

use std::io::{BufRead, Write};
use std::ops::Range;
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};

use weir_core::checkpoint::manifest::{SourcePositions, StagedPart};
use weir_core::ids::Epoch;
use weir_core::record::Batch;

use super::{Error, Polled, ROWS_MAX, Sink, Source, SplitStatus, Waker};

/// Lines from standard input, read by a thread of their own. The queue holds 4 batches; a full one stops the reading.
pub struct Stdin {
    lines: Receiver<std::io::Result<Vec<u8>>>,
    position: i64,
}

impl Stdin {
    /// Starts to read.
    pub fn open(waker: Waker) -> Stdin {
        let (send, lines) = sync_channel(4 * ROWS_MAX);
        std::thread::spawn(move || {
            let mut input = std::io::stdin().lock();
            let mut last = false;
            while !last {
                let mut line = Vec::new();
                let message = match input.read_until(b'\n', &mut line) {
                    Ok(read) => {
                        last = read == 0;
                        Ok(line)
                    }
                    Err(e) => {
                        last = true;
                        Err(e)
                    }
                };
                if (!last || message.is_err()) && send.send(message).is_err() {
                    return;
                }
                waker();
            }
        });
        Stdin { lines, position: 0 }
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
                    out.values.push(Some(line.strip_suffix(b"\n").unwrap_or(&line)));
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
        let mut out = std::io::stdout().lock();
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

    fn on_barrier(&mut self, _: Epoch) -> Result<Vec<StagedPart>, Error> {
        Ok(Vec::new())
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

    fn on_barrier(&mut self, _: Epoch) -> Result<Vec<StagedPart>, Error> {
        Ok(Vec::new())
    }

    fn on_released(&mut self, _: Epoch) -> Result<(), Error> {
        Ok(())
    }
}
