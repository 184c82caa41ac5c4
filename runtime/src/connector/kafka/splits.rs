//! Where a source begins and ends in each partition: resolved once, before the first record, from the snapshot or from
//! what the cluster says. Owns the checks that nothing was removed or truncated under a snapshot's positions.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka_sys::bindings as sys;
use rdkafka_sys::rd_kafka_resp_err_t as Native;
use weir_core::checkpoint::manifest::SourcePositions;

use super::client::Client;
use super::error::{Code, Failure, Kind, with_code};
use super::metadata::Scope;
use super::native::{PartitionList, millis};
use super::preflight::no_topic;
use super::settings::{Share, Source, Start, Topics, Until};
use crate::clock;
use crate::connector::Error;

const TIMEOUT: Duration = Duration::from_secs(15);

/// A partition that is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Split {
    pub(super) topic: String,
    pub(super) partition: i32,
    /// `<topic>/<partition>`.
    pub(super) name: String,
    /// Next position to hand out.
    pub(super) position: i64,
    /// Where a bounded read ends (exclusive).
    pub(super) end: Option<i64>,
    /// The newest high watermark that a fetch brought.
    pub(super) high: Option<i64>,
}

impl Split {
    /// All before `position` is behind us. A bounded split never stands behind its end.
    pub(super) fn reach(&mut self, position: i64) {
        let position = self.end.map_or(position, |end| position.min(end));
        self.position = self.position.max(position);
    }

    pub(super) fn is_ended(&self) -> bool {
        self.end.is_some_and(|end| self.position >= end)
    }
}

/// All splits: those of the snapshot in its order, then partitions that it does not know.
pub(super) fn resolve(
    client: &Client,
    source: &Source,
    restored: Option<&SourcePositions>,
) -> Result<Vec<Split>, Error> {
    let identity = source.topics.identity();
    if let Some(restored) = restored.filter(|restored| restored.identity != identity) {
        return Err(Error::Halt(format!(
            "the source reads `{identity}` but the snapshot was taken from `{}`: set it back, or start anew with --from \
             empty --rewind",
            restored.identity
        )));
    }
    let partitions = partitions(client, source)?;
    let asked = Asked { client, source };
    match restored {
        None => {
            let ours = partitions.into_iter().enumerate().filter(|(index, _)| source.share.has(*index));
            ours.map(|(_, (topic, partition))| asked.first(topic, partition)).collect()
        }
        // What no reader may do, such as going on where a partition is gone, each of them refuses.
        Some(restored) => {
            let mut splits = asked.restore(partitions, restored)?;
            if source.share.of > 1 {
                // The snapshot has them in the order of the readers of that time.
                splits.sort_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
                let mut index = 0..;
                splits.retain(|_| index.next().is_some_and(|index| source.share.has(index)));
            }
            Ok(splits)
        }
    }
}

impl Share {
    /// Whether the partition with this index, among all in order of topic and partition, is read.
    fn has(self, index: usize) -> bool {
        index as u32 % self.of == self.index
    }
}

/// All partitions of the source's topics, in order of topic and partition.
fn partitions(client: &Client, source: &Source) -> Result<Vec<(String, i32)>, Error> {
    let brokers = &source.cluster.brokers;
    let mut topics = Vec::new();
    match &source.topics {
        Topics::Named(names) => {
            for name in names {
                let mut found = client.metadata(Scope::Topic(name), source.cluster.connect_timeout())?;
                topics.extend(found.topics.pop().filter(|topic| topic.name == *name));
                if topics.last().is_none_or(|topic| topic.name != *name) {
                    return Err(Error::Config(no_topic(name, "source", brokers)));
                }
            }
        }
        Topics::Pattern(pattern) => {
            let found = client.metadata(Scope::All, source.cluster.connect_timeout())?;
            topics.extend(found.topics.into_iter().filter(|topic| matches(pattern, &topic.name)));
            if topics.is_empty() {
                return Err(Error::Config(format!("no topic on {brokers} matches the pattern `{pattern}`")));
            }
        }
    }
    topics.sort_by(|a, b| a.name.cmp(&b.name));
    let mut partitions = Vec::new();
    for topic in topics {
        match topic.code.kind() {
            _ if topic.code == Code::NONE => {}
            Kind::NoTopic => return Err(Error::Config(no_topic(&topic.name, "source", brokers))),
            _ => return Err(failed(topic.code, &format!("read topic `{}`", topic.name))),
        }
        partitions.extend(topic.partitions.iter().map(|partition| (topic.name.clone(), *partition)));
    }
    Ok(partitions)
}

/// Whether the whole name matches, where `*` stands for any run of characters.
fn matches(pattern: &str, name: &str) -> bool {
    // Internal topics are never meant.
    if name.starts_with("__") && !pattern.starts_with("__") {
        return false;
    }
    match pattern.split_once('*') {
        None => pattern == name,
        Some((before, after)) => {
            let Some(rest) = name.strip_prefix(before) else { return false };
            (0..=rest.len()).any(|i| rest.is_char_boundary(i) && matches_rest(after, &rest[i..]))
        }
    }
}

fn matches_rest(pattern: &str, rest: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == rest,
        Some(_) => matches(pattern, rest),
    }
}

struct Asked<'a> {
    client: &'a Client,
    source: &'a Source,
}

impl Asked<'_> {
    /// A partition that no snapshot knows, at the pipeline's first start.
    fn first(&self, topic: String, partition: i32) -> Result<Split, Error> {
        let (low, high) = self.watermarks(&topic, partition)?;
        let position = match self.source.start {
            Start::Earliest => low,
            Start::Latest => high,
            Start::Timestamp(time) => self.offset_at(&topic, partition, time)?.unwrap_or(high),
        };
        let end = match self.source.until {
            None => None,
            Some(Until::Latest) => Some(high),
            Some(Until::Timestamp(time)) => Some(self.offset_at(&topic, partition, time)?.unwrap_or(high)),
        };
        Ok(split(topic, partition, position, end, high))
    }

    fn restore(&self, partitions: Vec<(String, i32)>, restored: &SourcePositions) -> Result<Vec<Split>, Error> {
        let mut unknown: BTreeMap<String, (String, i32)> =
            partitions.into_iter().map(|(topic, partition)| (name(&topic, partition), (topic, partition))).collect();
        let mut splits = Vec::new();
        for known in &restored.splits {
            let (topic, partition) = unknown.remove(&known.split).ok_or_else(|| {
                Error::Halt(format!(
                    "partition `{}` of the snapshot does not exist any more: its records cannot be read on",
                    known.split
                ))
            })?;
            let (low, high) = self.watermarks(&topic, partition)?;
            let ended = known.end.is_some_and(|end| known.position >= end);
            if !ended && (known.position < low || known.position > high) {
                return Err(gone(&known.split, known.position, low, high));
            }
            splits.push(split(topic, partition, known.position, known.end, high));
        }
        // A bounded read has its end fixed by its first commit: what appeared since is not part of it.
        if self.source.until.is_none() {
            for (topic, partition) in unknown.into_values() {
                // Always from the oldest record: a partition that is new to us may hold records since its making.
                let (low, high) = self.watermarks(&topic, partition)?;
                splits.push(split(topic, partition, low, None, high));
            }
        }
        Ok(splits)
    }

    fn watermarks(&self, topic: &str, partition: i32) -> Result<(i64, i64), Error> {
        let deadline = clock::now() + TIMEOUT;
        loop {
            match self.client.watermarks(topic, partition, TIMEOUT) {
                Ok(found) => return Ok(found),
                // A topic that was just made, or a broker that just came back, has its leaders a moment later.
                Err(code) if code.kind() == Kind::NoLeader && clock::now() < deadline => {
                    std::thread::park_timeout(Duration::from_millis(50));
                }
                Err(code) => return Err(failed(code, &format!("ask for the offsets of `{topic}/{partition}`"))),
            }
        }
    }

    /// The first offset at or after a time; `None` where there is no such record yet.
    fn offset_at(&self, topic: &str, partition: i32, time: i64) -> Result<Option<i64>, Error> {
        let list = PartitionList::new([(topic, partition, time)]);
        let ask = with_code!(sys::rd_kafka_offsets_for_times,
            (*mut sys::rd_kafka_t, *mut sys::rd_kafka_topic_partition_list_t, std::ffi::c_int) -> Native => i32);
        // SAFETY: the list lives for the call.
        let code = Code(unsafe { ask(self.client.native(), list.native(), millis(TIMEOUT)) });
        let (offset, item) = list.get(0);
        match (code, item) {
            (Code::NONE, Code::NONE) => Ok((offset >= 0).then_some(offset)),
            (Code::NONE, code) | (code, _) => {
                Err(failed(code, &format!("ask for the offset at a time in `{topic}/{partition}`")))
            }
        }
    }
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

fn split(topic: String, partition: i32, position: i64, end: Option<i64>, high: i64) -> Split {
    Split { name: name(&topic, partition), topic, partition, position, end, high: Some(high) }
}

fn name(topic: &str, partition: i32) -> String {
    format!("{topic}/{partition}")
}

fn failed(code: Code, doing: &str) -> Error {
    Failure { code, message: code.describe(), is_fatal: false, is_retriable: false }.into_error(doing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_whole_names_and_never_internal_topics() {
        for (pattern, name, expected) in [
            ("orders", "orders", true),
            ("orders", "orders2", false),
            ("orders-*", "orders-eu", true),
            ("*-eu", "orders-eu", true),
            ("a*b*c", "aXbYc", true),
            ("a*b*c", "aXbY", false),
            ("*", "__consumer_offsets", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn what_is_gone_is_said_with_both_offsets() {
        let said = gone("t/0", 5, 120, 300).to_string();
        assert!(said.contains("`t/0` from offset 5") && said.contains("up to offset 120"), "{said}");
    }
}
