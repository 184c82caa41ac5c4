//! Keyed state: RocksDB lives here and nowhere else. Key codec, working set, timers, snapshot, restore.
//!
//! [`KeyedState`] is what one operator subtask works on, in host memory; at a barrier it gives a [`SealedState`], which
//! the background side writes.

mod array;
mod budget;
mod call;
mod database;
mod delta;
mod entries;
mod error;
mod files;
mod generation;
mod heap;
mod index;
pub mod key;
mod keyed;
mod live;
mod load;
mod maps;
mod migrate;
mod options;
mod pages;
mod prefetch;
mod seal;
mod sealed;
mod small;
mod spill;
mod timers;
mod values;

#[cfg(test)]
mod tests;

pub use budget::Budget;
pub use database::{Database, Restoring};
pub use error::Error;
pub use files::{FILES, VerifiedFiles, stored_name, verify, verify_file};
pub(crate) use files::{list_dir, parse_stored, parse_temporary, parse_token};
pub use keyed::{KeyedState, Kind, StateSpec};
pub use live::Live;
pub use migrate::Migrate;
pub use sealed::SealedState;
pub use spill::Spilled;
pub use timers::DueTimers;
