//! Watermarks: no earlier event time is expected. `Watermarks` makes them at a source, per split with bounded
//! out-of-orderness and in ticks; `Inputs` merges them where channels meet. Pure: what the clock says is given.
//!
//! Watermark = largest time seen − bound − 1 ms, per split, never back, merged by minimum over the splits that are not
//! idle, rounded down to ticks.

mod inputs;
mod source;
#[cfg(test)]
mod tests;

pub use inputs::Inputs;
pub use source::{Settings, Watermarks};

/// Before the first watermark.
pub const BEFORE_ALL: i64 = i64::MIN;
/// After the end of input.
pub const END_OF_TIME: i64 = i64::MAX;
/// How far ahead of the wall clock, and of the other splits, a time may move a watermark: 1 h, in milliseconds.
pub const FUTURE_MAX: i64 = 3_600_000;
