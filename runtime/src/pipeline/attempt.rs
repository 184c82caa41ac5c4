//! One run of a pipeline between restores: drives the protocol of `weir_core::domain` and carries out what it decides.
//! Owns the order in which the threads of an attempt are told things; holds no rule of the protocol itself.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use weir_core::checkpoint::manifest::{CommitKind, SnapshotRef, SourcePositions};
use weir_core::domain::{Class, Decision, Domain, Fact, Failure, Outcome};
use weir_core::ids::{Epoch, Token};

use super::assemble::{self, Assembled};
use super::authority_thread::{AuthorityThread, Step, failure};
use super::job::Job;
use super::status::{Checkpointed, State, Status};
use super::writer::{WriteJob, Writer};
use crate::clock;
use crate::dataflow::{self, Command, Report, Shard, ShardSnapshot};

/// What a user wants from a running pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    /// A last checkpoint, then the end.
    Stop,
}

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
    /// It got as far as reading: a reset that was asked for is not repeated.
    pub(super) ran: bool,
    /// Our token, for the next attempt.
    pub(super) token: Option<Token>,
}

/// What reaches the control loop. Answers carry the number of their attempt: one that comes late belongs to nobody.
pub(super) enum Event {
    Fact(u32, Box<Fact>),
    Report(u32, Report),
    Wish(Wish),
}

/// Runs one attempt to its end. `events` is the loop's own queue, so that wishes reach it.
pub(super) fn run(
    job: &Job,
    settings: weir_core::domain::Settings,
    status: &Status,
    sender: &SyncSender<Event>,
    events: &Receiver<Event>,
) -> Ending {
    let origin = clock::now();
    let mut attempt = match Attempt::new(job, status, sender.clone(), settings.attempt) {
        Ok(attempt) => attempt,
        Err(failure) => return ended(failure, false, None),
    };
    let mut domain = Domain::new(settings);
    let mut facts = VecDeque::from([Fact::Booted]);
    let mut committed = false;
    loop {
        let fact = match facts.pop_front() {
            Some(fact) => fact,
            None => {
                let wait =
                    domain.wakeup().map(|at| at.saturating_sub(origin.elapsed())).unwrap_or(Duration::from_secs(3600));
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
                // An end whose last rows could not be made visible is none.
                let ending = Failure { class, why };
                let Failure { class, why } = match class {
                    Class::Ended | Class::Stopped => failed.unwrap_or(ending),
                    _ => ending,
                };
                attempt.end();
                let deterministic = attempt.deterministic;
                return Ending { class, why, deterministic, committed, ran: domain.has_run(), token: domain.token() };
            }
            match attempt.carry_out(decision, &domain) {
                Ok(Some(answer)) => facts.push_back(answer),
                Ok(None) => {}
                Err(failure) => {
                    // A guest that fails before its first record: in `open`, which sees the same at each start.
                    attempt.deterministic |= failure.class == Class::Guest;
                    failed.get_or_insert(failure.clone());
                    facts.push_back(Fact::Failed(failure));
                }
            }
        }
    }
}

fn ended(failure: Failure, deterministic: bool, token: Option<Token>) -> Ending {
    Ending { class: failure.class, why: failure.why, deterministic, committed: false, ran: false, token }
}

struct Running {
    commands: SyncSender<Command>,
    thread: std::thread::JoinHandle<()>,
}

/// A checkpoint that is under way, for the status.
struct InFlight {
    epoch: Epoch,
    kind: CommitKind,
    started: Instant,
    pause: Duration,
}

struct Attempt<'a> {
    job: &'a Job,
    status: &'a Status,
    sender: SyncSender<Event>,
    number: u32,
    authority: AuthorityThread,
    shared: assemble::Shared,
    writer: Writer,
    assembled: Option<Assembled>,
    running: Option<Running>,
    in_flight: Option<InFlight>,
    /// What barriers cut off and no snapshot holds yet. That of an epoch that was declined meanwhile stays here: its sealed
    /// state and its parts go into the next snapshot.
    cut: BTreeMap<Epoch, Box<ShardSnapshot>>,
    positions: BTreeMap<Epoch, BTreeMap<weir_core::ids::Name, SourcePositions>>,
    deterministic: bool,
}

impl<'a> Attempt<'a> {
    fn new(job: &'a Job, status: &'a Status, sender: SyncSender<Event>, number: u32) -> Result<Attempt<'a>, Failure> {
        let (authority, shared) = assemble::authority(job)?;
        let report = |sender: &SyncSender<Event>| {
            let sender = sender.clone();
            // Nobody listening means that the attempt is over.
            move |fact| drop(sender.send(Event::Fact(number, Box::new(fact))))
        };
        let io = |e: std::io::Error| Failure { class: Class::Io, why: format!("cannot start a thread: {e}") };
        Ok(Attempt {
            authority: AuthorityThread::start(authority, report(&sender)).map_err(io)?,
            writer: Writer::new(job, report(&sender)),
            shared,
            job,
            status,
            sender,
            number,
            assembled: None,
            running: None,
            in_flight: None,
            cut: BTreeMap::new(),
            positions: BTreeMap::new(),
            deterministic: false,
        })
    }

    /// An event as a fact of the protocol.
    fn translate(&mut self, event: Event) -> Option<Fact> {
        match event {
            Event::Fact(number, _) | Event::Report(number, _) if number != self.number => None,
            Event::Fact(_, fact) => Some(*fact),
            Event::Wish(Wish::Stop) => {
                self.status.update(|facts| facts.state = State::Stopping);
                Some(Fact::Stop)
            }
            Event::Report(_, Report::Snapshot(snapshot)) => {
                let epoch = snapshot.epoch;
                if let Some(in_flight) = &mut self.in_flight {
                    in_flight.pause = snapshot.pause;
                }
                self.cut.insert(epoch, snapshot);
                Some(Fact::BarrierPassed { sink: 0, epoch })
            }
            Event::Report(_, Report::Ended) => Some(Fact::InputEnded),
            Event::Report(_, Report::Failed(error)) => {
                self.deterministic = error.is_deterministic();
                let class = match &error {
                    dataflow::Error::Record { .. } | dataflow::Error::Guest { .. } => Class::Guest,
                    dataflow::Error::Bug(_) => Class::Bug,
                    dataflow::Error::Connector { .. } => Class::Transient,
                };
                let why = error.to_string();
                Some(Fact::Failed(match error {
                    dataflow::Error::Connector { source, .. } => Failure { why, ..failure(source) },
                    _ => Failure { class, why },
                }))
            }
        }
    }

    /// Carries out one decision. An answer that is known at once comes back; the others come as events.
    fn carry_out(&mut self, decision: Decision, domain: &Domain) -> Result<Option<Fact>, Failure> {
        tracing::trace!(?decision, "decided");
        match decision {
            Decision::Peek => self.authority.send(Step::Peek)?,
            Decision::Wait { host, pid, committed_at, until: _ } => {
                let age = committed_at.map_or("never".to_owned(), |at| {
                    format!("{:.1} s ago", (clock::now_millis() - at).max(0) as f64 / 1000.0)
                });
                tracing::warn!(
                    "process {pid} on {host} owns this pipeline; last commit {age}: waiting for it to stop (--takeover does not wait)"
                );
            }
            Decision::Fence { ids } => self.authority.send(Step::Fence(ids))?,
            Decision::Claim(claim) => self.authority.send(Step::Claim(claim))?,
            Decision::Resolve { nonce } => self.authority.send(Step::Resolve(nonce))?,
            Decision::List => return self.writer.list().map(|inventory| Some(Fact::Listed(inventory))),
            Decision::Restore { snapshot } => {
                self.restore(snapshot.as_ref(), domain)?;
                return Ok(Some(Fact::Restored));
            }
            Decision::Begin { .. } => self.authority.send(Step::Begin)?,
            Decision::Run { .. } => self.start_shard()?,
            Decision::InjectBarrier { epoch, kind, last } => {
                let in_flight = InFlight { epoch, kind, started: clock::now(), pause: Duration::ZERO };
                self.in_flight = Some(in_flight);
                if last {
                    self.tell(Command::Pause);
                }
                self.tell(Command::Barrier(epoch));
            }
            Decision::Cancel { epoch, why } => {
                tracing::warn!("checkpoint {epoch} is declined: {why}");
                self.status.update(|facts| facts.declined += 1);
                self.in_flight = None;
                self.tell(Command::Cancel(epoch));
            }
            Decision::Flush { epoch } => self.authority.send(Step::Flush(epoch))?,
            Decision::WriteSnapshot { epoch, token, kind } => self.write(epoch, token, kind)?,
            Decision::Mark(mut commit) => {
                commit.at = clock::now_millis();
                self.authority.send(Step::Mark(commit))?;
            }
            Decision::Commit { .. } => self.authority.send(Step::Commit)?,
            Decision::Publish { snapshot } => self.writer.publish(snapshot)?,
            Decision::NoteCommitted { snapshot } => self.on_committed(snapshot),
            Decision::HoldRows { epoch } => {
                tracing::warn!(
                    "the commit of epoch {epoch} was slow, a copy of it may be under way: the id is claimed again"
                );
            }
            Decision::Release { epoch } => {
                self.tell(Command::Released(epoch));
                crate::crash::point("hold.released");
            }
            Decision::PublishLag { epoch, .. } => {
                if let Some(positions) = self.positions.remove(&epoch) {
                    self.tell(Command::Committed(positions));
                }
            }
            Decision::Retire(retire) => self.writer.retire(retire),
            Decision::Exit { .. } => {}
        }
        Ok(None)
    }

    fn restore(&mut self, snapshot: Option<&SnapshotRef>, domain: &Domain) -> Result<(), Failure> {
        let token = domain.token().ok_or_else(|| bug("restore before the token is known"))?;
        let next = domain.committed().map_or(Epoch(1), |commit| commit.epoch.next());
        let restored = self.writer.restore(self.job, snapshot, token)?;
        if let Some(snapshot) = snapshot {
            tracing::info!("restored checkpoint {}: {} entries of state", snapshot.id(), restored.entries());
        }
        let assembled = assemble::assemble(self.job, &self.shared, restored, token, next, sync_channel(64))?;
        self.status.update(|facts| facts.metrics = Arc::clone(&assembled.metrics));
        self.assembled = Some(assembled);
        Ok(())
    }

    fn start_shard(&mut self) -> Result<(), Failure> {
        let assembled = self.assembled.take().ok_or_else(|| bug("run before restore"))?;
        let sender = self.sender.clone();
        let number = self.number;
        let report = move |report| drop(sender.send(Event::Report(number, report)));
        let Assembled { nodes, edges, commands, inbox, .. } = assembled;
        let shard = Shard::new(nodes, edges, inbox, Box::new(report.clone()));
        let thread = std::thread::Builder::new().name("shard".to_owned()).spawn(move || {
            if let Err(panic) = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| shard.run())) {
                let what = panic.downcast_ref::<String>().cloned();
                let what = what.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned())).unwrap_or_default();
                report(Report::Failed(dataflow::Error::Bug(format!("the shard panicked: {what}"))));
            }
        });
        let thread = thread.map_err(|e| Failure { class: Class::Io, why: format!("cannot start a thread: {e}") })?;
        self.running = Some(Running { commands, thread });
        self.status.update(|facts| facts.state = State::Running);
        Ok(())
    }

    fn write(&mut self, epoch: Epoch, token: Token, kind: CommitKind) -> Result<(), Failure> {
        let (mut sealed, mut parts, mut newest) = (Vec::new(), Vec::new(), None);
        for (cut, snapshot) in std::mem::take(&mut self.cut) {
            let ShardSnapshot { sources, nodes, parts: mut staged, .. } = *snapshot;
            parts.append(&mut staged);
            let mut snapshots = BTreeMap::new();
            for (name, node, state) in nodes {
                snapshots.insert(name, node);
                sealed.push(state);
            }
            newest = Some((cut, sources, snapshots));
        }
        let Some((_, sources, snapshots)) = newest.filter(|(cut, ..)| *cut == epoch) else {
            return Err(bug("a snapshot is asked for that no barrier cut"));
        };
        self.positions.insert(epoch, sources.clone());
        self.writer.write(WriteJob { epoch, token, kind, sources, nodes: snapshots, sealed, parts });
        Ok(())
    }

    fn on_committed(&mut self, snapshot: SnapshotRef) {
        if let Some(done) = self.in_flight.take().filter(|done| done.epoch == snapshot.epoch) {
            let checkpoint = Checkpointed {
                epoch: done.epoch,
                completed_at: clock::now_millis(),
                duration: done.started.elapsed(),
                pause: done.pause,
                bytes: self.writer.bytes(),
            };
            tracing::debug!(epoch = done.epoch.0, kind = ?done.kind, ms = checkpoint.duration.as_millis() as u64, "committed");
            self.status.update(|facts| {
                facts.committed += 1;
                facts.last_checkpoint = Some(checkpoint);
            });
        }
        crate::crash::point("epoch.advanced");
        self.writer.committed(snapshot);
    }

    fn tell(&self, command: Command) {
        if let Some(running) = &self.running {
            // A shard that is gone has reported why.
            let _ = running.commands.send(command);
        }
    }

    /// Stops the threads of the attempt. What was handed to the writer is carried out before.
    fn end(&mut self) {
        if let Some(running) = self.running.take() {
            let _ = running.commands.send(Command::Stop);
            if running.thread.join().is_err() {
                tracing::error!("the shard panicked while it stopped");
            }
        }
        self.writer.drain();
    }
}

fn bug(what: &str) -> Failure {
    Failure { class: Class::Bug, why: what.to_owned() }
}
