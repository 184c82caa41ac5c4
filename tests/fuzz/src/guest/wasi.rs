//! Of the runtime's WASI the list of what is answered.

#[path = "../../../../runtime/src/guest/wasi/interfaces.rs"]
#[allow(dead_code, reason = "the runtime uses all of it")]
mod interfaces;

pub(super) use interfaces::is_answered;
