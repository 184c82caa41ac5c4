//! The system tests: one binary, so that one proxy and one broker serve all of them. Each module is one promise.

mod kafka_harness;
mod tidy;
