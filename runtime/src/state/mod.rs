//! Keyed state: RocksDB lives here and nowhere else. Key codec, working set, timers, snapshot, restore.
//!
//! [`KeyedState`] is what one operator subtask works on, in host memory; at a barrier it gives a [`SealedState`], which
//! the background side writes.

mod call;
mod database;
mod delta;
mod entries;
mod error;
mod files;
mod heap;
mod index;
pub mod key;
mod keyed;
mod load;
mod maps;
mod options;
mod pages;
mod prefetch;
mod seal;
mod small;
mod timers;
mod values;

#[cfg(test)]
mod tests;

pub use database::Database;
pub use error::Error;
pub use files::{VerifiedFiles, verify, verify_file};
pub(crate) use files::{list_dir, parse_stored, parse_temporary, parse_token, sync_dir};
pub use keyed::{KeyedState, Kind, StateSpec};
pub use seal::SealedState;
pub use timers::DueTimers;
