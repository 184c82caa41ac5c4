//! One process of the model: the real `Domain`, and an edge that carries out its decisions against the model's broker and
//! store, one visible step at a time. Owns what an edge keeps (position, held rows, producer); decides nothing.

mod act;
mod possible;
mod records;

use std::collections::VecDeque;
use std::hash::{Hash, Hasher};

use weir_core::domain::{Class, Decision, Domain, Fact, Failure, Outcome, Phase, Settings, Start};
use weir_core::ids::{Epoch, Token};

use crate::broker::{Answer, Content, Row, Transaction};
use crate::fingerprint::Fingerprint;
use crate::world::{Config, EndTxn, File, Step, World};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Process {
    /// Of everything below, as of the last step that touched it.
    fingerprint: u128,
    pub(crate) id: u16,
    attempt: u16,
    /// Token of an earlier attempt of this process.
    held: Option<Token>,
    start: Start,
    domain: Domain,
    todo: VecDeque<Decision>,
    waiting: Option<Waiting>,
    calls: u16,
    claims: u16,
    producer: u16,
    /// Rows that were read.
    position: Row,
    /// Rows that were sent.
    sent: Row,
    /// Rows before the last barrier.
    cut: Row,
    /// Rows behind the barrier are held.
    is_holding: bool,
    may_read: bool,
    has_told_end: bool,
    has_told_stop: bool,
    writing: Option<Writing>,
    /// What the pointer authority publishes at its next swap.
    staged: Content,
    /// The newest file of the newest snapshot that this process knows: the next snapshot shares it.
    base: Option<File>,
    ended: Option<Class>,
    /// A rule was broken inside.
    pub(crate) broken: Option<String>,
}

/// EndTxn is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Waiting {
    is_claim: bool,
    was_resent: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Writing {
    epoch: Epoch,
    token: Token,
    position: Row,
    has_files: bool,
}

impl Hash for Process {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        hasher.write_u64(self.fingerprint as u64);
        hasher.write_u64((self.fingerprint >> 64) as u64);
    }
}

impl Process {
    pub(crate) fn start(id: u16, world: &World, config: &Config) -> Process {
        // Some users throw everything away.
        let start = if config.resets && id % 4 == 3 { Start::Empty { rewind: true } } else { Start::Newest };
        Process::attempt(id, 0, None, start, world, config)
    }

    fn attempt(id: u16, attempt: u16, held: Option<Token>, start: Start, world: &World, config: &Config) -> Process {
        let settings =
            Settings { process: id.to_string(), attempt: attempt.into(), held, start, ..config.settings.clone() };
        let mut process = Process {
            fingerprint: 0,
            id,
            attempt,
            held,
            start,
            domain: Domain::new(settings),
            todo: VecDeque::new(),
            waiting: None,
            calls: 0,
            claims: 0,
            producer: 0,
            position: 0,
            sent: 0,
            cut: 0,
            is_holding: false,
            may_read: false,
            has_told_end: false,
            has_told_stop: false,
            writing: None,
            staged: Content::default(),
            base: None,
            ended: None,
            broken: None,
        };
        process.tell(world, Fact::Booted);
        process
    }

    /// The attempt is over; a broken one is kept as evidence.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended.is_some() && self.broken.is_none()
    }

    pub(crate) fn class(&self) -> Option<Class> {
        self.ended
    }

    pub(crate) fn awaits(&self, request: EndTxn) -> bool {
        self.waiting.is_some() && (request.process, request.call) == (self.id, self.calls)
    }

    /// The next attempt in the same process, where the class asks for one.
    pub(crate) fn again(&self, world: &World, config: &Config) -> Option<Process> {
        let is_repeated = config.is_simulation && matches!(self.ended, Some(Class::Transient | Class::Unreachable));
        let held = self.domain.token().or(self.held);
        let start = if self.domain.has_run() { Start::Newest } else { self.start };
        is_repeated.then(|| Process::attempt(self.id, self.attempt + 1, held, start, world, config))
    }

    pub(crate) fn is_running(&self) -> bool {
        self.domain.phase() == Phase::Run
    }

    pub(crate) fn take(&mut self, step: Step, world: &mut World, config: &Config) {
        match step {
            Step::Row(_) => {
                self.position += 1;
                if !self.is_holding {
                    self.send_row(world, config);
                }
            }
            Step::Trigger(_) => self.tell(world, Fact::Requested { savepoint: false }),
            Step::Stop(_) => {
                self.has_told_stop = true;
                self.tell(world, Fact::Stop);
            }
            Step::End(_) => {
                self.has_told_end = true;
                self.tell(world, Fact::InputEnded);
            }
            Step::Act(_) => self.act(None, world, config),
            Step::ActStale(_, shown) => self.act(Some(shown), world, config),
            Step::Write(_) => self.write(world, config),
            Step::NoSpace(_) => {
                world.declines += 1;
                if let Some(writing) = self.writing.take() {
                    self.tell(world, Fact::NoSpace { epoch: writing.epoch, why: String::new() });
                }
            }
            Step::Resend(_) => {
                world.resends += 1;
                if let Some(waiting) = &mut self.waiting {
                    waiting.was_resent = true;
                }
                world.send(EndTxn { process: self.id, producer: self.producer, call: self.calls });
            }
            _ => {}
        }
    }

    /// Carries out what nobody else could see the order of.
    pub(crate) fn settle(&mut self, world: &mut World, config: &Config) {
        loop {
            if config.is_simulation && self.domain.wakeup().is_some_and(|at| at <= world.now) {
                self.tell(world, Fact::Tick);
            }
            if self.ended.is_some() || self.waiting.is_some() || !self.is_local(world, config) {
                break;
            }
            self.act(None, world, config);
        }
        if !config.is_simulation {
            self.fingerprint = self.take_fingerprint();
        }
    }

    fn take_fingerprint(&self) -> u128 {
        let mut hasher = Fingerprint::default();
        (self.id, self.attempt, self.calls, self.claims, self.producer, &self.held, &self.waiting).hash(&mut hasher);
        (self.position, self.sent, self.cut, self.is_holding, self.may_read, &self.writing, &self.base)
            .hash(&mut hasher);
        (&self.domain, &self.todo, &self.staged, self.ended.is_some(), self.broken.is_some()).hash(&mut hasher);
        hasher.both()
    }

    /// Whether the next decision may be carried out in the same step as what came before it: because it touches nothing that
    /// others see; or because an order in which another step comes between is no different from one in which this process
    /// sleeps (a CLAIM or a COMMIT record of a producer that is fenced meanwhile, a snapshot that is gone meanwhile). The
    /// simulation takes them one by one all the same.
    fn is_local(&self, world: &World, config: &Config) -> bool {
        let is_ready = !matches!(world.broker.transaction, Transaction::Prepared(_));
        match self.todo.front() {
            None => false,
            Some(Decision::Peek) => !config.is_simulation && config.rules().resolve_after_fence,
            Some(Decision::Claim(_) | Decision::Mark(_)) => !config.is_simulation && is_ready,
            Some(Decision::Restore { .. }) => !config.is_simulation && config.rules().token_names,
            Some(Decision::Commit { .. }) => !config.is_pointer,
            Some(Decision::Release { .. } | Decision::Cancel { .. }) => self.sent == self.position,
            Some(Decision::NoteCommitted { .. }) => !config.is_simulation,
            Some(Decision::Fence { .. } | Decision::Resolve { .. } | Decision::List | Decision::Retire(_)) => false,
            Some(_) => true,
        }
    }

    /// An answer to EndTxn came back.
    pub(crate) fn on_answer(&mut self, call: u16, answer: Answer, world: &World) {
        if call != self.calls {
            return;
        }
        let Some(waiting) = self.waiting.take() else { return };
        let outcome = match answer {
            Answer::Ok => Outcome::Committed { may_have_resent: waiting.was_resent },
            _ => Outcome::Unknown(format!("{answer:?}")),
        };
        self.tell(world, if waiting.is_claim { Fact::Claimed(outcome) } else { Fact::Committed(outcome) });
    }

    fn tell(&mut self, world: &World, fact: Fact) {
        self.todo.extend(self.domain.on(world.now, fact));
    }

    fn fail(&mut self, world: &World, class: Class, why: &str) {
        self.tell(world, Fact::Failed(Failure { class, why: why.to_owned() }));
    }
}
