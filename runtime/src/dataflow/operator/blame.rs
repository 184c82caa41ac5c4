//! Which record of a failed call is to blame, and what the node's policy makes of it. The guest's word is checked: what it
//! blames is run alone, and so is the rest. Decides nothing about the call before it failed.

use std::ops::Range;

use weir_core::record::Batch;

use super::super::error::Error;
use super::super::policy::{Fault, Slot};
use super::{Emit, OperatorNode};
use crate::guest::{Failure, Keyed, Reason};

/// A batch on its way to one input of the operator, with the keys of its slots where that input has any.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    pub(super) input: u32,
    pub(super) batch: &'a Batch,
    pub(super) keyed: Option<&'a Keyed>,
}

impl Rows<'_> {
    /// A copy of some of them: a call takes what it is given.
    fn part(&self, range: Range<usize>) -> (Batch, Option<Keyed>) {
        let mut batch = Batch::default();
        batch.extend_from(self.batch, range.clone());
        let keyed = self.keyed.map(|keyed| {
            let mut part = Keyed { hashes: keyed.hashes[range.clone()].to_vec(), ..Keyed::default() };
            part.keys.extend_from(&keyed.keys, range);
            part
        });
        (batch, keyed)
    }
}

impl OperatorNode {
    /// Runs part of a batch as a batch of its own.
    pub(super) fn run_part(&mut self, rows: Rows<'_>, range: Range<usize>, emit: &mut Emit<'_>) -> Result<(), Error> {
        if range.is_empty() {
            return Ok(());
        }
        match self.process_part(rows, range.clone(), emit)? {
            Ok(()) => Ok(()),
            Err(failure) => self.find_bad(rows, range, failure, emit),
        }
    }

    /// Halves what failed until single records are left, in the order of the batch. A list of ranges and one copy at a
    /// time, not a recursion: a guest that blames the first record of every call would make it a thousand deep.
    pub(super) fn find_bad(
        &mut self,
        rows: Rows<'_>,
        range: Range<usize>,
        failure: Failure,
        emit: &mut Emit<'_>,
    ) -> Result<(), Error> {
        // The next one to run is the last.
        let mut waiting = Vec::new();
        let mut failed = Some((range, failure));
        loop {
            match failed.take() {
                Some((range, failure)) if range.len() == 1 => {
                    let key = rows.keyed.and_then(|keyed| keyed.keys.get(range.start));
                    self.refuse(rows.batch, range.start, key, &Fault::of(&failure, &self.says(&failure)))?;
                }
                Some((range, failure)) => waiting.extend(halves(range, failure.slot).into_iter().rev()),
                None => {}
            }
            let Some(range) = waiting.pop() else { return Ok(()) };
            if self.is_given_up {
                return Err(Error::GivenUp);
            }
            if !range.is_empty() {
                let result = self.process_part(rows, range.clone(), emit)?;
                failed = result.err().map(|failure| (range, failure));
            }
        }
    }

    /// One call over a copy of part of a batch.
    fn process_part(
        &mut self,
        rows: Rows<'_>,
        range: Range<usize>,
        emit: &mut Emit<'_>,
    ) -> Result<Result<(), Failure>, Error> {
        let (mut part, mut keyed) = rows.part(range);
        let watermark = self.gate.watermark();
        match self.call(|instance, now| instance.process(rows.input, &mut part, keyed.as_mut(), watermark, now)) {
            Ok(()) => self.deliver(Some(&part), emit).map(|_| Ok(())),
            Err(failure) => Ok(Err(failure)),
        }
    }

    pub(super) fn says(&self, failure: &Failure) -> String {
        let verb = match failure.reason {
            Reason::Retry => "asked to be called again four times",
            Reason::Failed => "failed",
            _ => "trapped",
        };
        format!("{} {verb} ({}): {}", self.settings.operator, failure.code, failure.message)
    }

    /// A record that cannot be processed.
    pub(super) fn refuse(
        &self,
        batch: &Batch,
        slot: usize,
        key: Option<&[u8]>,
        fault: &Fault<'_>,
    ) -> Result<(), Error> {
        let source = || self.settings.origin.clone();
        self.settings.policy.refuse(self.at(), fault, &Slot { batch, slot, key, source: &source })
    }
}

/// What to run instead of a range that failed: the record that the guest blames alone, and those before and behind it. A
/// slot that is not of the call blames nobody.
fn halves(range: Range<usize>, slot: Option<u32>) -> [Range<usize>; 3] {
    let (first, second) = match slot.map(|slot| slot as usize).filter(|slot| *slot < range.len()) {
        Some(slot) => (range.start + slot, range.start + slot + 1),
        None => (range.start + range.len() / 2, range.start + range.len() / 2),
    };
    [range.start..first, first..second, second..range.end]
}
