//! DONE and the re-claim: what follows once an epoch is known to be committed. Owns what goes on the shelf and off it, the
//! end after the last checkpoint, and the way back to RUN over FENCE, CLAIM and RESOLVE when the id is suspicious.

use std::time::Duration;

use super::{After, Marked, Opening, Owned, Seal, Step, Writing, retire};
use crate::checkpoint::manifest::CommitKind;
use crate::domain::claim::{Claiming, Stage, check_reclaim, deposed};
use crate::domain::{Class, Decision, End, Fact, Go, Kept, Resolved, Retire, Settings, Start, stopped};
use crate::ids::{Epoch, Token};

impl Owned {
    pub(super) fn on_done(
        &mut self,
        now: Duration,
        suspicious: bool,
        settings: &Settings,
        out: &mut Vec<Decision>,
    ) -> Go {
        let Step::Commit(Marked { commit, after }) = std::mem::replace(&mut self.step, Step::Run) else {
            return Ok(());
        };
        self.open_since = None;
        self.committed = Some(commit.clone());
        let (snapshot, files) = match after {
            After::Shelve { snapshot, files } => (snapshot, files),
            After::Clear(list) => {
                retire(list, out);
                if settings.start == Start::Delete {
                    return Err(stopped());
                }
                self.go_on(Opening::First, suspicious, settings, out);
                return Ok(());
            }
            After::Rewound { snapshot, files, orphans } => {
                retire(self.shelf.commit(&snapshot, files, settings.retain), out);
                retire(orphans, out);
                self.go_on(Opening::First, suspicious, settings, out);
                return Ok(());
            }
        };
        let trigger = self.coordinator.on_complete(now);
        let list = self.shelf.commit(&snapshot, files, settings.retain);
        out.push(Decision::Publish { snapshot: snapshot.clone() });
        out.push(Decision::NoteCommitted { snapshot });
        if trigger.is_some_and(|trigger| trigger.last) {
            out.push(Decision::PublishLag { epoch: commit.epoch, positions: commit.positions });
            retire(list, out);
            // No transaction was begun since the commit, so none is open.
            return Err(match commit.kind {
                CommitKind::Final => End::new(Class::Ended, format!("ended with epoch {}", commit.epoch)),
                _ => stopped(),
            });
        }
        self.go_on(Opening::Next { released: commit.epoch, retire: list }, suspicious, settings, out);
        Ok(())
    }

    /// A user wants this one gone. The newest stays: it is what the next start restores.
    pub(in crate::domain) fn remove(&mut self, id: (Epoch, Token)) -> Result<Retire, Kept> {
        if matches!(self.step, Step::List | Step::Import(_) | Step::Restore { .. }) {
            return Err(Kept::NotYet);
        }
        let newest = self.committed.as_ref().and_then(|commit| commit.snapshot.as_ref());
        if newest.is_some_and(|newest| (newest.epoch, newest.token) == id) {
            return Err(Kept::Newest);
        }
        let pending = match &self.step {
            Step::Seal(Seal { snapshot: Writing::Prepared { files, .. }, .. })
            | Step::Mark(Marked { after: After::Shelve { files, .. }, .. })
            | Step::Commit(Marked { after: After::Shelve { files, .. }, .. }) => &files[..],
            _ => &[],
        };
        self.shelf.remove(id, pending).ok_or(Kept::Unknown)
    }

    fn go_on(&mut self, next: Opening, suspicious: bool, settings: &Settings, out: &mut Vec<Decision>) {
        if suspicious && settings.rules.reclaim {
            if let Opening::Next { released, .. } = &next {
                out.push(Decision::HoldRows { epoch: *released });
            }
            self.step = Step::Reclaim { claiming: Claiming::begin(self.ids.clone(), out), next };
        } else if next == Opening::First {
            self.restore(Retire::default(), out);
        } else {
            self.open(next, out);
        }
    }

    /// The re-claim. The token stays: a CLAIM of ours above it fences nobody but strangers.
    pub(super) fn on_claiming(
        &mut self,
        fact: Fact,
        settings: &Settings,
        claims: &mut u32,
        out: &mut Vec<Decision>,
    ) -> Go {
        let Step::Reclaim { claiming, next } = &mut self.step else { return Ok(()) };
        let next = next.clone();
        if fact == Fact::Fenced && !settings.rules.claim_after_fence {
            self.go_on(next, false, settings, out);
            return Ok(());
        }
        let slow = matches!(claiming.stage, Stage::Resolve { slow: true });
        let progress = claiming.on_fact(fact, settings.rules.verify_each_claim, settings, claims, out)?;
        let Some(resolved) = progress else { return Ok(()) };
        self.verify(&resolved, settings)?;
        self.link = settings.nonce(*claims);
        if let (true, Step::Reclaim { claiming, .. }) = (slow, &mut self.step) {
            claiming.again(out);
        } else {
            self.go_on(next, false, settings, out);
        }
        Ok(())
    }

    fn verify(&self, resolved: &Resolved, settings: &Settings) -> Go {
        if settings.rules.verify_each_claim {
            return check_reclaim(resolved, &self.link, self.token, self.committed.as_ref());
        }
        match &resolved.claim_before {
            Some((_, claim)) if settings.is_own_process(&claim.nonce) => Ok(()),
            _ => Err(deposed("a claim that is not ours stands before it")),
        }
    }
}
