//! The operators of a start, as those who rewrite values of older schema versions: which states of a checkpoint need it, and a
//! guest per subtask, opened for it and thrown away behind it. Reads and writes no database.

use std::collections::BTreeMap;
use std::sync::Arc;

use weir_core::checkpoint::manifest::Manifest;
use weir_core::ids::Name;
use weir_core::key_group::{KEY_GROUPS, KeyGroup};
use weir_core::record::Column;

use super::keyed_state;
use crate::guest::{Instance, Logs, Measured, Subtask};
use crate::pipeline::compatibility::{self, Fit};
use crate::pipeline::job::{Job, guest_settings};
use crate::state::Migrate;

/// A state whose values are rewritten.
#[derive(Debug)]
struct Migration {
    node: Name,
    state: String,
    /// Its place in the descriptor, and its id in the database.
    index: u32,
    id: u16,
    is_map: bool,
    from: u32,
    to: u32,
    /// Values so far, and how many of them were removed.
    rewritten: u64,
    removed: u64,
}

/// See the module.
pub(super) struct Migrations<'a> {
    job: &'a Job,
    states: Vec<Migration>,
    /// The guest of each node, with the subtask that it is. Key groups come in order, so a node has one at a time.
    guests: BTreeMap<Name, (u32, Instance)>,
}

impl<'a> Migrations<'a> {
    /// What a checkpoint needs, whose nodes have their new names and of which no state is refused.
    pub(super) fn of(job: &'a Job, manifest: &Manifest) -> Migrations<'a> {
        let migrated = compatibility::compare(manifest, &job.checked).into_iter().filter(|it| it.fit == Fit::Migrated);
        let states = migrated.filter_map(|verdict| {
            let found = manifest.nodes.get(&verdict.node)?.states.get(&verdict.state)?;
            let declared = &job.checked.operators.get(&verdict.node)?.descriptor().states;
            let index = declared.iter().position(|declared| declared.name == verdict.state)?;
            Some(Migration {
                index: index as u32,
                id: found.id,
                is_map: found.kind == "map",
                from: found.version,
                to: declared[index].version,
                node: verdict.node,
                state: verdict.state,
                rewritten: 0,
                removed: 0,
            })
        });
        Migrations { job, states: states.collect(), guests: BTreeMap::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.states.is_empty()
    }

    /// Tells the guests that they go, and the log what was done.
    pub(super) fn finish(self) {
        for Migration { node, state, from, to, rewritten, removed, .. } in &self.states {
            tracing::info!(
                "state \"{state}\" of node `{node}` is migrated from v{from} to v{to}: {rewritten} values, {removed} of them \
                 removed; the next checkpoint holds it so"
            );
        }
        self.guests.into_values().for_each(|(_, mut guest)| guest.close());
    }

    /// The guest of the subtask that owns this key group.
    fn guest(&mut self, node: &Name, group: KeyGroup) -> Result<&mut Instance, String> {
        let pipeline = self.job.pipeline();
        let spec = pipeline.node(node.as_str()).ok_or("the node is not in the pipeline")?;
        let operator = self.job.checked.operators.get(node).ok_or("the component was not loaded")?;
        let subtask = group.owner(spec.parallelism);
        if self.guests.get(node).is_none_or(|(owner, _)| *owner != subtask) {
            if let Some((_, mut before)) = self.guests.remove(node) {
                before.close();
            }
            let descriptor = operator.descriptor();
            let of = Subtask { index: subtask, of: spec.parallelism };
            // The node's own counters come with its subtasks, later.
            let logs = Logs { journal: Arc::clone(&self.job.journal), ..Logs::default() };
            let settings = guest_settings(pipeline, spec, of, Measured::of(&descriptor.metrics), logs);
            // It may read no state: none of a key is valid in `open` and in `migrate`.
            let state = keyed_state(descriptor, 0..KEY_GROUPS, |_| 0);
            let opened = Instance::start(operator, settings, state);
            let guest = opened.map_err(|failed| format!("in `open` ({}): {}", failed.code, failed.message))?;
            self.guests.insert(node.clone(), (subtask, guest));
        }
        Ok(&mut self.guests.get_mut(node).ok_or("the guest is gone")?.1)
    }

    fn rewrite(&mut self, at: usize, group: KeyGroup, values: &Column) -> Result<Column, String> {
        let Migration { index, from, .. } = self.states[at];
        let node = self.states[at].node.clone();
        let migrated = self.guest(&node, group)?.migrate(index, from, values);
        migrated.map_err(|failed| format!("({}): {}", failed.code, failed.message))
    }
}

impl Migrate for Migrations<'_> {
    fn states(&self) -> Vec<(u16, bool)> {
        self.states.iter().map(|state| (state.id, state.is_map)).collect()
    }

    fn migrate(&mut self, state: u16, group: KeyGroup, values: &Column) -> Result<Column, String> {
        let at = self.states.iter().position(|it| it.id == state).ok_or("no such state is migrated")?;
        match self.rewrite(at, group, values) {
            Ok(migrated) => {
                let state = &mut self.states[at];
                state.rewritten += migrated.len() as u64;
                state.removed += migrated.iter().filter(Option::is_none).count() as u64;
                Ok(migrated)
            }
            Err(why) => {
                let Migration { node, state, from, to, .. } = &self.states[at];
                let pipeline = &self.job.pipeline().name;
                Err(format!(
                    "pipeline `{pipeline}`, node `{node}`: migrating state \"{state}\" from v{from} to v{to} failed {why}"
                ))
            }
        }
    }
}
