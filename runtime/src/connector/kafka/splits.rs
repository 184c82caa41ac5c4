//! Where a source begins and ends in each partition: resolved once, before the first record, from the snapshot or from
//! what the cluster says. Owns the checks that nothing was removed or truncated under a snapshot's positions.

use std::collections::BTreeSet;

use weir_core::checkpoint::manifest::SourcePositions;

use super::client::Client;
use super::offsets;
use super::selection::{Found, Selection};
use super::settings::{Offsets, Otherwise, Partition, Removed, Source, Start, Until};
use crate::clock;
use crate::connector::Error;

/// A partition that is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Split {
    pub(super) partition: Partition,
    /// `<topic>/<partition>`.
    pub(super) name: String,
    /// Next position to hand out.
    pub(super) position: i64,
    /// Where a bounded read ends (exclusive).
    pub(super) end: Option<i64>,
    /// The newest high watermark that a fetch brought.
    pub(super) high: Option<i64>,
    /// Whoever reads was told that it is at its end.
    pub(super) end_is_told: bool,
}

impl Split {
    fn new(partition: Partition, position: i64, end: Option<i64>, high: i64) -> Split {
        Split { name: partition.to_string(), partition, position, end, high: Some(high), end_is_told: false }
    }

    /// All before `position` is behind us. A bounded split never stands behind its end.
    pub(super) fn reach(&mut self, position: i64) {
        let position = self.end.map_or(position, |end| position.min(end));
        self.position = self.position.max(position);
    }

    pub(super) fn is_ended(&self) -> bool {
        self.end.is_some_and(|end| self.position >= end)
    }
}

/// Finds out where splits begin and end.
pub(super) struct Splits<'a> {
    pub(super) client: &'a Client,
    pub(super) source: &'a Source,
    pub(super) selection: &'a Selection,
}

impl Splits<'_> {
    /// At the first start, when no snapshot knows the source.
    pub(super) fn first(&self, found: &Found) -> Result<Vec<Split>, Error> {
        let (source, partitions) = (self.source, &found.partitions);
        self.selection.expect(found, &source.cluster.brokers)?;
        if let Start::Timestamp(time) = source.start {
            has_passed("start", time)?;
        }
        let given = Given::of(source, partitions)?;
        if let Some(Until::Offsets(ends)) = &source.until {
            exist("until.offsets", ends, partitions)?;
        }
        let first = |partition: &Partition| {
            let (low, high) = offsets::bounds(self.client, partition)?;
            let position = match &source.start {
                Start::Earliest => low,
                Start::Latest => high,
                Start::Timestamp(time) => offsets::at_time(self.client, partition, *time)?.unwrap_or(high),
                Start::Group { .. } | Start::Offsets { .. } => given.position(partition, low, high)?,
            };
            let end = self.end(partition, high)?;
            if let Some(end) = end.filter(|end| *end < position) {
                return Err(Error::Config(format!(
                    "`{partition}` would begin at offset {position} and end before {end}: let `start` begin before `until` ends"
                )));
            }
            Ok(Split::new(partition.clone(), position, end, high))
        };
        partitions.iter().map(first).collect()
    }

    /// As the snapshot has it, in its order, then what it does not know. `start` counts no more.
    pub(super) fn restore(&self, found: &Found, restored: &SourcePositions) -> Result<Vec<Split>, Error> {
        let source = self.source;
        let mut unknown = found.partitions.clone();
        let (mut known, mut splits) = (BTreeSet::new(), Vec::new());
        for split in &restored.splits {
            let partition = Partition::parse(&split.split).ok_or_else(|| {
                Error::Halt(format!("the snapshot has a position in `{}`, no partition", split.split))
            })?;
            known.insert(partition.clone());
            // Only what is asked for was looked for.
            if !unknown.remove(&partition) {
                self.without(&partition, split.position)?;
                continue;
            }
            let (low, high) = offsets::bounds(self.client, &partition)?;
            // Fixed by the first commit of a read that ends. `until` may be written later, or taken out.
            let end = match (&source.until, split.end) {
                (None, _) => None,
                (Some(_), Some(end)) => Some(end),
                (Some(_), None) => self.end(&partition, high)?.map(|end| end.max(split.position)),
            };
            let is_ended = end.is_some_and(|end| split.position >= end);
            if !is_ended && (split.position < low || split.position > high) {
                return Err(gone(&split.split, split.position, low, high));
            }
            splits.push(Split::new(partition, split.position, end, high));
        }
        if let Some(missing) = found.missing.iter().find(|missing| !known.iter().any(|known| missing.is(known))) {
            return Err(Error::Config(missing.said.clone()));
        }
        let has_ends = restored.splits.iter().any(|split| split.end.is_some());
        for partition in unknown {
            if source.until.is_some() && has_ends {
                self.behind_the_end(&partition, &known)?;
            } else {
                splits.push(self.appeared(partition)?);
            }
        }
        Ok(splits)
    }

    /// A partition that is new to a source that has begun: always from the oldest record, since it may hold some from
    /// before it was found.
    pub(super) fn appeared(&self, partition: Partition) -> Result<Split, Error> {
        let (low, high) = offsets::bounds(self.client, &partition)?;
        let end = self.end(&partition, high)?;
        Ok(Split::new(partition, low, end, high))
    }

    fn end(&self, partition: &Partition, high: i64) -> Result<Option<i64>, Error> {
        Ok(Some(match &self.source.until {
            None => return Ok(None),
            Some(Until::Latest) => high,
            Some(Until::Timestamp(time)) => {
                has_passed("until", *time)?;
                offsets::at_time(self.client, partition, *time)?.unwrap_or(high)
            }
            Some(Until::Offsets(ends)) => *ends.get(partition).ok_or_else(|| {
                Error::Config(format!(
                    "`until.offsets` says nothing of `{partition}`: name its end too, or do not read it"
                ))
            })?,
        }))
    }

    /// A split of the snapshot that is not there, or not asked for.
    fn without(&self, partition: &Partition, position: i64) -> Result<(), Error> {
        let why = if self.selection.selects(partition) {
            format!("partition `{partition}` was read up to offset {position} and does not exist any more")
        } else {
            format!(
                "partition `{partition}` was read up to offset {position}, and the source does not ask for it any more"
            )
        };
        if self.source.removed == Removed::Forget {
            tracing::warn!("{why}: its position is forgotten");
            return Ok(());
        }
        let back = if self.selection.selects(partition) { "restore it" } else { "put it back" };
        Err(Error::Halt(format!(
            "{why}: {back}, go on without it with removed = \"forget\", or start anew with --from empty --rewind"
        )))
    }

    /// A partition that appeared when the end was fixed already.
    fn behind_the_end(&self, partition: &Partition, known: &BTreeSet<Partition>) -> Result<(), Error> {
        let has_grown = known.iter().any(|known| known.topic == partition.topic) && !self.selection.names_partitions();
        if self.selection.names(partition) && !has_grown {
            return Err(Error::Config(format!(
                "`{partition}` was added to a read whose end was fixed by its first commit: read it in a pipeline of its \
                 own, or take it out"
            )));
        }
        tracing::info!("`{partition}` appeared after the end of this read was fixed, and is no part of it");
        Ok(())
    }
}

/// Offsets that a group or the file gives.
struct Given {
    who: String,
    offsets: Offsets,
    otherwise: Otherwise,
}

impl Given {
    fn of(source: &Source, partitions: &BTreeSet<Partition>) -> Result<Given, Error> {
        Ok(match &source.start {
            Start::Group { group, otherwise } => Given {
                who: format!("the group `{group}`"),
                offsets: offsets::of_group(&source.cluster, group, partitions)?,
                otherwise: *otherwise,
            },
            Start::Offsets { offsets, otherwise } => {
                exist("start.offsets", offsets, partitions)?;
                Given { who: "`start.offsets`".to_owned(), offsets: offsets.clone(), otherwise: *otherwise }
            }
            Start::Earliest | Start::Latest | Start::Timestamp(_) => {
                Given { who: String::new(), offsets: Offsets::new(), otherwise: Otherwise::Fail }
            }
        })
    }

    fn position(&self, partition: &Partition, low: i64, high: i64) -> Result<i64, Error> {
        let Given { who, offsets, otherwise } = self;
        let why = match offsets.get(partition) {
            Some(offset) if (low..=high).contains(offset) => return Ok(*offset),
            Some(offset) => format!("{who} says offset {offset} of `{partition}`, which holds {low} to {high}"),
            None => format!("{who} says nothing of `{partition}`"),
        };
        let (position, word) = match otherwise {
            Otherwise::Fail => {
                return Err(Error::Config(format!(
                    "{why}: name an offset that it holds, or add otherwise = \"earliest\" or \"latest\" to `start`"
                )));
            }
            Otherwise::Earliest => (low, "earliest"),
            Otherwise::Latest => (high, "latest"),
        };
        tracing::warn!("{why}: reading begins at its {word}, offset {position}");
        Ok(position)
    }
}

/// Every partition that is named is one that is read.
fn exist(key: &str, named: &Offsets, partitions: &BTreeSet<Partition>) -> Result<(), Error> {
    match named.keys().find(|partition| !partitions.contains(partition)) {
        None => Ok(()),
        Some(partition) => {
            Err(Error::Config(format!("`{key}` names `{partition}`, which does not exist: take it out")))
        }
    }
}

/// Offsets are looked up once. At a time that is still to come this would find the end of today, without a word.
fn has_passed(key: &str, time: i64) -> Result<(), Error> {
    if time <= clock::now_millis() {
        return Ok(());
    }
    Err(Error::Config(format!(
        "`{key}` is at {}, which is still to come, and the offset at it is looked up once, at the first start: write \
         \"latest\", or a time that has passed",
        clock::rfc3339(time)
    )))
}

/// Records that a snapshot still needs are not there: an operator decides, nothing jumps.
pub(super) fn gone(split: &str, position: i64, low: i64, high: i64) -> Error {
    let reason = if position < low {
        format!("retention has removed them up to offset {low}")
    } else {
        format!("the partition ends at offset {high}: the topic was truncated or made anew")
    };
    Error::Halt(format!(
        "records of `{split}` from offset {position} on are needed but {reason}; accept the loss with --from empty \
         --rewind, or restore the topic"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_gone_is_said_with_both_offsets() {
        let said = gone("t/0", 5, 120, 300).to_string();
        assert!(said.contains("`t/0` from offset 5") && said.contains("up to offset 120"), "{said}");
    }

    #[test]
    fn an_offset_that_is_given_must_be_held_or_something_else_be_said() {
        let partition = Partition::new("t", 0);
        let given = |offset: Option<i64>, otherwise| {
            let offsets = offset.map(|offset| (partition.clone(), offset)).into_iter().collect();
            let given = Given { who: "the group `g`".into(), offsets, otherwise };
            given.position(&partition, 20, 30).map_err(|error| error.to_string())
        };
        assert_eq!(given(Some(20), Otherwise::Fail), Ok(20));
        assert_eq!(given(Some(30), Otherwise::Fail), Ok(30), "nothing is there yet");
        assert_eq!(given(Some(31), Otherwise::Earliest), Ok(20));
        assert_eq!(given(None, Otherwise::Latest), Ok(30));
        let refused = given(Some(19), Otherwise::Fail).unwrap_err();
        assert!(refused.contains("says offset 19 of `t/0`, which holds 20 to 30: name an offset"), "{refused}");
        let refused = given(None, Otherwise::Fail).unwrap_err();
        assert!(refused.contains("the group `g` says nothing of `t/0`"), "{refused}");
    }
}
