//! The only place that asks for the time. Everything else takes a value or this module's functions, so that what depends
//! on time is found by searching for one word.
#![allow(clippy::disallowed_methods, reason = "this is the one place")]

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970.
pub fn now_millis() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_millis() as i64
}

/// Milliseconds on a clock that only runs forward, from an arbitrary start.
pub fn monotonic_millis() -> i64 {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_millis() as i64
}

/// A point of monotonic time.
pub fn now() -> Instant {
    Instant::now()
}

/// Waits on the calling thread. For back-off only: nothing on the data path waits by time.
#[allow(clippy::disallowed_methods, reason = "this is the one place")]
pub fn pause(time: Duration) {
    std::thread::sleep(time);
}
