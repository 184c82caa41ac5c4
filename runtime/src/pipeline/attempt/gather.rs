//! What the tasks of all shards cut off at one barrier, gathered until it is all there. Owns nothing of the protocol: an
//! epoch that was declined stays here until a later one is written, which then holds its state and its parts too.

use std::collections::BTreeMap;

use weir_core::checkpoint::manifest::{NodeSnapshot, SourcePositions, StagedPart};
use weir_core::ids::{Epoch, Name};

use crate::dataflow::TaskSnapshot;
use crate::state::SealedState;

/// One barrier's cut through the pipeline, as far as it has come.
#[derive(Default)]
pub(super) struct Cut {
    tasks: usize,
    pub(super) sources: BTreeMap<Name, SourcePositions>,
    pub(super) nodes: BTreeMap<Name, NodeSnapshot>,
    pub(super) sealed: Vec<SealedState>,
    pub(super) parts: Vec<StagedPart>,
}

/// Cuts that are in no snapshot yet.
#[derive(Default)]
pub(super) struct Gathered {
    /// Tasks of the attempt.
    pub(super) tasks: usize,
    cuts: BTreeMap<Epoch, Cut>,
    ended: usize,
}

impl Gathered {
    /// Adds what one task cut off. Whether that was the last one.
    pub(super) fn add(&mut self, epoch: Epoch, snapshot: TaskSnapshot) -> bool {
        let cut = self.cuts.entry(epoch).or_default();
        cut.tasks += 1;
        for (name, positions) in snapshot.sources {
            merge_positions(cut.sources.entry(name), positions);
        }
        for (name, node, sealed) in snapshot.nodes {
            // Subtasks that are fed by key have all seen the same watermarks; of others the least counts.
            let watermark = node.watermark;
            let merged = cut.nodes.entry(name).or_insert(node);
            merged.watermark = merged.watermark.min(watermark);
            cut.sealed.push(sealed);
        }
        cut.parts.extend(snapshot.parts);
        cut.tasks == self.tasks
    }

    /// A task has ended. Whether all have.
    pub(super) fn on_ended(&mut self) -> bool {
        self.ended += 1;
        self.ended == self.tasks
    }

    /// The cut of this epoch, with the state and the parts of those before it that no snapshot holds. `None` if it is not
    /// whole.
    pub(super) fn take(&mut self, epoch: Epoch) -> Option<Cut> {
        let whole = self.cuts.last_key_value().is_some_and(|(newest, cut)| *newest == epoch && cut.tasks == self.tasks);
        if !whole {
            return None;
        }
        let (mut sealed, mut parts) = (Vec::new(), Vec::new());
        let mut newest = None;
        for (_, mut cut) in std::mem::take(&mut self.cuts) {
            sealed.append(&mut cut.sealed);
            parts.append(&mut cut.parts);
            newest = Some(cut);
        }
        newest.map(|cut| Cut { sealed, parts, ..cut })
    }
}

/// The readers of a source each have some of its splits.
fn merge_positions(entry: std::collections::btree_map::Entry<'_, Name, SourcePositions>, more: SourcePositions) {
    use std::collections::btree_map::Entry;
    match entry {
        Entry::Vacant(entry) => {
            entry.insert(more);
        }
        Entry::Occupied(mut entry) => {
            let positions = entry.get_mut();
            // A reader without a split has read nothing that could hold the others back.
            positions.watermark = match (positions.splits.is_empty(), more.splits.is_empty()) {
                (false, true) => positions.watermark,
                (true, false) => more.watermark,
                _ => positions.watermark.min(more.watermark),
            };
            positions.splits.extend(more.splits);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use weir_core::checkpoint::manifest::SplitPosition;

    use super::*;
    use crate::clock;
    use crate::dataflow::Passed;

    fn snapshot(splits: &[&str], watermark: i64) -> TaskSnapshot {
        let split = |name: &&str| SplitPosition {
            split: (*name).to_owned(),
            position: 1,
            end: None,
            tail: None,
            largest_time: None,
        };
        let splits = splits.iter().map(split).collect();
        let positions = SourcePositions { identity: "kafka:t".to_owned(), splits, watermark };
        TaskSnapshot {
            task: 0,
            sources: [(Name::new("in").unwrap(), positions)].into(),
            nodes: Vec::new(),
            parts: Vec::new(),
            declined: None,
            passed: Passed {
                arrived: clock::now(),
                alignment: Duration::ZERO,
                pause: Duration::ZERO,
                copying: Duration::ZERO,
            },
            records: 0,
            state_bytes: 0,
        }
    }

    #[test]
    fn a_source_has_the_splits_of_all_its_readers_and_the_least_watermark_of_those_that_have_one() {
        let mut gathered = Gathered { tasks: 4, ..Gathered::default() };
        let epoch = Epoch(1);
        for (splits, watermark) in [(&[][..], i64::MIN), (&["t/1"], 70), (&["t/0", "t/2"], 50)] {
            assert!(!gathered.add(epoch, snapshot(splits, watermark)));
        }
        assert!(gathered.add(epoch, snapshot(&[], i64::MIN)), "the last of them");
        let source = gathered.take(epoch).unwrap().sources.into_values().next().unwrap();
        assert_eq!(source.watermark, 50);
        assert_eq!(source.splits.iter().map(|s| s.split.as_str()).collect::<Vec<_>>(), ["t/1", "t/0", "t/2"]);
    }
}
