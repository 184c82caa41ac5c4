//! Of the runtime's journal what makes a text safe.

#[path = "../../../runtime/src/journal/safe.rs"]
#[allow(dead_code, reason = "the runtime uses all of it")]
mod safe;

pub(crate) use safe::Safe;
