//! A revision on trial: it runs, and nothing of it is committed before its grace is over. Until then the revision before it
//! comes back where this one fails, and goes on from the same checkpoint: what was not committed never was.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;
use weir_core::ids::Name;

use super::entry::{Entry, last_checkpoint};
use super::operation;
use super::record::{Desired, Record};
use super::revision::{Cause, Revision};
use super::{Error, Manager};
use crate::access::Actor;
use crate::{clock, crash};

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Trial {
    /// The revision that comes back where this one fails.
    pub(super) back_to: u64,
    /// How long nothing is committed, in milliseconds.
    pub(super) grace_ms: u64,
    /// The epoch that it began from, 0 for none; known once the revision before it has stopped.
    #[serde(default)]
    pub(super) from: Option<u64>,
    /// The folders of that revision's file sinks, which stay its own until then.
    #[serde(default)]
    pub(super) folders: BTreeMap<Name, PathBuf>,
}

impl Trial {
    pub(super) fn grace(&self) -> Duration {
        Duration::from_millis(self.grace_ms)
    }
}

impl Manager {
    /// The trial of a revision that has committed nothing yet: whoever comes in between throws away what it did.
    pub(super) fn on_trial<'e>(&self, entry: &'e Entry) -> Option<&'e Trial> {
        let trial = entry.record.trial.as_ref()?;
        trial.from.is_none_or(|from| self.newest_epoch(entry) <= from).then_some(trial)
    }

    /// The newest epoch that is known to be committed, 0 for none. Reads the state folder.
    fn newest_epoch(&self, entry: &Entry) -> u64 {
        last_checkpoint(&self.state(&entry.record.name)).map_or(0, |last| last.epoch.0)
    }

    /// Notes what a revision on trial begins from, before it runs. Where something was committed since then, it was by this
    /// revision, and a kill came before its trial was over. Says how long nothing is to be committed.
    pub(super) fn begin_trial(&self, entry: &mut Entry) -> Option<Duration> {
        let trial = entry.record.trial.clone()?;
        let newest = self.newest_epoch(entry);
        match trial.from {
            Some(from) if newest > from => {
                self.end_trial(entry);
                None
            }
            Some(_) => Some(trial.grace()),
            None => {
                let trial = Trial { from: Some(newest), ..trial };
                let grace = trial.grace();
                self.keep(entry, Record { trial: Some(trial), ..entry.record.clone() });
                crash::point("trial.begun");
                Some(grace)
            }
        }
    }

    /// It has committed: it stays.
    pub(super) fn end_trial(&self, entry: &mut Entry) {
        if entry.record.trial.is_none() {
            return;
        }
        let mut record = Record { trial: None, ..entry.record.clone() };
        operation::end(&mut record.operations, Ok(()));
        crash::point("trial.passed");
        tracing::info!("revision {} is not on trial any more: it has committed", record.revision);
        self.keep(entry, record);
    }

    /// It has failed before it committed anything: the one before it is the newest revision again.
    pub(super) fn take_back(&self, entry: &mut Entry, trial: &Trial, why: &str) -> Result<(), Error> {
        let (name, failed) = (entry.record.name.clone(), entry.record.revision);
        let revision = self.again(&name, trial.back_to, failed + 1, &Actor::server())?;
        let said = format!("revision {failed} failed on trial, revision {} is back: {why}", trial.back_to);
        tracing::warn!("{said}");
        let mut record = Record {
            revision: revision.number,
            before: None,
            desired: Desired::Running,
            rest: None,
            trial: None,
            taken_back: Some(said.clone()),
            ..entry.record.clone()
        };
        operation::end(&mut record.operations, Err(said));
        self.0.records.keep_revision(&name, &revision)?;
        let detail = json!({"revision": revision.number, "to": trial.back_to, "why": why});
        self.audit(&Actor::server(), "pipeline.rollback", name.as_str(), detail)?;
        self.0.records.keep(&record)?;
        crash::point("trial.taken_back");
        (entry.record, entry.revision) = (record, revision);
        self.0.ended.notify_all();
        self.start(entry, None);
        Ok(())
    }

    /// An earlier revision as a new one.
    pub(super) fn again(&self, name: &Name, to: u64, number: u64, by: &Actor) -> Result<Revision, Error> {
        let before = self.0.records.revision(name, to)?;
        Ok(Revision { number, at: clock::now_millis(), by: by.name.clone(), cause: Cause::Rollback { to }, ..before })
    }
}
