//! The end of a pipeline, and of a version of an operator that no pipeline uses. What is committed is forgotten before any file
//! goes.

use std::fs;
use std::io;

use serde_json::json;
use weir_core::domain::{Class, Start};
use weir_core::ids::Name;

use super::apply::Condition;
use super::check::check_again;
use super::record::{Desired, Record};
use super::revision::Revision;
use super::{Error, Manager};
use crate::access::Actor;
use crate::pipeline::job::Job;
use crate::pipeline::service::{Service, Settings};

impl Manager {
    /// Deletes a stopped pipeline: the reset is committed first, then its files go.
    pub fn delete(&self, name: &str, condition: Condition, by: &Actor) -> Result<(), Error> {
        self.is_whole(name)?;
        let (record, revision, thread) = {
            let mut entries = self.entries();
            if self.is_shutting_down() {
                return Err(Error::ShuttingDown);
            }
            let entry = entries.get_mut(name).ok_or_else(|| Error::Unknown(name.to_owned()))?;
            let name = entry.record.name.clone();
            condition.check(&name, Some(entry))?;
            match (entry.is_being_deleted, entry.is_live(), entry.record.desired) {
                (true, ..) => return Err(Error::Deleting(name)),
                (false, true, Desired::Running) => return Err(Error::Running(name)),
                (false, false, Desired::Running) if entry.is_due() => return Err(Error::Running(name)),
                (false, true, Desired::Stopped | Desired::Paused) => return Err(Error::Stopping(name)),
                (false, false, Desired::Paused) => return Err(Error::Paused(name)),
                (false, false, _) => {}
            }
            self.audit(by, "pipeline.delete", name.as_str(), json!({"revision": entry.record.revision}))?;
            // Durable before anything goes: a kill half-way must not let it run again from nothing.
            let record = Record { desired: Desired::Stopped, ..entry.record.clone() };
            self.0.records.keep(&record)?;
            entry.record = record;
            entry.is_being_deleted = true;
            (entry.record.clone(), entry.revision.clone(), entry.thread.take())
        };
        if let Some(thread) = thread {
            // It has ended, or is about to: its status says so.
            let _ = thread.join();
        }
        let deleted = self.reset(&record.name, &revision).and_then(|()| self.remove(&record.name));
        let mut entries = self.entries();
        match (&deleted, entries.get_mut(name)) {
            // Whoever follows it hears of the end.
            (Ok(()), Some(entry)) => {
                entry.journal.close();
                entries.remove(name);
            }
            (Ok(()), None) => {}
            // It can be tried again: what is left of it is still known.
            (Err(_), Some(entry)) => entry.is_being_deleted = false,
            (Err(_), None) => {}
        }
        deleted
    }

    /// The state first: whatever stops this half-way, the next start still knows the pipeline and deletes it again.
    fn remove(&self, name: &Name) -> Result<(), Error> {
        let path = self.state(name);
        match fs::remove_dir_all(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => return Err(Error::Io { path, source }),
            _ => {}
        }
        self.0.records.remove(name)
    }

    fn reset(&self, name: &Name, revision: &Revision) -> Result<(), Error> {
        if !self.state(name).exists() {
            return Ok(());
        }
        let checked = check_again(self.ground(), name, revision, false)?;
        let kept = self.memory(name);
        let job = Job::open_again(checked, &self.state(name), kept).map_err(|e| Error::NotReset(e.to_string()))?;
        let (service, _) = Service::new(job, Settings { start: Start::Delete, takeover: true, ..Settings::default() });
        let outcome = service.run();
        match outcome.class {
            Class::Ended | Class::Stopped => Ok(()),
            _ => Err(Error::NotReset(outcome.why)),
        }
    }

    /// Deletes a version of an operator, unless a pipeline runs it or would run it behind a roll-back.
    pub fn delete_operator(&self, name: &str, version: &str, by: &Actor) -> Result<(), Error> {
        let found = self.0.registry.exact(name, version)?;
        // Held over the deletion: no apply begins to use it.
        let entries = self.entries();
        let mut users = Vec::new();
        for (pipeline, entry) in entries.iter() {
            let before = entry.record.before.map(|number| self.0.records.revision(pipeline, number)).transpose()?;
            if entry.revision.uses(name, &found.version) || before.is_some_and(|it| it.uses(name, &found.version)) {
                users.push(format!("`{pipeline}`"));
            }
        }
        match users.is_empty() {
            true => Ok(self.0.registry.delete((by, &self.0.audit), name, &found.version)?),
            false => Err(Error::InUse { version: found.id(), users }),
        }
    }
}
