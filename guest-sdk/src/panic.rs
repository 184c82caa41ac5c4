//! Panics reach the host as a message with file and line, and with the record that was being processed, before the trap.

use std::cell::Cell;

#[cfg(target_family = "wasm")]
use crate::host;
use crate::record::NONE;

thread_local! {
    static SLOT: Cell<u32> = const { Cell::new(NONE) };
}

/// Names the record that a panic from here on is blamed on.
#[inline]
pub(crate) fn blame(slot: u32) {
    SLOT.with(|current| current.set(slot));
}

/// The record that is being processed.
pub(crate) fn blamed() -> Option<u32> {
    Some(SLOT.with(Cell::get)).filter(|slot| *slot != NONE)
}

/// Installs the hook. Called by every export that comes first.
#[cfg(target_family = "wasm")]
pub(crate) fn install() {
    std::panic::set_hook(Box::new(|info| host::log_panic(blamed(), &info.to_string())));
}
