//! A client of librdkafka's that fetches a set of partitions, with a queue for each. Owns the messages between librdkafka
//! and a batch, and whose turn it is; knows no row and no snapshot.

use std::ffi::c_void;
use std::ptr;

use rdkafka_sys::bindings as sys;

use super::client::Client;
use super::error::{Code, Failure};
use super::native::{PartitionList, Queue, c_string};
use super::settings::Partition;
use super::splits::Split;
use crate::connector::{Error, Waker};

/// Messages that one take asks for at most.
const MESSAGES_MAX: usize = 1_000;

/// See the module.
pub(super) struct Fetcher {
    /// Messages taken from librdkafka and not yet handed out: those of `taken` from `next` on.
    taken: Vec<*mut sys::rd_kafka_message_t>,
    next: usize,
    /// One for each split, in their order, and the client's own behind them, for what concerns no partition. A queue for all
    /// would be filled by whichever partition is fetched first when there is room again: by chance, one would run millions
    /// of records ahead of another, and the state would hold every window in between.
    // Order of fields: queues go before their client, and the waker, which the queues call, after both.
    queues: Vec<Queue>,
    /// Per queue the timestamp of its last record: who is furthest behind comes first. The client's own always does.
    times: Vec<i64>,
    /// The queues, sorted by `times` when they were last looked at.
    order: Vec<usize>,
    client: Client,
    waker: Box<Waker>,
}

// SAFETY: messages belong to the fetcher; librdkafka lets any one thread at a time take and destroy them.
unsafe impl Send for Fetcher {}

impl Fetcher {
    /// Begins to fetch the splits at their positions. `times` are those of splits that were read before, in front.
    pub(super) fn open(client: Client, splits: &[Split], waker: Waker, times: &[i64]) -> Result<Fetcher, Error> {
        client.note_reached();
        let waker = Box::new(waker);
        let queues = queues(&client, splits, &waker);
        let mut known = times.to_vec();
        known.resize(queues.len(), i64::MIN);
        let fetcher = Fetcher {
            taken: Vec::with_capacity(MESSAGES_MAX),
            next: 0,
            times: known,
            order: (0..queues.len()).rev().collect(),
            queues,
            client,
            waker,
        };
        fetcher.assign(splits)?;
        Ok(fetcher)
    }

    /// Absolute offsets, never "beginning" or "end": those are asked for first, which costs half a second.
    fn assign(&self, splits: &[Split]) -> Result<(), Error> {
        let live = splits.iter().filter(|split| !split.is_ended());
        let list = PartitionList::new(live.map(|s| (s.partition.topic.as_str(), s.partition.number, s.position)));
        if list.len() == 0 {
            return Ok(());
        }
        // SAFETY: the list is copied.
        let code = Code(unsafe { sys::rd_kafka_assign(self.client.native(), list.native()) } as i32);
        if code == Code::NONE {
            return Ok(());
        }
        let failure = Failure { code, message: code.describe(), is_fatal: false, is_retriable: false };
        Err(failure.into_error("assign partitions"))
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    pub(super) fn waker(&self) -> &Waker {
        &self.waker
    }

    /// Per split the timestamp of its last record.
    pub(super) fn times(&self) -> &[i64] {
        &self.times[..self.times.len() - 1]
    }

    /// The timestamp of the last record of a split.
    #[inline]
    pub(super) fn note_time(&mut self, split: usize, time: i64) {
        self.times[split] = time;
    }

    /// Takes what librdkafka has, without waiting, of the split that is furthest behind and has anything. `false`: all
    /// queues are empty. Only when drained.
    pub(super) fn refill(&mut self) -> bool {
        self.taken.clear();
        self.next = 0;
        let times = &self.times;
        self.order.sort_by_key(|queue| times[*queue]);
        for queue in &self.order {
            // SAFETY: the array has room for as many as asked; one thread polls.
            unsafe {
                let (queue, room) = (self.queues[*queue].native(), self.taken.as_mut_ptr());
                let count = sys::rd_kafka_consume_batch_queue(queue, 0, room, MESSAGES_MAX);
                self.taken.set_len(count.max(0) as usize);
            }
            if !self.taken.is_empty() {
                return true;
            }
        }
        false
    }

    /// The next message: the caller destroys it.
    #[inline]
    pub(super) fn pop(&mut self) -> Option<*mut sys::rd_kafka_message_t> {
        let message = self.taken.get(self.next).copied();
        self.next += usize::from(message.is_some());
        message
    }

    /// Whether nothing is left of what was taken.
    pub(super) fn is_drained(&self) -> bool {
        self.next == self.taken.len()
    }

    /// The high watermark of a partition, as its last fetch told it. Nothing is asked from the broker.
    pub(super) fn high(&self, partition: &Partition) -> Option<i64> {
        let (topic, mut low, mut high) = (c_string(&partition.topic), -1, -1);
        // SAFETY: all pointers live for the call.
        unsafe {
            let client = self.client.native();
            sys::rd_kafka_get_watermark_offsets(client, topic.as_ptr(), partition.number, &mut low, &mut high);
        }
        Some(high).filter(|high| *high >= 0)
    }
}

impl Drop for Fetcher {
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
            let (topic, number) = (c_string(&split.partition.topic), split.partition.number);
            let queue = Queue::own(sys::rd_kafka_queue_get_partition(client.native(), topic.as_ptr(), number));
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
    // SAFETY: the opaque is the fetcher's boxed waker, and the call-back is taken off before that is freed.
    let waker = unsafe { &*opaque.cast::<Waker>() };
    waker();
}
