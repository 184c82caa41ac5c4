//! Rows out to a topic, in the transaction that the authority holds open. Owns the buffer for rows behind a barrier whose
//! epoch is not yet released, and the checks that keep a row that the broker would refuse from ending the attempt.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use weir_core::ids::Epoch;
use weir_core::record::Batch;

use super::error::Code;
use super::headers::{self, Outgoing};
use super::native::Topic;
use super::partitioner::partition_of;
use super::preflight::TopicFacts;
use super::producer::{Producer, Row};
use super::shared::SharedProducer;
use crate::connector::{Cut, Error, Sink, Waker};
use crate::{clock, crash};

/// A sink of one topic. The transaction must be open before the first row: the authority's `begin` comes before the shard
/// runs, and `on_released` after every later `begin`. Where an epoch is declined (its transaction stays open),
/// `on_released` is called as well.
pub struct KafkaSink {
    shared: Arc<SharedProducer>,
    topic: String,
    facts: TopicFacts,
    limits: Limits,
    bound: Option<Bound>,
    hold: Hold,
    /// Where rows without a key go: the same partition for all rows of a call.
    next_free: u32,
    has_warned: bool,
}

/// Bounds of this sink.
#[derive(Debug, Clone, Copy)]
struct Limits {
    row_bytes_max: usize,
    hold_bytes: usize,
}

/// The producer of this attempt, with our handle of the topic on it.
struct Bound {
    generation: u64,
    // Order of fields: the topic goes before its client.
    topic: Topic,
    producer: Arc<Producer>,
}

/// Where rows go now.
enum Hold {
    /// To the producer.
    Open,
    /// Into the buffer: the barrier of `epoch` has passed and it is not yet released.
    Held { epoch: Epoch, rows: Batch },
    /// The buffer goes out first, from slot `next`.
    Draining { rows: Batch, next: usize },
}

/// What a row costs beside its bytes: time, two ends, and the record's own framing in a Kafka batch.
const ROW_OVERHEAD: usize = 32;
/// Room for the framing of a Kafka batch around a single row.
const BATCH_OVERHEAD: usize = 128;
/// How long a barrier waits for room to send what was held before it.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(60);

impl KafkaSink {
    /// A sink of `topic`, which must be one of the domain's topics.
    pub fn new(
        shared: Arc<SharedProducer>,
        topic: &str,
        record_bytes_max: usize,
        hold_bytes: usize,
        waker: Waker,
    ) -> Result<KafkaSink, Error> {
        let facts = *shared.topics.get(topic).ok_or_else(|| {
            Error::Config(format!("topic `{topic}` is not among the sink topics that the domain was opened with"))
        })?;
        shared.wakers.add(waker);
        let row_bytes_max = record_bytes_max.min(facts.message_bytes_max.saturating_sub(BATCH_OVERHEAD));
        // A column's ends have 31 bits.
        let limits = Limits { row_bytes_max, hold_bytes: hold_bytes.min(1 << 30) };
        Ok(KafkaSink {
            shared,
            topic: topic.into(),
            facts,
            limits,
            bound: None,
            hold: Hold::Open,
            next_free: 0,
            has_warned: false,
        })
    }

    /// The producer to use now: looked up anew only after a fence made a new one.
    fn bind(&mut self) -> Result<(), Error> {
        let generation = self.shared.generation();
        if self.bound.as_ref().is_some_and(|bound| bound.generation == generation) {
            return Ok(());
        }
        let producer = self.shared.current()?;
        let topic = Topic::new(producer.client(), &self.topic)?;
        if let Some(old) = self.bound.replace(Bound { generation, topic, producer }) {
            // Ours may be the last hold on the old handle, and closing it joins its threads: the shard does not wait.
            std::thread::spawn(move || drop(old));
        }
        Ok(())
    }

    /// The first row of the range that cannot be written, and why.
    fn find_bad(&self, rows: &Batch, range: Range<usize>) -> Option<(usize, String)> {
        let latest =
            self.facts.time_ahead_max.map(|ahead| clock::now_millis().saturating_add(ahead.as_millis() as i64));
        range.into_iter().find_map(|slot| self.why_bad(rows, slot, latest).map(|why| (slot, why)))
    }

    #[inline]
    fn why_bad(&self, rows: &Batch, slot: usize, latest: Option<i64>) -> Option<String> {
        let headers = if rows.headers.is_empty() { 0 } else { rows.headers.span(slot).len() };
        let bytes = rows.keys.span(slot).len() + rows.values.span(slot).len() + headers;
        if bytes > self.limits.row_bytes_max {
            return Some(format!(
                "a row of {bytes} bytes is over the {} that topic `{}` and `limits.record` allow",
                self.limits.row_bytes_max, self.topic
            ));
        }
        if let Some(latest) = latest
            && rows.times[slot] > latest
        {
            return Some(format!(
                "a row with time {} is further ahead of the clock than topic `{}` takes (message.timestamp.after.max.ms)",
                rows.times[slot], self.topic
            ));
        }
        if !rows.partitions.is_empty() && rows.partitions[slot] >= self.facts.partitions {
            return Some(format!(
                "a row is for partition {} but topic `{}` has {}",
                rows.partitions[slot], self.topic, self.facts.partitions
            ));
        }
        if headers > 0
            && let Some(item) = rows.headers.get(slot)
            && headers::decode(item).any(|header| header.is_err())
        {
            return Some("a row's headers are not encoded as the contract says".into());
        }
        None
    }

    /// Says once that rows are older than what the topic keeps: the broker takes them, commits them, and deletes them.
    fn warn_of_old(&mut self, time: Option<&i64>) {
        let (Some(retention), Some(time)) = (self.facts.retention, time) else { return };
        let oldest = clock::now_millis().saturating_sub(retention.as_millis().min(i64::MAX as u128) as i64);
        if *time < oldest && !self.has_warned {
            self.has_warned = true;
            tracing::warn!(
                target: "weir::kafka",
                topic = self.topic,
                time,
                "rows are older than the topic's retention.ms ({} ms): the broker deletes them soon after the commit; set \
                 retention.ms=-1 or message.timestamp.type=LogAppendTime on the topic",
                retention.as_millis()
            );
        }
    }

    /// Sends what was held. `true`: all of it is out.
    fn drain(&mut self) -> Result<bool, Error> {
        let Hold::Draining { rows, next } = std::mem::replace(&mut self.hold, Hold::Open) else {
            return Ok(true);
        };
        self.bind()?;
        let sent = self.send(&rows, next..rows.len())?;
        if next + sent < rows.len() {
            self.hold = Hold::Draining { rows, next: next + sent };
            return Ok(false);
        }
        Ok(true)
    }

    /// Hands rows to the producer until its queue is full. Returns how many it took.
    fn send(&mut self, rows: &Batch, range: Range<usize>) -> Result<usize, Error> {
        let Some(bound) = &self.bound else { return Ok(0) };
        if let Some(reason) = bound.producer.failure() {
            return Err(Error::Transient(reason));
        }
        let partitions = self.facts.partitions;
        let mut row = Row::new(&bound.topic);
        self.next_free = self.next_free.wrapping_add(1);
        let free = (self.next_free % partitions.max(1)) as i32;
        let has_headers = !rows.headers.is_empty();
        for slot in range.clone() {
            let key = rows.keys.get(slot);
            let partition = match (rows.partitions.is_empty(), key) {
                (false, _) => rows.partitions[slot] as i32,
                (true, Some(key)) => partition_of(key, partitions),
                (true, None) => free,
            };
            row.fill(partition, key, rows.values.get(slot), rows.times[slot]);
            let headers = if has_headers { rows.headers.get(slot) } else { None };
            let headers = headers.and_then(|item| Outgoing::new(item).ok());
            if let Some(headers) = &headers {
                row.set_headers(headers.native());
            }
            match bound.producer.produce(&row) {
                Ok(()) => {
                    if let Some(headers) = headers {
                        headers.taken();
                    }
                }
                Err(Code::QUEUE_FULL) => return Ok(slot - range.start),
                Err(code) => return Err(self.refused(code, bound)),
            }
            if slot == range.start && self.shared.take_fresh() {
                crash::point("txn.first_row");
            }
        }
        Ok(range.len())
    }

    fn refused(&self, code: Code, bound: &Bound) -> Error {
        let reason = bound.producer.client().fatal().map_or_else(|| code.describe(), |(_, reason)| reason);
        Error::Transient(format!("cannot write to topic `{}`: {reason}", self.topic))
    }
}

impl Sink for KafkaSink {
    fn write(&mut self, rows: &Batch, range: Range<usize>) -> Result<usize, Error> {
        self.warn_of_old(rows.times.get(range.start));
        let bad = self.find_bad(rows, range.clone());
        let good = range.start..bad.as_ref().map_or(range.end, |(slot, _)| *slot);
        let taken = if let Hold::Held { rows: held, .. } = &mut self.hold {
            hold(held, rows, good.clone(), self.limits.hold_bytes)
        } else if self.drain()? {
            self.bind()?;
            self.send(rows, good.clone())?
        } else {
            0
        };
        match bad {
            // What stands before the bad row was taken: the caller goes on behind it.
            Some((slot, message)) if taken == good.len() => Err(Error::Record { slot, message }),
            _ => Ok(taken),
        }
    }

    fn on_barrier(&mut self, epoch: Epoch) -> Result<Cut, Error> {
        if let Hold::Held { epoch: before, .. } = &self.hold {
            return Err(Error::Transient(format!("barrier {epoch} came before epoch {before} was released")));
        }
        // What was held belongs to this epoch: it must be with the producer before the epoch is flushed.
        let deadline = clock::now() + DRAIN_TIMEOUT;
        while !self.drain()? {
            if clock::now() >= deadline {
                return Err(Error::Transient(format!("topic `{}` took no more rows for 60 s", self.topic)));
            }
            std::thread::park_timeout(Duration::from_millis(1));
        }
        self.hold = Hold::Held { epoch, rows: Batch::default() };
        Ok(Cut::Parts(Vec::new()))
    }

    fn on_released(&mut self, epoch: Epoch) -> Result<(), Error> {
        match std::mem::replace(&mut self.hold, Hold::Open) {
            Hold::Held { epoch: held, rows } if held == epoch => {
                self.hold = Hold::Draining { rows, next: 0 };
                crash::point("hold.released");
                self.drain()?;
                self.shared.wakers.wake();
            }
            // Another epoch's release, or one that this sink never saw: nothing changes.
            other => self.hold = other,
        }
        Ok(())
    }
}

/// Copies rows into the buffer until it is full. Returns how many it took.
fn hold(held: &mut Batch, rows: &Batch, range: Range<usize>, bytes_max: usize) -> usize {
    let mut room = bytes_max.saturating_sub(held.bytes() + held.len() * ROW_OVERHEAD);
    let mut end = range.start;
    for slot in range.clone() {
        let headers = if rows.headers.is_empty() { 0 } else { rows.headers.span(slot).len() };
        let cost = rows.keys.span(slot).len() + rows.values.span(slot).len() + headers + ROW_OVERHEAD;
        if cost > room {
            break;
        }
        room -= cost;
        end = slot + 1;
    }
    // Explicit partitions are all or nothing in a batch: where only some rows have one, the buffer waits for its turn.
    let mixes = !held.is_empty() && held.partitions.is_empty() != rows.partitions.is_empty();
    if mixes {
        return 0;
    }
    held.extend_from(rows, range.start..end);
    end - range.start
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(count: usize, bytes: usize) -> Batch {
        let mut rows = Batch::default();
        for i in 0..count {
            rows.times.push(i as i64);
            rows.keys.push(Some(b"k"));
            rows.values.push(Some(&vec![b'v'; bytes]));
        }
        rows
    }

    #[test]
    fn the_buffer_takes_rows_from_the_front_until_it_is_full() {
        let mut held = Batch::default();
        let rows = rows(10, 99);
        let cost = 1 + 99 + ROW_OVERHEAD;
        assert_eq!(hold(&mut held, &rows, 2..10, cost * 3 + 10), 3);
        assert_eq!(held.times, [2, 3, 4]);
        assert_eq!(hold(&mut held, &rows, 5..10, cost * 3 + 10), 0);
        assert_eq!(hold(&mut held, &rows, 5..10, usize::MAX), 5);
        assert_eq!(held.times, [2, 3, 4, 5, 6, 7, 8, 9]);
    }
}
