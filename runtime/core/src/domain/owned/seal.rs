//! SEAL and DECLINE: rows flushed and snapshot durable, side by side, then MARK; or the epoch is given up, and the next one
//! covers it in the same transaction. Owns the rule that nothing of a declined epoch is under way when the next barrier goes
//! out: the next snapshot may share its files.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{After, Marked, Owned, Step, Tried};
use crate::checkpoint::coordinator::{Ack, Tolerance};
use crate::checkpoint::manifest::{CommitKind, SnapshotRef};
use crate::domain::{Class, Decision, End, Fact, Go, Settings, out_of_place};
use crate::ids::Epoch;

/// SEAL: both must come. `cancelled`: DECLINE, and what is still under way is only waited for, since the next epoch may
/// share its files.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::domain) struct Seal {
    pub(super) epoch: Epoch,
    pub(super) flushed: bool,
    pub(super) snapshot: Writing,
    pub(super) cancelled: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Writing {
    UnderWay,
    Prepared {
        snapshot: SnapshotRef,
        files: Vec<String>,
        positions: BTreeMap<String, i64>,
    },
    /// No space, or prepared and put aside after a DECLINE.
    Over,
}

impl Owned {
    pub(super) fn on_barrier_passed(
        &mut self,
        sink: u32,
        epoch: Epoch,
        settings: &Settings,
        out: &mut Vec<Decision>,
    ) -> Go {
        match self.coordinator.on_ack(sink, epoch) {
            Ack::Waiting | Ack::Duplicate | Ack::Late => {}
            Ack::Unknown => return Err(out_of_place("a running domain", &Fact::BarrierPassed { sink, epoch })),
            Ack::Complete => {
                let (token, kind) = (settings.name_token(self.token), self.pending_kind());
                out.push(Decision::WriteSnapshot { epoch, token, kind });
                out.push(Decision::Flush { epoch });
                self.step = Step::Seal(Seal { epoch, flushed: false, snapshot: Writing::UnderWay, cancelled: false });
            }
        }
        Ok(())
    }

    pub(super) fn on_prepared(&mut self, prepared: Writing, settings: &Settings) -> Go {
        let (Step::Seal(seal), Writing::Prepared { snapshot, files, .. }) = (&mut self.step, &prepared) else {
            return Ok(());
        };
        if (snapshot.epoch, snapshot.token) != (seal.epoch, settings.name_token(self.token)) {
            return Err(End::new(
                Class::Bug,
                format!("I4: snapshot {} was written under epoch {}", snapshot.id(), seal.epoch),
            ));
        }
        if seal.cancelled {
            self.shelf.add_loose(snapshot, files.clone());
            seal.snapshot = Writing::Over;
        } else {
            seal.snapshot = prepared;
        }
        Ok(())
    }

    /// DECLINE: the transaction stays open, and the next epoch covers this one too.
    pub(super) fn cancel(&mut self, now: Duration, epoch: Epoch, why: String, out: &mut Vec<Decision>) -> Go {
        match self.coordinator.on_failure(now, epoch) {
            Tolerance::Stale => return Ok(()),
            Tolerance::Borne => {}
            Tolerance::TooMany => {
                let count = self.coordinator.failures();
                return Err(End::new(
                    Class::Transient,
                    format!("{count} checkpoints in a row failed, the last one (epoch {epoch}) because: {why}"),
                ));
            }
        }
        out.push(Decision::Cancel { epoch, why });
        if let Step::Seal(seal) = &mut self.step {
            seal.cancelled = true;
            if let Writing::Prepared { snapshot, files, .. } = &seal.snapshot {
                self.shelf.add_loose(snapshot, files.clone());
                seal.snapshot = Writing::Over;
            }
        }
        Ok(())
    }

    /// Both came: MARK. Both came after the epoch was declined: back to RUN.
    pub(super) fn leave_seal(&mut self, settings: &Settings, out: &mut Vec<Decision>) {
        let Step::Seal(seal) = &self.step else { return };
        match (seal.flushed, seal.snapshot.clone()) {
            (false, _) | (_, Writing::UnderWay) => {}
            (true, Writing::Over) => self.step = Step::Run,
            (true, Writing::Prepared { snapshot, files, positions }) => {
                let (epoch, kind) = (seal.epoch, self.pending_kind());
                let commit = self.record(kind, epoch, Some(snapshot.clone()), positions, settings);
                self.mark(Marked { commit, after: After::Shelve { snapshot, files } }, out);
            }
        }
    }

    /// Only while the epoch can still be declined: once marked it is decided by the commit alone.
    pub(super) fn check_expiry(&mut self, now: Duration, out: &mut Vec<Decision>) -> Go {
        match self.coordinator.poll(now, false) {
            Some(Tried::Expired(epoch)) => {
                self.cancel(now, epoch, "it took longer than checkpoint.timeout".to_owned(), out)
            }
            _ => Ok(()),
        }
    }

    fn pending_kind(&self) -> CommitKind {
        self.coordinator.pending().map_or(CommitKind::Checkpoint, |pending| pending.kind)
    }
}
