//! A revision on trial: it runs, and until it has proven itself the one before it can come back as if nothing had been.

use serde::{Deserialize, Serialize};

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Trial {
    /// The revision that comes back where this one fails.
    pub(super) back_to: u64,
    /// How long nothing is committed: what is not committed can be taken back. In milliseconds.
    pub(super) grace_ms: u64,
}
