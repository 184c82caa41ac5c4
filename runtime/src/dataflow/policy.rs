//! What a node does about a record that it cannot use: what the file says (`on_error`), and that the pipeline's journal hears of
//! it. Nothing here runs for a record that is fine.

use std::sync::Arc;

use weir_core::graph::spec::Samples;
use weir_core::ids::Name;
use weir_core::record::Batch;

use super::error::{Error, OnError, origin_of, show_key};
use super::metrics::NodeMetrics;
use crate::clock;
use crate::guest::{Failure, Reason};
use crate::journal::{Fate, Journal, Kind, Part, Report, Sample};

/// See the module.
#[derive(Debug, Clone)]
pub struct Policy {
    /// What happens to a bad record.
    pub on_error: OnError,
    /// Who hears of it.
    pub journal: Arc<Journal>,
    /// Whether keys and values are shown.
    pub samples: Samples,
}

/// The node that a policy is applied at: `source`, `node` or `sink`, its name, and what it counts.
pub(super) type At<'a> = (&'static str, &'a Name, &'a NodeMetrics);

/// What is wrong with a record.
pub(super) struct Fault<'a> {
    pub(super) kind: Kind,
    pub(super) code: &'a str,
    /// For the group of problems that it belongs to.
    pub(super) message: &'a str,
    /// For the error that may come of it, in a sentence.
    pub(super) says: &'a str,
    pub(super) backtrace: &'a [String],
}

impl<'a> Fault<'a> {
    /// Of a record that weir itself cannot use.
    pub(super) fn bad(code: &'a str, what: &'a str) -> Fault<'a> {
        Fault { kind: Kind::BadRecord, code, message: what, says: what, backtrace: &[] }
    }

    /// Of a call that failed.
    pub(super) fn of(failure: &'a Failure, says: &'a str) -> Fault<'a> {
        let kind = match failure.reason {
            Reason::Retry | Reason::Failed => Kind::Failure,
            Reason::Trapped | Reason::TimedOut | Reason::Memory | Reason::Output => Kind::Trap,
        };
        Fault { kind, code: &failure.code, message: &failure.message, says, backtrace: &failure.backtrace }
    }
}

/// A record that something is wrong with. Made only where it is shown.
pub(super) struct Culprit<'a> {
    pub(super) key: Option<&'a [u8]>,
    pub(super) value: Option<&'a [u8]>,
    pub(super) time: i64,
    /// `topic/partition@offset`, or what is known.
    pub(super) origin: String,
}

/// A slot of a batch; its key, where it is not the batch's; and how to find out what its split is called.
pub(super) struct Slot<'a> {
    pub(super) batch: &'a Batch,
    pub(super) slot: usize,
    pub(super) key: Option<&'a [u8]>,
    pub(super) source: &'a dyn Fn() -> Option<String>,
}

impl<'a> Slot<'a> {
    fn culprit(&self) -> Culprit<'a> {
        let Slot { batch, slot, key, source } = *self;
        let time = batch.times.get(slot).copied().unwrap_or_default();
        let origin = origin_of(batch, slot, source().as_deref());
        Culprit { key: key.or_else(|| batch.keys.get(slot)), value: batch.values.get(slot), time, origin }
    }
}

impl Policy {
    /// A record of a batch that cannot be used: it is left out, or it ends the attempt.
    pub(super) fn refuse(&self, at: At<'_>, fault: &Fault<'_>, slot: &Slot<'_>) -> Result<(), Error> {
        self.apply(at, fault, &|| slot.culprit())
    }

    /// The same for anything with a place of its own, a timer for example.
    pub(super) fn apply<'a>(
        &self,
        at: At<'_>,
        fault: &Fault<'_>,
        culprit: &dyn Fn() -> Culprit<'a>,
    ) -> Result<(), Error> {
        let (role, node, metrics) = at;
        let fate = if self.on_error == OnError::Skip { Fate::Skipped } else { Fate::Failed };
        self.tell(node, fault, fate, || Some(culprit()));
        let error = || {
            let Culprit { key, origin, .. } = culprit();
            let key = if self.shows() { show_key(key) } else { String::new() };
            Error::Record { role, node: node.clone(), what: fault.says.to_owned(), origin, key }
        };
        if fate == Fate::Failed {
            return Err(error());
        }
        metrics.skipped.add(1);
        tracing::debug!("skipped: {}", error());
        Ok(())
    }

    /// A record that its operator has rejected, and that goes where somebody wants to have it.
    pub(super) fn rejected(&self, node: &Name, fault: &Fault<'_>, slot: &Slot<'_>) {
        self.tell(node, fault, Fate::Rejected, || Some(slot.culprit()));
    }

    /// A call without a record to blame has failed, and the attempt with it.
    pub fn failed(&self, node: &Name, failure: &Failure) {
        self.tell(node, &Fault::of(failure, ""), Fate::Failed, || None);
    }

    /// Tells the journal.
    fn tell<'a>(&self, node: &Name, fault: &Fault<'_>, fate: Fate, culprit: impl FnOnce() -> Option<Culprit<'a>>) {
        let Fault { kind, code, message, backtrace, .. } = *fault;
        let report = Report { node: Some(node), kind, code, message, fate, backtrace };
        let sample = |it: Culprit<'_>| Sample {
            origin: it.origin,
            time: it.time,
            record: self.shows().then(|| (it.key.map(Part::of), it.value.map(Part::of))),
        };
        self.journal.report(&report, clock::now_millis(), || culprit().map(sample));
    }

    fn shows(&self) -> bool {
        self.samples == Samples::Show
    }
}
