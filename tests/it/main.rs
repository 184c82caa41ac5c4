//! The system tests: one binary, so that one proxy and one broker serve all of them. Each module is one promise.
#![allow(clippy::unwrap_used, reason = "a test that meets what it does not expect has failed")]

mod bad_input;
mod hostile;
mod ip_count_kafka;
mod kafka_harness;
mod local;
mod place;
mod serve;
mod state;
mod tidy;
