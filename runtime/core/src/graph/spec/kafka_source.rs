//! A Kafka source as written: what it reads, where it begins and ends, and how it learns of what is new. Owns the values
//! and their text; which partitions there are only brokers can tell.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use super::KafkaClient;

/// How often new partitions are looked for where nothing is written.
pub const DISCOVERY: Duration = Duration::from_secs(300);

/// `type = "kafka"` of a source.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KafkaSource {
    /// The cluster.
    pub client: KafkaClient,
    /// What is read.
    pub topics: Topics,
    /// Where partitions begin that no checkpoint knows, at the first start.
    pub start: Start,
    /// Where to end; `None`: never.
    pub until: Option<Until>,
    /// How often new partitions are looked for; `None`: only at a start.
    pub discovery: Option<Duration>,
    /// What happens when something is gone that was read.
    pub removed: Removed,
}

/// A partition of a topic. Its text is `TOPIC/NUMBER`, as everywhere in messages and in manifests.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition {
    /// Its topic.
    pub topic: String,
    /// Its number.
    pub number: i32,
}

impl Partition {
    /// Of a topic's name and a number.
    pub fn new(topic: impl Into<String>, number: i32) -> Partition {
        Partition { topic: topic.into(), number }
    }

    /// Reads `TOPIC/NUMBER`. The name of a topic has no slash.
    pub fn parse(text: &str) -> Option<Partition> {
        let (topic, number) = text.split_once('/')?;
        let is_plain = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
        let number = number.parse().ok().filter(|_| is_plain)?;
        Some(Partition::new(topic, number))
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.topic, self.number)
    }
}

/// What a source reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Topics {
    /// All partitions of these.
    Named(Vec<String>),
    /// These partitions and no others.
    Partitions(BTreeSet<Partition>),
    /// All partitions of the topics whose whole name this regular expression matches.
    Pattern(String),
}

impl Default for Topics {
    fn default() -> Topics {
        Topics::Named(Vec::new())
    }
}

impl fmt::Display for Topics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Topics::Named(names) => f.write_str(&names.join(",")),
            Topics::Partitions(partitions) => {
                let texts: Vec<String> = partitions.iter().map(Partition::to_string).collect();
                f.write_str(&texts.join(","))
            }
            Topics::Pattern(pattern) => write!(f, "pattern:{pattern}"),
        }
    }
}

/// An offset for each of some partitions.
pub type Offsets = BTreeMap<Partition, i64>;

/// Where a source begins when no checkpoint says it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Start {
    /// At the first record there is.
    #[default]
    Earliest,
    /// Behind the last one.
    Latest,
    /// At the first record at or after this time, milliseconds since 1970.
    Timestamp(i64),
    /// Where this consumer group stands.
    Group {
        /// The group.
        group: String,
        /// For partitions in which it stands nowhere, or where nothing is any more.
        otherwise: Otherwise,
    },
    /// Here.
    Offsets {
        /// The offset of the first record, for each partition.
        offsets: Offsets,
        /// For partitions that are not named, or that do not hold this offset.
        otherwise: Otherwise,
    },
}

/// Where to begin in a partition for which the chosen start says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Otherwise {
    /// Nowhere: the start is refused.
    #[default]
    Fail,
    /// At the first record there is.
    Earliest,
    /// Behind the last one.
    Latest,
}

/// Where a bounded read ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Until {
    /// At what is there at the first start; fixed by the first commit.
    Latest,
    /// Before the first record at or after this time, milliseconds since 1970; else as `Latest`.
    Timestamp(i64),
    /// Before this offset, in each partition.
    Offsets(Offsets),
}

/// What happens when a partition or a topic that was read is gone, or is not asked for any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Removed {
    /// The pipeline stops.
    #[default]
    Fail,
    /// It goes on without, and forgets its position.
    Forget,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_is_read_as_it_is_written() {
        let partition = Partition::new("a.b-c_d", 12);
        assert_eq!(Partition::parse(&partition.to_string()), Some(partition));
        for bad in ["", "a", "a/", "a/b", "a/-1", "a/+1", "a/1/2", "a/99999999999"] {
            assert_eq!(Partition::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_source_of_one_topic_is_called_as_before_there_were_lists() {
        assert_eq!(Topics::Named(vec!["t".into()]).to_string(), "t");
        assert_eq!(Topics::Named(vec!["a".into(), "b".into()]).to_string(), "a,b");
        let two = [Partition::new("t", 10), Partition::new("t", 2)];
        assert_eq!(Topics::Partitions(two.into()).to_string(), "t/2,t/10");
        assert_eq!(Topics::Pattern("t.*".into()).to_string(), "pattern:t.*");
    }
}
