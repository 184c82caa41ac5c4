//! Standard input, output and error: the input is at its end; what is written goes line by line to where `log.write` of the
//! contract writes, under the same limits. A stream is no more than its number. Nothing here waits for anybody.

use std::fmt;

use wasmtime::component::{ComponentType, LinkerInstance, Lower, Resource};
use wasmtime::{Result, StoreContextMut, bail};

use super::super::imports::log;
use super::super::store::Data;
use super::{Never, pay};
use crate::journal::Level;

/// Streams and pollables that a guest may hold at a time.
const HANDLES_MAX: u32 = 1_024;
/// What `check-write` allows: the contract of WASI asks for a number, and nothing depends on it.
const WRITE_BYTES: u64 = 64 << 10;
/// What looking at one pollable costs: 64 ns.
const POLLABLE_FUEL: u64 = 256;
/// Bytes of a line that are kept until it ends: more than the longest line of the log, whatever its characters.
const LINE_BYTES_MAX: usize = 8 << 10;

pub(super) struct InputStream;
pub(super) struct OutputStream;
/// Of a stream, and so always ready: nothing else gives one out.
pub(super) struct Pollable;

#[derive(ComponentType, Lower)]
#[component(variant)]
enum StreamError {
    #[component(name = "last-operation-failed")]
    #[expect(dead_code, reason = "part of the type; no operation on a stream fails")]
    Failed(Resource<Never>),
    #[component(name = "closed")]
    Closed,
}

type Written = (Result<(), StreamError>,);
type Output = Resource<OutputStream>;
type Input = Resource<InputStream>;

/// What is written and where it goes.
#[derive(Clone, Copy)]
enum Target {
    Stdout = 0,
    Stderr = 1,
}

pub(super) fn link(linker: &mut LinkerInstance<'_, Data>) -> Result<()> {
    linker.func_wrap("get-stdin", |store, (): ()| Ok((open::<InputStream>(store, 0)?,)))?;
    linker.func_wrap("get-stdout", |store, (): ()| Ok((open::<OutputStream>(store, Target::Stdout as u32)?,)))?;
    linker.func_wrap("get-stderr", |store, (): ()| Ok((open::<OutputStream>(store, Target::Stderr as u32)?,)))
}

pub(super) fn link_streams(linker: &mut LinkerInstance<'_, Data>) -> Result<()> {
    type Read<T> = (Result<T, StreamError>,);
    let closed =
        |_: StoreContextMut<'_, Data>, (_, _): (Input, u64)| -> Result<Read<u64>> { Ok((Err(StreamError::Closed),)) };
    linker.func_wrap("[method]input-stream.skip", closed)?;
    linker.func_wrap("[method]input-stream.read", |_, (_, _): (Input, u64)| -> Result<Read<Vec<u8>>> {
        Ok((Err(StreamError::Closed),))
    })?;
    linker.func_wrap("[method]output-stream.splice", |_, (_, _, _): (Output, Input, u64)| -> Result<Read<u64>> {
        Ok((Err(StreamError::Closed),))
    })?;
    linker.func_wrap("[method]output-stream.check-write", |_, (_,): (Output,)| -> Result<Read<u64>> {
        Ok((Ok(WRITE_BYTES),))
    })?;
    for write in ["write", "blocking-write-and-flush"] {
        let write = format!("[method]output-stream.{write}");
        linker.func_wrap(&write, |mut store, (stream, bytes): (Output, Vec<u8>)| -> Result<Written> {
            take(store.data_mut(), target(&stream)?, &bytes)?;
            Ok((Ok(()),))
        })?;
    }
    for flush in ["flush", "blocking-flush"] {
        let flush = format!("[method]output-stream.{flush}");
        linker.func_wrap(&flush, |_, (_,): (Output,)| -> Result<Written> { Ok((Ok(()),)) })?;
    }
    for zeroes in ["write-zeroes", "blocking-write-zeroes-and-flush"] {
        // A line of the log holds no control characters.
        let zeroes = format!("[method]output-stream.{zeroes}");
        linker.func_wrap(&zeroes, |_, (_, _): (Output, u64)| -> Result<Written> { Ok((Ok(()),)) })?;
    }
    // C libraries ask for it before they write. Writing never waits, and the input is at its end.
    linker.func_wrap("[method]output-stream.subscribe", |store, (_,): (Output,)| Ok((open::<Pollable>(store, 0)?,)))?;
    linker.func_wrap("[method]input-stream.subscribe", |store, (_,): (Input,)| Ok((open::<Pollable>(store, 0)?,)))
}

pub(super) fn link_poll(linker: &mut LinkerInstance<'_, Data>) -> Result<()> {
    linker.func_wrap("[method]pollable.ready", |_, (_,): (Resource<Pollable>,)| Ok((true,)))?;
    linker.func_wrap("[method]pollable.block", |_, (_,): (Resource<Pollable>,)| Ok(()))?;
    linker.func_wrap("poll", |mut store, (all,): (Vec<Resource<Pollable>>,)| {
        pay(&mut store, all.len() as u64 * POLLABLE_FUEL)?;
        if all.is_empty() {
            bail!("the guest called `poll` of wasi:io/poll without anything to wait for");
        }
        Ok(((0..all.len() as u32).collect::<Vec<u32>>(),))
    })
}

/// What one store's guest has open, and has written without an end of line.
#[derive(Default)]
pub(in super::super) struct Stdio {
    handles: u32,
    lines: [Vec<u8>; 2],
}

/// The last lines that a call wrote to standard error, for the message of its trap.
#[derive(Debug, Default)]
pub(in super::super) struct LastLines(Vec<String>);

impl LastLines {
    const KEPT: usize = 3;
    /// What Rust writes behind each panic, and nobody can follow here.
    const ADVICE: &str = "note: run with `RUST_BACKTRACE";

    fn push(&mut self, line: String) {
        if !line.starts_with(LastLines::ADVICE) {
            self.0.drain(..(self.0.len() + 1).saturating_sub(LastLines::KEPT));
            self.0.push(line);
        }
    }

    pub(in super::super) fn clear(&mut self) {
        self.0.clear();
    }
}

/// Behind a message, or nothing.
impl fmt::Display for LastLines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_slice() {
            [] => Ok(()),
            lines => write!(f, "; last on stderr: {}", lines.join(" ")),
        }
    }
}

fn open<R: 'static>(mut store: StoreContextMut<'_, Data>, stream: u32) -> Result<Resource<R>> {
    let stdio = &mut store.data_mut().stdio;
    if stdio.handles == HANDLES_MAX {
        bail!("the guest holds {HANDLES_MAX} streams and pollables, and asked for another one");
    }
    stdio.handles += 1;
    Ok(Resource::new_own(stream))
}

/// The guest has let go of one.
pub(super) fn dropped(mut store: StoreContextMut<'_, Data>, _: u32) -> Result<()> {
    let stdio = &mut store.data_mut().stdio;
    stdio.handles = stdio.handles.saturating_sub(1);
    Ok(())
}

fn target(stream: &Output) -> Result<Target> {
    match stream.rep() {
        0 => Ok(Target::Stdout),
        1 => Ok(Target::Stderr),
        other => bail!("there is no stream {other}"),
    }
}

/// Takes what was written, and keeps the lines that it ends.
fn take(data: &mut Data, target: Target, bytes: &[u8]) -> Result<()> {
    for piece in bytes.split_inclusive(|b| *b == b'\n') {
        let line = &mut data.stdio.lines[target as usize];
        let room = LINE_BYTES_MAX.saturating_sub(line.len());
        line.extend_from_slice(&piece[..piece.len().min(room)]);
        let ends = piece.ends_with(b"\n");
        let Some(context) = data.context.as_mut() else { bail!("import called outside a call") };
        let kept = context.charge_log(usize::from(ends), piece.len())?;
        if ends {
            end_line(data, target, kept);
        }
    }
    Ok(())
}

/// The call is over: what was written without an end of line is one.
pub(in super::super) fn flush(data: &mut Data) {
    for target in [Target::Stdout, Target::Stderr] {
        if !data.stdio.lines[target as usize].is_empty() {
            // A flood has had its trap.
            let charged = data.context.as_mut().map(|context| context.charge_log(1, 0));
            end_line(data, target, matches!(charged, Some(Ok(true))));
        }
    }
}

fn end_line(data: &mut Data, target: Target, kept: bool) {
    let mut bytes = std::mem::take(&mut data.stdio.lines[target as usize]);
    let line = String::from_utf8_lossy(&bytes).trim_end().to_owned();
    bytes.clear();
    data.stdio.lines[target as usize] = bytes;
    // Nobody misses the empty lines by which output is set apart on a terminal.
    if line.is_empty() {
        return;
    }
    let level = match target {
        Target::Stdout => Level::Info,
        Target::Stderr => Level::Warn,
    };
    log::keep(data, level, &line, &[], kept);
    if let (Target::Stderr, Some(context)) = (target, data.context.as_mut()) {
        let line = context.shown(&line);
        context.stderr.push(line);
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::engine::Engine;
    use super::super::super::store::describe_store;
    use super::*;

    fn stderr(data: &Data) -> String {
        data.context.as_ref().map_or_else(String::new, |context| context.stderr.to_string())
    }

    #[test]
    fn lines_are_put_together_and_the_last_one_ends_with_the_call() {
        let mut store = describe_store(&Engine::new(1).unwrap(), "");
        let data = store.data_mut();
        for piece in ["one\n\ntw", "o\r\nthree\x1b[1m\nnote: run with `RUST_BACKTRACE=1`\nfo", "", "ur"] {
            take(data, Target::Stderr, piece.as_bytes()).unwrap();
        }
        take(data, Target::Stdout, b"elsewhere\n").unwrap();
        assert_eq!(stderr(data), "; last on stderr: one two three [1m");
        flush(data);
        assert_eq!(stderr(data), "; last on stderr: two three [1m four");
        flush(data);
        assert_eq!(stderr(data), "; last on stderr: two three [1m four");
    }

    #[test]
    fn line_that_never_ends_takes_little_memory_and_is_a_flood_in_the_end() {
        let mut store = describe_store(&Engine::new(1).unwrap(), "");
        let data = store.data_mut();
        let piece = [b'x'; 1 << 20];
        let failed = (0..100).find_map(|_| take(data, Target::Stderr, &piece).err()).unwrap();
        assert!(failed.to_string().contains("one call may log 10000 lines and 64 MiB"), "{failed}");
        assert!(data.stdio.lines[1].capacity() <= 2 * LINE_BYTES_MAX);
        flush(data);
        assert!(stderr(data).chars().count() < 1_100);
        assert!(data.stdio.lines[1].is_empty());
    }
}
