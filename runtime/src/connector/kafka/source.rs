//! A reader of partitions: whole batches out of librdkafka's queues into columns, one copy per field and no allocation of
//! ours per record. Owns the positions, which come from the snapshot only; the group is for displays. Which partitions it
//! reads, and which more while it runs, the [`Enumerator`](super::Enumerator) says.

use std::ffi::c_void;
use std::sync::mpsc::{Receiver, SyncSender};
use std::time::Duration;

use rdkafka_sys::bindings as sys;
use weir_core::checkpoint::manifest::SourcePositions;
use weir_core::record::Batch;

use super::client::Client;
use super::error::{Code, Failure, Kind, text};
use super::fetcher::Fetcher;
use super::headers;
use super::native::PartitionList;
use super::splits::{self, Split};
use crate::connector::{Error, Polled, Source, SplitStatus, Waker};

/// Rows that one poll hands out at most.
const ROWS_MAX: usize = 1_000;
/// Bytes after which a poll ends.
const BYTES_MAX: usize = 1 << 20;
/// After so many takes the ends of the partitions are looked up, also while there is always more to read: the lag shows it.
const CATCH_UP_EVERY: u32 = 32;

/// Partitions that a reader gets beside those it has, with a client for all of them: how much a queue may hold depends on
/// how many there are, and cannot be changed.
pub(super) struct Assignment {
    pub(super) splits: Vec<Split>,
    pub(super) client: Client,
}

/// The ends of a reader towards its enumerator.
pub(super) struct Links {
    /// Assignments; or why reading cannot go on. Looked at once per poll.
    pub(super) news: Receiver<Result<Assignment, Error>>,
    /// Takes a fetcher that has been replaced, since closing its client blocks. When all readers are gone it is, too.
    pub(super) returned: SyncSender<Fetcher>,
}

/// See the module.
pub struct KafkaSource {
    identity: String,
    splits: Vec<Split>,
    fetcher: Fetcher,
    links: Links,
    /// The split of the message before, since neighbours mostly share it.
    last: Option<(*mut sys::rd_kafka_topic_t, i32, usize)>,
    is_bounded: bool,
    is_ended: bool,
    refills: u32,
}

// SAFETY: the topic handle in `last` is compared and never followed; what else is in here is `Send`.
unsafe impl Send for KafkaSource {}

impl KafkaSource {
    /// Over a fetcher that reads these splits, in their order.
    pub(super) fn new(
        identity: String,
        splits: Vec<Split>,
        fetcher: Fetcher,
        is_bounded: bool,
        links: Links,
    ) -> KafkaSource {
        let is_ended = is_bounded && splits.iter().all(Split::is_ended);
        KafkaSource { identity, splits, fetcher, links, last: None, is_bounded, is_ended, refills: 0 }
    }

    /// Goes on with more splits, behind those there were, over another client. What the old one had fetched and not handed
    /// out, the new one fetches again: positions count rows that were handed out.
    ///
    /// This is the event valve. The reader's thread takes an assignment between two steps, so a barrier stands before it or
    /// behind it: a snapshot without the new split has none of its rows, and one with it knows how far they were read.
    fn assign(&mut self, Assignment { splits, client }: Assignment) -> Result<(), Error> {
        self.splits.extend(splits);
        let fetcher = Fetcher::open(client, &self.splits, Waker::clone(self.fetcher.waker()), self.fetcher.times())?;
        let old = std::mem::replace(&mut self.fetcher, fetcher);
        self.last = None;
        // Where nobody takes it, it is closed here.
        let _ = self.links.returned.try_send(old);
        Ok(())
    }

    /// A split whose end was not told yet. What one poll hands out is of one queue, and so of one split: nothing stands
    /// between the last row of the split and this; but for rows of others where a control record is its end, since only the
    /// next fetch tells of that.
    fn next_ended(&mut self) -> Option<usize> {
        let index = self.splits.iter().position(|split| split.is_ended() && !split.end_is_told)?;
        self.splits[index].end_is_told = true;
        Some(index)
    }

    /// Hands out messages until the batch is full or none are left.
    fn hand_out(&mut self, out: &mut Batch) -> Result<(), Error> {
        let (rows, bytes) = (out.len() + ROWS_MAX, out.bytes() + BYTES_MAX);
        while out.len() < rows && out.bytes() < bytes {
            let Some(message) = self.fetcher.pop() else { break };
            // SAFETY: ours until destroyed here, whatever `take` answers.
            let taken = unsafe {
                let taken = self.take(message, out);
                sys::rd_kafka_message_destroy(message);
                taken
            };
            taken?;
        }
        Ok(())
    }

    /// # Safety
    /// `message` is live.
    #[inline]
    unsafe fn take(&mut self, message: *const sys::rd_kafka_message_t, out: &mut Batch) -> Result<(), Error> {
        // SAFETY: as promised by the caller; pointers and lengths of a message belong together.
        unsafe {
            if Code::read(&raw const (*message).err) != Code::NONE {
                return self.on_event(message);
            }
            let (offset, partition) = ((*message).offset, (*message).partition);
            let Some(index) = self.split_of((*message).rkt, partition) else { return Ok(()) };
            let split = &mut self.splits[index];
            if let Some(end) = split.end
                && offset >= end
            {
                // The topic went on after the end was fixed: what follows is not ours.
                split.reach(end);
                // Others first from now on.
                self.fetcher.note_time(index, i64::MAX);
                return Ok(());
            }
            let mut kind = sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
            let time = sys::rd_kafka_message_timestamp(message, &mut kind);
            let slot = out.times.len();
            self.fetcher.note_time(index, time);
            out.times.push(time.max(0));
            out.keys.push(bytes((*message).key, (*message).key_len));
            out.values.push(bytes((*message).payload, (*message).len));
            headers::append(message, slot, &mut out.headers);
            out.push_origin(index as u32, partition, offset);
            split.reach(offset + 1);
        }
        Ok(())
    }

    /// The split of a partition. Topic handles are compared by address: librdkafka has one per name.
    #[inline]
    fn split_of(&mut self, topic: *mut sys::rd_kafka_topic_t, partition: i32) -> Option<usize> {
        if let Some((last_topic, last_partition, index)) = self.last
            && last_topic == topic
            && last_partition == partition
        {
            return Some(index);
        }
        // SAFETY: messages with a partition have a topic.
        let name = text(unsafe { sys::rd_kafka_topic_name(topic) });
        let index = self.splits.iter().position(|s| s.partition.number == partition && s.partition.topic == name)?;
        self.last = Some((topic, partition, index));
        Some(index)
    }

    /// What comes through the queue and is no record: the end of a partition, or trouble.
    ///
    /// # Safety
    /// `message` is live.
    unsafe fn on_event(&mut self, message: *const sys::rd_kafka_message_t) -> Result<(), Error> {
        // SAFETY: as promised by the caller.
        let (code, reason, topic, partition, offset) = unsafe {
            let code = Code::read(&raw const (*message).err);
            (code, text(sys::rd_kafka_message_errstr(message)), (*message).rkt, (*message).partition, (*message).offset)
        };
        let index = if topic.is_null() { None } else { self.split_of(topic, partition) };
        match (code, index) {
            (Code::PARTITION_EOF, Some(index)) => {
                // Behind the last record may stand control records that are never handed out: the end says so.
                self.splits[index].reach(offset);
                Ok(())
            }
            (Code::PARTITION_EOF, None) => Ok(()),
            (Code::AUTO_OFFSET_RESET | Code::BROKER_OUT_OF_RANGE, Some(index)) => Err(self.out_of_range(index)),
            (Code::FATAL, _) => {
                let (code, reason) = self.fetcher.client().fatal().unwrap_or((code, reason));
                Err(failed(code, reason, "read"))
            }
            // librdkafka reconnects and goes on by itself; the place in the partition is kept.
            (code, _) if code.kind() == Kind::Unreachable || code == Code::TIMED_OUT => {
                tracing::warn!(target: "weir::kafka", code = code.name(), "{reason}");
                Ok(())
            }
            // Anything else could mean records that were skipped (a broken batch, say): leave and read again.
            (code, index) => {
                let place = index.map_or("a topic", |i| self.splits[i].name.as_str());
                let doing = format!("read {place}");
                let error = failed(code, reason, &doing);
                // A topic that vanishes under a running pipeline is looked for again at the restart.
                Err(match error {
                    Error::Config(said) => Error::Transient(said),
                    error => error,
                })
            }
        }
    }

    fn out_of_range(&self, index: usize) -> Error {
        let split = &self.splits[index];
        let (partition, position) = (&split.partition, split.position);
        match self.fetcher.client().watermarks(&partition.topic, partition.number, Duration::from_secs(5)) {
            Ok((low, high)) => splits::gone(&split.name, position, low, high),
            Err(code) => Error::Halt(format!(
                "records of `{}` from offset {position} on are needed but the broker does not have them; what it has \
                 cannot be asked now: {code}",
                split.name
            )),
        }
    }

    /// Notes the newest high watermarks, as the last fetch of each partition told them, and whether all is read.
    ///
    /// Positions are not asked from librdkafka: `rd_kafka_consume_batch_queue` counts the event that tells the end of a
    /// partition as a record, so that `rd_kafka_position` is one too far behind it, and a restart there would skip a record.
    fn catch_up(&mut self) {
        for split in &mut self.splits {
            if let Some(high) = self.fetcher.high(&split.partition) {
                split.high = Some(high);
            }
        }
        self.is_ended = self.is_bounded && self.splits.iter().all(Split::is_ended);
    }
}

impl Source for KafkaSource {
    fn identity(&self) -> String {
        self.identity.clone()
    }

    fn poll(&mut self, out: &mut Batch) -> Result<Polled, Error> {
        if self.is_ended {
            return Ok(Polled::Ended);
        }
        if let Ok(news) = self.links.news.try_recv() {
            self.assign(news?)?;
            return Ok(Polled::Grown);
        }
        if self.is_bounded
            && let Some(split) = self.next_ended()
        {
            return Ok(Polled::SplitEnded(split));
        }
        let had = out.len();
        let mut has_more = true;
        if self.fetcher.is_drained() {
            self.refills = self.refills.wrapping_add(1);
            has_more = self.fetcher.refill();
        }
        self.hand_out(out)?;
        let is_drained = self.fetcher.is_drained();
        let is_due = self.refills.is_multiple_of(CATCH_UP_EVERY);
        if is_drained && (!has_more || is_due || (self.is_bounded && self.splits.iter().any(Split::is_ended))) {
            self.catch_up();
        }
        if out.len() > had {
            return Ok(Polled::Rows);
        }
        if self.is_ended {
            return Ok(Polled::Ended);
        }
        // What was taken held no row (ends of partitions only): look again before sleeping, since the waker is called only
        // when a queue was empty.
        if has_more || !is_drained {
            return self.poll(out);
        }
        Ok(Polled::Empty)
    }

    fn splits(&self) -> Vec<SplitStatus> {
        let status = |split: &Split| SplitStatus {
            split: split.name.clone(),
            position: split.position,
            high_watermark: split.high,
            end: split.end,
        };
        self.splits.iter().map(status).collect()
    }

    fn on_committed(&mut self, positions: &SourcePositions) {
        let list = PartitionList::new(self.splits.iter().filter_map(|split| {
            let committed = positions.splits.iter().find(|p| p.split == split.name)?;
            Some((split.partition.topic.as_str(), split.partition.number, committed.position))
        }));
        if list.len() > 0 {
            // For displays of lag only: an answer is not waited for, and a failure changes nothing.
            // SAFETY: the list is copied.
            unsafe { sys::rd_kafka_commit(self.fetcher.client().native(), list.native(), 1) };
        }
    }
}

/// # Safety
/// `ptr` is null or has `len` bytes that live as long as the message.
#[inline]
unsafe fn bytes<'a>(ptr: *mut c_void, len: usize) -> Option<&'a [u8]> {
    // SAFETY: as promised by the caller.
    (!ptr.is_null()).then(|| unsafe { std::slice::from_raw_parts(ptr.cast::<u8>(), len) })
}

fn failed(code: Code, message: String, doing: &str) -> Error {
    Failure { code, message, is_fatal: false, is_retriable: false }.into_error(doing)
}
