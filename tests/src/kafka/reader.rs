//! Reads a topic to its end, and again to its end when it has grown. The end is where the broker says that it is, not
//! the last row seen: aborted rows and control records leave gaps there.

use std::collections::HashSet;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::{PATIENCE, Row};
use crate::wait::try_wait_for;

/// Which rows a reader sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    /// Those of committed transactions and of no transaction, up to the first open transaction.
    Committed,
    /// All, those of aborted and open transactions as well.
    Uncommitted,
}

impl Isolation {
    pub(super) fn level(self) -> &'static str {
        match self {
            Isolation::Committed => "read_committed",
            Isolation::Uncommitted => "read_uncommitted",
        }
    }
}

/// A place in a topic, and all rows up to it.
pub struct Reader {
    consumer: BaseConsumer,
    topic: String,
    /// Per partition the position to read next.
    positions: Vec<i64>,
    rows: Vec<Row>,
}

impl Reader {
    pub(super) fn new(consumer: BaseConsumer, topic: &str, partitions: i32) -> Self {
        Self { consumer, topic: topic.to_owned(), positions: vec![0; partitions as usize], rows: Vec::new() }
    }

    /// All rows read so far.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Reads up to the end that the broker names now, and returns all rows from the beginning.
    #[track_caller]
    pub fn read_to_end(&mut self) -> &[Row] {
        let ends: Vec<i64> = (0..self.positions.len() as i32).map(|partition| self.end(partition)).collect();
        let mut open: HashSet<usize> = (0..ends.len()).filter(|&p| self.positions[p] < ends[p]).collect();
        // Order: a new assignment after the ends were asked. It drops what the client still holds of the last one, so an
        // end of partition that arrives now was found behind `ends`.
        let mut assignment = TopicPartitionList::new();
        for &partition in &open {
            // Not OFFSET_BEGINNING: that asks the broker first, and costs half a second.
            let from = Offset::Offset(self.positions[partition]);
            assignment.add_partition_offset(&self.topic, partition as i32, from).expect("a position is an offset");
        }
        self.consumer.assign(&assignment).expect("an assignment of known partitions");
        let done = try_wait_for(PATIENCE, || {
            while !open.is_empty() {
                match self.consumer.poll(Duration::from_millis(20))? {
                    Ok(message) => {
                        let partition = message.partition() as usize;
                        self.positions[partition] = message.offset() + 1;
                        if message.offset() + 1 >= ends[partition] {
                            open.remove(&partition);
                        }
                        let row = row_of(&message);
                        self.rows.push(row);
                    }
                    Err(KafkaError::PartitionEOF(partition)) => {
                        let position = &mut self.positions[partition as usize];
                        *position = (*position).max(ends[partition as usize]);
                        open.remove(&(partition as usize));
                    }
                    Err(error) => panic!("read {}: {error}", self.topic),
                }
            }
            Some(())
        });
        assert!(done.is_some(), "{} was not read to its ends {ends:?}, only to {:?}", self.topic, self.positions);
        &self.rows
    }

    /// Reads on until `enough` says so, and returns all rows from the beginning.
    #[track_caller]
    pub fn read_until(&mut self, deadline: Duration, what: &str, mut enough: impl FnMut(&[Row]) -> bool) -> &[Row] {
        let met = try_wait_for(deadline, || enough(self.read_to_end()).then_some(()));
        assert!(met.is_some(), "waited {deadline:?} in vain: {what}; {} has {} rows", self.topic, self.rows.len());
        &self.rows
    }

    /// Where the partition ends for this isolation, or 0 when it holds nothing: retention may have emptied it.
    fn end(&self, partition: i32) -> i64 {
        let fetched = self.consumer.fetch_watermarks(&self.topic, partition, PATIENCE);
        let (low, end) = fetched.unwrap_or_else(|error| panic!("the ends of {}/{partition}: {error}", self.topic));
        if low < end { end } else { 0 }
    }
}

fn row_of(message: &BorrowedMessage<'_>) -> Row {
    let headers = message.headers().map(|headers| {
        headers.iter().map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec))).collect()
    });
    Row {
        partition: message.partition(),
        offset: message.offset(),
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().map(<[u8]>::to_vec),
        time: message.timestamp().to_millis(),
        headers: headers.unwrap_or_default(),
    }
}
