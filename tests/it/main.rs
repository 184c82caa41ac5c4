//! The system tests: one binary, so that one proxy and one broker serve all of them. Each module is one promise.


mod bad_input;
mod hostile;
mod kafka_harness;
mod local;
mod place;
mod tidy;
