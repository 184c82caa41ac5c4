//! Which partitions a source reads, as the cluster has them now, and which of its readers owns which. Asks for metadata;
//! knows no offset.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::client::Client;
use super::error::{Code, Failure, Kind};
use super::metadata::{Scope, TopicMetadata};
use super::preflight::no_topic;
use super::settings::{Partition, Topics};
use crate::connector::Error;
use crate::settings::pattern::{self, Pattern};

/// What a source reads, ready to be looked for.
pub(super) struct Selection {
    topics: Topics,
    /// Of [`Topics::Pattern`].
    pattern: Option<Pattern>,
}

/// What a look found.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) partitions: BTreeSet<Partition>,
    /// Topics and partitions that the file names and the cluster does not have.
    pub(super) missing: Vec<Missing>,
}

#[derive(Debug)]
pub(super) struct Missing {
    pub(super) topic: String,
    /// `None`: the whole topic.
    pub(super) number: Option<i32>,
    /// What is wrong, and what to do.
    pub(super) said: String,
}

impl Missing {
    pub(super) fn is(&self, partition: &Partition) -> bool {
        self.topic == partition.topic && self.number.is_none_or(|number| number == partition.number)
    }
}

impl Selection {
    pub(super) fn new(topics: &Topics) -> Result<Selection, Error> {
        let pattern = match topics {
            Topics::Pattern(text) => Some(pattern::compile(text).map_err(|error| {
                Error::Config(format!("the pattern `{text}` is not a regular expression: {error}"))
            })?),
            Topics::Named(_) | Topics::Partitions(_) => None,
        };
        Ok(Selection { topics: topics.clone(), pattern })
    }

    /// Whether the source asks for this partition, wherever it may be.
    pub(super) fn selects(&self, partition: &Partition) -> bool {
        match &self.topics {
            Topics::Named(names) => names.contains(&partition.topic),
            Topics::Partitions(partitions) => partitions.contains(partition),
            Topics::Pattern(_) => self.pattern.as_ref().is_some_and(|pattern| pattern.matches(&partition.topic)),
        }
    }

    /// Whether the file itself names this partition, or its topic.
    pub(super) fn names(&self, partition: &Partition) -> bool {
        !matches!(self.topics, Topics::Pattern(_)) && self.selects(partition)
    }

    /// Whether the file names partitions, so that a topic that grows adds none.
    pub(super) fn names_partitions(&self) -> bool {
        matches!(self.topics, Topics::Partitions(_))
    }

    /// What there is now.
    pub(super) fn look(&self, client: &Client, timeout: Duration) -> Result<Found, Error> {
        let mut found = Found::default();
        match &self.topics {
            Topics::Named(names) => {
                for name in names {
                    match topic(client, name, timeout)? {
                        Some(topic) => found.add(&topic, |_| true),
                        None => found.miss(name, None, no_topic(name, "source", client.brokers())),
                    }
                }
            }
            Topics::Partitions(wanted) => {
                let mut by_topic: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
                for partition in wanted {
                    by_topic.entry(&partition.topic).or_default().push(partition.number);
                }
                for (name, wanted) in by_topic {
                    let Some(topic) = topic(client, name, timeout)? else {
                        found.miss(name, None, no_topic(name, "source", client.brokers()));
                        continue;
                    };
                    for number in wanted.iter().filter(|number| !topic.partitions.contains(number)) {
                        found.miss(name, Some(*number), no_partition(&topic, *number, client.brokers()));
                    }
                    found.add(&topic, |number| wanted.contains(&number));
                }
            }
            Topics::Pattern(_) => {
                for topic in client.metadata(Scope::All, timeout)?.topics {
                    if self.pattern.as_ref().is_some_and(|pattern| pattern.matches(&topic.name))
                        && let Some(topic) = usable(topic)?
                    {
                        found.add(&topic, |_| true);
                    }
                }
            }
        }
        Ok(found)
    }

    /// Refuses what the file names and is not there, and a pattern that matches nothing.
    pub(super) fn expect(&self, found: &Found, brokers: &str) -> Result<(), Error> {
        if let Some(missing) = found.missing.first() {
            return Err(Error::Config(missing.said.clone()));
        }
        match &self.topics {
            Topics::Pattern(pattern) if found.partitions.is_empty() => Err(Error::Config(format!(
                "no topic on {brokers} matches the pattern `{pattern}`, which is compared with whole names: create one, or \
                 change `pattern`"
            ))),
            _ => Ok(()),
        }
    }
}

impl Found {
    fn add(&mut self, topic: &TopicMetadata, is_wanted: impl Fn(i32) -> bool) {
        let numbers = topic.partitions.iter().filter(|number| is_wanted(**number));
        self.partitions.extend(numbers.map(|number| Partition::new(topic.name.clone(), *number)));
    }

    fn miss(&mut self, topic: &str, number: Option<i32>, said: String) {
        self.missing.push(Missing { topic: topic.to_owned(), number, said });
    }
}

/// The reader that owns a partition, of so many: the partitions of a topic in turn, from a reader on that depends on the
/// topic's name. As Flink has it, down to the hash.
pub(super) fn owner(partition: &Partition, readers: u32) -> u32 {
    let hash = partition.topic.encode_utf16().fold(0_i32, |hash, c| hash.wrapping_mul(31).wrapping_add(i32::from(c)));
    let first = i64::from(hash.wrapping_mul(31) & i32::MAX) % i64::from(readers);
    ((first + i64::from(partition.number)) % i64::from(readers)) as u32
}

fn topic(client: &Client, name: &str, timeout: Duration) -> Result<Option<TopicMetadata>, Error> {
    let found = client.metadata(Scope::Topic(name), timeout)?.topics.into_iter().find(|topic| topic.name == name);
    found.map_or(Ok(None), usable)
}

/// `None` where there is no such topic.
fn usable(topic: TopicMetadata) -> Result<Option<TopicMetadata>, Error> {
    match topic.code.kind() {
        _ if topic.code == Code::NONE => Ok(Some(topic)),
        Kind::NoTopic => Ok(None),
        _ => {
            let (code, message) = (topic.code, topic.code.describe());
            let failure = Failure { code, message, is_fatal: false, is_retriable: false };
            Err(failure.into_error(&format!("read topic `{}`", topic.name)))
        }
    }
}

fn no_partition(topic: &TopicMetadata, number: i32, brokers: &str) -> String {
    let has: Vec<String> = topic.partitions.iter().map(i32::to_string).collect();
    let name = &topic.name;
    format!(
        "source topic `{name}` on {brokers} has no partition {number}, only {}: take `{name}/{number}` out of \
             `partitions`, or add partitions to the topic",
        has.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_partition_has_one_owner_whatever_else_is_read_and_the_partitions_of_a_topic_are_spread_evenly() {
        for readers in 1..=9_u32 {
            for topic in ["orders", "payments", "a", "ä.b", "x".repeat(249).as_str()] {
                for partitions in [1, 3, 8, 100] {
                    let mut shares = vec![0; readers as usize];
                    (0..partitions).for_each(|n| shares[owner(&Partition::new(topic, n), readers) as usize] += 1);
                    let (least, most) = (shares.iter().min().unwrap(), shares.iter().max().unwrap());
                    assert!(most - least <= 1, "{topic} has {partitions} for {readers}: {shares:?}");
                }
            }
        }
    }

    #[test]
    fn owners_are_those_that_flink_would_give() {
        // "orders".hashCode() is -1008770331 in Java; times 31, without the sign: 940374459.
        let first = owner(&Partition::new("orders", 0), 4);
        let owners: Vec<u32> = (0..6).map(|n| owner(&Partition::new("orders", n), 4)).collect();
        assert_eq!(owners, (0..6).map(|n| (first + n) % 4).collect::<Vec<_>>());
        assert_eq!(first, 3);
        assert_eq!(owner(&Partition::new("a", 1), 5), 3);
    }

    #[test]
    fn what_is_selected_is_what_the_file_says() {
        let is = |topics: Topics, text: &str| {
            Selection::new(&topics).map(|s| s.selects(&Partition::parse(text).unwrap())).unwrap()
        };
        let named = Topics::Named(vec!["a".into(), "b".into()]);
        assert!(is(named.clone(), "b/7") && !is(named, "c/0"));
        let these = Topics::Partitions([Partition::new("a", 1)].into());
        assert!(is(these.clone(), "a/1") && !is(these, "a/0"));
        let pattern = Topics::Pattern("a.*".into());
        assert!(is(pattern.clone(), "ab/0") && !is(pattern, "ba/0"));
        assert!(Selection::new(&Topics::Pattern("(".into())).is_err());
    }
}
