//! A text becomes the revision that counts: checked, kept, switched to, started. The same text again changes nothing; a dry run
//! says what would change.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;
use weir_core::graph::plan;
use weir_core::ids::Name;

use super::check::{Accepted, check};
use super::entry::{Entry, View};
use super::folders::{check_others, folders};
use super::operation::{self, Kind, Operation};
use super::origin::Origin;
use super::record::{Desired, Record, Rest};
use super::revision::{Cause, Language, Revision};
use super::trial::Trial;
use super::upgrade::GRACE_MAX;
use super::{Error, Manager};
use crate::access::Actor;
use crate::clock;
use crate::crash;
use crate::registry;

/// A text that somebody wants to run.
pub struct Wanted<'a> {
    /// Of the pipeline.
    pub name: &'a Name,
    /// Of the text.
    pub language: Language,
    /// What is applied.
    pub text: &'a str,
    /// What must be there for it.
    pub condition: Condition,
    /// How long nothing of it is committed, so that the revision before it can come back where this one fails; zero: it stays.
    pub grace: Duration,
    /// Where it starts from, if not from what is committed.
    pub origin: Option<Origin>,
    /// Who wants it.
    pub by: &'a Actor,
}

/// What must be there, so that nobody writes over what he has not seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// Whatever is.
    None,
    /// A pipeline of this name.
    Any,
    /// None of this name.
    New,
    /// One at this revision.
    Revision(u64),
}

/// What became of it.
#[derive(Debug)]
pub struct Applied {
    /// The pipeline.
    pub view: View,
    /// There was none of its name.
    pub created: bool,
    /// What carries it out; nothing where the text runs already.
    pub operation: Option<Operation>,
}

/// What an apply would do.
pub struct Plan {
    /// The pipeline.
    pub name: Name,
    /// There is none of its name.
    pub creates: bool,
    /// The revision that counts now.
    pub before: Option<Revision>,
    /// The one that would.
    pub after: Revision,
    /// How it would run.
    pub plan: plan::Plan,
}

impl Manager {
    /// Checks it, keeps it, (re)starts it. The same text for one that runs, or whose bounded input has ended, changes nothing.
    pub fn apply(&self, wanted: &Wanted<'_>) -> Result<Applied, Error> {
        let switch = |accepted| self.switch(wanted, accepted, Cause::Apply, Kind::Apply);
        match switch(self.accept(wanted)?) {
            // A version was deleted since it was looked up: what its name means now, or that it means nothing, a second look says.
            Err(Error::Registry(registry::Error::Unknown(_))) => switch(self.accept(wanted)?),
            done => done,
        }
    }

    /// Says what [`Manager::apply`] would do, and does nothing.
    pub fn plan(&self, wanted: &Wanted<'_>) -> Result<Plan, Error> {
        let accepted = self.accept(wanted)?;
        self.can_start(wanted.origin.as_ref(), &accepted.checked)?;
        let entries = self.entries();
        let entry = entries.get(wanted.name);
        wanted.condition.check(wanted.name, entry)?;
        let before = entry.map(|entry| entry.revision.clone());
        let after = revision(wanted, &accepted, Cause::Apply, before.as_ref().map_or(0, |before| before.number) + 1);
        check_room(&entries, wanted, &after)?;
        Ok(Plan { name: wanted.name.clone(), creates: before.is_none(), before, after, plan: accepted.checked.plan })
    }

    fn accept(&self, wanted: &Wanted<'_>) -> Result<Accepted, Error> {
        self.is_whole(wanted.name.as_str())?;
        check_grace(wanted.grace)?;
        if wanted.origin.is_some() && !wanted.grace.is_zero() {
            return Err(Error::OriginOnTrial);
        }
        check(self.ground(), wanted.name, wanted.language, wanted.text, &BTreeMap::new())
    }

    /// Makes it the revision that counts.
    pub(super) fn switch(
        &self,
        wanted: &Wanted<'_>,
        accepted: Accepted,
        cause: Cause,
        kind: Kind,
    ) -> Result<Applied, Error> {
        let (name, by) = (wanted.name, wanted.by);
        self.can_start(wanted.origin.as_ref(), &accepted.checked)?;
        let mut entries = self.entries();
        match self.changeable(entries.get_mut(name), name.as_str()) {
            Ok(_) | Err(Error::Unknown(_)) => {}
            Err(error) => return Err(error),
        }
        wanted.condition.check(name, entries.get(name))?;
        let before = entries.get(name).map(|entry| &entry.record);
        let number = before.map_or(0, |record| record.revision) + 1;
        let trial = entries.get(name).and_then(|entry| self.on_trial(entry));
        // The one on trial never counted.
        let counted = before.map(|it| trial.map_or(it.revision, |trial| trial.back_to));
        let its_folders = trial.map(|trial| &trial.folders).or(entries.get(name).map(|entry| &entry.revision.folders));
        let revision = revision(wanted, &accepted, cause, number);
        let is_same = entries.get(name).is_some_and(|entry| entry.revision.is_same(&revision));
        let starts_anew = wanted.origin.is_some();
        let unchanged = entries.get(name).filter(|_| is_same && !starts_anew);
        // A node that has its operator already needs no start, whatever the pipeline does.
        let settled = |entry: &Entry| if kind == Kind::Upgrade { Some(entry.view()) } else { entry.is_settled() };
        if let Some(view) = unchanged.and_then(settled) {
            return Ok(Applied { view, created: false, operation: None });
        }
        check_room(&entries, wanted, &revision)?;
        // Order: the versions of its operators, which nobody deletes while the entries are locked; the revision; the line of the
        // audit; last the record that names the revision.
        for (written, pin) in &revision.operators {
            let name = written.split_once('@').map_or(written.as_str(), |(name, _)| name);
            self.0.registry.has(name, &pin.version, &pin.sha256)?;
        }
        let mut record = Record {
            name: name.clone(),
            revision: if is_same { number - 1 } else { number },
            before: if is_same { before.and_then(|it| it.before) } else { counted },
            desired: Desired::Running,
            by: before.map_or_else(|| by.name.clone(), |it| it.by.clone()),
            rest: None,
            trial: counted.filter(|_| !is_same && !wanted.grace.is_zero()).map(|counted| Trial {
                back_to: counted,
                grace_ms: wanted.grace.as_millis() as u64,
                from: None,
                folders: its_folders.cloned().unwrap_or_default(),
            }),
            origin: wanted.origin.clone(),
            taken_back: None,
            operations: before.map(|it| it.operations.clone()).unwrap_or_default(),
        };
        let is_on_trial = trial.is_some();
        operation::begin(&mut record.operations, kind, record.revision, &by.name);
        if !is_same {
            self.0.records.keep_revision(name, &revision)?;
        }
        let pins: Vec<String> =
            revision.operators.iter().map(|(written, pin)| format!("{written} {}", pin.sha256)).collect();
        let detail = json!({"revision": record.revision, "operators": pins, "origin": record.origin});
        self.audit(by, &format!("pipeline.{}", kind.as_str()), name.as_str(), detail)?;
        self.0.records.keep(&record)?;
        crash::point("deploy.switched");
        let created = number == 1;
        let entry = entries.entry(name.clone()).or_insert_with(|| Entry::new(record.clone(), revision.clone()));
        if is_on_trial {
            entry.give_up();
        }
        entry.record = record;
        if !is_same {
            entry.revision = revision;
        }
        self.start(entry, Some(accepted.checked));
        Ok(Applied { view: entry.view(), created, operation: entry.record.operations.last().cloned() })
    }
}

pub(super) fn check_grace(grace: Duration) -> Result<(), Error> {
    if grace > GRACE_MAX { Err(Error::LongGrace(grace)) } else { Ok(()) }
}

/// Whether there is room for a revision: in the quota of who has its pipeline, and in its folders.
fn check_room(entries: &BTreeMap<Name, Entry>, wanted: &Wanted<'_>, revision: &Revision) -> Result<(), Error> {
    let (name, by) = (wanted.name, wanted.by);
    if entries.get(name).is_none_or(|entry| entry.record.by == by.name) {
        let others = || entries.values().filter(|entry| entry.record.by == by.name && entry.record.name != *name);
        by.check("pipelines", by.quota.pipelines, others().count() as u64 + 1)?;
        let taken: u64 = others().map(|entry| entry.revision.memory).fold(0, u64::saturating_add);
        by.check("bytes of memory for guests", by.quota.memory, taken.saturating_add(revision.memory))?;
    }
    check_others(entries, name, &revision.folders)
}

impl Condition {
    pub(super) fn check(self, name: &Name, entry: Option<&Entry>) -> Result<(), Error> {
        let revision = entry.map(|entry| entry.record.revision);
        match (self, revision) {
            (Condition::None, _) | (Condition::Any, Some(_)) | (Condition::New, None) => Ok(()),
            (Condition::New, Some(revision)) => Err(Error::Exists(name.clone(), revision)),
            (Condition::Revision(wanted), Some(revision)) if wanted == revision => Ok(()),
            (Condition::Any | Condition::Revision(_), revision) => Err(Error::Changed(revision.unwrap_or(0))),
        }
    }
}

impl Entry {
    /// What there is to see where the revision that counts needs no start: it runs, or its bounded input has ended.
    fn is_settled(&self) -> Option<View> {
        let is_settled = match (self.record.desired, &self.record.rest) {
            (_, Some(Rest::Ended(_))) => true,
            (Desired::Running, None) => self.is_live(),
            _ => false,
        };
        is_settled.then(|| self.view())
    }
}

fn revision(wanted: &Wanted<'_>, accepted: &Accepted, cause: Cause, number: u64) -> Revision {
    Revision {
        number,
        at: clock::now_millis(),
        by: wanted.by.name.clone(),
        cause,
        language: wanted.language,
        text: wanted.text.to_owned(),
        operators: accepted.operators.clone(),
        memory: accepted.memory(),
        folders: folders(&accepted.checked.pipeline),
    }
}
