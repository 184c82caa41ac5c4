//! The world of the protocol's tests: a broker, a snapshot store, requests under way, and processes that run the real
//! `Domain`. Owns which steps are possible and what each does, and judges every state; chooses none (`explorer`, `simulation`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use weir_core::checkpoint::manifest::CommitKind;
use weir_core::domain::{Class, Rules, Settings};
use weir_core::ids::{Epoch, Token};

use crate::broker::{Broker, Record, Row, Transaction};
use crate::process::Process;

/// Bounds and switches of a run. Not part of a state.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    /// Rows of input.
    pub(crate) rows: Row,
    /// Rows that are read at most since the last barrier.
    pub(crate) cut_max: u8,
    /// Rows that are read at most behind a barrier.
    pub(crate) held_max: u8,
    /// CLAIMs that one process may write.
    pub(crate) claims_max: u16,
    /// Copies of EndTxn in all.
    pub(crate) resends_max: u8,
    /// Snapshots in all that find no space.
    pub(crate) declines_max: u8,
    /// Processes that run at the same time.
    pub(crate) slots: usize,
    /// Processes that start in all.
    pub(crate) starts_max: u16,
    /// The authority is the `CURRENT` pointer with compare-and-swap, not a transaction.
    pub(crate) is_pointer: bool,
    /// Whether anything is ever deleted: without, a mutant must be found by what it does to rows.
    pub(crate) deletes: bool,
    /// RESOLVE reads from a stale leader or behind a stuck last stable offset (a mutant: "read until your own CLAIM" is
    /// what the rule of the authority is).
    pub(crate) stale_resolve: bool,
    /// Steps that only the simulation takes: crashes at each, time, politeness, broker time-outs, lost answers, ends.
    pub(crate) is_simulation: bool,
    /// Every fourth process starts with `--from empty --rewind`.
    pub(crate) resets: bool,
    /// For the domains.
    pub(crate) settings: Settings,
}

impl Config {
    pub(crate) fn rules(&self) -> Rules {
        self.settings.rules
    }
}

/// A stored file: who wrote it, for which epoch.
pub(crate) type File = (i64, u64);

#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(crate) struct Store {
    pub(crate) manifests: BTreeMap<(u64, i64), Snapshot>,
    pub(crate) files: BTreeSet<File>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Snapshot {
    pub(crate) position: Row,
    pub(crate) files: Vec<File>,
    pub(crate) noted: bool,
}

/// An EndTxn on its way. `call` tells an answer to this call from one to an older call of the same process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct EndTxn {
    pub(crate) process: u16,
    pub(crate) producer: u16,
    pub(crate) call: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct World {
    pub(crate) now: Duration,
    pub(crate) broker: Arc<Broker>,
    pub(crate) store: Arc<Store>,
    /// Sorted.
    pub(crate) network: Vec<EndTxn>,
    pub(crate) slots: Vec<Option<Arc<Process>>>,
    pub(crate) started: u16,
    pub(crate) resends: u8,
    pub(crate) declines: u8,
    /// How the last process ended that ended by itself.
    pub(crate) last_end: Option<Class>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// A new process in this slot.
    Start(usize),
    Crash(usize),
    /// Reads a row, and sends it unless it is behind a barrier.
    Row(usize),
    /// Asks for a checkpoint.
    Trigger(usize),
    /// Asks for a graceful stop.
    Stop(usize),
    /// All rows are read.
    End(usize),
    /// Carries out the next decision.
    Act(usize),
    /// The same, where a stale leader shows only so many records of the commit topic.
    ActStale(usize, usize),
    /// The snapshot's files, then its manifest.
    Write(usize),
    /// No space for it.
    NoSpace(usize),
    /// Sends EndTxn once more.
    Resend(usize),
    /// A copy of EndTxn reaches the coordinator; the answer comes back or not.
    Deliver(usize, bool),
    /// Markers are written.
    Complete,
    /// The coordinator aborts the open transaction.
    Timeout,
    /// Time passes.
    Wait(u64),
}

impl World {
    pub(crate) fn new(config: &Config) -> World {
        World {
            now: Duration::ZERO,
            broker: Arc::new(Broker::new()),
            store: Arc::default(),
            network: Vec::new(),
            slots: vec![None; config.slots],
            started: 0,
            resends: 0,
            declines: 0,
            last_end: None,
        }
    }

    /// Everything that can happen next.
    pub(crate) fn steps(&self, config: &Config) -> Vec<Step> {
        let mut steps = Vec::new();
        let free = self.slots.iter().position(Option::is_none);
        // Slots are alike: the first free one will do.
        if let Some(slot) = free.filter(|_| self.started < config.starts_max) {
            steps.push(Step::Start(slot));
        }
        for (index, process) in self.slots.iter().enumerate() {
            if let Some(process) = process {
                process.steps(index, self, config, &mut steps);
            }
        }
        let is_prepared = matches!(self.broker.transaction, Transaction::Prepared(_));
        for (index, request) in self.network.iter().enumerate() {
            let is_copy = index > 0 && self.network[index - 1] == *request;
            // While markers are written the answer is CONCURRENT_TRANSACTIONS, and the client asks again.
            let is_early = is_prepared && request.producer == self.broker.producer;
            if !is_copy && !is_early {
                steps.push(Step::Deliver(index, true));
                if config.is_simulation {
                    steps.push(Step::Deliver(index, false));
                }
            }
        }
        if is_prepared {
            steps.push(Step::Complete);
        }
        if config.is_simulation && matches!(self.broker.transaction, Transaction::Open(_)) {
            steps.push(Step::Timeout);
        }
        steps
    }

    /// Takes a step, and everything after it that nobody else could see the order of. `Err`: a rule is broken.
    pub(crate) fn apply(&mut self, step: Step, config: &Config) -> Result<(), String> {
        match step {
            Step::Start(slot) => {
                self.started += 1;
                let process = Process::start(self.started, self, config);
                self.slots[slot] = Some(Arc::new(process));
                self.with(slot, config, |_, _| {});
            }
            Step::Crash(slot) => self.slots[slot] = None,
            Step::Deliver(index, is_answered) => self.deliver(index, is_answered, config),
            Step::Complete => self.broker().complete(),
            Step::Timeout => self.broker().abort(),
            Step::Wait(millis) => self.now += Duration::from_millis(millis),
            Step::Row(slot)
            | Step::Trigger(slot)
            | Step::Stop(slot)
            | Step::End(slot)
            | Step::Act(slot)
            | Step::ActStale(slot, _)
            | Step::Write(slot)
            | Step::NoSpace(slot)
            | Step::Resend(slot) => self.with(slot, config, |process, world| process.take(step, world, config)),
        }
        if config.is_simulation {
            for slot in 0..self.slots.len() {
                self.with(slot, config, |_, _| {});
            }
        } else {
            self.forget_the_dead();
        }
        self.judge()
    }

    /// Lends the process of a slot out, and takes it back unless it has ended. States share the processes that a step does
    /// not touch.
    fn with(&mut self, slot: usize, config: &Config, act: impl FnOnce(&mut Process, &mut World)) {
        let Some(mut shared) = self.slots[slot].take() else { return };
        let process = Arc::make_mut(&mut shared);
        act(process, self);
        process.settle(self, config);
        if config.is_simulation && process.has_ended() {
            self.last_end = process.class();
        }
        self.slots[slot] = if process.has_ended() { process.again(self, config).map(Arc::new) } else { Some(shared) };
    }

    fn deliver(&mut self, index: usize, is_answered: bool, config: &Config) {
        let request = self.network.remove(index);
        let answer = self.broker().end(request.producer);
        if is_answered && let Some(slot) = self.slot_of(request.process) {
            self.with(slot, config, |process, world| process.on_answer(request.call, answer, world));
        }
    }

    /// A request of a fenced producer whose answer nobody awaits changes nothing any more: states that differ only in such
    /// requests are one.
    fn forget_the_dead(&mut self) {
        let mut network = std::mem::take(&mut self.network);
        network.retain(|request| request.producer == self.broker.producer || self.is_awaited(*request));
        self.network = network;
    }

    /// Whether the newest COMMIT throws everything away.
    pub(crate) fn is_reset(&self) -> bool {
        let (_, records) = self.broker.decided();
        newest_commit(records).is_some_and(|(kind, ..)| kind == CommitKind::Reset)
    }

    /// Whether a process still waits for the answer to this request.
    pub(crate) fn is_awaited(&self, request: EndTxn) -> bool {
        self.slots.iter().flatten().any(|process| process.awaits(request))
    }

    pub(crate) fn is_alive(&self, id: u16) -> bool {
        self.slot_of(id).is_some()
    }

    fn slot_of(&self, id: u16) -> Option<usize> {
        self.slots.iter().position(|slot| slot.as_ref().is_some_and(|process| process.id == id))
    }

    /// States share what a step does not change.
    pub(crate) fn broker(&mut self) -> &mut Broker {
        Arc::make_mut(&mut self.broker)
    }

    pub(crate) fn store(&mut self) -> &mut Store {
        Arc::make_mut(&mut self.store)
    }

    pub(crate) fn send(&mut self, request: EndTxn) {
        let at = self.network.partition_point(|other| *other <= request);
        self.network.insert(at, request);
    }

    /// What must hold in every state: the sink has rows 0 to k−1 once each and in order, and the newest COMMIT names a
    /// snapshot that exists, with all its files, and that holds position k.
    fn judge(&self) -> Result<(), String> {
        let (rows, records) = self.broker.decided();
        let mut count: Row = 0;
        for row in rows {
            if row != count {
                let (rows, _) = self.broker.decided();
                return Err(format!("the sink holds {:?}", rows.collect::<Vec<_>>()));
            }
            count += 1;
        }
        let newest = newest_commit(records);
        let position = match newest {
            None | Some((CommitKind::Reset, ..)) => 0,
            Some((_, epoch, named)) => {
                let Some(snapshot) = self.store.manifests.get(&(epoch, named)) else {
                    return Err(format!("snapshot {epoch}-{named} of the newest commit is gone"));
                };
                if let Some(file) = snapshot.files.iter().find(|file| !self.store.files.contains(*file)) {
                    return Err(format!("file {file:?} of the newest commit's snapshot {epoch}-{named} is gone"));
                }
                snapshot.position
            }
        };
        if position != count {
            return Err(format!("the snapshot of the newest commit holds {position} rows, the sink {count}"));
        }
        if let Some(why) = self.slots.iter().flatten().find_map(|process| process.broken.clone()) {
            return Err(why);
        }
        Ok(())
    }
}

/// Kind, epoch, and the token in the name of the snapshot.
fn newest_commit(records: impl DoubleEndedIterator<Item = Record>) -> Option<(CommitKind, u64, i64)> {
    records.rev().find_map(|record| match record {
        Record::Commit { kind, epoch, named, .. } => Some((kind, epoch, named)),
        Record::Claim { .. } => None,
    })
}

pub(crate) fn file_name(file: File) -> String {
    format!("{}-{}", file.0, file.1)
}

pub(crate) fn file_of(name: &str) -> File {
    let (token, epoch) = name.rsplit_once('-').expect("a name of the model");
    (token.parse().expect("a token"), epoch.parse().expect("an epoch"))
}

pub(crate) fn key(epoch: Epoch, token: Token) -> (u64, i64) {
    (epoch.0, token.0)
}
