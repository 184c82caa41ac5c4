//! The thread of one pipeline of a server: waits for what ran before it, checks what nobody checked yet, runs the service,
//! and keeps that a bounded pipeline has ended. Between two steps the newest wish counts, which is the entry's record.

use std::sync::Arc;

use weir_core::domain::Class;

use super::check::check;
use super::entry::{Entry, last_checkpoint};
use super::record::Record;
use super::{Error, Manager};
use crate::pipeline::job::{Checked, Job};
use crate::pipeline::service::{Service, Settings};
use crate::settings::Style;

impl Manager {
    /// Starts what the record says, after what runs now has stopped. What an apply has checked is not compiled again.
    pub(super) fn start(&self, entry: &mut Entry, checked: Option<Checked>) {
        let before = entry.thread.take();
        if let Some(handle) = entry.handle.take() {
            handle.stop();
        }
        entry.problem = None;
        let (record, manager) = (entry.record.clone(), self.clone());
        let spawned = std::thread::Builder::new().name(format!("pipeline {}", record.name)).spawn(move || {
            if let Some(before) = before {
                let _ = before.join();
            }
            manager.run(&record, checked);
        });
        match spawned {
            Ok(thread) => entry.thread = Some(thread),
            Err(e) => entry.problem = Some(format!("cannot start a thread: {e}")),
        }
    }

    fn run(&self, record: &Record, checked: Option<Checked>) {
        let state = self.state(&record.name);
        let checked = match checked {
            Some(checked) => Ok(checked),
            None => {
                check((&self.0.registry, &self.0.data), &record.name, record.language, &record.text).map_err(
                    |e| match e {
                        Error::Invalid(faults) => faults.render(Style::Plain),
                        e => e.to_string(),
                    },
                )
            }
        };
        let kept = self.memory(&record.name);
        match checked.and_then(|checked| Job::open_again(checked, &state, kept).map_err(|e| e.to_string())) {
            Ok(mut job) => {
                job.budget = Arc::clone(&self.0.budget);
                let memory = job.memory.clone();
                let (service, handle) = Service::new(job, Settings::default());
                // Stopped or applied again while it was being checked: the newer wish counts.
                let is_wanted = self.update(record, |entry| {
                    entry.before = last_checkpoint(&state);
                    entry.handle = Some(handle);
                    entry.memory = memory;
                });
                if !is_wanted {
                    return;
                }
                let door = (self.0.open_door)(self, &state);
                if let Err(e) = &door {
                    tracing::warn!("pipeline {}: no control socket: {e}", record.name);
                }
                let outcome = service.run();
                drop(door);
                tracing::info!("pipeline {}: {}", record.name, outcome.why);
                if outcome.class == Class::Ended {
                    self.note_ended(record, outcome.why);
                }
            }
            Err(problem) => {
                tracing::error!("pipeline {}: {problem}", record.name);
                // The problem of an older revision is nobody's any more.
                self.update(record, |entry| entry.problem = Some(problem));
            }
        }
    }

    /// Changes the entry if it still asks for what this thread runs. Says whether it did.
    fn update(&self, record: &Record, change: impl FnOnce(&mut Entry)) -> bool {
        let mut entries = self.entries();
        match entries.get_mut(&record.name) {
            Some(entry) if entry.record == *record && !self.is_shutting_down() => {
                change(entry);
                true
            }
            _ => false,
        }
    }

    /// A kill before this costs one more start, which finds the same end in what was committed.
    fn note_ended(&self, record: &Record, why: String) {
        let mut entries = self.entries();
        let Some(entry) = entries.get_mut(&record.name).filter(|entry| entry.record == *record) else { return };
        let ended = Record { ended: Some(why), ..record.clone() };
        match self.0.records.keep(&ended) {
            Ok(()) => entry.record = ended,
            Err(error) => tracing::warn!("that pipeline {} has ended could not be kept: {error}", record.name),
        }
    }
}
