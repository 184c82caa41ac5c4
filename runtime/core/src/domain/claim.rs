//! FENCE → CLAIM → RESOLVE, at the start and when an id is re-claimed. Owns the rules about slow CLAIMs and about whose
//! CLAIM may stand before ours.
//!
//! librdkafka speaks the transaction protocol in which a late copy of EndTxn ends a *later* transaction of the same id and
//! epoch (KIP-890, "Motivation"). So an id whose commit may have been sent twice is fenced and claimed before its next use;
//! and since fencing steals the id from whoever holds it, it is always followed by a CLAIM and by reading it back.
//!
//! A re-claim keeps the token, so it must be sure that nobody claimed since: the CLAIM right below the new one must be the
//! last one that was read back. If the new CLAIM is slow, it is read back too before the next FENCE. Otherwise this is lost
//! (the search finds it): a stranger claims, we steal the id with a slow CLAIM, claim again, and find our own slow CLAIM
//! below; we go on with a token below the stranger's, whose sweep takes our files for orphans.

use super::{Class, Decision, End, Fact, Go, Outcome, Resolved, Settings, out_of_place};
use crate::checkpoint::commit::{Claim, Commit, VERSION};
use crate::ids::Token;

/// The three steps.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Stage {
    Fence,
    Claim,
    Resolve {
        /// The CLAIM was slow: once it is verified, fence and claim again.
        slow: bool,
    },
}

/// A run through the three steps.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Claiming {
    pub(super) stage: Stage,
    /// Own ids and those of the newest CLAIM that is known.
    pub(super) ids: Vec<String>,
    /// The COMMIT that PEEK saw. Decides nothing (see `Rules::resolve_after_fence`).
    pub(super) peeked: Option<Commit>,
    /// CLAIMs in a row that were slow.
    slow: u32,
}

impl Claiming {
    /// Begins with FENCE.
    pub(super) fn begin(ids: Vec<String>, out: &mut Vec<Decision>) -> Claiming {
        out.push(Decision::Fence { ids: ids.clone() });
        Claiming { stage: Stage::Fence, ids, peeked: None, slow: 0 }
    }

    /// Once more from FENCE.
    pub(super) fn again(&mut self, out: &mut Vec<Decision>) {
        out.push(Decision::Fence { ids: self.ids.clone() });
        self.stage = Stage::Fence;
    }

    /// Returns what RESOLVE read, once it did. `verify` asks for RESOLVE also of a CLAIM that was slow: in a re-claim every CLAIM is a link of a chain, and a
    /// foreign one between two of ours must not be overlooked.
    pub(super) fn on_fact(
        &mut self,
        fact: Fact,
        verify: bool,
        settings: &Settings,
        claims: &mut u32,
        out: &mut Vec<Decision>,
    ) -> Result<Option<Resolved>, End> {
        match (&self.stage, fact) {
            (Stage::Fence, Fact::Fenced) => {
                *claims += 1;
                self.stage = Stage::Claim;
                out.push(Decision::Claim(claim(settings, *claims, &self.ids)));
            }
            (Stage::Claim, Fact::Claimed(Outcome::Committed { may_have_resent })) => {
                let slow = may_have_resent && settings.rules.refence_slow_claim;
                if slow {
                    self.count_slow(settings)?;
                }
                if slow && !verify {
                    self.again(out);
                } else {
                    self.stage = Stage::Resolve { slow };
                    out.push(Decision::Resolve { nonce: settings.nonce(*claims) });
                }
            }
            (Stage::Claim, Fact::Claimed(Outcome::Unknown(why))) => {
                return Err(End::new(Class::Transient, format!("whether the claim was written is unknown: {why}")));
            }
            (Stage::Resolve { .. }, Fact::Resolved(resolved)) => {
                return Ok(Some(resolved));
            }
            (_, Fact::Tick) => {}
            (_, fact) => return Err(out_of_place("FENCE, CLAIM or RESOLVE", &fact)),
        }
        Ok(None)
    }

    fn count_slow(&mut self, settings: &Settings) -> Go {
        self.slow += 1;
        if self.slow < settings.claims_max {
            return Ok(());
        }
        Err(End::new(
            Class::Transient,
            format!(
                "{} claims in a row were too slow to be sure that they were sent once; look at the broker",
                self.slow
            ),
        ))
    }
}

fn claim(settings: &Settings, number: u32, ids: &[String]) -> Claim {
    Claim {
        v: VERSION,
        nonce: settings.nonce(number),
        lineage: settings.lineage.clone(),
        txn_ids: ids.to_vec(),
        host: settings.owner.host.clone(),
        boot_id: settings.owner.boot_id.clone(),
        pid: settings.owner.pid,
        started_at: settings.owner.started_at,
        build: settings.owner.build.clone(),
    }
}

/// A CLAIM above ours: its owner fenced us, or is about to.
pub(super) fn check_above(resolved: &Resolved) -> Go {
    if resolved.claim_above {
        return Err(displaced("a claim stands above ours"));
    }
    Ok(())
}

/// In a re-claim the CLAIM before ours must be our own last one and the newest COMMIT the last one known: otherwise someone
/// else has claimed meanwhile, and its sweep may already count our files as orphans.
pub(super) fn check_reclaim(resolved: &Resolved, link: &str, token: Token, committed: Option<&Commit>) -> Go {
    check_above(resolved)?;
    let id = |commit: &Commit| (commit.epoch, commit.token);
    let (read, known) = (resolved.commit.as_ref().map(id), committed.map(id));
    if read.is_some_and(|(_, by)| by > token) {
        return Err(deposed("an instance with a newer claim has committed"));
    }
    let before = resolved.claim_before.as_ref().map(|(_, claim)| claim);
    if before.is_none_or(|claim| claim.nonce != link) {
        return Err(displaced("the claim before our new one is not ours"));
    }
    if read != known {
        return Err(End::new(
            Class::Halt,
            format!(
                "the newest commit that can be read is {read:?} (epoch, token), but ours was {known:?}: commits were lost"
            ),
        ));
    }
    Ok(())
}

/// Another instance committed after us: leave for good.
pub(super) fn deposed(why: &str) -> End {
    End::new(Class::Fenced, format!("deposed: {why}; another instance owns this pipeline now"))
}

/// Another instance claimed, which says nothing yet about who goes on: it may be an old owner that woke up, claimed, and
/// finds itself deposed. If we left for good too, nobody would run; so the next PEEK tells (see `start`).
fn displaced(why: &str) -> End {
    End::new(Class::Transient, format!("{why}: another instance claimed this pipeline"))
}
