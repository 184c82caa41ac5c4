//! One run of a pipeline between restores: drives the protocol of `weir_core::domain`, fact by fact. What it decides is
//! carried out in `carry_out`; no rule of the protocol is held here.

mod carry_out;
mod gather;
mod recorded;

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::Duration;

use weir_core::domain::{Class, Decision, Domain, Fact, Failure, Outcome};
use weir_core::ids::Token;

use self::carry_out::Attempt;
use super::job::Job;
use super::status::{State, Status};
use super::wishes::Wishes;
use crate::clock;
use crate::dataflow::Report;

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ending {
    /// What happens next.
    pub(super) class: Class,
    /// What, where, what to do.
    pub(super) why: String,
    /// The failure comes again with the same input.
    pub(super) deterministic: bool,
    /// Whether anything was committed by this attempt.
    pub(super) committed: bool,
    /// Whether it went so far as to write a claim.
    pub(super) claimed: bool,
    /// It got as far as reading: a reset that was asked for is not repeated.
    pub(super) ran: bool,
    /// Our token, for the next attempt.
    pub(super) token: Option<Token>,
    /// A transaction may be open that nobody will commit.
    pub(super) left_open: bool,
}

/// For what one event asks of the control loop once the pipeline runs, the end of its threads included. Snapshots and commits
/// are made elsewhere, and bounded by time-outs of their own: whatever takes longer waits for something that never comes.
const TURN_MAX: Duration = Duration::from_secs(600);

/// Between two attempts nobody promises anything.
struct SilentAfter<'a>(&'a Status);

impl Drop for SilentAfter<'_> {
    fn drop(&mut self) {
        self.0.promise(None);
    }
}

/// What reaches the control loop. Answers carry the number of their attempt: one that comes late belongs to nobody.
pub(super) enum Event {
    Fact(u32, Box<Fact>),
    Report(u32, Report),
    /// Something outside of an attempt changed: look at the wish to stop.
    Wake,
}

/// Runs one attempt to its end. `events` is the loop's own queue, so that a wish wakes it.
pub(super) fn run(
    job: &Job,
    settings: weir_core::domain::Settings,
    status: &Status,
    wishes: &Wishes,
    sender: &SyncSender<Event>,
    events: &Receiver<Event>,
) -> Ending {
    let _silent = SilentAfter(status);
    let origin = clock::now();
    let mut attempt = match Attempt::new(job, status, wishes, sender.clone(), &settings) {
        Ok(attempt) => attempt,
        Err(Failure { class, why }) => {
            let (deterministic, committed, claimed, ran) = (false, false, false, false);
            return Ending { class, why, deterministic, committed, claimed, ran, token: None, left_open: false };
        }
    };
    let mut domain = Domain::new(settings);
    let mut facts = VecDeque::from([Fact::Booted]);
    let (mut committed, mut claimed) = (false, false);
    loop {
        if wishes.is_cancelled() {
            // As a crash here would leave it: an open transaction is fenced by the next start, nothing of ours commits it.
            let (class, why) = match attempt.end() {
                Ok(()) => (Class::Stopped, "cancelled".to_owned()),
                Err(Failure { class, why }) => (class, why),
            };
            let (ran, token) = (domain.has_run(), domain.token());
            let left_open = token.is_some();
            return Ending { class, why, deterministic: false, committed, claimed, ran, token, left_open };
        }
        if let Some(wish) = wishes.next(domain.has_run()) {
            if matches!(wish, Fact::Stop | Fact::StopWithSavepoint) {
                status.update(|facts| facts.state = State::Stopping);
            }
            facts.push_back(wish);
        }
        if domain.has_run() {
            wishes.take_removals().into_iter().for_each(|removal| attempt.remove(removal, &mut domain));
        }
        let fact = match facts.pop_front() {
            Some(fact) => fact,
            None => {
                let wait =
                    domain.wakeup().map(|at| at.saturating_sub(origin.elapsed())).unwrap_or(Duration::from_secs(3600));
                // A restore may take as long as it takes.
                status.promise(domain.has_run().then(|| wait.saturating_add(TURN_MAX)));
                match events.recv_timeout(wait) {
                    Ok(event) => match attempt.translate(event) {
                        Some(fact) => fact,
                        None => continue,
                    },
                    Err(RecvTimeoutError::Timeout) => Fact::Tick,
                    Err(RecvTimeoutError::Disconnected) => Fact::Stop,
                }
            }
        };
        committed |= matches!(fact, Fact::Committed(Outcome::Committed { .. }));
        let mut failed = None;
        for decision in domain.on(origin.elapsed(), fact) {
            if let Decision::Exit { class, why } = decision {
                let drained = attempt.end();
                let left_open = domain.token().is_some() && !matches!(class, Class::Ended | Class::Stopped);
                // An end whose last rows could not be made visible is none.
                let hidden = failed.or(drained.err()).filter(|_| matches!(class, Class::Ended | Class::Stopped));
                let Failure { class, why } = hidden.unwrap_or(Failure { class, why });
                let (deterministic, ran, token) = (attempt.is_deterministic(), domain.has_run(), domain.token());
                return Ending { class, why, deterministic, committed, claimed, ran, token, left_open };
            }
            claimed |= matches!(decision, Decision::Claim(_));
            match attempt.carry_out(decision, &domain) {
                Ok(Some(answer)) => facts.push_back(answer),
                Ok(None) => {}
                Err(failure) => {
                    failed.get_or_insert(failure.clone());
                    facts.push_back(Fact::Failed(failure));
                }
            }
        }
    }
}
