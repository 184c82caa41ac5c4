//! Where the event time of a source's records comes from, and how its watermark moves.

use std::time::Duration;

/// Where the event time of a record is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventTime {
    /// In the value, which is JSON: an integer at this JSON pointer.
    Json {
        /// The pointer, RFC 6901.
        pointer: String,
        /// What the integer counts.
        unit: Unit,
    },
    /// The timestamp of the Kafka record.
    KafkaTimestamp,
    /// Records have no event time: it is 0, and the watermark moves only at the end of input.
    None,
}

/// What an event time counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Unit {
    /// Seconds since 1970.
    Seconds,
    /// Milliseconds since 1970.
    #[default]
    Millis,
    /// Microseconds since 1970.
    Micros,
    /// Nanoseconds since 1970.
    Nanos,
}

impl Unit {
    /// The time in milliseconds, rounded down; `None` where it does not fit.
    #[inline]
    pub fn to_millis(self, time: i64) -> Option<i64> {
        match self {
            Unit::Seconds => time.checked_mul(1_000),
            Unit::Millis => Some(time),
            Unit::Micros => Some(time.div_euclid(1_000)),
            Unit::Nanos => Some(time.div_euclid(1_000_000)),
        }
    }
}

/// `watermark = { … }` of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatermarkSettings {
    /// How far a record may be behind the latest of its partition and still be in time.
    pub out_of_order: Duration,
    /// After this long without a record a partition leaves the minimum; `None`: never.
    pub idle_after: Option<Duration>,
    /// The steps in which the watermark moves; whole milliseconds.
    pub tick: Duration,
}

impl Default for WatermarkSettings {
    fn default() -> WatermarkSettings {
        WatermarkSettings {
            out_of_order: Duration::ZERO,
            idle_after: Some(Duration::from_secs(10)),
            tick: Duration::from_millis(100),
        }
    }
}
