//! Another operator at a node, and the way back. Whether the state fits is known before anything stops; the switch is that of
//! every new revision, and the new one is on trial.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use weir_core::ids::Name;

use super::apply::{Applied, Condition, Wanted, check_grace};
use super::check::{Accepted, check, check_again};
use super::operation::Kind;
use super::origin::Origin;
use super::revision::{Cause, Language, Pin, Revision};
use super::{Error, Manager};
use crate::access::Actor;
use crate::pipeline::checkpoints::{Checkpoint, Checkpoints};
use crate::pipeline::compatibility;
use crate::pipeline::job::Checked;
use crate::pipeline::{savepoint, terms};

/// Longer would keep a transaction open for too long.
pub const GRACE_MAX: Duration = Duration::from_secs(60);
/// So often a text is read again that somebody changed while it was being checked.
const UPGRADE_TRIES_MAX: u32 = 5;

impl Manager {
    /// Another operator at a node, on trial for `grace`. Of two at once without a condition, one comes behind the other.
    pub fn upgrade(
        &self,
        name: &str,
        node_and_operator: (&str, &str),
        grace: Duration,
        condition: Condition,
        by: &Actor,
    ) -> Result<Applied, Error> {
        check_grace(grace)?;
        let mut tries = 1;
        loop {
            match self.try_upgrade(name, node_and_operator, grace, condition, by) {
                Err(Error::Changed(_)) if condition == Condition::None && tries < UPGRADE_TRIES_MAX => tries += 1,
                done => return done,
            }
        }
    }

    fn try_upgrade(
        &self,
        name: &str,
        (node, operator): (&str, &str),
        grace: Duration,
        condition: Condition,
        by: &Actor,
    ) -> Result<Applied, Error> {
        let before = self.current(name)?;
        let name = &self.get(name)?.name;
        let text = with_operator(&before, name, node, operator)?;
        // What its other names meant stays; this one is looked up anew.
        let pins: BTreeMap<String, Pin> = before
            .operators
            .iter()
            .filter(|(written, _)| *written != operator)
            .map(|(w, pin)| (w.clone(), pin.clone()))
            .collect();
        let accepted = check(self.ground(), name, before.language, &text, &pins)?;
        // It changes the text that it has read, and no other.
        let condition = if condition == Condition::None { Condition::Revision(before.number) } else { condition };
        let wanted = Wanted { name, language: before.language, text: &text, condition, grace, origin: None, by };
        self.switch(&wanted, accepted, Cause::Upgrade, Kind::Upgrade)
    }

    /// Back to an earlier revision: the one before the one that counts, unless another is named. It goes on from the newest
    /// commit, as every revision does: no output is ever doubled.
    pub fn rollback(&self, name: &str, to: Option<u64>, condition: Condition, by: &Actor) -> Result<Applied, Error> {
        let (name, revision, before) =
            self.read(name, |entry| (entry.record.name.clone(), entry.record.revision, entry.record.before))?;
        let to = to.or(before).ok_or_else(|| Error::NothingBefore(name.clone()))?;
        let again = self.again(&name, to, revision + 1, by)?;
        let checked = check_again(self.ground(), &name, &again, true)?;
        let accepted = Accepted { checked, operators: again.operators.clone() };
        let wanted = Wanted {
            name: &name,
            language: again.language,
            text: &again.text,
            condition: if condition == Condition::None { Condition::Revision(revision) } else { condition },
            grace: Duration::ZERO,
            origin: None,
            by,
        };
        self.switch(&wanted, accepted, Cause::Rollback { to }, Kind::Rollback)
    }

    /// Refuses a pipeline that cannot take over what the newest checkpoint holds, before anything stops for it.
    /// With an `origin`, the user said that it is to go on from there.
    pub(super) fn fits(&self, name: &Name, checked: &Checked, origin: Option<&Origin>) -> Result<(), Error> {
        let Some(newest) = self.newest(name) else { return Ok(()) };
        let refuse = |why| Err(Error::Incompatible(name.clone(), why));
        if let Some(why) = terms::refuses(&self.state(name), checked, origin.is_some()) {
            return refuse(why);
        }
        let verdicts = match compatibility::check(&newest.manifest, checked) {
            Ok(verdicts) => verdicts,
            Err(why) => return refuse(why),
        };
        if let Some(why) = compatibility::refusal(&verdicts) {
            return refuse(why);
        }
        let strays = savepoint::strays(&newest.manifest, checked, &verdicts);
        if strays.is_empty() || origin.is_some_and(|origin| origin.allow_non_restored) {
            return Ok(());
        }
        refuse(format!(
            "checkpoint {} holds {}, for which the pipeline has no place; give them one (`previous_name` for a node that has another \
             name now), or leave them out for good with from=latest and allow_non_restored",
            newest.id(),
            strays.join(", ")
        ))
    }

    /// The newest checkpoint of a pipeline, running or not. What is wrong with its folder, its start says.
    pub(super) fn newest(&self, name: &Name) -> Option<Checkpoint> {
        // Where there is none yet, there is nothing; what a run had in memory is gone with it.
        let handle = self.read(name.as_str(), |entry| entry.handle.clone()).ok()?;
        let checkpoints = match handle {
            Some(handle) => handle.checkpoints(),
            None => Checkpoints::open(&self.state(name), name).ok()?,
        };
        checkpoints.list().ok()?.0.into_iter().next()
    }
}

/// The text of a revision with another operator at a node, and otherwise as it was written.
fn with_operator(revision: &Revision, name: &Name, node: &str, operator: &str) -> Result<String, Error> {
    let unknown = || Error::UnknownNode { name: name.clone(), node: node.to_owned() };
    match revision.language {
        Language::Toml => {
            let unreadable =
                |e: toml_edit::TomlError| Error::Damaged(format!("revision {} is no TOML: {e}", revision.number));
            let mut text: toml_edit::DocumentMut = revision.text.parse().map_err(unreadable)?;
            let nodes = text.get_mut("nodes").and_then(|nodes| nodes.as_table_like_mut());
            let table = nodes.and_then(|nodes| nodes.get_mut(node)?.as_table_like_mut()).ok_or_else(unknown)?;
            let value = table.get_mut("operator").and_then(|item| item.as_value_mut()).ok_or_else(unknown)?;
            let decor = value.decor().clone();
            *value = operator.into();
            *value.decor_mut() = decor;
            Ok(text.to_string())
        }
        Language::Json => {
            let unreadable =
                |e: serde_json::Error| Error::Damaged(format!("revision {} is no JSON: {e}", revision.number));
            let mut text: Value = serde_json::from_str(&revision.text).map_err(unreadable)?;
            let at =
                text.get_mut("nodes").and_then(|nodes| nodes.get_mut(node)?.get_mut("operator")).ok_or_else(unknown)?;
            *at = operator.into();
            serde_json::to_string_pretty(&text).map_err(unreadable)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn revision(language: Language, text: &str) -> Revision {
        let (by, text) = ("admin".to_owned(), text.to_owned());
        Revision {
            number: 1,
            at: 0,
            by,
            cause: Cause::Apply,
            language,
            text,
            operators: BTreeMap::new(),
            memory: 0,
            folders: BTreeMap::new(),
        }
    }

    #[test]
    fn one_value_changes_and_the_rest_stays_as_it_was_written() {
        let name = Name::new("p").unwrap();
        let with = |language, text| with_operator(&revision(language, text), &name, "count", "a@2.0.0");
        let text = "# mine\nname = 'p'\n[nodes.count]\noperator = \"a@1.0.0\" # pinned\nkey = \"/ip\"\n";
        let changed = "# mine\nname = 'p'\n[nodes.count]\noperator = \"a@2.0.0\" # pinned\nkey = \"/ip\"\n";
        assert_eq!(with(Language::Toml, text).unwrap(), changed);
        let text = "nodes = { count = { operator = 'a@1.0.0', key = '/ip' } }\n";
        assert_eq!(
            with(Language::Toml, text).unwrap(),
            "nodes = { count = { operator = \"a@2.0.0\", key = '/ip' } }\n"
        );
        let json = with(Language::Json, r#"{"nodes": {"count": {"operator": "a@1.0.0"}}}"#).unwrap();
        assert_eq!(serde_json::from_str::<Value>(&json).unwrap()["nodes"]["count"]["operator"], "a@2.0.0");
        for none in ["", "[nodes.other]\noperator = 'a@1'\n", "nodes = 3\n"] {
            assert!(matches!(with(Language::Toml, none), Err(Error::UnknownNode { .. })), "{none}");
        }
    }
}
