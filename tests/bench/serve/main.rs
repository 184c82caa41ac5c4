//! What who uses a `weir serve` waits for: from an upload to the first record, and for answers of the API while pipelines
//! take every core. With the release binary and without Kafka.
//!
//! `.ci/bench serve [scenario…]`; scenarios are upload and api, both where none is named.
#![allow(clippy::unwrap_used, reason = "a benchmark ends at the first surprise")]

mod api;
mod upload;

fn main() {
    let named: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let scenarios: [(&str, fn()); 2] = [("upload", upload::run), ("api", api::run)];
    for (name, run) in scenarios {
        if named.is_empty() || named.iter().any(|wanted| wanted == name) {
            run();
        }
    }
}
