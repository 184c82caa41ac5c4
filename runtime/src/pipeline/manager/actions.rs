//! What can be asked of a pipeline that is there: stop, cancel, pause, resume, restart. Each is durable before it acts, so
//! that a kill leaves the pipeline before or behind it.

use serde_json::json;

use super::entry::{Entry, View};
use super::operation::{self, Kind, Operation};
use super::record::{Desired, Record, Rest};
use super::{Error, Manager};
use crate::access::Actor;
use crate::crash;
use crate::pipeline::service::Handle;
use crate::pipeline::status::State;

/// A pipeline as it is behind a wish, and the operation that carries it out.
pub(super) type Asked = (View, Operation);

impl Manager {
    /// A last checkpoint and the end: a stop survives a kill of the server.
    pub fn stop(&self, name: &str, by: &Actor) -> Result<Asked, Error> {
        self.end(name, Kind::Stop, by, Handle::stop)
    }

    /// The end at once; nothing more is committed. Kept as a stop is.
    pub fn cancel(&self, name: &str, by: &Actor) -> Result<Asked, Error> {
        self.end(name, Kind::Cancel, by, Handle::cancel)
    }

    /// A last checkpoint and rest: nothing is held open, neither guests nor a transaction, and it goes on from there when it
    /// is resumed.
    pub fn pause(&self, name: &str, by: &Actor) -> Result<Asked, Error> {
        let view = self.get(name)?;
        match view.state {
            State::Starting | State::Running | State::Stopping | State::Created | State::Paused => {
                self.end(name, Kind::Pause, by, Handle::stop)
            }
            state => Err(Error::NotRunning { name: view.name, state }),
        }
    }

    /// On from where it was paused.
    pub fn resume(&self, name: &str, by: &Actor) -> Result<Asked, Error> {
        self.change(name, by, Kind::Resume, |entry| match entry.record.desired {
            Desired::Paused => Ok(run(entry)),
            // A second one finds it done.
            Desired::Running if entry.record.rest.is_none() => Ok(entry.record.clone()),
            _ => Err(Error::NotPaused { name: entry.record.name.clone(), state: entry.view().state }),
        })
    }

    /// A last checkpoint, and on from it; one that has stopped or failed starts again.
    pub fn restart(&self, name: &str, by: &Actor) -> Result<Asked, Error> {
        self.change(name, by, Kind::Restart, |entry| match &entry.record.rest {
            Some(Rest::Ended(why)) => Err(Error::Ended(entry.record.name.clone(), why.clone())),
            _ => Ok(run(entry)),
        })
    }

    /// Notes what is wanted, then starts it. What is wanted already is done.
    fn change(
        &self,
        name: &str,
        by: &Actor,
        kind: Kind,
        wanted: impl FnOnce(&Entry) -> Result<Record, Error>,
    ) -> Result<Asked, Error> {
        self.is_whole(name)?;
        let mut entries = self.entries();
        let entry = self.changeable(entries.get_mut(name), name)?;
        let mut record = wanted(entry)?;
        let changes = kind == Kind::Restart || record != entry.record;
        operation::begin(&mut record.operations, kind, record.revision, &by.name);
        if !changes {
            operation::end(&mut record.operations, Ok(()));
        }
        self.note(by, kind, entry)?;
        self.0.records.keep(&record)?;
        crash::point("wish.kept");
        // One on trial begins it anew, from the same checkpoint.
        if changes && self.on_trial(entry).is_some() {
            entry.give_up();
        }
        entry.record = record;
        if changes {
            self.start(entry, None);
        }
        Ok(asked(entry))
    }

    fn end(&self, name: &str, kind: Kind, by: &Actor, how: impl FnOnce(&Handle)) -> Result<Asked, Error> {
        self.is_whole(name)?;
        let mut entries = self.entries();
        let entry = self.changeable(entries.get_mut(name), name)?;
        let desired = if kind == Kind::Pause { Desired::Paused } else { Desired::Stopped };
        let trial = self.on_trial(entry).cloned();
        let mut record = Record { desired, trial: None, ..entry.record.clone() };
        let mut revision = None;
        if let Some(trial) = &trial {
            // It has committed nothing, and the one before it is what there is.
            let back = self.again(&entry.record.name, trial.back_to, record.revision + 1, by)?;
            let said = format!("revision {} was still on trial: revision {} is back", record.revision, trial.back_to);
            (record.revision, record.before, record.taken_back) = (back.number, None, Some(said));
            self.0.records.keep_revision(&entry.record.name, &back)?;
            revision = Some(back);
        }
        operation::begin(&mut record.operations, kind, record.revision, &by.name);
        if !entry.is_live() {
            operation::end(&mut record.operations, Ok(()));
        }
        self.note(by, kind, entry)?;
        self.0.records.keep(&record)?;
        crash::point("wish.kept");
        entry.record = record;
        if let Some(revision) = revision {
            entry.revision = revision;
            entry.give_up();
        }
        // Without a handle it is still being started: `run` sees the record and does not go on.
        if let Some(handle) = &entry.handle {
            how(handle);
        }
        Ok(asked(entry))
    }

    /// One that may be changed now.
    pub(super) fn changeable<'a>(&self, entry: Option<&'a mut Entry>, name: &str) -> Result<&'a mut Entry, Error> {
        if self.is_shutting_down() {
            return Err(Error::ShuttingDown);
        }
        let entry = entry.ok_or_else(|| Error::Unknown(name.to_owned()))?;
        match entry.is_being_deleted {
            true => Err(Error::Deleting(entry.record.name.clone())),
            false => Ok(entry),
        }
    }

    fn note(&self, by: &Actor, kind: Kind, entry: &Entry) -> Result<(), Error> {
        let detail = json!({"revision": entry.record.revision});
        self.audit(by, &format!("pipeline.{}", kind.as_str()), entry.record.name.as_str(), detail)
    }

    /// A line of the audit log, before anything is changed.
    pub(super) fn audit(
        &self,
        by: &Actor,
        action: &str,
        subject: &str,
        detail: serde_json::Value,
    ) -> Result<(), Error> {
        let noted = self.0.audit.note(by, action, subject, detail);
        noted.map_err(|source| Error::Io { path: self.0.data.join("audit.jsonl"), source })?;
        crash::point("audit.noted");
        Ok(())
    }
}

fn run(entry: &Entry) -> Record {
    Record { desired: Desired::Running, rest: None, ..entry.record.clone() }
}

fn asked(entry: &Entry) -> Asked {
    let operation = entry.record.operations.last().cloned();
    (entry.view(), operation.expect("every wish begins an operation"))
}
