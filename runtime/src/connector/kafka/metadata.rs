//! What a cluster says about its brokers, topics and partitions, copied out of librdkafka's tree.

use rdkafka_sys::bindings as sys;

use super::error::{Code, text};

/// What to ask metadata for.
#[derive(Clone, Copy)]
pub(super) enum Scope<'a> {
    Brokers,
    Topic(&'a str),
    All,
}

/// What the cluster said about itself.
#[derive(Debug, Default)]
pub(super) struct Metadata {
    pub(super) brokers: usize,
    pub(super) topics: Vec<TopicMetadata>,
}

#[derive(Debug)]
pub(super) struct TopicMetadata {
    pub(super) name: String,
    pub(super) code: Code,
    pub(super) partitions: Vec<i32>,
}

impl Metadata {
    /// # Safety
    /// `native` is what `rd_kafka_metadata` gave.
    pub(super) unsafe fn copy(native: *const sys::rd_kafka_metadata) -> Metadata {
        // SAFETY: counts and arrays belong together; codes are read as numbers.
        unsafe {
            let mut metadata = Metadata { brokers: (*native).broker_cnt.max(0) as usize, topics: Vec::new() };
            for t in 0..(*native).topic_cnt.max(0) as usize {
                let topic = (*native).topics.add(t);
                let mut partitions: Vec<i32> =
                    (0..(*topic).partition_cnt.max(0) as usize).map(|p| (*(*topic).partitions.add(p)).id).collect();
                partitions.sort_unstable();
                let code = Code::read(&raw const (*topic).err);
                metadata.topics.push(TopicMetadata { name: text((*topic).topic), code, partitions });
            }
            metadata
        }
    }
}
