//! Whether operators can take over what a checkpoint holds, state by state: what its manifest says against what they declare.
//! Good before anything stops or starts: reads no file, runs no guest, changes nothing.

use std::fmt;

use serde::Serialize;
use weir_core::checkpoint::manifest::{CommitKind, Manifest, StateId};
use weir_core::ids::Name;

use super::job::Checked;
use super::renames;
use crate::guest::{Descriptor, Operator};

/// How a node's timers are called among its states. No declared state can have this name.
pub(super) const TIMERS: &str = "@timers";
/// Their kind, and the version of their layout.
const TIMERS_SCHEMA: (&str, u32) = ("timers", 1);

/// What a state is, and the version of the schema of its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Schema {
    /// As in a descriptor and in a manifest.
    pub kind: String,
    /// As declared.
    pub version: u32,
}

/// What becomes of a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fit {
    /// It goes on as it is.
    Same,
    /// The checkpoint does not have it: it begins empty.
    New,
    /// The operator's `migrate` rewrites its values.
    Migrated,
    /// Refused: the operator declares another kind.
    OtherKind,
    /// Refused: the operator declares a version before that of the checkpoint.
    Older,
    /// Refused: the operator declares a newer version, and no `migrate`.
    NoMigration,
    /// Nobody declares it. Refused where it holds anything, unless it is left out with `--allow-non-restored`.
    NotDeclared,
}

impl Fit {
    /// Whether a start is refused for it, whatever the user allows.
    pub fn is_refused(self) -> bool {
        matches!(self, Fit::OtherKind | Fit::Older | Fit::NoMigration)
    }
}

/// What is found about one state of one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// The node, by the name that it has now.
    pub node: Name,
    /// The state; `@timers` for the node's timers.
    pub state: String,
    /// As the checkpoint has it.
    pub found: Option<Schema>,
    /// As the operator declares it.
    pub declared: Option<Schema>,
    /// What becomes of it.
    pub fit: Fit,
    /// The same in a sentence.
    pub says: String,
}

impl Verdict {
    /// What it is about: ``state `counts` of node `count` ``.
    pub fn name(&self) -> String {
        let Verdict { node, state, .. } = self;
        if state == TIMERS { format!("timers of node `{node}`") } else { format!("state `{state}` of node `{node}`") }
    }
}

/// Compares a checkpoint with a pipeline. An error is a `previous_name` that the checkpoint does not have.
pub fn check(manifest: &Manifest, checked: &Checked) -> Result<Vec<Verdict>, String> {
    let mut renamed = manifest.clone();
    renames::apply(&mut renamed, &checked.pipeline)?;
    Ok(compare(&renamed, checked))
}

/// The same, where nodes have their new names already.
pub(super) fn compare<'a>(manifest: &Manifest, checked: &'a Checked) -> Vec<Verdict> {
    let of = |(node, operator): (&'a Name, &'a Operator)| {
        (node, Declaring { descriptor: operator.descriptor(), operator: checked.operator_name(node) })
    };
    verdicts(manifest, &checked.operators.iter().map(of).collect::<Vec<_>>())
}

/// Why a start is refused, and what to do; `None` where nothing stands in its way.
pub(super) fn refusal(verdicts: &[Verdict]) -> Option<String> {
    let refused: Vec<&Verdict> = verdicts.iter().filter(|verdict| verdict.fit.is_refused()).collect();
    let has = |fit| refused.iter().any(|verdict| verdict.fit == fit);
    let mut options = vec!["use the operator that wrote it"];
    if has(Fit::NoMigration) {
        options.push("give this one a migration (`migrate`)");
    }
    if has(Fit::OtherKind) {
        options.push("give the state another name");
    }
    if has(Fit::Older) {
        options.push("go back to a checkpoint or savepoint of that version (--from DIR --rewind)");
    }
    options.push("or start with --from empty --rewind");
    let says: Vec<&str> = refused.iter().map(|verdict| verdict.says.as_str()).collect();
    (!refused.is_empty()).then(|| format!("{}: {}", says.join("; "), options.join(", ")))
}

/// What an operator keeps, as a manifest lists it: its states in their order, and its timers.
pub(super) fn declared(descriptor: &Descriptor) -> impl Iterator<Item = (&str, &str, u32)> {
    let states = descriptor.states.iter().map(|state| (state.name.as_str(), state.kind.as_str(), state.version));
    // A node without any state is not named where a later pipeline has no place for it.
    let (kind, version) = TIMERS_SCHEMA;
    states.chain(descriptor.calls("timers").then_some((TIMERS, kind, version)))
}

/// Who declares states.
struct Declaring<'a> {
    descriptor: &'a Descriptor,
    /// As people call it.
    operator: String,
}

fn verdicts(manifest: &Manifest, operators: &[(&Name, Declaring<'_>)]) -> Vec<Verdict> {
    let is_kept = |state: &&StateId| !manifest.dropped.contains(&state.id);
    let mut verdicts = Vec::new();
    for (node, declaring) in operators {
        let kept = manifest.nodes.get(*node).map(|node| &node.states);
        for (name, kind, version) in declared(declaring.descriptor) {
            let found = kept.and_then(|states| states.get(name)).filter(is_kept);
            let declared = Schema { kind: kind.to_owned(), version };
            verdicts.push(verdict(manifest, (node, name), found, Some((declared, declaring))));
        }
    }
    for (node, kept) in &manifest.nodes {
        let descriptor = operators.iter().find(|(known, _)| *known == node).map(|(_, declaring)| declaring.descriptor);
        for (name, state) in kept.states.iter().filter(|(_, state)| is_kept(state)) {
            // Every node has had timers in the manifests of some version, whether it sets any or not.
            let is_declared = descriptor.is_some_and(|descriptor| {
                name == TIMERS || descriptor.states.iter().any(|declared| declared.name == *name)
            });
            if !is_declared {
                verdicts.push(verdict(manifest, (node, name), Some(state), None));
            }
        }
    }
    verdicts
}

fn verdict(
    manifest: &Manifest,
    (node, state): (&Name, &str),
    found: Option<&StateId>,
    declared: Option<(Schema, &Declaring<'_>)>,
) -> Verdict {
    let found = found.map(|state| Schema { kind: state.kind.clone(), version: state.version });
    let fit = match (&found, &declared) {
        (None, _) => Fit::New,
        (Some(_), None) => Fit::NotDeclared,
        (Some(found), Some((declared, _))) if found.kind != declared.kind => Fit::OtherKind,
        (Some(found), Some((declared, _))) if found.version == declared.version => Fit::Same,
        (Some(found), Some((declared, _))) if found.version > declared.version => Fit::Older,
        (Some(_), Some((_, by))) if state != TIMERS && by.descriptor.calls("migrate") => Fit::Migrated,
        (Some(_), Some(_)) => Fit::NoMigration,
    };
    let (has, wants) = (Has { manifest, node, state, found: found.as_ref() }, Wants(declared.as_ref()));
    let says = match fit {
        Fit::Same => format!("{has}, as declared"),
        Fit::New => format!("{has}: it begins empty"),
        Fit::Migrated => format!("{has}; {wants} and migrates it"),
        Fit::OtherKind => format!("{has}; {wants}, and no migration changes the kind"),
        Fit::Older => format!("{has}; {wants}, which is older"),
        Fit::NoMigration => format!("{has}; {wants} and no migration"),
        Fit::NotDeclared => format!("{has}, for which the pipeline has no place"),
    };
    let declared = declared.map(|(schema, _)| schema);
    Verdict { node: node.clone(), state: state.to_owned(), found, declared, fit, says }
}

/// `savepoint 41-7 has state "counts" v1 (value) of node "count"`
struct Has<'a> {
    manifest: &'a Manifest,
    node: &'a Name,
    state: &'a str,
    found: Option<&'a Schema>,
}

impl fmt::Display for Has<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Has { manifest, node, state, found } = self;
        let what = if manifest.kind == CommitKind::Savepoint { "savepoint" } else { "checkpoint" };
        write!(f, "{what} {}-{} has ", manifest.epoch, manifest.token)?;
        match found {
            None => write!(f, "no state \"{state}\"")?,
            Some(_) if *state == TIMERS => write!(f, "timers")?,
            Some(Schema { kind, version }) => write!(f, "state \"{state}\" v{version} ({kind})")?,
        }
        write!(f, " of node \"{node}\"")
    }
}

/// `count@2.0.0 declares v2 (value)`
struct Wants<'a>(Option<&'a (Schema, &'a Declaring<'a>)>);

impl fmt::Display for Wants<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some((Schema { kind, version }, Declaring { operator, .. })) => {
                write!(f, "{operator} declares v{version} ({kind})")
            }
            None => write!(f, "nobody declares it"),
        }
    }
}

#[cfg(test)]
mod tests;
