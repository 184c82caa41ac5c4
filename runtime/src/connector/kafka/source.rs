//! Rows in from topics, whole batches at a time: librdkafka's queue into columns, one copy per field and no allocation of
//! ours per record. Owns the consumer and its positions, which come from the snapshot only; the group is for displays.

use std::ffi::c_void;
use std::ptr;
use std::time::Duration;

use rdkafka_sys::bindings as sys;
use weir_core::checkpoint::manifest::SourcePositions;
use weir_core::record::Batch;

use super::client::{Client, Role};
use super::error::{Code, Failure, Kind, text};
use super::headers;
use super::native::{PartitionList, Queue, c_string};
use super::properties;
use super::settings::{self, Source as Settings};
use super::splits::{self, Split};
use crate::connector::{Error, Polled, Source, SplitStatus, Waker};
use crate::crash;

/// Rows that one poll hands out at most.
const ROWS_MAX: usize = 1_000;
/// Bytes after which a poll ends.
const BYTES_MAX: usize = 1 << 20;
/// After so many takes the ends of the partitions are looked up, also while there is always more to read: the lag shows it.
const CATCH_UP_EVERY: u32 = 32;

/// A reader of all partitions of its topics.
pub struct KafkaSource {
    identity: String,
    splits: Vec<Split>,
    /// Messages taken from librdkafka and not yet handed out: those of `taken` from `next` on.
    taken: Vec<*mut sys::rd_kafka_message_t>,
    next: usize,
    /// The split of the message before, since neighbours mostly share it.
    last: Option<(*mut sys::rd_kafka_topic_t, i32, usize)>,
    is_ended: bool,
    /// One for each split, in their order, and the client's own behind them, for what concerns no partition. A queue for all
    /// would be filled by whichever partition is fetched first when there is room again: by chance, one would run millions
    /// of records ahead of another, and the state would hold every window in between.
    // Order of fields: queues go before their client, and the waker, which the queues call, after both.
    queues: Vec<Queue>,
    /// Per queue the timestamp of its last record: who is furthest behind comes first. The client's own always does.
    times: Vec<i64>,
    /// The queues, sorted by `times` when they were last looked at.
    order: Vec<usize>,
    refills: u32,
    client: Client,
    waker: Box<Waker>,
}

// SAFETY: messages belong to the source; librdkafka lets any one thread at a time take and destroy them.
unsafe impl Send for KafkaSource {}

impl KafkaSource {
    /// Resolves all positions and begins to fetch. Blocks while it asks the cluster.
    pub fn open(settings: &Settings, restored: Option<&SourcePositions>, waker: Waker) -> Result<KafkaSource, Error> {
        let group = settings::group(&settings.pipeline);
        let client = |partitions| {
            Client::new(Role::Consumer, &settings.cluster, &properties::consumer(&settings.cluster, &group, partitions))
        };
        // Two clients, one after the other: how much a queue may hold depends on how many there are, and cannot be changed.
        let splits = splits::resolve(&client(1)?, settings, restored)?;
        let client = client(splits.len())?;
        client.note_reached();
        let waker = Box::new(waker);
        let queues = queues(&client, &splits, &waker);
        let is_ended = splits.iter().all(Split::is_ended);
        let source = KafkaSource {
            identity: settings.topics.identity(),
            splits,
            taken: Vec::with_capacity(ROWS_MAX),
            next: 0,
            last: None,
            is_ended,
            times: vec![i64::MIN; queues.len()],
            order: (0..queues.len()).rev().collect(),
            queues,
            refills: 0,
            client,
            waker,
        };
        source.assign()?;
        if restored.is_some() {
            crash::point("restore.seeked");
        }
        Ok(source)
    }

    /// Absolute offsets, never "beginning" or "end": those are asked for first, which costs half a second.
    fn assign(&self) -> Result<(), Error> {
        let live = self.splits.iter().filter(|split| !split.is_ended());
        let list = PartitionList::new(live.map(|s| (s.topic.as_str(), s.partition, s.position)));
        if list.len() == 0 {
            return Ok(());
        }
        // SAFETY: the list is copied.
        let code = Code(unsafe { sys::rd_kafka_assign(self.client.native(), list.native()) } as i32);
        if code == Code::NONE { Ok(()) } else { Err(failed(code, code.describe(), "assign partitions")) }
    }

    /// Takes what librdkafka has, without waiting, of the split that is furthest behind and has anything. `false`: all
    /// queues are empty.
    fn refill(&mut self) -> bool {
        self.taken.clear();
        self.next = 0;
        self.refills = self.refills.wrapping_add(1);
        let times = &self.times;
        self.order.sort_by_key(|queue| times[*queue]);
        for queue in &self.order {
            // SAFETY: the array has room for as many as asked; one thread polls.
            unsafe {
                let (queue, room) = (self.queues[*queue].native(), self.taken.as_mut_ptr());
                let count = sys::rd_kafka_consume_batch_queue(queue, 0, room, ROWS_MAX);
                self.taken.set_len(count.max(0) as usize);
            }
            if !self.taken.is_empty() {
                return true;
            }
        }
        false
    }

    /// Hands out messages until the batch is full or none are left.
    fn hand_out(&mut self, out: &mut Batch) -> Result<(), Error> {
        let (rows, bytes) = (out.len() + ROWS_MAX, out.bytes() + BYTES_MAX);
        while self.next < self.taken.len() && out.len() < rows && out.bytes() < bytes {
            let message = self.taken[self.next];
            self.next += 1;
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
                return Ok(());
            }
            let mut kind = sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
            let time = sys::rd_kafka_message_timestamp(message, &mut kind);
            let slot = out.times.len();
            self.times[index] = time;
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
        let index = self.splits.iter().position(|s| s.partition == partition && s.topic == name)?;
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
                let (code, reason) = self.client.fatal().unwrap_or((code, reason));
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
        let (topic, partition, position) = (&split.topic, split.partition, split.position);
        match self.client.watermarks(topic, partition, Duration::from_secs(5)) {
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
            let (topic, mut low, mut high) = (c_string(&split.topic), -1, -1);
            // SAFETY: all pointers live for the call; nothing is asked from the broker.
            unsafe {
                sys::rd_kafka_get_watermark_offsets(
                    self.client.native(),
                    topic.as_ptr(),
                    split.partition,
                    &mut low,
                    &mut high,
                );
            }
            if high >= 0 {
                split.high = Some(high);
            }
        }
        self.is_ended = self.splits.iter().all(Split::is_ended);
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
        let had = out.len();
        let mut has_more = true;
        if self.next == self.taken.len() {
            has_more = self.refill();
        }
        self.hand_out(out)?;
        let is_drained = self.next == self.taken.len();
        let is_due = self.refills.is_multiple_of(CATCH_UP_EVERY);
        if is_drained && (!has_more || is_due || self.splits.iter().any(Split::is_ended)) {
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
            Some((split.topic.as_str(), split.partition, committed.position))
        }));
        if list.len() > 0 {
            // For displays of lag only: an answer is not waited for, and a failure changes nothing.
            // SAFETY: the list is copied.
            unsafe { sys::rd_kafka_commit(self.client.native(), list.native(), 1) };
        }
    }
}

impl Drop for KafkaSource {
    fn drop(&mut self) {
        // SAFETY: messages not handed out are ours; the call-back goes before the waker it points to.
        unsafe {
            for message in &self.taken[self.next..] {
                sys::rd_kafka_message_destroy(*message);
            }
            for queue in &self.queues {
                sys::rd_kafka_queue_cb_event_enable(queue.native(), None, ptr::null_mut());
            }
            sys::rd_kafka_assign(self.client.native(), ptr::null());
        }
        let _ = &self.waker;
    }
}

/// A queue for each split and the client's own, which wake the source. To be made before partitions are assigned: then none
/// of their records goes elsewhere. `waker` lies still in its box until the call-back is taken off again.
fn queues(client: &Client, splits: &[Split], waker: &Waker) -> Vec<Queue> {
    let opaque = ptr::from_ref::<Waker>(waker).cast_mut().cast::<c_void>();
    // SAFETY: a consumer has these queues; they live no longer than their client.
    unsafe {
        sys::rd_kafka_poll_set_consumer(client.native());
        let of_split = |split: &Split| {
            let topic = c_string(&split.topic);
            let queue = Queue::own(sys::rd_kafka_queue_get_partition(client.native(), topic.as_ptr(), split.partition));
            sys::rd_kafka_queue_forward(queue.native(), ptr::null_mut());
            queue
        };
        let mut queues: Vec<Queue> = splits.iter().map(of_split).collect();
        queues.push(Queue::own(sys::rd_kafka_queue_get_consumer(client.native())));
        for queue in &queues {
            sys::rd_kafka_queue_cb_event_enable(queue.native(), Some(on_rows), opaque);
        }
        queues
    }
}

/// Called by librdkafka's threads, with the queue locked, when the queue was empty and is not any more.
unsafe extern "C" fn on_rows(_: *mut sys::rd_kafka_t, opaque: *mut c_void) {
    // SAFETY: the opaque is the source's boxed waker, and the call-back is taken off before that is freed.
    let waker = unsafe { &*opaque.cast::<Waker>() };
    waker();
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
