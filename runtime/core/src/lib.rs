//! The protocol of weir, pure: facts in, decisions out. No I/O, no async, no clock, no randomness live here, so that a
//! seeded simulation can run it through every order of events. Everything that touches the world is in the crate `weir`.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod checkpoint;
pub mod domain;
pub mod extract;
pub mod graph;
pub mod ids;
pub mod key_group;
pub mod record;
pub mod restart;
pub mod template;
pub mod watermark;
