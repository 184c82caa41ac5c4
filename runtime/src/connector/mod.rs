//! The ends of a pipeline: what a source, a sink and an authority owe the engine. Rows cross in columns, whole batches at
//! a time. `kafka/` is the only place that knows rdkafka. Nothing here knows state, guests or how a graph is run.

pub mod file;
pub mod generator;
pub mod kafka;
pub mod standard;

use std::ops::Range;
use std::sync::Arc;

use weir_core::checkpoint::commit::{Claim, Commit};
use weir_core::checkpoint::manifest::{SourcePositions, StagedPart};
use weir_core::ids::{Epoch, Token};
use weir_core::record::Batch;

/// Rows of one poll.
pub const ROWS_MAX: usize = 1_000;
/// Bytes of values of one poll; the last record may pass it.
pub const BATCH_BYTES_MAX: usize = 1 << 20;

/// How a connector's failure is to be taken. The class says what happens next; the message says what, where, what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file is wrong, the topic does not exist, limits contradict each other: exit 3.
    #[error("{0}")]
    Config(String),
    /// Cannot be reached or is not permitted: exit 5 at start, restart with back-off later.
    #[error("{0}")]
    Unreachable(String),
    /// Transient: leave, and recover from the newest commit.
    #[error("{0}")]
    Transient(String),
    /// Another attempt owns this pipeline: stop quietly, exit 7.
    #[error("{0}")]
    Fenced(String),
    /// An operator is needed (offsets removed by retention, a foreign commit topic): stop, touch nothing, exit 6.
    #[error("{0}")]
    Halt(String),
    /// The system takes no more (standard output that nobody reads): exit 1.
    #[error("{0}")]
    Io(String),
    /// A record that cannot be written (over the size limit, a newline in a line format): `on_error` decides. The rows of
    /// the same call before it were accepted, those behind it were not looked at.
    #[error("{message}")]
    Record {
        /// Slot in the batch given.
        slot: usize,
        /// What is wrong with it.
        message: String,
    },
}

/// Wakes the shard when a source that was empty has rows, or a sink that was full has room. Cheap; may be called from any thread.
pub type Waker = Arc<dyn Fn() + Send + Sync>;

/// What a poll found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Polled {
    /// Rows were appended.
    Rows,
    /// Nothing now: the waker will be called.
    Empty,
    /// Nothing before this time has passed (a generator with a rate).
    Later(std::time::Duration),
    /// No rows, but splits, behind those that there were.
    Grown,
    /// No rows, but the split of this index is at its end: its last row is behind us, in a poll before this one. Told once by
    /// each reader, so also by one that is restored there; all of them together are `Ended`.
    SplitEnded(usize),
    /// Bounded input has ended: nothing will ever follow.
    Ended,
}

/// Where a split stands. Positions are the client's own next position, never "last offset + 1": control records and
/// compaction leave gaps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SplitStatus {
    /// `<topic>/<partition>`, a file name, or empty.
    pub split: String,
    /// Next position to read, counting every row handed out so far.
    pub position: i64,
    /// End of what exists now, where known (the high watermark).
    pub high_watermark: Option<i64>,
    /// Where a bounded read ends (exclusive).
    pub end: Option<i64>,
}

impl SplitStatus {
    /// Whether something is known to be there that was not handed out yet: records, or an open transaction that may still
    /// become records.
    pub fn has_more(&self) -> bool {
        let end = self.high_watermark.map(|high| self.end.map_or(high, |end| end.min(high)));
        end.is_some_and(|end| self.position < end)
    }
}

/// A reader of splits. Owned and polled by one shard thread.
pub trait Source: Send {
    /// Type and place, as in the manifest. A restore with another identity is refused.
    fn identity(&self) -> String;

    /// Appends rows to `out`, at most about 1,000 rows or 1 MiB, and never blocks. `times` gets the source's own timestamps
    /// (Kafka's record timestamp; 0 where there is none); `origins` gets runs with the index of the split.
    fn poll(&mut self, out: &mut Batch) -> Result<Polled, Error>;

    /// Behind a poll that gave rows: nothing more comes before so much time has passed, if that is known.
    fn rest(&mut self) -> Option<std::time::Duration> {
        None
    }

    /// All splits, in the order of their indices, as of the last poll.
    fn splits(&self) -> Vec<SplitStatus>;

    /// A digest of what lies before the position, for a source of one split whose content may be exchanged under its name.
    fn tail(&self) -> Option<String> {
        None
    }

    /// Told after an epoch was committed, for displays outside (the consumer group's lag). Must not block or fail.
    fn on_committed(&mut self, positions: &SourcePositions);
}

/// What a barrier cuts off at a sink.
#[derive(Debug)]
pub enum Cut {
    /// Parts to publish after the commit (file sink); none for others.
    Parts(Vec<StagedPart>),
    /// There is no space for rows of this epoch: it is to be declined. The sink keeps them, and they are of the next one.
    NoSpace(String),
}

/// A writer of rows. Owned by one shard thread.
pub trait Sink: Send {
    /// Takes rows `range` of `rows` and returns how many it accepted, from the front: fewer means it is full. It is asked
    /// again soon, and where it can tell when it has room the waker is called. Rows behind a barrier whose epoch is not yet
    /// released are held in a bounded buffer.
    fn write(&mut self, rows: &Batch, range: Range<usize>) -> Result<usize, Error>;

    /// The barrier of `epoch` has passed: what was written belongs to it, what follows to the next.
    fn on_barrier(&mut self, epoch: Epoch) -> Result<Cut, Error>;

    /// `epoch` is committed and the next transaction is open: held rows may go out.
    fn on_released(&mut self, epoch: Epoch) -> Result<(), Error>;
}

/// What PEEK saw: for politeness only, decides nothing.
#[derive(Debug, Clone, Default)]
pub struct Peek {
    /// The newest CLAIM.
    pub claim: Option<Claim>,
    /// The newest COMMIT.
    pub commit: Option<Commit>,
}

/// What RESOLVE read up to its own CLAIM.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// Position of our own CLAIM: our token.
    pub token: Token,
    /// The newest COMMIT below it.
    pub commit: Option<Commit>,
    /// The newest CLAIM below ours, with its position.
    pub claim_before: Option<(Token, Claim)>,
    /// Whether a CLAIM stands above ours.
    pub claim_above: bool,
}

/// The result of a commit. There is no "not committed".
#[derive(Debug)]
pub enum Outcome {
    /// Committed. `may_have_resent`: it was slow or met a retriable error, so a copy of the request may still be under way.
    Committed {
        /// The id is suspicious: it must be re-claimed before its next use.
        may_have_resent: bool,
    },
    /// Only recovery can tell.
    Unknown(String),
}

/// The one place that decides what is committed, as its steps on the wire. Calls block; one dedicated thread makes them,
/// in the order that `weir_core::checkpoint` decides. Every step that fails ends the attempt, by its class.
pub trait Authority: Send {
    /// Reads the newest CLAIM and COMMIT.
    fn peek(&mut self) -> Result<Peek, Error>;
    /// Fences every id: afterwards no older attempt can commit on any of them.
    fn fence(&mut self, ids: &[String]) -> Result<(), Error>;
    /// Writes the CLAIM and commits it.
    fn claim(&mut self, claim: &Claim) -> Outcome;
    /// Reads until the CLAIM with this nonce.
    fn resolve(&mut self, nonce: &str) -> Result<Resolved, Error>;
    /// Opens the transaction of the next epoch.
    fn begin(&mut self) -> Result<(), Error>;
    /// Every row written so far is acknowledged.
    fn flush(&mut self) -> Result<(), Error>;
    /// Puts the COMMIT record into the open transaction and waits until it is acknowledged.
    fn mark(&mut self, commit: &Commit) -> Result<(), Error>;
    /// Commits the open transaction.
    fn commit(&mut self) -> Outcome;
}
