//! The system tests: one binary, so that one proxy and one broker serve all of them. Each module is one promise.

mod ip_count_kafka;
mod kafka_harness;
mod serve;
mod tidy;
