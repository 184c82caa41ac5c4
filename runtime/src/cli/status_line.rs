//! One status line a second on a terminal: rate, lag, last checkpoint, restarts. Nothing where stderr is not a terminal.

use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::clock;
use crate::pipeline::Status;

/// Ends the line when dropped.
pub(super) struct StatusLine {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Drop for StatusLine {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // A line that could not be written is no reason to fail.
            let _ = thread.join();
        }
    }
}

/// Starts the line, if stderr is a terminal.
pub(super) fn start(status: &Status) -> Option<StatusLine> {
    if !std::io::stderr().is_terminal() {
        return None;
    }
    let stop = Arc::new(AtomicBool::new(false));
    let (status, stopped) = (status.clone(), Arc::clone(&stop));
    let thread = std::thread::Builder::new().name("status".to_owned()).spawn(move || {
        let (mut last, mut at) = (0, clock::now());
        while !stopped.load(Ordering::Relaxed) {
            std::thread::park_timeout(Duration::from_secs(1));
            let read = records_in(&status);
            let rate = read.saturating_sub(last) as f64 / at.elapsed().as_secs_f64().max(0.001);
            (last, at) = (read, clock::now());
            let _ = write!(std::io::stderr(), "\r\x1b[K{}", line(&status, rate));
        }
        let _ = write!(std::io::stderr(), "\r\x1b[K");
    });
    Some(StatusLine { stop, thread: thread.ok() })
}

/// Records that the sources have read.
fn records_in(status: &Status) -> u64 {
    status.read(|facts| facts.metrics.sources().map(|node| node.records_in.get()).sum())
}

fn line(status: &Status, rate: f64) -> String {
    status.read(|facts| {
        let lag: u64 = facts.metrics.sources().map(|node| node.lag.get()).sum();
        let checkpoint = facts.last_checkpoint.as_ref().map_or("no checkpoint yet".to_owned(), |c| {
            let age = (clock::now_millis() - c.completed_at).max(0) as f64 / 1000.0;
            format!("checkpoint {} {age:.1} s ago ({} ms)", c.epoch, c.duration.as_millis())
        });
        format!("{}  {rate:.0} records/s  lag {lag}  {checkpoint}  {} restarts", facts.state.as_str(), facts.restarts)
    })
}
