//! The thread of one pipeline of a server: waits for what ran before it, checks what nobody checked yet, runs the service,
//! and keeps how it came to rest. Between two steps the newest wish counts, which is the entry's record.

use std::sync::Arc;

use weir_core::domain::Class;
use weir_core::ids::Name;

use super::check::check_again;
use super::entry::Entry;
use super::record::{Desired, Record, Rest};
use super::revision::Revision;
use super::{Error, Manager};
use super::{operation, origin};
use crate::clock;
use crate::journal::What;
use crate::pipeline::job::Checked;
use crate::pipeline::service::{Outcome, Service, Settings};
use crate::pipeline::shards::Shards;
use crate::pipeline::status::{State, Turn};
use crate::settings::Style;

/// What one thread runs.
struct Run {
    name: Name,
    number: u64,
    revision: Revision,
    checked: Option<Checked>,
}

impl Manager {
    /// Starts what the record says, after what runs now has stopped. What an apply has checked is not compiled again.
    pub(super) fn start(&self, entry: &mut Entry, checked: Option<Checked>) {
        let before = entry.thread.take();
        if let Some(handle) = entry.take_handle() {
            handle.stop();
        }
        entry.problem = None;
        entry.run += 1;
        let run = Run { name: entry.record.name.clone(), number: entry.run, revision: entry.revision.clone(), checked };
        let manager = self.clone();
        let spawned = std::thread::Builder::new().name(format!("pipeline {}", run.name)).spawn(move || {
            // Says in each log line whose it is.
            let _in = tracing::error_span!("pipeline", pipeline = %run.name).entered();
            if let Some(before) = before {
                let _ = before.join();
            }
            manager.run(run);
        });
        match spawned {
            Ok(thread) => entry.thread = Some(thread),
            Err(e) => entry.problem = Some(format!("cannot start a thread: {e}")),
        }
    }

    fn run(&self, run: Run) {
        let Run { name, number, revision, checked } = run;
        let state = self.state(&name);
        // What ran before may have made one more when it stopped.
        self.update(&name, number, |entry| entry.look_for_checkpoint(&state));
        let checked = match checked {
            Some(checked) => Ok(checked),
            None => check_again(self.ground(), &name, &revision, true).map_err(|e| match e {
                Error::Invalid(faults) => faults.render(Style::Plain),
                e => e.to_string(),
            }),
        };
        let kept = self.memory(&name);
        let origin = self.update(&name, number, |entry| self.begin_origin(entry)).flatten();
        let (mut job, start) = match checked.and_then(|checked| origin::open(origin.as_ref(), checked, &state, kept)) {
            Ok(opened) => opened,
            Err(problem) => {
                match self.is_on_trial(&name, number) {
                    true => tracing::warn!("revision {} cannot start: {problem}", revision.number),
                    false => tracing::error!("the pipeline cannot start: {problem}"),
                }
                self.tell(&name, State::Failed, &problem);
                return self.on_rest(&name, number, Rest::Failed(problem));
            }
        };
        job.budget = Arc::clone(&self.0.budget);
        job.shards = Shards::on(&self.0.shards);
        if let Ok(journal) = self.journal(name.as_str()) {
            job.journal = journal;
        }
        let memory = job.memory.clone();
        let trial = self.update(&name, number, |entry| self.begin_trial(entry)).flatten();
        let settings = Settings { start, waits_for_brokers: true, trial, ..Settings::default() };
        let (service, handle) = Service::new(job, settings);
        let (weak, observed) = (Arc::downgrade(&self.0), name.clone());
        handle.status.observe(Box::new(move |turn| {
            // A server that is gone keeps nothing.
            let Some(inner) = weak.upgrade() else { return };
            let manager = Manager(inner);
            match turn {
                Turn::State(state) => {
                    if !matches!(state, State::Created | State::Starting) {
                        manager.on_started(&observed);
                    }
                    manager.on_state(&observed, number, state);
                }
                Turn::FirstCommit => drop(manager.update(&observed, number, |entry| {
                    manager.end_trial(entry);
                    manager.end_origin(entry);
                })),
            }
        }));
        // Stopped or applied again while it was being checked: the newer wish counts.
        let is_wanted = self.update(&name, number, |entry| {
            let is_wanted = entry.record.desired == Desired::Running;
            if is_wanted {
                entry.handle = Some(handle);
                entry.memory = memory;
            }
            is_wanted
        });
        if is_wanted != Some(true) {
            return self.on_state(&name, number, State::Stopped);
        }
        let door = (self.0.open_door)(self, &state);
        if let Err(e) = &door {
            tracing::warn!("no control socket: {e}");
        }
        let outcome = service.run();
        drop(door);
        let rest = rest(&outcome);
        let is_on_trial = self.is_on_trial(&name, number);
        match &rest {
            // The revision before it comes back, which says so: the pipeline goes on.
            Some(Rest::Failed(why) | Rest::CircuitOpen(why)) if is_on_trial => {
                tracing::warn!("revision {} does not stand its trial: {why}", revision.number);
            }
            Some(Rest::Failed(why)) => tracing::error!("the pipeline has failed: {why}"),
            Some(Rest::CircuitOpen(why)) => tracing::error!("the pipeline's circuit is open: {why}"),
            Some(Rest::Ended(why)) => tracing::info!("the pipeline has ended: {why}"),
            None => tracing::info!("the pipeline is at rest: {}", outcome.why),
        }
        if let Some(rest) = rest {
            self.on_rest(&name, number, rest);
        }
    }

    /// Whether the revision before it comes back where this run fails.
    fn is_on_trial(&self, name: &Name, number: u64) -> bool {
        self.update(name, number, |entry| entry.record.trial.is_some()) == Some(true)
    }

    /// Of a run that came to nothing before there was a service that could tell.
    fn tell(&self, name: &Name, state: State, why: &str) {
        if let Ok(journal) = self.journal(name.as_str()) {
            let what = What::State { state: state.as_str(), why: Some(why.to_owned()) };
            journal.tell(clock::now_millis(), what);
        }
    }

    /// Changes the entry if this is still its run.
    fn update<R>(&self, name: &Name, number: u64, change: impl FnOnce(&mut Entry) -> R) -> Option<R> {
        let mut entries = self.entries();
        let entry = entries.get_mut(name).filter(|entry| entry.run == number)?;
        (!self.is_shutting_down()).then(|| change(entry))
    }

    /// Ends the operation that waits for this state.
    fn on_state(&self, name: &Name, number: u64, state: State) {
        let wants_running = |record: &Record| operation::current(&record.operations).map(|it| it.kind.wants_running());
        self.update(name, number, |entry| {
            if entry.record.trial.is_some() {
                // Its first commit, or its failure, decides.
                return;
            }
            let result = match (state, wants_running(&entry.record)) {
                // One that has ended was run to its end.
                (State::Running | State::Stopped, Some(true)) | (State::Stopped, Some(false)) => Ok(()),
                (State::Failed | State::CircuitOpen, Some(_)) => Err(entry.view().problem.unwrap_or_default()),
                _ => return,
            };
            let mut record = entry.record.clone();
            if operation::end(&mut record.operations, result) {
                self.keep(entry, record);
            }
        });
    }

    /// Keeps how it came to rest by itself. A kill before this costs one more start, which comes to the same.
    fn on_rest(&self, name: &Name, number: u64, rest: Rest) {
        self.update(name, number, |entry| {
            if let (Some(trial), Rest::Failed(why) | Rest::CircuitOpen(why)) = (entry.record.trial.clone(), &rest) {
                match self.take_back(entry, &trial, why) {
                    Ok(()) => return,
                    Err(error) => {
                        tracing::error!("revision {} did not come back: {error}", trial.back_to)
                    }
                }
            }
            let mut record = entry.record.clone();
            let result = match &rest {
                Rest::Ended(_) => Ok(()),
                Rest::Failed(why) | Rest::CircuitOpen(why) => Err(why.clone()),
            };
            operation::end(&mut record.operations, result);
            record.rest = Some(rest);
            record.trial = None;
            self.keep(entry, record);
        });
    }

    pub(super) fn keep(&self, entry: &mut Entry, record: Record) {
        if let Err(error) = self.0.records.keep(&record) {
            tracing::warn!("pipeline {}: how it stands could not be kept: {error}", record.name);
        }
        entry.record = record;
        self.0.ended.notify_all();
    }
}

/// How a service came to rest, unless somebody wanted it to.
fn rest(outcome: &Outcome) -> Option<Rest> {
    let why = outcome.why.clone();
    match outcome.class {
        Class::Ended => Some(Rest::Ended(why)),
        Class::Stopped => None,
        _ if outcome.circuit_open => Some(Rest::CircuitOpen(why)),
        _ => Some(Rest::Failed(why)),
    }
}
