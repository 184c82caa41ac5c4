//! The invariants I1 to I8 of the protocol, asserted at run time over what goes in and out of a domain.
//! Knows nothing of the state machine, so that a mistake there is caught here: the attempt ends as a bug, with nothing of
//! the wrong step carried out.
//!
//! I1 manifest durable, then COMMIT record, then commit. I2 one commit in flight. I3 after an unknown outcome nothing more
//! is done. I4 nothing is named without our token. I5 nothing is deleted that a commit names. I6 a suspicious id is claimed
//! before its next use, and no CLAIM without FENCE. I7 epochs only grow. I8 no commit without its record.

use super::{Decision, Fact, Outcome, Retire, Rules, shelf};
use crate::checkpoint::manifest::{CommitKind, SnapshotRef};
use crate::ids::{Epoch, Token};

/// What was seen so far, as far as it matters for what may come.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Guard {
    fenced: bool,
    suspicious: bool,
    unknown: bool,
    open: bool,
    /// The newest epoch for which a snapshot was asked or a COMMIT marked.
    newest: Epoch,
    committed: Epoch,
    flushed: Option<Epoch>,
    prepared: Option<Prepared>,
    marked: Option<Epoch>,
    committing: Option<Epoch>,
    /// The snapshot that the newest COMMIT names.
    named: Option<Prepared>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Prepared {
    snapshot: SnapshotRef,
    files: Vec<String>,
}

impl Guard {
    pub(super) fn on_fact(&mut self, fact: &Fact) {
        match fact {
            Fact::Fenced => self.fenced = true,
            Fact::Claimed(outcome) => self.fenced = matches!(outcome, Outcome::Committed { may_have_resent: false }),
            Fact::Resolved(resolved) => {
                self.suspicious = self.suspicious && !self.fenced;
                let epoch = resolved.commit.as_ref().map_or(Epoch(0), |commit| commit.epoch);
                self.committed = self.committed.max(epoch);
                self.newest = self.newest.max(epoch);
                if self.named.is_none() {
                    let snapshot = resolved.commit.as_ref().and_then(|commit| commit.snapshot.clone());
                    self.named = snapshot.map(|snapshot| Prepared { snapshot, files: Vec::new() });
                }
            }
            Fact::Listed(inventory) => {
                if let Some(named) = &mut self.named {
                    let id = (named.snapshot.epoch, named.snapshot.token);
                    let stored = inventory.manifests.iter().find(|stored| (stored.epoch, stored.token) == id);
                    named.files = stored.map(|stored| stored.files.clone()).unwrap_or_default();
                }
            }
            Fact::Begun => self.open = true,
            Fact::Flushed { epoch } => self.flushed = Some(*epoch),
            Fact::Prepared { snapshot, files, .. } => {
                self.prepared = Some(Prepared { snapshot: snapshot.clone(), files: files.clone() });
            }
            Fact::Committed(Outcome::Unknown(_)) => self.unknown = true,
            Fact::Committed(Outcome::Committed { may_have_resent }) => {
                self.suspicious = *may_have_resent;
                self.open = false;
                self.committed = self.committing.take().unwrap_or(self.committed);
                self.named = self.prepared.take();
                self.marked = None;
                self.flushed = None;
            }
            _ => {}
        }
    }

    pub(super) fn on_decisions(
        &mut self,
        decisions: &[Decision],
        token: Option<Token>,
        rules: Rules,
    ) -> Result<(), String> {
        if rules != Rules::default() {
            return Ok(());
        }
        decisions.iter().try_for_each(|decision| self.on_decision(decision, token))
    }

    fn on_decision(&mut self, decision: &Decision, token: Option<Token>) -> Result<(), String> {
        if self.unknown {
            return hold(matches!(decision, Decision::Exit { .. }), "I3", decision);
        }
        match decision {
            Decision::Claim(_) => hold(self.fenced && !self.open, "I6", decision),
            Decision::Begin { .. } => {
                hold(self.committing.is_none(), "I2", decision)?;
                hold(!self.suspicious && self.fenced && !self.open, "I6", decision)
            }
            Decision::InjectBarrier { epoch, .. } => {
                hold(self.open && self.committing.is_none(), "I2", decision)?;
                hold(*epoch > self.newest, "I7", decision)
            }
            Decision::WriteSnapshot { epoch, token: named, .. } | Decision::Import { epoch, token: named } => {
                hold(Some(*named) == token, "I4", decision)?;
                hold(*epoch > self.newest, "I7", decision)?;
                self.newest = *epoch;
                Ok(())
            }
            Decision::Cancel { .. } => hold(self.marked.is_none() && self.committing.is_none(), "I1", decision),
            Decision::Mark(commit) => {
                let is_reset = commit.kind == CommitKind::Reset;
                let is_durable = self.prepared.as_ref().is_some_and(|prepared| {
                    commit.snapshot.as_ref() == Some(&prepared.snapshot) && prepared.snapshot.epoch == commit.epoch
                });
                let is_rewind = commit.kind == CommitKind::Rewind && is_durable;
                let is_complete = self.flushed == Some(commit.epoch) && is_durable;
                hold(
                    self.open && (is_complete || is_rewind || (is_reset && commit.snapshot.is_none())),
                    "I1",
                    decision,
                )?;
                hold(Some(commit.token) == token, "I4", decision)?;
                hold(commit.epoch > self.committed && commit.epoch >= self.newest, "I7", decision)?;
                self.newest = commit.epoch;
                self.marked = Some(commit.epoch);
                Ok(())
            }
            Decision::Commit { epoch } => {
                hold(self.committing.is_none(), "I2", decision)?;
                hold(self.open && self.marked == Some(*epoch), "I8", decision)?;
                self.committing = Some(*epoch);
                Ok(())
            }
            Decision::Retire(retire) => hold(self.may_retire(retire, token), "I5", decision),
            _ => Ok(()),
        }
    }

    fn may_retire(&self, retire: &Retire, token: Option<Token>) -> bool {
        let Some(token) = token else { return false };
        let named = self.named.as_ref();
        let names = |id: &(Epoch, Token)| named.is_some_and(|it| (it.snapshot.epoch, it.snapshot.token) == *id);
        let lists = |file: &String| named.is_some_and(|it| it.files.contains(file));
        let is_ours_or_older = |file: &String| shelf::file_token(file).is_some_and(|of| of <= token);
        retire.manifests.iter().all(|id| id.1 <= token && !names(id))
            && retire.files.iter().all(|file| is_ours_or_older(file) && !lists(file))
    }
}

fn hold(holds: bool, rule: &str, decision: &Decision) -> Result<(), String> {
    if holds { Ok(()) } else { Err(format!("invariant {rule} forbids {decision:?}; this is a bug of weir")) }
}
