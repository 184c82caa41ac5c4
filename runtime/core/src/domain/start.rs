//! BOOT, PEEK, and FENCE → CLAIM → RESOLVE of the start. PEEK is politeness only and decides nothing about rows: whoever
//! goes on from it fences, claims and reads back.

use std::time::Duration;

use super::claim::{Claiming, Stage, check_above, deposed};
use super::owned::Owned;
use super::{Class, Decision, Domain, End, Fact, Go, Resolved, Settings, Start, State, out_of_place, stopped};
use crate::checkpoint::commit::{Claim, Commit};
use crate::checkpoint::manifest::CommitKind;
use crate::ids::{Epoch, Token};

/// How often PEEK looks again while it waits.
const PEEK_AGAIN: Duration = Duration::from_secs(1);

/// A live owner may exist: what was seen of it, and when patience ends.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Waiting {
    nonce: String,
    commit: Option<(Epoch, Token)>,
    until: Duration,
    pub(super) next: Duration,
}

impl Domain {
    pub(super) fn on_start(&mut self, now: Duration, fact: Fact, out: &mut Vec<Decision>) -> Go {
        match (&mut self.state, fact) {
            (State::Boot, Fact::Booted) => {
                self.state = State::Peek(None);
                out.push(Decision::Peek);
                Ok(())
            }
            (State::Peek(_), Fact::Peeked { claim, commit, owner_gone }) => {
                self.on_peeked(now, claim, commit, owner_gone, out)
            }
            (State::Peek(waiting), Fact::Tick) => {
                if let Some(waiting) = waiting.as_mut().filter(|waiting| now >= waiting.next) {
                    waiting.next = Duration::MAX;
                    out.push(Decision::Peek);
                }
                Ok(())
            }
            (State::Claiming(claiming), fact) => {
                let was_claim = claiming.stage == Stage::Claim;
                match claiming.on_fact(fact, false, &self.settings, &mut self.claims, out)? {
                    // The stop had to wait for the CLAIM: its transaction is closed now.
                    None if was_claim && self.stop => {
                        out.clear();
                        Err(stopped())
                    }
                    None => Ok(()),
                    Some(resolved) => self.on_resolved(now, resolved, out),
                }
            }
            (_, Fact::Tick) => Ok(()),
            (_, fact) => Err(out_of_place("BOOT or PEEK", &fact)),
        }
    }

    fn on_peeked(
        &mut self,
        now: Duration,
        claim: Option<Claim>,
        commit: Option<Commit>,
        owner_gone: bool,
        out: &mut Vec<Decision>,
    ) -> Go {
        let settings = &self.settings;
        let own = claim.as_ref().is_none_or(|claim| settings.is_own_process(&claim.nonce));
        // Another pipeline of our name: whether it lives is found out first, since that is the better answer.
        let is_ours = check_lineage(claim.as_ref(), commit.as_ref(), settings);
        if is_ours.is_ok() {
            check_start(commit.as_ref(), settings)?;
        }
        // A successor that committed has deposed us. One that only claimed may be an old owner that woke up, stole the id in
        // a re-claim and then found itself deposed: if we left too, nobody would run. So it is waited for like any other.
        if !own && commit.as_ref().zip(settings.held).is_some_and(|(commit, held)| commit.token > held) {
            return Err(deposed("an instance with a newer claim has committed"));
        }
        // Whoever was fenced does not take over again at once, or two instances would fence each other for ever.
        // And a pipeline whose state is elsewhere cannot be taken over: all that helps is to know whether it lives.
        let takeover = settings.takeover && settings.held.is_none() && is_ours.is_ok();
        if let Some(commit) = commit.as_ref().filter(|commit| is_ours.is_ok() && has_ended(commit, settings)) {
            return Err(ended(commit, out));
        }
        match claim.as_ref().filter(|_| !own && !owner_gone && !takeover) {
            Some(claim) if !self.is_patience_over(now, claim, commit.as_ref())? => {
                self.wait(now, claim, commit.as_ref(), out);
            }
            _ => {
                is_ours?;
                let mut claiming = Claiming::begin(union(&settings.ids, claim.as_ref()), out);
                claiming.peeked = commit.filter(|_| !settings.rules.resolve_after_fence);
                self.state = State::Claiming(claiming);
            }
        }
        Ok(())
    }

    /// A COMMIT since the first look means a live owner. A new CLAIM begins the wait anew: it is a new owner.
    fn is_patience_over(&self, now: Duration, claim: &Claim, commit: Option<&Commit>) -> Result<bool, End> {
        let State::Peek(Some(waiting)) = &self.state else { return Ok(false) };
        if waiting.nonce != claim.nonce {
            return Ok(false);
        }
        if waiting.commit != commit.map(id) {
            return Err(alive(claim, commit, &self.settings));
        }
        Ok(now >= waiting.until)
    }

    fn wait(&mut self, now: Duration, claim: &Claim, commit: Option<&Commit>, out: &mut Vec<Decision>) {
        let (until, again) = match &self.state {
            State::Peek(Some(waiting)) if waiting.nonce == claim.nonce => (waiting.until, true),
            _ => (now + self.settings.patience(), false),
        };
        let next = until.min(now + PEEK_AGAIN);
        self.state = State::Peek(Some(Waiting { nonce: claim.nonce.clone(), commit: commit.map(id), until, next }));
        out.push(Decision::Wait {
            host: claim.host.clone(),
            pid: claim.pid,
            committed_at: commit.map(|commit| commit.at),
            until,
            again,
        });
    }

    fn on_resolved(&mut self, now: Duration, mut resolved: Resolved, out: &mut Vec<Decision>) -> Go {
        let State::Claiming(claiming) = &mut self.state else { return Ok(()) };
        self.token = Some(resolved.token);
        check_above(&resolved)?;
        let before = resolved.claim_before.as_ref().map(|(_, claim)| claim);
        check_lineage(before, resolved.commit.as_ref(), &self.settings)?;
        // V10: someone with more ids claimed between PEEK and FENCE.
        let ids = union(&claiming.ids, before);
        if ids.len() > claiming.ids.len() {
            claiming.ids = ids;
            claiming.again(out);
            return Ok(());
        }
        if !self.settings.rules.resolve_after_fence {
            resolved.commit = claiming.peeked.take();
        }
        check_start(resolved.commit.as_ref(), &self.settings)?;
        if let Some(commit) = resolved.commit.as_ref().filter(|commit| has_ended(commit, &self.settings)) {
            return Err(ended(commit, out));
        }
        if resolved.commit.as_ref().is_some_and(|commit| commit.token >= resolved.token) {
            return Err(End::new(
                Class::Halt,
                format!(
                    "the newest commit has a token not below our claim ({}): the commit topic was made anew",
                    resolved.token
                ),
            ));
        }
        let link = self.settings.nonce(self.claims);
        let ids = std::mem::take(&mut claiming.ids);
        self.state =
            State::Owned(Box::new(Owned::new(now, resolved.token, link, ids, resolved.commit, &self.settings)));
        out.push(Decision::List);
        Ok(())
    }
}

/// Whoever claimed has committed while we looked. Its age is that of its newest commit: both times are its own host's.
fn alive(claim: &Claim, commit: Option<&Commit>, settings: &Settings) -> End {
    let Claim { host, pid, started_at, .. } = claim;
    let age = commit.map_or(0, |commit| commit.at.saturating_sub(*started_at).max(0) / 1000);
    let epoch = commit.map_or(Epoch(0), |commit| commit.epoch);
    let what = match claim.lineage == settings.lineage {
        true => "owns this pipeline",
        false => "runs a pipeline of this name, with another state folder",
    };
    let advice = match claim.lineage == settings.lineage {
        true => "stop it, or use --takeover",
        false => "give this one another `name`, or stop that one",
    };
    let why = format!(
        "a live instance on host {host} (pid {pid}, started {age} s before it committed epoch {epoch} just now) {what}; {advice}"
    );
    End::new(Class::Fenced, why)
}

fn id(commit: &Commit) -> (Epoch, Token) {
    (commit.epoch, commit.token)
}

fn union(own: &[String], claim: Option<&Claim>) -> Vec<String> {
    let mut ids = own.to_vec();
    for id in claim.iter().flat_map(|claim| &claim.txn_ids) {
        if !ids.contains(id) {
            ids.push(id.clone());
        }
    }
    ids
}

fn has_ended(commit: &Commit, settings: &Settings) -> bool {
    commit.kind == CommitKind::Final && settings.start == Start::Newest
}

/// Bounded input that was committed to its end: nothing is left but to publish once more what a crash may have cut off.
fn ended(commit: &Commit, out: &mut Vec<Decision>) -> End {
    out.extend(commit.snapshot.clone().map(|snapshot| Decision::Publish { snapshot }));
    End::new(Class::Ended, format!("ended with epoch {}: the bounded input was committed to its end", commit.epoch))
}

/// V9: a name belongs to one pipeline. `--rewind` is the way out for a pipeline whose state folder was lost.
fn check_lineage(claim: Option<&Claim>, commit: Option<&Commit>, settings: &Settings) -> Go {
    let foreign = claim.map(|claim| &claim.lineage).into_iter().chain(commit.map(|commit| &commit.lineage));
    match foreign.into_iter().find(|lineage| **lineage != settings.lineage) {
        Some(lineage) if !settings.start.is_rewind() => Err(End::new(
            Class::Halt,
            format!(
                "the commits under this name belong to another pipeline, or to a state folder that was lost (lineage \
                 {lineage}, ours is {}); use another name, bring the state folder back, or start with --from empty --rewind",
                settings.lineage
            ),
        )),
        _ => Ok(()),
    }
}

fn check_start(commit: Option<&Commit>, settings: &Settings) -> Go {
    let has_state = commit.is_some_and(|commit| commit.snapshot.is_some());
    if has_state && settings.start == (Start::Empty { rewind: false }) {
        return Err(End::new(
            Class::Halt,
            "this pipeline has committed state; to throw it away: --from empty --rewind",
        ));
    }
    match (settings.start, commit.filter(|commit| commit.snapshot.is_some())) {
        (Start::Savepoint { epoch, token, is_ours, rewind: false }, Some(commit)) => {
            check_older(commit, (epoch, token), is_ours)
        }
        _ => Ok(()),
    }
}

/// Going back is said to be what it is.
fn check_older(commit: &Commit, savepoint: (Epoch, Token), is_ours: bool) -> Go {
    let (epoch, token) = savepoint;
    let newest = format!("{}-{}", commit.epoch, commit.token);
    if !is_ours {
        return Err(End::new(
            Class::Halt,
            format!(
                "{epoch}-{token} is of another history than the newest commit ({newest}): what was committed since they \
                 parted would be emitted a second time; to start from it all the same: --rewind"
            ),
        ));
    }
    if id(commit) <= savepoint {
        return Ok(());
    }
    Err(End::new(
        Class::Halt,
        format!(
            "{epoch}-{token} is older than the newest commit ({newest}): the rows of epochs {} to {} would be emitted a second \
             time; to go back all the same: --rewind",
            epoch.next(),
            commit.epoch
        ),
    ))
}
