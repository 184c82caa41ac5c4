//! Small things of librdkafka's that free themselves: topic handles, lists of partitions, queues. Own nothing but memory.

use std::ffi::{CString, c_int};
use std::ptr::{self, NonNull};
use std::time::Duration;

use rdkafka_sys::bindings as sys;

use super::client::Client;
use super::error::Code;
use crate::connector::Error;

/// A topic handle. Belongs to its client, which must outlive it.
pub(super) struct Topic(NonNull<sys::rd_kafka_topic_t>);

// SAFETY: topic handles are counted references that any thread may use.
unsafe impl Send for Topic {}
// SAFETY: as above.
unsafe impl Sync for Topic {}

impl Topic {
    pub(super) fn new(client: &Client, name: &str) -> Result<Topic, Error> {
        let c_name = CString::new(name).map_err(|_| Error::Config(format!("{name:?} is not a topic name")))?;
        // SAFETY: the name is copied.
        let topic = unsafe { sys::rd_kafka_topic_new(client.native(), c_name.as_ptr(), ptr::null_mut()) };
        NonNull::new(topic).map(Topic).ok_or_else(|| Error::Config(format!("{name:?} is not a topic name")))
    }

    pub(super) fn native(&self) -> *mut sys::rd_kafka_topic_t {
        self.0.as_ptr()
    }
}

impl Drop for Topic {
    fn drop(&mut self) {
        // SAFETY: made in `new`, dropped once.
        unsafe { sys::rd_kafka_topic_destroy(self.native()) }
    }
}

/// A list of partitions with offsets.
pub(super) struct PartitionList(NonNull<sys::rd_kafka_topic_partition_list_t>);

// SAFETY: a plain allocation that one owner at a time uses.
unsafe impl Send for PartitionList {}

impl PartitionList {
    pub(super) fn new<'a>(items: impl IntoIterator<Item = (&'a str, i32, i64)>) -> PartitionList {
        // SAFETY: the list grows by itself.
        let list = NonNull::new(unsafe { sys::rd_kafka_topic_partition_list_new(8) })
            .expect("librdkafka aborts when it gets no memory");
        for (topic, partition, offset) in items {
            let name = c_string(topic);
            // SAFETY: the name is copied; the element is live until the next one is added.
            unsafe {
                let item = sys::rd_kafka_topic_partition_list_add(list.as_ptr(), name.as_ptr(), partition);
                (*item).offset = offset;
            }
        }
        PartitionList(list)
    }

    pub(super) fn native(&self) -> *mut sys::rd_kafka_topic_partition_list_t {
        self.0.as_ptr()
    }

    pub(super) fn len(&self) -> usize {
        // SAFETY: live.
        unsafe { (*self.native()).cnt.max(0) as usize }
    }

    /// Offset and error of an item.
    pub(super) fn get(&self, index: usize) -> (i64, Code) {
        assert!(index < self.len(), "an index of this list");
        // SAFETY: checked above.
        unsafe {
            let item = (*self.native()).elems.add(index);
            ((*item).offset, Code::read(&raw const (*item).err))
        }
    }
}

impl Drop for PartitionList {
    fn drop(&mut self) {
        // SAFETY: made in `new`, dropped once.
        unsafe { sys::rd_kafka_topic_partition_list_destroy(self.native()) }
    }
}

/// A queue of a client's, which must outlive it.
pub(super) struct Queue(NonNull<sys::rd_kafka_queue_t>);

// SAFETY: queues lock themselves.
unsafe impl Send for Queue {}
// SAFETY: as above.
unsafe impl Sync for Queue {}

impl Queue {
    /// Takes what a `rd_kafka_queue_…` call gave.
    pub(super) fn own(native: *mut sys::rd_kafka_queue_t) -> Queue {
        Queue(NonNull::new(native).expect("a client of this role has this queue"))
    }

    pub(super) fn native(&self) -> *mut sys::rd_kafka_queue_t {
        self.0.as_ptr()
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: made in `own`, dropped once.
        unsafe { sys::rd_kafka_queue_destroy(self.native()) }
    }
}

/// A name for librdkafka. A name with a zero byte names nothing, and the broker will say so.
pub(super) fn c_string(name: &str) -> CString {
    CString::new(name).unwrap_or_default()
}

pub(super) fn millis(timeout: Duration) -> c_int {
    timeout.as_millis().min(c_int::MAX as u128) as c_int
}
