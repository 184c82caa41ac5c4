//! The one thread that talks to the authority: every call of it blocks, and a producer's transaction calls may come from
//! one thread only. Carries out steps in the order given, and reports each as a fact. Decides nothing.

use std::sync::mpsc::{SyncSender, sync_channel};

use weir_core::checkpoint::commit::{Claim, Commit};
use weir_core::domain::{Class, Fact, Failure, Outcome, Resolved};
use weir_core::ids::Epoch;

use crate::connector::{self, Authority, Error};

/// A step on the wire.
#[derive(Debug)]
pub(super) enum Step {
    Peek,
    Fence(Vec<String>),
    Claim(Claim),
    Resolve(String),
    Begin,
    Flush(Epoch),
    Mark(Commit),
    Commit,
}

/// The door to the thread. Dropping it ends the thread after the call that runs; nothing is aborted.
pub(super) struct AuthorityThread(SyncSender<Step>);

impl AuthorityThread {
    /// Starts the thread. `report` must not block for long.
    pub(super) fn start(
        mut authority: Box<dyn Authority>,
        report: impl Fn(Fact) + Send + 'static,
    ) -> std::io::Result<AuthorityThread> {
        // The protocol has at most two steps under way (a flush beside nothing else), so the queue never fills.
        let (send, steps) = sync_channel(8);
        let span = tracing::Span::current();
        std::thread::Builder::new().name("authority".to_owned()).spawn(move || {
            let _in = span.entered();
            for step in steps {
                report(carry_out(authority.as_mut(), step));
            }
        })?;
        Ok(AuthorityThread(send))
    }

    pub(super) fn send(&self, step: Step) -> Result<(), Failure> {
        let gone = |_| Failure { class: Class::Bug, why: "the authority's thread has ended".to_owned() };
        self.0.send(step).map_err(gone)
    }
}

fn carry_out(authority: &mut dyn Authority, step: Step) -> Fact {
    let result = match step {
        Step::Peek => authority.peek().map(|peek| {
            let owner_gone = peek.claim.as_ref().is_some_and(super::owner::is_gone);
            Fact::Peeked { claim: peek.claim, commit: peek.commit, owner_gone }
        }),
        Step::Fence(ids) => authority.fence(&ids).map(|()| Fact::Fenced),
        Step::Claim(claim) => Ok(Fact::Claimed(outcome(authority.claim(&claim)))),
        Step::Resolve(nonce) => authority.resolve(&nonce).map(|r| {
            crate::crash::point("resolve.read");
            Fact::Resolved(Resolved {
                token: r.token,
                commit: r.commit,
                claim_before: r.claim_before,
                claim_above: r.claim_above,
            })
        }),
        Step::Begin => authority.begin().map(|()| Fact::Begun),
        Step::Flush(epoch) => authority.flush().map(|()| Fact::Flushed { epoch }),
        Step::Mark(commit) => authority.mark(&commit).map(|()| Fact::Marked),
        Step::Commit => Ok(Fact::Committed(outcome(authority.commit()))),
    };
    result.unwrap_or_else(|error| Fact::Failed(failure(error)))
}

fn outcome(outcome: connector::Outcome) -> Outcome {
    match outcome {
        connector::Outcome::Committed { may_have_resent } => Outcome::Committed { may_have_resent },
        connector::Outcome::Unknown(why) => Outcome::Unknown(why),
    }
}

/// A connector's failure in the words of the protocol.
pub(super) fn failure(error: Error) -> Failure {
    let class = match &error {
        Error::Config(_) => Class::Config,
        Error::Unreachable(_) => Class::Unreachable,
        Error::Transient(_) => Class::Transient,
        Error::Fenced(_) => Class::Fenced,
        Error::Halt(_) => Class::Halt,
        Error::Io(_) => Class::Io,
        Error::Record { .. } => Class::Guest,
    };
    Failure { class, why: error.to_string() }
}
