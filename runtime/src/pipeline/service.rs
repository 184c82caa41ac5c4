//! Keeps a pipeline running: attempt after attempt, with back-off, until it ends, is stopped, or cannot go on. A failure
//! that came three times with the same words opens the circuit. Owns no step of an attempt.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use weir_core::domain::{self, Class, Start};
use weir_core::graph::spec::{OnCancel, SourceKind};
use weir_core::ids::{Epoch, Token};
use weir_core::restart::{Restarts, Verdict};

use super::attempt::{self, Ending, Event};
use super::authority::kafka_domain;
use super::checkpoints::Checkpoints;
use super::job::Job;
use super::owner;
use super::removal::{Removal, Stays};
use super::snapshot_store::SnapshotStore;
use super::status::{State, Status};
use super::wishes::{Answer, Wish, Wishes};
use crate::clock;
use crate::connector::kafka;
use crate::journal::{Failure, Fate, Kind, Report, Then};

/// How often the same failure may come in a row.
const EQUAL_FAILURES_MAX: u32 = 3;

/// How to start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Settings {
    /// Where from.
    pub start: Start,
    /// Do not wait for a live owner.
    pub takeover: bool,
    /// A broker that cannot be reached at the start is waited for, as one that goes away later.
    pub waits_for_brokers: bool,
    /// It is on trial: so long nothing is committed, and a failure of a guest before its first commit is the end.
    pub trial: Option<Duration>,
}

/// How a pipeline ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The class of its last attempt.
    pub class: Class,
    /// What, where, what to do.
    pub why: String,
    /// The same failure came three times.
    pub circuit_open: bool,
    /// Whether the pipeline had committed anything in this process.
    pub ran: bool,
}

/// The only door to a running pipeline. Cheap to clone.
#[derive(Clone)]
pub struct Handle {
    sender: SyncSender<Event>,
    wishes: Wishes,
    store: SnapshotStore,
    /// Its facts.
    pub status: Status,
}

impl Handle {
    /// Asks for a last checkpoint and the end. Comes back at once; the service ends when it is done.
    pub fn stop(&self) {
        self.wishes.stop(false);
        self.wake();
    }

    /// The same, but first the watermark moves to the end of time, so that every timer fires: for good, since whatever a
    /// later run reads is late.
    pub fn drain(&self) {
        self.wishes.stop(true);
        self.wake();
    }

    /// Ends it at once. Nothing more is committed.
    pub fn cancel(&self) {
        self.wishes.cancel();
        self.wake();
    }

    /// The same for what was never to be: `on_cancel` does not count.
    pub(super) fn give_up(&self) {
        self.wishes.give_up();
        self.wake();
    }

    /// Asks for a checkpoint, a savepoint, or a savepoint and the end. The receiver hears what came of it; that it is gone
    /// without a word means that it came to nothing.
    pub fn ask(&self, wish: Wish) -> Receiver<Answer> {
        self.ask_behind(wish, || {})
    }

    /// The same, with something to be done first, but not for a wish that is refused.
    fn ask_behind(&self, wish: Wish, first: impl FnOnce()) -> Receiver<Answer> {
        if let Err(why) = wish.check() {
            let (answer, receiver) = sync_channel(1);
            // There is room for one.
            let _ = answer.send(Err(why));
            return receiver;
        }
        first();
        let answer = self.wishes.ask(wish);
        self.wake();
        answer
    }

    /// Wants a checkpoint deleted. The receiver hears what came of it.
    pub fn remove(&self, epoch: Epoch, token: Token) -> Receiver<Result<(), Stays>> {
        let (answer, receiver) = sync_channel(1);
        self.wishes.remove(Removal { epoch, token, answer });
        self.wake();
        receiver
    }

    /// A savepoint and the end, behind the end of time as [`Handle::drain`] has it.
    pub fn drain_with_savepoint(&self, to: Option<PathBuf>) -> Receiver<Answer> {
        self.ask_behind(Wish::StopWithSavepoint { to }, || self.wishes.drain())
    }

    /// Its checkpoints, wherever they lie.
    pub fn checkpoints(&self) -> Checkpoints {
        Checkpoints::of(self.store.clone())
    }

    /// Comes back when the pipeline has ended and given its state folder back.
    pub fn wait_for_end(&self) {
        // Nothing is ever sent: the end is that the sender is gone.
        let _ = self.wishes.ended().recv();
    }

    fn wake(&self) {
        // A queue that is full wakes its reader anyway. A service that is gone has stopped.
        let _ = self.sender.try_send(Event::Wake);
    }
}

/// What attempts have left behind.
#[derive(Default)]
struct Last {
    /// One of them wrote a claim.
    claimed: bool,
    /// The token of the last one, if it may have left a transaction open.
    left_open: Option<Token>,
}

/// A pipeline under supervision.
pub struct Service {
    job: Job,
    settings: Settings,
    sender: SyncSender<Event>,
    events: Receiver<Event>,
    wishes: Wishes,
    status: Status,
}

impl Service {
    /// A service and its handle. Nothing runs before [`Service::run`].
    pub fn new(job: Job, settings: Settings) -> (Service, Handle) {
        // Bounded by who sends: three threads of an attempt with a few answers each. Who wakes it does not wait.
        let (sender, events) = sync_channel(1024);
        let (status, wishes) = (Status::new(Arc::clone(&job.journal)), Wishes::default());
        status.update(|facts| facts.interval = job.pipeline().checkpoint.interval);
        let (store, sent) = (job.store.clone(), sender.clone());
        let handle = Handle { sender: sent, wishes: wishes.clone(), store, status: status.clone() };
        (Service { job, settings, sender, events, wishes, status }, handle)
    }

    /// Runs until the pipeline ends or cannot go on. Blocks.
    pub fn run(self) -> Outcome {
        let mut last = Last::default();
        let outcome = self.supervise(&mut last);
        self.leave(&outcome, &last);
        let wishes = self.wishes.clone();
        // A folder that a refused start has just made has a history of its own: it would stand in the way of a savepoint's.
        let is_refused = matches!(outcome.class, Class::Config | Class::Unreachable | Class::Halt | Class::Fenced);
        if !outcome.ran && is_refused {
            self.job.undo(last.claimed);
        } else {
            drop(self);
        }
        // Behind the end of `self`, which gives the state folder back: who waited for the end may start anew at once.
        wishes.close(&outcome.why);
        outcome
    }

    /// Ends the transaction that the last attempt left open: nobody here will start again, and readers of committed rows
    /// would wait for its time-out. Where that fails they do.
    fn leave(&self, outcome: &Outcome, last: &Last) {
        let Some((domain, token)) = kafka_domain(self.job.pipeline()).zip(last.left_open) else { return };
        // A disk that failed, or a bug: nothing more is tried. Who cannot be reached is not asked.
        if matches!(outcome.class, Class::Io | Class::Bug | Class::Unreachable | Class::Fenced) {
            return;
        }
        if let Err(error) = kafka::leave(&domain, token) {
            let name = &self.job.pipeline().name;
            tracing::warn!(
                "the open transaction was not ended, and readers of committed rows wait for its time-out: {error} \
                 (`weir txn abort {name}` ends it)"
            );
        }
    }

    fn supervise(&self, left: &mut Last) -> Outcome {
        let mut attempts = 0;
        let (mut held, mut ran) = (None, false);
        let mut start = self.settings.start;
        let (mut last, mut equal) = (String::new(), 0);
        let (origin, mut restarts) = (clock::now(), Restarts::new(self.job.pipeline().restart));
        loop {
            self.status.update(|facts| facts.state = State::Starting);
            let settings = self.domain_settings(attempts, held, start);
            let ending = attempt::run(&self.job, settings, &self.status, &self.wishes, &self.sender, &self.events);
            self.wishes.on_attempt_over(&ending.why);
            self.status.fail_checkpoint(&ending.why, &[]);
            ran |= ending.committed;
            held = ending.token.or(held);
            left.claimed |= ending.claimed;
            // Without a token it did not get so far as to end what the one before had left.
            if let Some(token) = ending.token {
                left.left_open = ending.left_open.then_some(token);
            }
            // Its first commit was the savepoint, and from then on that is the newest one.
            let is_imported = ending.committed && matches!(start, Start::Savepoint { .. });
            if ending.ran || is_imported {
                // What was reset stays reset, and what was committed since stays.
                start = Start::Newest;
            }
            if self.wishes.take_cancel() && start != Start::Delete {
                if self.job.pipeline().checkpoint.on_cancel == OnCancel::Delete && !self.wishes.is_given_up() {
                    // One more attempt: what is committed is forgotten before any file goes.
                    start = Start::Delete;
                    attempts += 1;
                    continue;
                }
                return self.cancelled("cancelled: nothing was committed since the last checkpoint", ran);
            }
            if let Some(outcome) = self.settle(&ending, ran) {
                self.wishes.finish_copies();
                if outcome.class == Class::Stopped && start == Start::Delete {
                    return self.cancelled("cancelled: the state is deleted", ran);
                }
                if !matches!(outcome.class, Class::Stopped | Class::Ended) {
                    self.on_failure(&ending, Then::GaveUp);
                }
                return outcome;
            }
            equal = if ending.why == last { equal + 1 } else { 1 };
            last.clone_from(&ending.why);
            if ending.deterministic && equal >= EQUAL_FAILURES_MAX {
                self.on_failure(&ending, Then::CircuitOpen);
                self.status.update(|facts| {
                    facts.state = State::CircuitOpen;
                    facts.problem = Some(ending.why.clone());
                });
                return Outcome { class: ending.class, why: ending.why, circuit_open: true, ran };
            }
            let backoff = match restarts.on_failure(origin.elapsed()) {
                Verdict::After(backoff) => backoff,
                Verdict::GiveUp(why) => {
                    self.on_failure(&ending, Then::GaveUp);
                    let why = format!("{}; {why}", ending.why);
                    self.wishes.finish_copies();
                    self.status.update(|facts| {
                        facts.state = State::Failed;
                        facts.problem = Some(why.clone());
                    });
                    return Outcome { class: ending.class, why, circuit_open: false, ran };
                }
            };
            attempts += 1;
            self.status.update(|facts| {
                facts.restarts += 1;
                facts.problem = Some(ending.why.clone());
            });
            self.on_failure(&ending, Then::Restart(backoff));
            let said = match equal {
                1 => ending.why,
                _ => format!("the same failure, {equal} times now"),
            };
            tracing::warn!("{said}; restart {attempts} in {:.1} s", backoff.as_secs_f64());
            if self.wait(backoff) {
                if self.wishes.is_cancelled() {
                    continue;
                }
                self.wishes.finish_copies();
                self.status.update(|facts| facts.state = State::Stopped);
                return Outcome {
                    class: Class::Stopped,
                    why: "stopped while it waited to restart".to_owned(),
                    circuit_open: false,
                    ran,
                };
            }
        }
    }

    /// Keeps for those who look what an attempt failed of, and what follows. Of failures of records and operators the node has
    /// told itself.
    fn on_failure(&self, ending: &Ending, then: Then) {
        let (at, why) = (clock::now_millis(), ending.why.clone());
        let node = self.job.named_in(&why);
        if ending.class != Class::Guest {
            let (node, code, message) = (node.as_ref(), ending.class.as_str(), &*why);
            let report = Report { node, kind: Kind::Attempt, code, message, fate: Fate::Failed, backtrace: &[] };
            self.status.journal().report(&report, at, || None);
        }
        self.status.fail(Failure { at, class: ending.class, why, node, then });
    }

    fn cancelled(&self, why: &str, ran: bool) -> Outcome {
        self.wishes.finish_copies();
        self.status.update(|facts| facts.state = State::Stopped);
        Outcome { class: Class::Stopped, why: why.to_owned(), circuit_open: false, ran }
    }

    /// Whether this ending is the end of the service.
    fn settle(&self, ending: &Ending, ran: bool) -> Option<Outcome> {
        let goes_on = match ending.class {
            // What was read of it and not committed would be gone.
            Class::Guest if self.settings.trial.is_some() && !ran => false,
            Class::Transient | Class::Guest => !self.reads_once(),
            // At the start somebody waits for an answer; later the broker may come back.
            Class::Unreachable => ran || self.settings.waits_for_brokers,
            _ => false,
        };
        if goes_on {
            return None;
        }
        let state = match ending.class {
            Class::Stopped | Class::Ended => State::Stopped,
            _ => State::Failed,
        };
        self.status.update(|facts| {
            facts.state = state;
            facts.problem = (state == State::Failed).then(|| ending.why.clone());
        });
        Some(Outcome { class: ending.class, why: ending.why.clone(), circuit_open: false, ran })
    }

    /// Whether a source cannot be read again.
    fn reads_once(&self) -> bool {
        self.job.pipeline().sources.iter().any(|source| matches!(source.kind, SourceKind::Stdin))
    }

    /// Waits with jitter; `true` if the pipeline was stopped meanwhile.
    fn wait(&self, backoff: Duration) -> bool {
        let jitter = backoff.mul_f64(f64::from(clock::now_millis() as u32 % 100) / 1000.0);
        let until = clock::now() + backoff + jitter;
        loop {
            if self.wishes.is_stop_or_cancel() {
                return true;
            }
            let left = until.saturating_duration_since(clock::now());
            // What comes is a wake-up, or a late answer of the attempt that ended.
            if self.events.recv_timeout(left).is_err() {
                return self.wishes.is_stop_or_cancel();
            }
        }
    }

    /// When the first checkpoint is due, where not an interval after the start.
    fn first_checkpoint(&self) -> Option<Duration> {
        let pipeline = self.job.pipeline();
        let staggered = || self.job.shards.first_checkpoint(&pipeline.name, pipeline.checkpoint.interval);
        match self.settings.trial {
            Some(grace) if self.status.read(|facts| facts.committed) == 0 => Some(grace),
            _ => staggered(),
        }
    }

    fn domain_settings(&self, attempt: u32, held: Option<Token>, start: Start) -> domain::Settings {
        let pipeline = self.job.pipeline();
        let checkpoint = &pipeline.checkpoint;
        let transaction_timeout = super::authority::transaction_timeout(&self.job);
        domain::Settings {
            ids: self.job.transactional_ids(),
            lineage: self.job.folder.lineage().to_owned(),
            process: self.job.folder.process().to_owned(),
            attempt,
            held,
            owner: owner::this_process(),
            start,
            takeover: self.settings.takeover && held.is_none(),
            interval: Some(checkpoint.interval),
            first: self.first_checkpoint(),
            min_pause: checkpoint.min_pause,
            checkpoint_timeout: checkpoint.timeout,
            tolerable_failures: checkpoint.tolerable_failures,
            transaction_timeout,
            transaction_margin: checkpoint.margin,
            retain: checkpoint.retain as usize,
            sinks: 1,
            ..domain::Settings::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::Engine;
    use crate::pipeline::Checked;
    use crate::settings::{self, Environment, Format};

    #[test]
    fn a_stop_is_heard_though_the_queue_is_full_and_outlasts_the_attempt() {
        let text = "version = 1\nname = \"a\"\n[sources.s]\ntype = \"generator\"\nseed = 1\ncount = 1\n\
                    template = 'x'\n[sinks.out]\ntype = \"discard\"\ninputs = [\"s\"]\n";
        let environment = Environment { variable: &|_| None, file: None, base: None, secrets: None };
        let spec = settings::parse(text, "a.toml", Format::Toml, &environment).unwrap().spec;
        let checked = Checked::new(spec, &Engine::new(1).unwrap(), None).unwrap_or_else(|faults| panic!("{faults:?}"));
        let folder = tempfile::tempdir().unwrap();
        let (service, handle) = Service::new(Job::open(checked, folder.path()).unwrap(), Settings::default());
        while handle.sender.try_send(Event::Wake).is_ok() {}
        handle.stop();
        assert!(service.wait(Duration::from_secs(3600)), "no back-off swallows it");
        // Its input would have ended by itself.
        assert_eq!(service.run().class, Class::Stopped);
    }
}
