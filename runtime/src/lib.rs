//! Everything of weir that touches the world. Imports point one way: `storage` ← `state`, `connector` ← `guest` ←
//! `dataflow` ← `pipeline` ← `api` ← `cli`; `access` stands beside them, `settings`, `journal`, `clock`, `crash`, `durable`, `hex` and `lock` stand
//! below all of them. `tests/it/tidy.rs` checks it.

pub mod access;
pub mod api;
pub mod cli;
pub mod clock;
pub mod connector;
pub mod crash;
pub mod dataflow;
pub mod durable;
pub mod guest;
pub mod hex;
pub mod journal;
pub mod lock;
pub mod pipeline;
pub mod registry;
pub mod settings;
pub mod state;
pub mod storage;
