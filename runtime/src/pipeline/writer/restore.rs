//! From a snapshot back to working sets: checks it, gives every state its id, loads what it holds. Publishes and deletes
//! nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use weir_core::checkpoint::manifest::{Manifest, SnapshotRef, SourcePositions, StateId};
use weir_core::domain::{Class, Failure};
use weir_core::graph::spec::Backend;
use weir_core::ids::{Name, Token};
use weir_core::key_group::{KEY_GROUPS, KeyGroup};

use super::failure;
use super::migrate::Migrations;
use crate::guest::Descriptor;
use crate::pipeline::compatibility::{self, Fit, TIMERS};
use crate::pipeline::job::{Checked, Job};
use crate::pipeline::renames;
use crate::pipeline::snapshot_store::Snapshot;
use crate::state::{Database, Error, KeyedState, Kind, Live, Migrate, Restoring, StateSpec};

/// The id of the timers of an operator that has none: no entry has it.
const NO_TIMERS: u16 = u16::MAX;

/// State ids per node: what the manifest maps, append-only.
pub(in crate::pipeline) type StateIds = BTreeMap<Name, BTreeMap<String, StateId>>;

/// What a restore gives back.
#[derive(Default)]
pub(in crate::pipeline) struct Restored {
    pub(in crate::pipeline) sources: BTreeMap<Name, SourcePositions>,
    /// Per node the state of each subtask, and the node's watermark.
    states: BTreeMap<Name, (Vec<Option<KeyedState>>, i64)>,
}

impl Restored {
    /// Entries of all nodes.
    pub(in crate::pipeline) fn entries(&self) -> usize {
        self.states.values().flat_map(|(states, _)| states).flatten().map(KeyedState::entries).sum()
    }

    /// The state of a node's subtask, and the node's watermark.
    pub(in crate::pipeline) fn take_state(&mut self, node: &Name, subtask: u32) -> Option<(KeyedState, i64)> {
        let (states, watermark) = self.states.get_mut(node)?;
        Some((states.get_mut(subtask as usize)?.take()?, *watermark))
    }
}

/// A snapshot of this pipeline whose manifest and files are whole.
pub(super) fn verify(job: &Job, snapshot: &SnapshotRef) -> Result<Snapshot, Failure> {
    let mut loaded = job.store.load(snapshot).map_err(|e| match e {
        Error::Damaged { .. } | Error::Missing { .. } => {
            Failure { class: Class::Halt, why: format!("{}; {}", e.sentence(), way_back(job, snapshot)) }
        }
        e => failure(&e),
    })?;
    fn halt<T>(why: String) -> Result<T, Failure> {
        Err(Failure { class: Class::Halt, why })
    }
    let Manifest { pipeline, key_groups, .. } = &loaded.manifest;
    let ours = &job.pipeline().name;
    if pipeline != ours {
        return halt(format!("checkpoint {} is of pipeline `{pipeline}`, not of `{ours}`", snapshot.id()));
    }
    if *key_groups != KEY_GROUPS {
        return halt(format!("checkpoint {} has {key_groups} key groups; this weir has {KEY_GROUPS}", snapshot.id()));
    }
    // Whoever is renamed would be read again from its start, into state that has counted it.
    let mut sources = loaded.manifest.sources.keys();
    if !job.allows_non_restored
        && let Some(name) = sources.find(|name| job.pipeline().source(name.as_str()).is_none())
    {
        return halt(format!(
            "checkpoint {} holds positions of source `{name}`, which is not in the pipeline: a source's name is its identity; \
             bring it back, or start with --from empty --rewind",
            snapshot.id()
        ));
    }
    renames::apply(&mut loaded.manifest, job.pipeline()).or_else(halt)?;
    match compatibility::refusal(&compatibility::compare(&loaded.manifest, &job.checked)) {
        Some(why) => halt(why),
        None => Ok(loaded),
    }
}

/// What to do about a snapshot that is not whole.
fn way_back(job: &Job, damaged: &SnapshotRef) -> String {
    let older = job.store.list().unwrap_or_default().into_iter().find(|it| {
        // Order: the last question reads every file.
        let is_older = it.committed && it.snapshot.epoch < damaged.epoch;
        is_older && it.manifest.as_ref().is_ok_and(|manifest| job.store.damage(manifest).is_empty())
    });
    match older.map(|older| (older.snapshot.id(), job.store.place_of(&older.snapshot))) {
        Some((id, place)) => format!(
            "checkpoint {id} before it is whole: `--from {} --rewind` goes back to it, and emits what came since a second time",
            place.display()
        ),
        None => "no checkpoint before it is whole: what is left is a copy of the file, a savepoint (--from DIR --rewind), or to \
                 begin anew (--from empty --rewind)"
            .to_owned(),
    }
}

/// Loads a snapshot, with what needs it migrated, or makes an empty database. The positions and working sets that it gives are those of one barrier.
pub(super) fn load(
    job: &Job,
    snapshot: Option<&Snapshot>,
    ids: &StateIds,
    dropped: &BTreeSet<u16>,
    token: Token,
) -> Result<(Database, Restored), Failure> {
    let manifest = snapshot.map(|snapshot| &snapshot.manifest);
    let (mut states, live) = (BTreeMap::new(), Arc::new(Live::default()));
    let spills = job.pipeline().state == Backend::RocksDb;
    for (node, operator) in &job.checked.operators {
        let watermark = manifest.and_then(|m| m.nodes.get(node)).map_or(i64::MIN, |node| node.watermark);
        let parallelism = job.pipeline().node(node.as_str()).map_or(1, |node| node.parallelism);
        let subtask = |subtask| {
            let groups = KeyGroup::range(subtask, parallelism);
            let mut state = keyed_state(operator.descriptor(), groups, |state| ids[node][state].id);
            state.keep_within(&job.budget, spills.then(|| Arc::clone(&live)));
            Some(state)
        };
        states.insert(node.clone(), ((0..parallelism).map(subtask).collect::<Vec<_>>(), watermark));
    }
    let (storage, dir) = (Arc::clone(job.store.storage()), job.folder.live());
    let database = match snapshot {
        None => Database::create(storage, &dir, token, live),
        Some(snapshot) => {
            let mut nodes: Vec<&mut KeyedState> =
                states.values_mut().flat_map(|(states, _)| states).flatten().collect();
            let stray = |id| match dropped.contains(&id) {
                true => Ok(()),
                false => Err(snapshot.manifest.name_of_state(id).unwrap_or_else(|| format!("a state with id {id}"))),
            };
            let at = (snapshot.manifest.epoch, &snapshot.files);
            let mut migrations = Migrations::of(job, &snapshot.manifest);
            let by = (!migrations.is_empty()).then_some(&mut migrations as &mut dyn Migrate);
            let into = Restoring { nodes: &mut nodes, stray: &stray, migrate: by };
            Database::restore(storage, &dir, token, live, at, into).inspect(|_| migrations.finish())
        }
    };
    let database = database.map_err(|e| failure(&e))?;
    let sources = manifest.map(|manifest| manifest.sources.clone()).unwrap_or_default();
    Ok((database, Restored { sources, states }))
}

/// States that are left out: those that were before, and where the user allows it those that nobody declares any more.
pub(super) fn dropped(job: &Job, manifest: Option<&Manifest>) -> BTreeSet<u16> {
    let Some(manifest) = manifest else { return BTreeSet::new() };
    let mut dropped = manifest.dropped.clone();
    if job.allows_non_restored {
        let verdicts = compatibility::compare(manifest, &job.checked).into_iter();
        for verdict in verdicts.filter(|verdict| verdict.fit == Fit::NotDeclared) {
            tracing::warn!("{} is left out", verdict.name());
            let id = manifest.nodes.get(&verdict.node).and_then(|node| node.states.get(&verdict.state));
            dropped.extend(id.map(|state| state.id));
        }
        for source in manifest.sources.keys().filter(|name| job.pipeline().source(name.as_str()).is_none()) {
            tracing::warn!(
                "positions of source `{source}` are left out: what is read of the same data under another name is counted again"
            );
        }
    }
    dropped
}

/// Ids of all states of the pipeline: those of the manifest, and new ones behind them; with the versions that are declared,
/// which is what they have once they are restored.
pub(super) fn state_ids(checked: &Checked, manifest: Option<&Manifest>) -> Result<StateIds, Failure> {
    let mut ids: StateIds = manifest
        .map(|manifest| manifest.nodes.iter().map(|(name, node)| (name.clone(), node.states.clone())).collect())
        .unwrap_or_default();
    let dropped = manifest.map(|manifest| manifest.dropped.clone()).unwrap_or_default();
    let used = ids.values().flat_map(|states| states.values()).map(|state| state.id);
    let used = used.chain(dropped.iter().copied()).max();
    let mut next = used.map_or(Some(0), |id| id.checked_add(1));
    for (node, operator) in &checked.operators {
        let known = ids.entry(node.clone()).or_default();
        for (name, kind, version) in compatibility::declared(operator.descriptor()) {
            // One that was left out and is declared again is another one.
            if let Some(state) = known.get_mut(name).filter(|state| !dropped.contains(&state.id)) {
                state.version = version;
                continue;
            }
            let id = next.ok_or_else(|| Failure {
                class: Class::Halt,
                why: "the pipeline has had 65,536 states: no id is left for another".to_owned(),
            })?;
            known.insert(name.to_owned(), StateId { id, kind: kind.to_owned(), version });
            next = id.checked_add(1).filter(|next| *next != NO_TIMERS);
        }
    }
    Ok(ids)
}

/// The empty state of an operator's subtask that owns these key groups. `id` gives the id of a state by its name.
pub(in crate::pipeline) fn keyed_state(
    descriptor: &Descriptor,
    groups: Range<u16>,
    id: impl Fn(&str) -> u16,
) -> KeyedState {
    let spec = |state: &crate::guest::StateDecl| StateSpec {
        name: state.name.clone(),
        kind: if state.kind == "map" { Kind::Map } else { Kind::Value },
        version: state.version,
        id: id(&state.name),
    };
    let timers = if descriptor.calls("timers") { id(TIMERS) } else { NO_TIMERS };
    KeyedState::of_groups(descriptor.states.iter().map(spec).collect(), timers, groups)
}
