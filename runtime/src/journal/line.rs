//! Lines that guests log: how one is kept, made harmless and bounded; and how many one subtask may write. Time is passed in.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use weir_core::ids::Name;

use super::Journal;
use super::safe::Safe;

/// Lines a second of one subtask, and how many may come at once.
const LINES_PER_SECOND: f64 = 100.0;
const LINES_BURST: f64 = 200.0;
/// Bytes a second of one subtask; as many may come at once.
const BYTES_PER_SECOND: f64 = 65_536.0;
/// Bytes of a line: message and fields together.
const LINE_BYTES_MAX: usize = 1024;
/// How often it is said that lines were dropped.
const SAID_EVERY: Duration = Duration::from_secs(1);

/// How loud a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the levels of the contract")]
pub enum Level {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
}

impl Level {
    /// All of them, the quietest first.
    pub const ALL: [Level; 5] = [Level::Trace, Level::Debug, Level::Info, Level::Warn, Level::Error];

    /// As users write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Level::Trace => "trace",
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warn => "warn",
            Level::Error => "error",
        }
    }
}

/// A line that a guest has logged. Its text holds no control character and no secret of its node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Milliseconds since 1970.
    pub at: i64,
    /// Where.
    pub node: Name,
    /// Which of the node's subtasks.
    pub subtask: u32,
    /// How loud.
    pub level: Level,
    /// What it says.
    pub message: String,
    /// What it says beside.
    pub fields: Vec<(String, String)>,
    /// The records of the call that wrote it, where they are of one split: `partition@offset`, or the first and the last.
    pub origin: Option<String>,
}

/// What a node's guests have logged, for the metrics.
#[derive(Debug, Default)]
pub struct LogCounts {
    written: AtomicU64,
    dropped: AtomicU64,
}

impl LogCounts {
    /// Lines that were kept.
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Lines over what one subtask may write.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

/// The way into the journal for one subtask.
#[derive(Debug)]
pub struct Logger {
    journal: Arc<Journal>,
    node: Name,
    subtask: u32,
    counts: Arc<LogCounts>,
    lines: Bucket,
    bytes: Bucket,
    /// Lines that were dropped and of which nobody was told.
    untold: u64,
    told_at: Option<Instant>,
}

impl Logger {
    /// A full one.
    pub fn new(journal: Arc<Journal>, node: Name, subtask: u32, counts: Arc<LogCounts>) -> Logger {
        let (lines, bytes) = (Bucket::new(LINES_BURST), Bucket::new(BYTES_PER_SECOND));
        Logger { journal, node, subtask, counts, lines, bytes, untold: 0, told_at: None }
    }

    /// Whether a line of this length may be written now. If not it is counted.
    pub fn takes(&mut self, bytes: usize, now: Instant) -> bool {
        self.lines.refill(LINES_PER_SECOND, LINES_BURST, now);
        self.bytes.refill(BYTES_PER_SECOND, BYTES_PER_SECOND, now);
        let bytes = bytes.min(LINE_BYTES_MAX) as f64;
        if self.lines.left < 1.0 || self.bytes.left < bytes {
            self.drop_line();
            return false;
        }
        (self.lines.left, self.bytes.left) = (self.lines.left - 1.0, self.bytes.left - bytes);
        true
    }

    /// A line is lost, for whatever reason: it is counted.
    pub fn drop_line(&mut self) {
        self.untold += 1;
        self.counts.dropped.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether lines were dropped of which nobody was told. Costs nothing where nothing was logged.
    pub fn has_untold(&self) -> bool {
        self.untold > 0
    }

    /// What is said about lines that were dropped, at most once a second.
    pub fn tell(&mut self, now: Instant, wall: i64) -> Option<Line> {
        let is_soon = self.told_at.is_some_and(|at| now.saturating_duration_since(at) < SAID_EVERY);
        if self.untold == 0 || is_soon {
            return None;
        }
        self.told_at = Some(now);
        let dropped = std::mem::take(&mut self.untold);
        let message = format!("weir dropped {dropped} log line(s) of this subtask: they came too fast");
        let said = vec![("dropped".to_owned(), dropped.to_string())];
        Some(self.keep(Level::Warn, message, said, None, wall))
    }

    /// Keeps a line, cut to its limit. It comes back as it is kept.
    pub fn write(
        &mut self,
        level: Level,
        message: &Safe,
        fields: Vec<(Safe, Safe)>,
        origin: Option<String>,
        wall: i64,
    ) -> Line {
        self.counts.written.fetch_add(1, Ordering::Relaxed);
        let (message, fields) = bounded(message, fields);
        self.keep(level, message, fields, origin, wall)
    }

    fn keep(
        &self,
        level: Level,
        message: String,
        fields: Vec<(String, String)>,
        origin: Option<String>,
        at: i64,
    ) -> Line {
        let line = Line { at, node: self.node.clone(), subtask: self.subtask, level, message, fields, origin };
        self.journal.log(line.clone());
        line
    }
}

/// Message and fields together are no longer than a line may be. What does not fit is cut, and says so.
fn bounded(message: &Safe, fields: Vec<(Safe, Safe)>) -> (String, Vec<(String, String)>) {
    let message = message.cut(LINE_BYTES_MAX);
    let mut left = LINE_BYTES_MAX - message.len().min(LINE_BYTES_MAX);
    let mut kept = Vec::new();
    for (name, value) in fields {
        let name = name.cut(64);
        if name.len() >= left {
            break;
        }
        let value = value.cut(left - name.len());
        left = left.saturating_sub(name.len() + value.len());
        kept.push((name, value));
    }
    (message, kept)
}

/// So much is left of what may come at once.
#[derive(Debug)]
struct Bucket {
    left: f64,
    at: Option<Instant>,
}

impl Bucket {
    fn new(left: f64) -> Bucket {
        Bucket { left, at: None }
    }

    fn refill(&mut self, per_second: f64, most: f64, now: Instant) {
        let passed = self.at.map_or(0.0, |at| now.saturating_duration_since(at).as_secs_f64());
        (self.left, self.at) = ((self.left + passed * per_second).min(most), Some(now));
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "only as a start: what passes is added by hand")]
mod tests {
    use super::*;

    fn logger() -> (Logger, Arc<Journal>) {
        let journal = Arc::new(Journal::new(0));
        let counts = Arc::default();
        (Logger::new(Arc::clone(&journal), Name::new("n").unwrap(), 0, counts), journal)
    }

    #[test]
    fn a_subtask_writes_a_burst_and_then_a_hundred_lines_a_second() {
        let ((mut logger, _), start) = (logger(), Instant::now());
        assert_eq!((0..1000).filter(|_| logger.takes(1, start)).count(), 200);
        let later = start + Duration::from_secs(1);
        assert_eq!((0..1000).filter(|_| logger.takes(1, later)).count(), 100);
        assert_eq!(logger.counts.dropped(), 800 + 900);
        let much_later = later + Duration::from_secs(3600);
        assert_eq!((0..1000).filter(|_| logger.takes(1, much_later)).count(), 200);
    }

    #[test]
    fn long_lines_are_fewer() {
        let ((mut logger, _), start) = (logger(), Instant::now());
        assert_eq!((0..1000).filter(|_| logger.takes(1 << 20, start)).count(), 64, "each counts as it will be cut");
    }

    #[test]
    fn what_is_dropped_is_said_in_one_line_a_second() {
        let ((mut logger, journal), start) = (logger(), Instant::now());
        assert_eq!((0..250).filter(|_| logger.takes(1, start)).count(), 200);
        let said = logger.tell(start, 7).unwrap();
        assert!(said.message.contains("dropped 50 log line(s)"), "{said:?}");
        logger.drop_line();
        assert!(logger.tell(start + Duration::from_millis(900), 8).is_none());
        assert!(logger.tell(start + Duration::from_secs(1), 9).unwrap().message.contains("dropped 1 "));
        assert!(!logger.has_untold());
        assert_eq!(journal.logs.after(None, 10, |_| true).items.len(), 2);
    }

    #[test]
    fn a_line_is_cut_at_its_limit_with_its_fields() {
        let (mut logger, _) = logger();
        let safe = |text: &str| Safe::new(text, &[]);
        let fields = vec![(safe("a"), safe(&"y".repeat(600))), (safe("b"), safe("z"))];
        let line = logger.write(Level::Info, &safe(&"x".repeat(700)), fields.clone(), None, 0);
        let bytes = line.message.len() + line.fields.iter().map(|(n, v)| n.len() + v.len()).sum::<usize>();
        assert!(bytes <= LINE_BYTES_MAX + 8, "{bytes}");
        assert!(line.fields[0].1.ends_with('…') && line.fields.len() == 1, "{line:?}");
        let line = logger.write(Level::Info, &safe(&"x".repeat(5000)), fields, None, 0);
        assert!(line.message.ends_with('…') && line.message.len() <= LINE_BYTES_MAX + 3 && line.fields.is_empty());
    }
}
