//! The hands of an attempt: turns what its threads say into facts, and decisions into what its threads are told. Owns the
//! order in which they are told; decides nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use weir_core::checkpoint::commit::Commit;
use weir_core::checkpoint::manifest::{CommitKind, SnapshotRef, SourcePositions};
use weir_core::domain::{Class, Decision, Domain, Fact, Failure, Settings, Start};
use weir_core::graph::plan::Authority;
use weir_core::ids::{Epoch, Token};

use super::Event;
use super::gather::{Cut, Gathered};
use crate::clock;
use crate::connector::kafka::Watch;
use crate::dataflow::{self, Command, Report, Reporter, RunningShard};
use crate::pipeline::assemble::{self, Assembled};
use crate::pipeline::authority::{self, Shared};
use crate::pipeline::authority_thread::{AuthorityThread, Step, failure};
use crate::pipeline::job::Job;
use crate::pipeline::removal::Removal;
use crate::pipeline::sources;
use crate::pipeline::statistics::{Checkpoint, Subtask};
use crate::pipeline::status::{State, Status};
use crate::pipeline::wishes::Wishes;
use crate::pipeline::writer::{From, WriteJob, Writer};
use crate::state;

/// The threads of an attempt, and what is on its way between them.
pub(super) struct Attempt<'a> {
    job: &'a Job,
    pub(super) status: &'a Status,
    pub(super) wishes: &'a Wishes,
    sender: SyncSender<Event>,
    number: u32,
    start: Start,
    authority: AuthorityThread,
    shared: Shared,
    pub(super) writer: Writer<'a>,
    assembled: Option<Assembled>,
    running: Vec<RunningShard>,
    /// All subtasks, by the number of their task.
    pub(super) subtasks: Vec<Subtask>,
    /// What looks for more to read; ends with the sources that the shards own.
    watches: Vec<Watch>,
    /// What barriers cut off and no snapshot holds yet.
    gathered: Gathered,
    positions: BTreeMap<Epoch, BTreeMap<weir_core::ids::Name, SourcePositions>>,
    deterministic: bool,
}

impl<'a> Attempt<'a> {
    pub(super) fn new(
        job: &'a Job,
        status: &'a Status,
        wishes: &'a Wishes,
        sender: SyncSender<Event>,
        settings: &Settings,
    ) -> Result<Attempt<'a>, Failure> {
        let (number, start) = (settings.attempt, settings.start);
        let (authority, shared) = authority::open(job, settings)?;
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
            wishes,
            sender,
            number,
            start,
            assembled: None,
            running: Vec::new(),
            subtasks: Vec::new(),
            watches: Vec::new(),
            gathered: Gathered::default(),
            positions: BTreeMap::new(),
            deterministic: false,
        })
    }

    /// An event as a fact of the protocol.
    pub(super) fn translate(&mut self, event: Event) -> Option<Fact> {
        match event {
            Event::Fact(number, _) | Event::Report(number, _) if number != self.number => None,
            Event::Fact(_, fact) => {
                if let Fact::Prepared { snapshot, .. } = &*fact {
                    let (now, full, new) = (clock::now(), self.writer.full_bytes(), self.writer.bytes());
                    self.record(snapshot.epoch, |it| it.on_prepared(now, full, new));
                }
                Some(self.verify_named(*fact))
            }
            Event::Wake => None,
            Event::Report(_, Report::Snapshot(epoch, mut snapshot)) => {
                self.record_part(epoch, &snapshot);
                let declined = snapshot.declined.take();
                let is_whole = self.gathered.add(epoch, *snapshot);
                match declined {
                    // What it cut off is kept for the next epoch, as that of every epoch that is given up.
                    Some(why) => Some(Fact::Declined { epoch, why }),
                    None => is_whole.then_some(Fact::BarrierPassed { sink: 0, epoch }),
                }
            }
            Event::Report(_, Report::Ended) => self.gathered.on_ended().then_some(Fact::InputEnded),
            Event::Report(_, Report::Failed(error)) => {
                self.deterministic = error.is_deterministic();
                let class = match &error {
                    dataflow::Error::Record { .. } | dataflow::Error::Guest { .. } => Class::Guest,
                    dataflow::Error::Bug(_) => Class::Bug,
                    dataflow::Error::Connector { .. } | dataflow::Error::GivenUp => Class::Transient,
                    dataflow::Error::State { source: state::Error::OverBudget { .. }, .. } => Class::Halt,
                    dataflow::Error::State { .. } => Class::Io,
                };
                let why = error.to_string();
                Some(Fact::Failed(match error {
                    dataflow::Error::Connector { source, .. } => Failure { why, ..failure(source) },
                    _ => Failure { class, why },
                }))
            }
        }
    }

    /// What `CURRENT` names is checked before anything is written: nobody else can change it, since the folder's lock is
    /// held. Kafka has the last word only once it was fenced and claimed, so there the check comes with the restore.
    fn verify_named(&mut self, fact: Fact) -> Fact {
        let Fact::Peeked { commit: Some(Commit { snapshot: Some(snapshot), kind, .. }), .. } = &fact else {
            return fact;
        };
        if self.job.checked.plan.authority != Authority::Current || self.start.leaves_newest() {
            return fact;
        }
        let verified = self.writer.verify(snapshot).and_then(|manifest| match kind {
            // Nothing is read any more.
            CommitKind::Final => Ok(()),
            _ => sources::check_sources(self.job, &manifest.sources),
        });
        match verified {
            Ok(()) => fact,
            Err(failure) => Fact::Failed(failure),
        }
    }

    /// Whether the failure comes again with the same input.
    pub(super) fn is_deterministic(&self) -> bool {
        self.deterministic
    }

    /// Carries out one decision. An answer that is known at once comes back; the others come as events.
    pub(super) fn carry_out(&mut self, decision: Decision, domain: &Domain) -> Result<Option<Fact>, Failure> {
        tracing::trace!(?decision, "decided");
        let answer = self.try_carry_out(decision, domain);
        // A guest that fails before its first record: in `open`, which sees the same at each start.
        self.deterministic |= answer.as_ref().is_err_and(|failure| failure.class == Class::Guest);
        answer
    }

    fn try_carry_out(&mut self, decision: Decision, domain: &Domain) -> Result<Option<Fact>, Failure> {
        match decision {
            Decision::Peek => self.authority.send(Step::Peek)?,
            // It is decided once a second.
            Decision::Wait { again: true, .. } => {}
            Decision::Wait { host, pid, committed_at, .. } => {
                let age = committed_at.map_or("never".to_owned(), |at| {
                    format!("{:.1} s ago", (clock::now_millis() - at).max(0) as f64 / 1000.0)
                });
                tracing::warn!(
                    "process {pid} on {host} owns this pipeline; last commit {age}: waiting until it has stopped, or none came \
                     for three intervals, at least 10 s (--takeover does not wait)"
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
            Decision::Import { epoch, token } => return self.writer.import(epoch, token).map(Some),
            Decision::Begin { .. } => self.authority.send(Step::Begin)?,
            Decision::Run { .. } => self.start_shards()?,
            Decision::InjectBarrier { epoch, kind, last } => {
                let token = domain.token().unwrap_or_default();
                let begun = Checkpoint::new(epoch, token, kind, clock::now(), clock::now_millis());
                self.status.update(|facts| facts.history.begin(begun));
                self.wishes.on_trigger(epoch, kind);
                if last && self.wishes.is_draining() {
                    self.tell(&Command::Drain);
                } else if last {
                    self.tell(&Command::Pause);
                }
                self.tell(&Command::Barrier(epoch));
            }
            Decision::Cancel { epoch, why } => {
                self.decline(epoch, &why);
                self.tell(&Command::Cancel(epoch));
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
            Decision::Release { epoch } => self.tell(&Command::Released(epoch)),
            Decision::PublishLag { epoch, .. } => {
                if let Some(positions) = self.positions.remove(&epoch) {
                    self.tell(&Command::Committed(Arc::new(positions)));
                }
            }
            Decision::Retire(retire) => self.writer.retire(retire),
            Decision::Exit { .. } => {}
        }
        Ok(None)
    }

    /// Deletes a checkpoint that a user wants gone, if it may go.
    pub(super) fn remove(&mut self, removal: Removal, domain: &mut Domain) {
        match domain.remove(removal.epoch, removal.token) {
            Ok(retire) => {
                tracing::info!("checkpoint {}-{} is deleted, as asked for", removal.epoch, removal.token);
                self.writer.retire(retire);
                // Order: behind the deletion, on the same thread.
                self.writer.afterwards(Box::new(move |store| removal.done(store)));
            }
            Err(kept) => removal.refuse(kept),
        }
    }

    fn restore(&mut self, snapshot: Option<&SnapshotRef>, domain: &Domain) -> Result<(), Failure> {
        let token = domain.token().ok_or_else(|| bug("restore before the token is known"))?;
        let next = domain.committed().map_or(Epoch(1), |commit| commit.epoch.next());
        let from = match (snapshot, domain.committed()) {
            (Some(snapshot), _) => From::Snapshot(snapshot),
            (None, Some(reset)) => From::Reset(reset.epoch),
            (None, None) => From::Nothing,
        };
        let restored = self.writer.restore(from, token)?;
        if let Some(snapshot) = snapshot {
            tracing::info!("restored checkpoint {}: {} entries of state", snapshot.id(), restored.entries());
        }
        let assembled = assemble::assemble(self.job, &self.shared, restored, token, next)?;
        self.status.update(|facts| facts.metrics = Arc::clone(&assembled.metrics));
        self.assembled = Some(assembled);
        Ok(())
    }

    fn start_shards(&mut self) -> Result<(), Failure> {
        let Assembled { shards, tasks, watches, .. } =
            self.assembled.take().ok_or_else(|| bug("run before restore"))?;
        self.gathered.tasks = tasks.len();
        self.subtasks = tasks;
        self.watches = watches;
        let report = || -> Reporter {
            let (sender, number) = (self.sender.clone(), self.number);
            Box::new(move |report| drop(sender.send(Event::Report(number, report))))
        };
        let failed = |e| Failure { class: Class::Io, why: format!("cannot start a thread: {e}") };
        self.running = self.job.shards.run(shards, report).map_err(failed)?;
        self.status.update(|facts| facts.state = State::Running);
        Ok(())
    }

    fn write(&mut self, epoch: Epoch, token: Token, kind: CommitKind) -> Result<(), Failure> {
        let cut = self.gathered.take(epoch).ok_or_else(|| bug("a snapshot is asked for that no barrier cut"))?;
        self.positions.insert(epoch, cut.sources.clone());
        let Cut { sources, nodes, sealed, parts, .. } = cut;
        self.writer.write(WriteJob { epoch, token, kind, sources, nodes, sealed, parts });
        Ok(())
    }

    fn tell(&self, command: &Command) {
        self.running.iter().for_each(|shard| shard.tell(command.clone()));
    }

    /// Stops the shards and the threads of the attempt. What was handed to the writer is carried out before; an error is what it could not
    /// make visible.
    pub(super) fn end(&mut self) -> Result<(), Failure> {
        self.running.drain(..).for_each(RunningShard::stop);
        self.watches.clear();
        self.writer.drain()
    }
}

fn bug(what: &str) -> Failure {
    Failure { class: Class::Bug, why: what.to_owned() }
}
