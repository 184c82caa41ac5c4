//! The producer of a domain, as its sinks see it: a slot that the authority fills anew after each fence. Owns nothing of
//! the protocol; sinks look at the generation once per call, never per row.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::preflight::TopicFacts;
use super::producer::{Producer, Sizes, Wakers};
use crate::connector::Error;

/// The slot. One per domain and cluster, shared by its authority and all its sinks.
pub struct SharedProducer {
    current: Mutex<Option<Arc<Producer>>>,
    generation: AtomicU64,
    /// Set by `begin`, taken by whoever writes the first row of a transaction.
    is_fresh: AtomicBool,
    pub(super) wakers: Arc<Wakers>,
    pub(super) topics: BTreeMap<String, TopicFacts>,
}

impl SharedProducer {
    pub(super) fn new(topics: BTreeMap<String, TopicFacts>) -> Arc<SharedProducer> {
        Arc::new(SharedProducer {
            current: Mutex::new(None),
            generation: AtomicU64::new(0),
            is_fresh: AtomicBool::new(false),
            wakers: Arc::default(),
            topics,
        })
    }

    /// What the sink topics take: the smallest of all, since a batch cannot know its topic's limit.
    pub(super) fn sizes(&self) -> Sizes {
        let smallest = self.topics.values().map(|t| t.message_bytes_max).min().unwrap_or(usize::MAX);
        let largest = self.topics.values().map(|t| t.message_bytes_max).max().unwrap_or(1_000_000);
        Sizes {
            batch: smallest.saturating_sub(512).clamp(1_000, 1_000_000),
            message: largest.clamp(1_000, 1_000_000_000),
        }
    }

    /// Changes with every new producer; 0 before the first.
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    pub(super) fn current(&self) -> Result<Arc<Producer>, Error> {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        current.clone().ok_or_else(|| Error::Transient("the Kafka producer is not open: nothing was fenced yet".into()))
    }

    /// Puts a new producer in and gives the old one back, so that the caller drops it outside of the lock.
    pub(super) fn replace(&self, producer: Option<Arc<Producer>>) -> Option<Arc<Producer>> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let old = std::mem::replace(&mut *current, producer);
        self.generation.fetch_add(1, Ordering::AcqRel);
        old
    }

    pub(super) fn on_begin(&self) {
        self.is_fresh.store(true, Ordering::Release);
    }

    /// Whether the next row is the first of its transaction; true once.
    pub(super) fn take_fresh(&self) -> bool {
        self.is_fresh.load(Ordering::Relaxed) && self.is_fresh.swap(false, Ordering::AcqRel)
    }
}
