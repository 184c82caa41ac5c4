//! Records and rows as tests write and read them.

use super::world::Slot;

/// A record to push.
#[derive(Debug, Clone, Default)]
pub struct TestRecord {
    pub(super) time: i64,
    pub(super) key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<u8>,
    origin: Option<(u32, i64)>,
}

/// A record with this event time, and null key and value.
pub fn record(time: i64) -> TestRecord {
    TestRecord { time, ..TestRecord::default() }
}

impl TestRecord {
    /// Gives it a key.
    pub fn key(mut self, key: impl AsRef<[u8]>) -> TestRecord {
        self.key = Some(key.as_ref().to_vec());
        self
    }

    /// Gives it a value.
    pub fn value(mut self, value: impl AsRef<[u8]>) -> TestRecord {
        self.value = Some(value.as_ref().to_vec());
        self
    }

    /// Adds a header.
    pub fn header(mut self, name: &str, value: Option<&[u8]>) -> TestRecord {
        self.headers.extend_from_slice(&(name.len() as u16).to_le_bytes());
        self.headers.extend_from_slice(name.as_bytes());
        self.headers.extend_from_slice(&value.map_or(u32::MAX, |value| value.len() as u32).to_le_bytes());
        self.headers.extend_from_slice(value.unwrap_or_default());
        self
    }

    /// Says where it comes from.
    pub fn origin(mut self, partition: u32, offset: i64) -> TestRecord {
        self.origin = Some((partition, offset));
        self
    }

    pub(super) fn slot(&self) -> Slot {
        Slot {
            time: self.time,
            key: self.key.clone(),
            value: self.value.clone(),
            headers: self.headers.clone(),
            origin: self.origin,
        }
    }
}

/// A row that an operator has emitted, with what it inherited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestRow {
    /// Event time.
    pub time: i64,
    /// Key, `None` if it is null.
    pub key: Option<Vec<u8>>,
    /// Value, `None` if it is null.
    pub value: Option<Vec<u8>>,
    /// Headers as the contract encodes them; [`TestRow::headers`] reads them.
    pub headers: Vec<u8>,
    /// Output partition, if the operator chose one.
    pub partition: Option<u32>,
}

impl TestRow {
    /// The value as text. Panics if it is null or not UTF-8.
    pub fn text(&self) -> &str {
        text(&self.value)
    }

    /// The key as text. Panics if it is null or not UTF-8.
    pub fn key_text(&self) -> &str {
        text(&self.key)
    }

    /// Names and values of the headers.
    pub fn headers(&self) -> crate::Headers<'_> {
        crate::Headers::read(&self.headers)
    }
}

fn text(item: &Option<Vec<u8>>) -> &str {
    std::str::from_utf8(item.as_deref().expect("it is not null")).expect("it is UTF-8")
}

/// A record that an operator has rejected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// Its index in the call.
    pub slot: u32,
    /// The operator's word for it.
    pub code: String,
    /// For the person who reads it.
    pub message: String,
}
