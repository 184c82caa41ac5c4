//! What goes into a topic and what comes out of it, as plain values.

/// A record to be produced.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Record {
    pub partition: Option<i32>,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub time: Option<i64>,
}

impl Record {
    /// A record with this value, no key, the producer's time, and the partitioner's partition.
    pub fn new(value: impl Into<Vec<u8>>) -> Self {
        Self { value: Some(value.into()), ..Self::default() }
    }

    pub fn key(mut self, key: impl Into<Vec<u8>>) -> Self {
        self.key = Some(key.into());
        self
    }

    pub fn partition(mut self, partition: i32) -> Self {
        self.partition = Some(partition);
        self
    }

    pub fn time(mut self, millis: i64) -> Self {
        self.time = Some(millis);
        self
    }
}

/// A record that was read. Absent and empty key, value and header stay different.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub partition: i32,
    pub offset: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub time: Option<i64>,
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

impl Row {
    /// The key as text, empty where there is none.
    pub fn key_text(&self) -> String {
        String::from_utf8_lossy(self.key.as_deref().unwrap_or_default()).into_owned()
    }

    /// The value as text, empty where there is none.
    pub fn value_text(&self) -> String {
        String::from_utf8_lossy(self.value.as_deref().unwrap_or_default()).into_owned()
    }
}
