//! What the author of a weir operator imports: [`Operator`], [`Context`], state handles, [`export!`], and
//! [`testing`], a host for `cargo test`. Owns the boundary: per-record code stands on columns that cross once per call.
//! Never does I/O, has no clock and keeps no state: between two calls everything is the host's.
//!
//! Counting per key in windows of a minute, whole:
//!
//! ```
//! use weir_sdk::{Config, Context, Descriptor, Due, Failure, KEYS, MapState, Operator, Port, Record, Task};
//!
//! const OUT: Port = Port::new(0, "out");
//! const COUNTS: MapState<i64, u64> = MapState::new(0, "counts");
//!
//! struct PerMinute {
//!     window: i64,
//! }
//!
//! weir_sdk::export!(PerMinute);
//!
//! impl Operator for PerMinute {
//!     fn descriptor() -> Descriptor {
//!         Descriptor::new("per-minute", "0.1.0").input("in", &[KEYS]).output(OUT).map_state(COUNTS).timers()
//!     }
//!
//!     fn open(config: &Config, _: &Task) -> Result<PerMinute, Failure> {
//!         Ok(PerMinute { window: config.duration("window", "1m")? })
//!     }
//!
//!     fn process(&mut self, record: &Record<'_>, ctx: &mut Context) -> Result<(), Failure> {
//!         let last = record.time().div_euclid(self.window) * self.window + self.window - 1;
//!         let mut counts = ctx.map(COUNTS);
//!         let count = counts.get(&last).unwrap_or(0);
//!         counts.put(&last, &(count + 1));
//!         ctx.set_timer(last, 0);
//!         Ok(())
//!     }
//!
//!     fn on_timer(&mut self, timer: &Due<'_>, ctx: &mut Context) -> Result<(), Failure> {
//!         let count = ctx.map(COUNTS).take(&timer.time()).unwrap_or(0);
//!         ctx.emit(OUT).key(timer.key()).value(format!("{count}"));
//!         Ok(())
//!     }
//! }
//! #
//! # let mut host = weir_sdk::testing::TestHost::<PerMinute>::open("{}").unwrap();
//! # let at = |time| weir_sdk::testing::record(time).key("a");
//! # host.push(&[at(0), at(59_999), at(60_000)]).unwrap();
//! # host.end().unwrap();
//! # let rows: Vec<_> = host.take("out").iter().map(|row| (row.time, row.text().to_owned())).collect();
//! # assert_eq!(rows, [(59_999, "2".to_owned()), (119_999, "1".to_owned())]);
//! # assert_eq!(host.state_len(), 0);
//! ```
#![warn(missing_docs)]

mod arena;
#[cfg(target_family = "wasm")]
mod bindings;
mod column;
mod config;
mod context;
#[cfg(target_family = "wasm")]
mod described;
mod descriptor;
mod export;
#[cfg(target_family = "wasm")]
mod exports;
mod failure;
mod host;
pub mod json;
mod log;
mod metric;
mod operator;
mod output;
mod panic;
mod record;
mod runtime;
mod state;
#[cfg(not(target_family = "wasm"))]
pub mod testing;
mod timer;

pub use column::Column;
pub use config::{Config, Task, duration};
pub use context::Context;
pub use descriptor::Descriptor;
pub use failure::Failure;
pub use metric::Metric;
pub use operator::Operator;
pub use output::{Port, Row};
pub use record::{Batch, Domain, Due, Headers, Record};
pub use state::{Codec, Compact, Field, Items, Json, Malformed, MapEntry, MapState, ValueEntry, ValueState};

/// The column of keys, for [`Descriptor::input`].
pub const KEYS: &str = "keys";
/// The column of values, for [`Descriptor::input`].
pub const VALUES: &str = "values";

/// What `export!` and the log macros expand to. Not for use by hand.
#[doc(hidden)]
pub mod __private {
    #[cfg(target_family = "wasm")]
    pub use crate::exports::*;
    pub use crate::log::{is_kept, write};
}
