//! What the proxy saw, for tests to assert on.

use std::sync::Mutex;
use std::time::Instant;

use super::{Act, Api, Detail, Frame, Side};

/// One frame and what happened to it.
#[derive(Debug, Clone)]
pub struct Entry {
    pub at: Instant,
    /// Connections are counted from 1 over all clients; a connection made by `inject` has a number too.
    pub connection: u64,
    pub client: String,
    pub side: Side,
    pub api: Api,
    pub version: i16,
    pub correlation: i32,
    pub act: Act,
    /// For the four requests of a transaction and their answers.
    pub detail: Option<Detail>,
}

#[derive(Default)]
pub(super) struct Log(Mutex<Vec<Entry>>);

impl Log {
    pub(super) fn add(&self, connection: u64, frame: &Frame, act: Act) {
        let entry = Entry {
            at: weir::clock::now(),
            connection,
            client: frame.client.clone(),
            side: frame.side,
            api: frame.api,
            version: frame.version,
            correlation: frame.correlation,
            act,
            detail: Detail::of(frame),
        };
        self.0.lock().unwrap().push(entry);
    }

    pub(super) fn of_client(&self, id: &str) -> Vec<Entry> {
        self.0.lock().unwrap().iter().filter(|entry| entry.client.starts_with(id)).cloned().collect()
    }
}
