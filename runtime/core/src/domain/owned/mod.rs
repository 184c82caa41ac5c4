//! From RESTORE to DONE and back: everything that a domain does once it has its token. Owns the order of the steps and the
//! budget of the open transaction; `seal` and `done` hold the steps that have rules of their own.

use std::collections::BTreeMap;
use std::time::Duration;

mod done;
mod seal;

use seal::{Seal, Writing};

use super::claim::Claiming;
use super::shelf::{self, Shelf};
use super::{Class, Decision, End, Fact, Go, Inventory, Outcome, Retire, Settings, Start, out_of_place, stopped};
use crate::checkpoint::commit::{Commit, VERSION};
use crate::checkpoint::coordinator::{Coordinator, Step as Tried, Trigger};
use crate::checkpoint::manifest::{CommitKind, SnapshotRef};
use crate::ids::{Epoch, Token};

/// A domain that holds a token.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Owned {
    pub(super) token: Token,
    /// Nonce of our newest CLAIM that was read back: a re-claim must find it right below its own.
    link: String,
    ids: Vec<String>,
    pub(super) committed: Option<Commit>,
    pub(super) coordinator: Coordinator,
    shelf: Shelf,
    /// Since when a transaction is open.
    open_since: Option<Duration>,
    pub(super) step: Step,
}

/// Where it stands.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Step {
    List,
    /// The savepoint is being copied into the store. Then these orphans go.
    Import(Retire),
    /// Orphans are deleted once the snapshot has proved whole: of a store that is refused nothing goes.
    Restore {
        orphans: Retire,
    },
    /// BEGIN is under way.
    Open(Opening),
    /// Rows go out; a barrier may be under way (then the coordinator has a pending attempt).
    Run,
    Seal(Seal),
    Mark(Marked),
    Commit(Marked),
    /// The id is suspicious: rows are held until it is claimed again.
    Reclaim {
        claiming: Claiming,
        next: Opening,
    },
}

/// What the transaction to open is for, and what is let go once it is open.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Opening {
    /// COMMIT of kind reset; the store is cleared after it.
    Reset { retire: Retire },
    /// COMMIT of kind rewind, which names a snapshot that was imported.
    Rewind { commit: Commit, files: Vec<String>, orphans: Retire },
    /// The first epoch.
    First,
    /// The epoch after this one.
    Next { released: Epoch, retire: Retire },
}

/// The COMMIT record that is on its way.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Marked {
    commit: Commit,
    after: After,
}

/// What DONE does with the store.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum After {
    /// Put this snapshot with these files on the shelf.
    Shelve { snapshot: SnapshotRef, files: Vec<String> },
    /// The reset: delete these.
    Clear(Retire),
    /// The rewind: put it on the shelf, and restore it.
    Rewound { snapshot: SnapshotRef, files: Vec<String>, orphans: Retire },
}

impl Owned {
    pub(super) fn new(
        now: Duration,
        token: Token,
        link: String,
        ids: Vec<String>,
        committed: Option<Commit>,
        settings: &Settings,
    ) -> Owned {
        let newest = committed.as_ref().map_or(Epoch(0), |commit| commit.epoch);
        Owned {
            token,
            link,
            ids,
            committed,
            coordinator: Coordinator::new(settings.coordinator(), newest, now),
            shelf: Shelf::default(),
            open_since: None,
            step: Step::List,
        }
    }

    pub(super) fn wakeup(&self, settings: &Settings) -> Option<Duration> {
        let deadline = self.open_since.zip(settings.transaction_budget()).map(|(since, budget)| since + budget);
        let checkpoint = match &self.step {
            Step::Run => self.coordinator.wakeup(true),
            Step::Seal(seal) if !seal.cancelled => self.coordinator.wakeup(false),
            _ => None,
        };
        deadline.into_iter().chain(checkpoint).min()
    }

    pub(super) fn on_stop(
        &mut self,
        now: Duration,
        last: Option<CommitKind>,
        settings: &Settings,
        out: &mut Vec<Decision>,
    ) -> Go {
        if matches!(self.step, Step::List | Step::Import(_) | Step::Restore { .. }) {
            return Err(stopped());
        }
        self.check_budget(now, settings)?;
        if let Some(kind) = last {
            self.coordinator.request(kind);
        }
        self.coordinator.finish(CommitKind::Checkpoint);
        self.advance(now, settings, out)
    }

    pub(super) fn on_fact(
        &mut self,
        now: Duration,
        fact: Fact,
        settings: &Settings,
        claims: &mut u32,
        out: &mut Vec<Decision>,
    ) -> Go {
        if let Step::Reclaim { .. } = &self.step
            && is_of_claiming(&fact)
        {
            return self.on_claiming(fact, settings, claims, out);
        }
        // A commit that is known is known, however late.
        if !matches!(fact, Fact::Committed(_)) {
            self.check_budget(now, settings)?;
        }
        match (&mut self.step, fact) {
            (_, Fact::Tick) => {}
            (_, Fact::Requested { savepoint }) => {
                self.coordinator.request(if savepoint { CommitKind::Savepoint } else { CommitKind::Checkpoint });
            }
            (_, Fact::InputEnded) => self.coordinator.finish(CommitKind::Final),
            (Step::List, Fact::Listed(inventory)) => self.on_listed(now, inventory, settings, out)?,
            (Step::Import(orphans), Fact::Prepared { snapshot, files, positions }) => {
                let orphans = std::mem::take(orphans);
                let commit = self.record(CommitKind::Rewind, snapshot.epoch, Some(snapshot), positions, settings);
                self.open(Opening::Rewind { commit, files, orphans }, out);
            }
            (Step::Restore { .. }, Fact::Restored) => self.on_restored(now, out),
            (Step::Open(_), Fact::Begun) => self.on_begun(now, settings, out),
            (_, Fact::BarrierPassed { sink, epoch }) => self.on_barrier_passed(sink, epoch, settings, out)?,
            (_, Fact::Declined { epoch, why }) => {
                if self.coordinator.pending().is_some_and(|pending| pending.epoch == epoch) {
                    self.cancel(now, epoch, why, out)?;
                }
            }
            (Step::Seal(seal), Fact::Flushed { epoch }) if seal.epoch == epoch => seal.flushed = true,
            (Step::Seal(seal), Fact::NoSpace { epoch, why }) if seal.epoch == epoch => {
                seal.snapshot = Writing::Over;
                self.cancel(now, epoch, why, out)?;
            }
            (Step::Seal(_), Fact::Prepared { snapshot, files, positions }) => {
                self.on_prepared(Writing::Prepared { snapshot, files, positions }, settings)?;
            }
            (Step::Mark(marked), Fact::Marked) => {
                out.push(Decision::Commit { epoch: marked.commit.epoch });
                self.step = Step::Commit(marked.clone());
            }
            (Step::Commit(_), Fact::Committed(Outcome::Committed { may_have_resent })) => {
                self.on_done(now, may_have_resent, settings, out)?;
            }
            (Step::Commit(marked), Fact::Committed(Outcome::Unknown(why))) => {
                let epoch = marked.commit.epoch;
                return Err(End::new(
                    Class::Transient,
                    format!("whether epoch {epoch} was committed is unknown: {why}"),
                ));
            }
            (_, fact) => return Err(out_of_place("a running domain", &fact)),
        }
        self.advance(now, settings, out)
    }

    fn on_listed(&mut self, now: Duration, inventory: Inventory, settings: &Settings, out: &mut Vec<Decision>) -> Go {
        shelf::check(&inventory, self.committed.as_ref(), self.token, settings)?;
        if settings.start.is_reset() {
            // Order: the COMMIT that names nothing comes before any file goes, so that no COMMIT ever names what is gone.
            let (shelf, everything) = Shelf::stock(inventory, None, self.token, settings);
            self.shelf = shelf;
            self.open(Opening::Reset { retire: everything }, out);
            return Ok(());
        }
        let snapshot = self.committed.as_ref().and_then(|commit| commit.snapshot.clone());
        let (shelf, orphans) = Shelf::stock(inventory, snapshot.as_ref(), self.token, settings);
        self.shelf = shelf;
        match settings.start {
            Start::Savepoint { epoch, .. } => {
                let epoch = self.coordinator.skip(epoch);
                out.push(Decision::Import { epoch, token: self.token });
                self.step = Step::Import(orphans);
            }
            _ => self.restore(orphans, out),
        }
        self.advance(now, settings, out)
    }

    fn restore(&mut self, orphans: Retire, out: &mut Vec<Decision>) {
        let snapshot = self.committed.as_ref().and_then(|commit| commit.snapshot.clone());
        out.push(Decision::Restore { snapshot });
        self.step = Step::Restore { orphans };
    }

    fn on_restored(&mut self, now: Duration, out: &mut Vec<Decision>) {
        if let Step::Restore { orphans } = &mut self.step {
            retire(std::mem::take(orphans), out);
        }
        self.coordinator.restart(now);
        self.open(Opening::First, out);
    }

    fn open(&mut self, opening: Opening, out: &mut Vec<Decision>) {
        let epoch = match &opening {
            Opening::Rewind { commit, .. } => commit.epoch,
            _ => self.coordinator.upcoming(),
        };
        out.push(Decision::Begin { epoch });
        self.step = Step::Open(opening);
    }

    fn on_begun(&mut self, now: Duration, settings: &Settings, out: &mut Vec<Decision>) {
        self.open_since = Some(now);
        let Step::Open(opening) = std::mem::replace(&mut self.step, Step::Run) else { return };
        match opening {
            Opening::First => out.push(Decision::Run { epoch: self.coordinator.upcoming() }),
            Opening::Next { released, retire: list } => {
                let positions = self.committed.as_ref().map(|commit| commit.positions.clone()).unwrap_or_default();
                out.push(Decision::Release { epoch: released });
                out.push(Decision::PublishLag { epoch: released, positions });
                retire(list, out);
            }
            Opening::Rewind { commit, files, orphans } => {
                // Order: the snapshot is durable, as ever; no row is in this transaction.
                let after = match commit.snapshot.clone() {
                    Some(snapshot) => After::Rewound { snapshot, files, orphans },
                    None => After::Clear(orphans),
                };
                self.mark(Marked { commit, after }, out);
            }
            Opening::Reset { retire } => {
                let epoch = self.coordinator.skip(Epoch(0));
                let commit = self.record(CommitKind::Reset, epoch, None, BTreeMap::new(), settings);
                self.mark(Marked { commit, after: After::Clear(retire) }, out);
            }
        }
    }

    /// Goes on as far as it can without a new fact.
    fn advance(&mut self, now: Duration, settings: &Settings, out: &mut Vec<Decision>) -> Go {
        self.leave_seal(settings, out);
        if matches!(self.step, Step::Run | Step::Seal(_)) {
            self.check_expiry(now, out)?;
        }
        if self.step == Step::Run
            && let Some(Tried::Trigger(Trigger { epoch, kind, last })) = self.coordinator.poll(now, true)
        {
            out.push(Decision::InjectBarrier { epoch, kind, last });
        }
        Ok(())
    }

    fn check_budget(&self, now: Duration, settings: &Settings) -> Go {
        let Some((since, budget)) = self.open_since.zip(settings.transaction_budget()) else { return Ok(()) };
        if now < since + budget {
            return Ok(());
        }
        Err(End::new(
            Class::Transient,
            format!(
                "the transaction has been open for {} s, and the broker ends it soon: the epoch is tried again from the newest \
                 commit; a longer transaction.timeout leaves more room",
                (now - since).as_secs()
            ),
        ))
    }

    fn record(
        &self,
        kind: CommitKind,
        epoch: Epoch,
        snapshot: Option<SnapshotRef>,
        positions: BTreeMap<String, i64>,
        settings: &Settings,
    ) -> Commit {
        let lineage = settings.lineage.clone();
        Commit { v: VERSION, kind, lineage, epoch, token: self.token, snapshot, positions, at: 0 }
    }

    fn mark(&mut self, marked: Marked, out: &mut Vec<Decision>) {
        out.push(Decision::Mark(marked.commit.clone()));
        self.step = Step::Mark(marked);
    }
}

fn is_of_claiming(fact: &Fact) -> bool {
    matches!(fact, Fact::Fenced | Fact::Claimed(_) | Fact::Resolved(_))
}

fn retire(list: Retire, out: &mut Vec<Decision>) {
    if list != Retire::default() {
        out.push(Decision::Retire(list));
    }
}
