//! Why a shard stopped. Each variant holds the facts that its message prints; the class decides what the pipeline does.

use weir_core::ids::Name;
use weir_core::record::Batch;

use crate::connector;

/// A failure that ends the attempt.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A record that `on_error = "fail"` does not let pass.
    #[error("{role} `{node}`: {what}, record {origin}{key}")]
    Record {
        /// `source`, `node` or `sink`.
        role: &'static str,
        /// Node whose policy it is.
        node: Name,
        /// What is wrong with the record.
        what: String,
        /// `topic/partition@offset`, or where it came from.
        origin: String,
        /// ` key="…"`, where there is one.
        key: String,
    },
    /// A guest that failed without a record to blame: in `open`, `on-watermark`, `on-end`.
    #[error("node `{node}`: the operator failed in `{callback}`: {message}")]
    Guest {
        /// Node.
        node: Name,
        /// Export that was called.
        callback: &'static str,
        /// What it said.
        message: String,
    },
    /// An end of the pipeline.
    #[error("`{node}`: {source}")]
    Connector {
        /// Source or sink.
        node: Name,
        /// What it said.
        source: connector::Error,
    },
    /// State that was evicted could not be read, or has outgrown the memory that it must stay in.
    #[error("node `{node}`: {source}")]
    State {
        /// Node.
        node: Name,
        /// What happened.
        source: crate::state::Error,
    },
    /// The shard was told to stop in the middle of a step, and nobody waits for the rest.
    #[error("given up in the middle of a step")]
    GivenUp,
    /// Two things that must agree do not.
    #[error("bug in weir: {0}")]
    Bug(String),
}

impl Error {
    /// What tells a failure that will come again from one that may pass: equal for equal failures.
    pub fn fingerprint(&self) -> String {
        self.to_string()
    }

    /// Whether the same input will fail the same way again.
    pub fn is_deterministic(&self) -> bool {
        matches!(self, Error::Record { .. } | Error::Guest { .. })
    }
}

/// What happens to a record that cannot be processed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnError {
    /// The pipeline stops and says which record.
    Fail,
    /// The record is dropped and counted.
    Skip,
}

/// Where a record came from, as far as that is known.
pub(super) fn origin_of(batch: &Batch, slot: usize, source: Option<&str>) -> String {
    match (batch.origin(slot), source) {
        (Some((partition, offset)), Some(source)) => format!("{source}/{partition}@{offset}"),
        (Some((partition, offset)), None) => format!("{partition}@{offset}"),
        (None, _) => format!("with time {}", batch.times.get(slot).copied().unwrap_or_default()),
    }
}

/// A key at the end of a message.
pub(super) fn show_key(key: Option<&[u8]>) -> String {
    key.map_or(String::new(), |key| {
        let text = String::from_utf8_lossy(&key[..key.len().min(64)]);
        format!(" key={text:?}")
    })
}
