//! The imports of the contract as safe functions. In a component they cross to the host; elsewhere, in `cargo test`, the
//! test host of `testing` answers. What they return lies in the arena and lives until the call ends.

#[cfg(target_family = "wasm")]
mod wasm;
#[cfg(target_family = "wasm")]
pub(crate) use wasm::*;

#[cfg(not(target_family = "wasm"))]
mod native;
#[cfg(not(target_family = "wasm"))]
pub(crate) use native::*;
