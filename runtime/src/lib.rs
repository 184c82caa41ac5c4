//! Everything of weir that touches the world. Imports point one way: `state`, `connector` ← `guest` ← `dataflow` ←
//! `pipeline` ← `api` ← `cli`; `settings`, `clock` and `telemetry` import nothing of ours. `tests/it/tidy.rs` checks it.

pub mod api;
pub mod cli;
pub mod clock;
pub mod connector;
pub mod crash;
pub mod dataflow;
pub mod guest;
pub mod pipeline;
pub mod registry;
pub mod settings;
pub mod state;
