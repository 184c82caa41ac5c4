//! A domain: one unit of commit, as a state machine. Facts in, decisions out; time is passed in. Owns the order of every
//! step from BOOT to EXIT (`docs/exactly-once.md`); carries none of them out. The edge is `weir::pipeline`, the
//! authority behind it a Kafka transaction or the `CURRENT` pointer: both answer with the same facts, and a pointer simply
//! never says `may_have_resent`.
//!
//! The idea: snapshot n is durable *before* the transaction that carries rows n and COMMIT n commits. So the authority alone
//! decides, nothing is ever resumed, and a transaction that times out is a roll-back and not a loss. An attempt fences all
//! ids, writes a CLAIM, reads until its own CLAIM, and restores what the newest COMMIT below it names.
//!
//! ```text
//! BOOT ─ PEEK ─ FENCE ─ CLAIM ─ RESOLVE ─ RESTORE ─ RUN(n) ─ SEAL(n) ─ MARK(n) ─ COMMIT(n) ─ DONE(n) ─ RUN(n+1)
//!                 ▲      slow │                       ▲ cancelled │                             │ suspicious
//!                 └───────────┘                       └───────────┘        FENCE ◄──────────────┘ (re-claim)
//! ```
//!
//! A normal run, call by call (`→` are the decisions that the call returns):
//!
//! | fact | decisions |
//! |---|---|
//! | `Booted` | → `Peek` |
//! | `Peeked {..}` | → `Fence` (or `Wait`, later `Peek` again; or `Exit`) |
//! | `Fenced` | → `Claim` |
//! | `Claimed(Committed { may_have_resent: false })` | → `Resolve` |
//! | `Resolved {..}` | → `List` |
//! | `Listed(..)` | → `Restore` (or `Exit` with `Halt`) |
//! | `Restored` | → `Retire` (orphans, if any), `Begin 1` |
//! | `Begun` | → `Run 1` |
//! | `Tick` at `wakeup()` | → `InjectBarrier 1` |
//! | `BarrierPassed` by every sink | → `WriteSnapshot 1`, `Flush 1` |
//! | `Flushed`, `Prepared {..}`, in any order | after the second → `Mark` |
//! | `Marked` | → `Commit 1` |
//! | `Committed(Committed { may_have_resent: false })` | → `Publish`, `NoteCommitted`, `Begin 2` |
//! | `Begun` | → `Release 1`, `PublishLag`, `Retire` (what falls off the shelf, if any) |
//! | `Stop` or `InputEnded` | → `InjectBarrier 2 { last: true }` … after its commit → `Publish`, …, `Exit` (`Stopped` or `Ended`) |
//!
//! From a savepoint ([`Start::Savepoint`]) `Listed` → `Import`, whose answer is `Prepared`, → `Begin`, → `Mark` of kind
//! rewind, → `Commit`, and only then → `Restore`. With `StopWithSavepoint` the last barrier's kind is savepoint.
//!
//! `Exit` is always the last decision; every later fact is answered with nothing. The edge calls [`Domain::on`] with `Tick`
//! at [`Domain::wakeup`], and may do so at any other time. Facts that come late (`Flushed`, `Prepared`, `NoSpace`,
//! `BarrierPassed`, `Declined` of an epoch that was cancelled) are understood; any other fact out of place ends the attempt
//! with [`Class::Bug`].
//!
//! Who goes on when several run: a CLAIM of somebody else ends an attempt, and the next PEEK waits for its owner as for any
//! other (an old owner may wake, claim in a re-claim, and leave deposed: then nobody else would run). Only a *COMMIT* of a
//! higher token than ours deposes for good.
//!
//! Kafka Connect's `ExactlyOnceWorkerSourceTask` (offsets in the task's own transaction, `initTransactions` first) is the
//! closest relative. KIP-890 names the late EndTxn that makes the re-claim necessary. Searched by `tests/protocol`.

use std::time::Duration;

mod claim;
mod decision;
mod fact;
mod guard;
mod owned;
mod settings;
mod shelf;
mod start;

pub use decision::{Decision, Retire};
pub use fact::{Class, Fact, Failure, Inventory, Outcome, Resolved, Stored};
pub use settings::{Owner, Rules, Settings, Start};

use crate::checkpoint::commit::Commit;
use crate::checkpoint::manifest::CommitKind;
use crate::ids::{Epoch, Token};
use claim::{Claiming, Stage};
use guard::Guard;
use owned::{Owned, Step};
use settings::Fixed;
use start::Waiting;

/// Where a domain stands, for status and logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the steps of docs/exactly-once.md, by their names")]
pub enum Phase {
    Boot,
    Peek,
    Fence,
    Claim,
    Resolve,
    Restore,
    /// Opening the transaction of the epoch.
    Open,
    Run,
    Seal,
    Mark,
    Commit,
    Over,
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Domain {
    settings: Fixed,
    /// CLAIMs written so far by this attempt: the number in the newest nonce.
    claims: u32,
    /// A stop was asked for before there was anything to commit.
    stop: bool,
    /// Once resolved; kept also when the attempt is over.
    token: Option<Token>,
    has_run: bool,
    state: State,
    guard: Guard,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum State {
    Boot,
    Peek(Option<Waiting>),
    /// FENCE, CLAIM, RESOLVE of the start.
    Claiming(Claiming),
    /// Everything that needs the token: RESTORE to DONE, and the re-claim.
    Owned(Box<Owned>),
    Over,
}

/// Why a checkpoint is not removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// It is the newest commit: the next start restores it.
    Newest,
    /// There is none of this id.
    Unknown,
    /// What there is is not known yet.
    NotYet,
}

/// Why a call goes no further: the attempt is over.
#[derive(Debug, Clone, PartialEq, Eq)]
struct End {
    class: Class,
    why: String,
}

impl End {
    fn new(class: Class, why: impl Into<String>) -> End {
        End { class, why: why.into() }
    }
}

/// What a handler returns: the decisions are pushed into the list that it was given.
type Go = Result<(), End>;

impl Domain {
    /// A domain at BOOT.
    pub fn new(settings: Settings) -> Domain {
        Domain {
            settings: Fixed::new(settings),
            claims: 0,
            stop: false,
            token: None,
            has_run: false,
            state: State::Boot,
            guard: Guard::default(),
        }
    }

    /// Takes a fact at a time (monotonic, from any start, the same for all calls) and says what to do.
    pub fn on(&mut self, now: Duration, fact: Fact) -> Vec<Decision> {
        let mut out = Vec::new();
        if matches!(self.state, State::Over) {
            return out;
        }
        self.guard.on_fact(&fact);
        let mut result = self.take(now, fact, &mut out);
        if let Err(broken) = self.guard.on_decisions(&out, self.token(), self.settings.rules) {
            // The list is dropped whole: nothing of a step that breaks an invariant is carried out.
            out.clear();
            result = Err(End::new(Class::Bug, broken));
        }
        self.has_run |= out.iter().any(|decision| matches!(decision, Decision::Run { .. }));
        if let Err(End { class, why }) = result {
            out.push(Decision::Exit { class, why });
            self.state = State::Over;
        }
        out
    }

    /// When to call [`Domain::on`] with `Tick`, if nothing else happens before.
    pub fn wakeup(&self) -> Option<Duration> {
        match &self.state {
            State::Peek(Some(waiting)) => Some(waiting.next),
            State::Owned(owned) => owned.wakeup(&self.settings),
            _ => None,
        }
    }

    /// Where it stands.
    pub fn phase(&self) -> Phase {
        let stage = |stage: &Stage| match stage {
            Stage::Fence => Phase::Fence,
            Stage::Claim => Phase::Claim,
            Stage::Resolve { .. } => Phase::Resolve,
        };
        match &self.state {
            State::Boot => Phase::Boot,
            State::Peek(_) => Phase::Peek,
            State::Claiming(claiming) => stage(&claiming.stage),
            State::Owned(owned) => match &owned.step {
                Step::List | Step::Import(_) | Step::Restore { .. } => Phase::Restore,
                Step::Open(_) => Phase::Open,
                Step::Run => Phase::Run,
                Step::Seal(_) => Phase::Seal,
                Step::Mark(_) => Phase::Mark,
                Step::Commit(_) => Phase::Commit,
                Step::Reclaim { claiming, .. } => stage(&claiming.stage),
            },
            State::Over => Phase::Over,
        }
    }

    /// Our token, once resolved, also after the end. Goes into `Settings::held` of the next attempt in this process.
    pub fn token(&self) -> Option<Token> {
        self.token
    }

    /// Whether it got as far as `Run`, also after the end: from then on the next attempts start from `Start::Newest`.
    pub fn has_run(&self) -> bool {
        self.has_run
    }

    /// The epoch that is running or being committed.
    pub fn epoch(&self) -> Option<Epoch> {
        self.owned().map(|owned| owned.coordinator.upcoming())
    }

    /// The newest COMMIT known.
    pub fn committed(&self) -> Option<&Commit> {
        self.owned().and_then(|owned| owned.committed.as_ref())
    }

    /// Consecutive checkpoints that failed, up to now.
    pub fn failures(&self) -> u32 {
        self.owned().map_or(0, |owned| owned.coordinator.failures())
    }

    /// Takes a checkpoint off the shelf before its time, since a user wants that: what to delete. Not a fact: nothing of
    /// the protocol waits for it or changes with it.
    pub fn remove(&mut self, epoch: Epoch, token: Token) -> Result<Retire, Kept> {
        let State::Owned(owned) = &mut self.state else { return Err(Kept::NotYet) };
        let retire = owned.remove((epoch, token))?;
        let decision = [Decision::Retire(retire.clone())];
        // Invariant I5 has the last word: what the newest commit names is not deleted.
        let guarded = self.guard.on_decisions(&decision, self.token(), self.settings.rules);
        guarded.map(|()| retire).map_err(|_| Kept::Newest)
    }

    fn owned(&self) -> Option<&Owned> {
        match &self.state {
            State::Owned(owned) => Some(owned),
            _ => None,
        }
    }

    fn take(&mut self, now: Duration, fact: Fact, out: &mut Vec<Decision>) -> Go {
        match fact {
            Fact::Failed(Failure { class, why }) => Err(on_failure(class, why)),
            Fact::Stop => self.on_stop(now, None, out),
            Fact::StopWithSavepoint => self.on_stop(now, Some(CommitKind::Savepoint), out),
            fact => match &mut self.state {
                State::Boot | State::Peek(_) | State::Claiming(_) => self.on_start(now, fact, out),
                State::Owned(owned) => owned.on_fact(now, fact, &self.settings, &mut self.claims, out),
                State::Over => Ok(()),
            },
        }
    }

    /// Before the first transaction there is nothing to commit: leave as soon as no CLAIM is under way.
    fn on_stop(&mut self, now: Duration, last: Option<CommitKind>, out: &mut Vec<Decision>) -> Go {
        match &mut self.state {
            State::Claiming(Claiming { stage: Stage::Claim, .. }) => {
                self.stop = true;
                Ok(())
            }
            State::Owned(owned) => owned.on_stop(now, last, &self.settings, out),
            _ => Err(stopped()),
        }
    }
}

fn stopped() -> End {
    End::new(Class::Stopped, "stopped")
}

/// The class of a failed step becomes the class of the exit, with one exception: the broker says "fenced" to a zombie and to
/// an owner whose transaction timed out. Which it was, the next PEEK tells.
fn on_failure(class: Class, why: String) -> End {
    match class {
        Class::Fenced => End::new(Class::Transient, why),
        Class::Stopped | Class::Ended => End::new(Class::Bug, format!("a failure was reported as {class:?}: {why}")),
        class => End::new(class, why),
    }
}

/// A fact that cannot come here.
fn out_of_place(at: &str, fact: &Fact) -> End {
    End::new(Class::Bug, format!("in {at} the fact {fact:?} cannot come; this is a bug of weir"))
}

#[cfg(test)]
mod tests;
