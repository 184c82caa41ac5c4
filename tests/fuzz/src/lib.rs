//! The modules of the runtime that read what others wrote, compiled here by their path: the same files, without RocksDB,
//! librdkafka and wasmtime beside them. Owns the few lines that stand in for their neighbours; the targets lie in
//! `fuzz_targets`.

pub mod first;
pub mod guest;
pub mod twin;

#[path = "../../../runtime/src/hex.rs"]
#[allow(dead_code, reason = "the runtime uses all of it")]
mod hex;

#[path = "../../../runtime/src/settings/mod.rs"]
#[allow(dead_code, reason = "the runtime uses all of it")]
pub mod settings;

mod journal;

/// Whether a text can be shown on a terminal and in a log as one line.
pub fn is_one_line(text: &str) -> bool {
    !text.chars().any(char::is_control)
}
