//! The system tests: one binary, so that one proxy and one broker serve all of them. Each module is one promise.
#![allow(clippy::unwrap_used, reason = "a test that meets what it does not expect has failed")]

mod bad_input;
mod checkpoint_commands;
mod compile;
mod control;
mod coordinator;
mod disk_full;
mod flink;
mod hostile;
mod ip_count_kafka;
mod kafka_harness;
mod kafka_start;
mod kill_kafka;
mod local;
mod memory;
mod migrate;
mod one_name;
mod parallel;
mod place;
mod random_graph;
mod readme;
mod restart;
mod retained;
mod savepoint;
mod serve;
mod serve_again;
mod sink_folder;
mod sources;
mod spill;
mod state;
mod terminal;
mod terms;
mod tidy;
mod two_clusters;
mod txn_timeout;
mod watermarks;
