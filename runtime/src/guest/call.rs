//! What one call sees and leaves behind: the batch it works on, the overlay of outputs, its last words. A call is atomic:
//! the outputs here and the overlay in `KeyedState` count only when the call returned well.

use std::collections::HashMap;
use std::sync::Arc;

use weir_core::ids::Name;
use weir_core::record::{Batch, Column};

use super::descriptor::Descriptor;
use super::imports::clean;
use super::limits::Limits;
use super::measured::{Measured, Measuring};
use super::wasi::{LastLines, Random};
use crate::clock;
use crate::journal::{self, Logger, hide};
use crate::state::KeyedState;

/// Bytes of output that one call may leave, all ports together.
const OUTPUT_BYTES_MAX: usize = 16 << 20;
/// Rows of output that one call may leave.
const OUTPUT_ROWS_MAX: usize = 100_000;
/// Bytes of log that one call may write; what is over it is dropped.
const LOG_BYTES_MAX: usize = 64 << 10;
/// Where a flood of log traps. Fuel does not limit it: a line costs the guest little and the host its whole length.
const LOG_FLOOD_LINES: usize = 10_000;
const LOG_FLOOD_BYTES: usize = 64 << 20;

/// What a call may leave at most. Over it, the batch is halved; a single record over it is poison.
#[derive(Debug, Clone, Copy)]
pub struct OutputLimits {
    /// Bytes over all ports.
    pub bytes: usize,
    /// Rows over all ports.
    pub rows: usize,
    /// Bytes of one row: key, value and headers.
    pub record: usize,
}

/// Rows that a call emitted, and records it rejected.
#[derive(Debug, Default)]
pub struct Output {
    /// One batch per declared output port, in order.
    pub ports: Vec<Batch>,
    /// Slot, code and message of each rejected record.
    pub rejects: Vec<(u32, String, String)>,
}

impl Output {
    /// Forgets everything and keeps the memory.
    pub fn clear(&mut self) {
        self.ports.iter_mut().for_each(Batch::clear);
        self.rejects.clear();
    }
}

/// Why a call did not succeed. Nothing of it was kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The guest returned a failure that asks to be called again.
    Retry,
    /// The guest returned a fatal failure.
    Failed,
    /// The guest trapped: a panic, a wrong index, a bad access.
    Trapped,
    /// The call's fuel is used up.
    TimedOut,
    /// The guest asked for more memory than its limit.
    Memory,
    /// The call's output is over the limit.
    Output,
}

impl Reason {
    /// All reasons, in the order of their numbers.
    pub const ALL: [Reason; 6] =
        [Reason::Retry, Reason::Failed, Reason::Trapped, Reason::TimedOut, Reason::Memory, Reason::Output];

    /// The value of the label `reason` of `weir_guest_traps_total`.
    pub fn label(self) -> &'static str {
        match self {
            Reason::Retry => "retry",
            Reason::Failed => "failure",
            Reason::Trapped => "trap",
            Reason::TimedOut => "timeout",
            Reason::Memory => "memory",
            Reason::Output => "output",
        }
    }
}

/// A call that did not succeed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Why.
    pub reason: Reason,
    /// The record to blame, where the guest named one.
    pub slot: Option<u32>,
    /// The guest's code, or the trap's.
    pub code: String,
    /// What happened, with file and line where the guest panicked.
    pub message: String,
    /// Functions of the guest on its stack when it trapped, innermost first.
    pub backtrace: Vec<String>,
}

/// Which call runs: some imports are valid in some calls only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Idle,
    Describe,
    Open,
    Migrate,
    Process,
    Timers,
    Watermark,
    End,
}

/// The data of a guest's store.
pub(super) struct Context {
    pub(super) phase: Phase,
    pub(super) state: KeyedState,
    /// The batch of `process`, moved in for the duration of the call.
    pub(super) batch: Batch,
    /// Times and keys of the timers of `on-timers`, as a batch whose values are absent.
    pub(super) due: Batch,
    pub(super) output: Output,
    pub(super) limits: OutputLimits,
    output_bytes: usize,
    output_rows: usize,
    log_bytes: usize,
    log_lines: usize,
    pub(super) over_limit: Option<String>,
    /// `log.panic`: the slot to blame and the guest's last words.
    pub(super) last_words: Option<(Option<u32>, String)>,
    /// What the call wrote to standard error last.
    pub(super) stderr: LastLines,
    /// Tags of the timers of `on-timers`.
    pub(super) tags: Vec<u64>,
    pub(super) random: Random,
    /// The keys that the node is keyed by, where they are not those of the batch.
    pub(super) keyed: Option<Column>,
    pub(super) watermark: i64,
    pub(super) now: i64,
    pub(super) config: String,
    pub(super) secrets: HashMap<String, String>,
    pub(super) node: Name,
    pub(super) measuring: Measuring,
    /// Where its log lines are kept.
    pub(super) logger: Logger,
}

impl Context {
    pub(super) fn new(
        node: Name,
        descriptor: &Descriptor,
        state: KeyedState,
        config: String,
        limits: Limits,
    ) -> Context {
        let ports = descriptor.outputs.iter().map(|_| Batch::default()).collect();
        Context {
            phase: Phase::Idle,
            state,
            batch: Batch::default(),
            due: Batch::default(),
            output: Output { ports, rejects: Vec::new() },
            limits: OutputLimits { bytes: OUTPUT_BYTES_MAX, rows: OUTPUT_ROWS_MAX, record: limits.record },
            output_bytes: 0,
            output_rows: 0,
            log_bytes: 0,
            log_lines: 0,
            over_limit: None,
            last_words: None,
            stderr: LastLines::default(),
            tags: Vec::new(),
            random: Random::default(),
            keyed: None,
            watermark: i64::MIN,
            now: 0,
            config,
            secrets: HashMap::new(),
            measuring: Measuring::new(Measured::of(&descriptor.metrics)),
            logger: Logger::new(Arc::default(), node.clone(), 0, Arc::default()),
            node,
        }
    }

    /// Forgets what the last call left, except its output.
    pub(super) fn begin(&mut self, phase: Phase) {
        self.phase = phase;
        self.output_bytes = 0;
        self.output_rows = 0;
        self.log_bytes = 0;
        self.log_lines = 0;
        self.over_limit = None;
        self.last_words = None;
        self.stderr.clear();
        self.tags.clear();
        self.random.restart();
    }

    /// Charges rows to the call's output, before they are copied.
    pub(super) fn charge(&mut self, rows: usize, bytes: usize) -> wasmtime::Result<()> {
        self.output_rows = self.output_rows.saturating_add(rows);
        self.output_bytes = self.output_bytes.saturating_add(bytes);
        if self.output_rows > self.limits.rows || self.output_bytes > self.limits.bytes {
            let message = format!(
                "output of one call is over the limit: {} rows and {} bytes, allowed are {} rows and {} bytes",
                self.output_rows, self.output_bytes, self.limits.rows, self.limits.bytes
            );
            self.over_limit = Some(message.clone());
            wasmtime::bail!(message);
        }
        Ok(())
    }

    /// Whether so many more lines and bytes of log fit into the call. A flood traps.
    pub(super) fn charge_log(&mut self, lines: usize, bytes: usize) -> wasmtime::Result<bool> {
        self.log_lines = self.log_lines.saturating_add(lines);
        self.log_bytes = self.log_bytes.saturating_add(bytes);
        if self.log_lines > LOG_FLOOD_LINES || self.log_bytes > LOG_FLOOD_BYTES {
            wasmtime::bail!("one call may log {LOG_FLOOD_LINES} lines and {} MiB, and did more", LOG_FLOOD_BYTES >> 20);
        }
        Ok(self.log_bytes <= LOG_BYTES_MAX)
    }

    /// A context for `describe`, which may call nothing but `log`.
    pub(super) fn describe() -> Context {
        let node = Name::new("describe").expect("a valid name");
        Context::new(node, &Descriptor::default(), KeyedState::new(Vec::new(), 0), String::new(), Limits::default())
    }

    /// A guest's text for messages: on one line, bounded, without its secrets.
    pub(super) fn shown(&self, text: &str) -> String {
        clean(&hide(text, &self.secrets()))
    }

    /// What no log and no message shows.
    pub(super) fn secrets(&self) -> Vec<&str> {
        self.secrets.values().map(String::as_str).collect()
    }

    /// Which records the running call is about, where they are of one split: what is known without a look at each.
    pub(super) fn origin(&self) -> Option<String> {
        let batch = self.slots().filter(|_| self.phase == Phase::Process)?;
        let last = batch.len().checked_sub(1)?;
        let ((partition, from), (_, to)) = (batch.origin(0)?, batch.origin(last)?);
        match (batch.split(0) == batch.split(last), from == to) {
            (true, true) => Some(format!("{partition}@{from}")),
            (true, false) => Some(format!("{partition}@{from}..{to}")),
            (false, _) => None,
        }
    }

    /// What is to be said about log lines that were dropped, now and then. Asks for the time only where there were any.
    pub(super) fn untold(&mut self) -> Option<journal::Line> {
        self.logger.has_untold().then(|| self.logger.tell(clock::now(), clock::now_millis()))?
    }

    /// The keys as the guest sees them.
    pub(super) fn keys(&self) -> &Column {
        self.keyed.as_ref().unwrap_or(&self.batch.keys)
    }

    /// What rows of the running call inherit from: its records, or its timers.
    pub(super) fn inherited(&self) -> &Batch {
        if self.phase == Phase::Timers { &self.due } else { &self.batch }
    }

    /// The keys that they inherit.
    pub(super) fn inherited_keys(&self) -> &Column {
        self.keyed.as_ref().unwrap_or(&self.inherited().keys)
    }

    /// The records that slots name in the running call: those of the batch, or the timers that are due.
    pub(super) fn slots(&self) -> Option<&Batch> {
        match self.phase {
            Phase::Process => Some(&self.batch),
            Phase::Timers => Some(&self.due),
            _ => None,
        }
    }
}
