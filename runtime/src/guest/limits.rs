//! What one guest may use at most: memory, fuel, bytes of a record. Owns what these numbers mean; settings read them.

use std::time::Duration;

/// Fuel that stands for one second of `call_timeout`. Fixed, so that a replay traps at the same record on any machine.
const FUEL_PER_SECOND: u64 = 4_000_000_000;

/// From this fuel on a call takes long: what stands for 5 ms. For a thousand records it is twenty thousand instructions each.
pub(super) const LONG_FUEL: u64 = FUEL_PER_SECOND / 200;

/// The largest memory that `limits.memory` may grant.
pub(super) const MEMORY_MAX: usize = weir_core::graph::spec::MEMORY_BYTES_MAX as usize;

/// What one node's guest may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Linear memory, bytes.
    pub memory: usize,
    /// Fuel of one call.
    pub fuel: u64,
    /// Key, value and headers of one record together, bytes, in and out.
    pub record: usize,
}

impl Limits {
    /// Limits as a pipeline file gives them.
    pub fn new(memory: usize, call_timeout: Duration, record: usize) -> Limits {
        let fuel = (call_timeout.as_nanos() * u128::from(FUEL_PER_SECOND) / 1_000_000_000).max(1);
        Limits { memory, fuel: u64::try_from(fuel).unwrap_or(u64::MAX), record }
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits::new(64 << 20, Duration::from_millis(100), 1 << 20)
    }
}

/// The time that fuel stands for.
pub(super) fn time_of(fuel: u64) -> Duration {
    Duration::from_secs_f64(fuel as f64 / FUEL_PER_SECOND as f64)
}

/// The limit on linear memory; remembers that it refused, so that the trap that follows is named rightly.
#[derive(Debug)]
pub(super) struct MemoryLimit {
    bytes: usize,
    pub(super) denied: bool,
    /// Bytes of all linear memories, as far as they have grown.
    pub(super) used: usize,
}

impl MemoryLimit {
    pub(super) fn new(bytes: usize) -> MemoryLimit {
        MemoryLimit { bytes, denied: false, used: 0 }
    }
}

impl wasmtime::ResourceLimiter for MemoryLimit {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        if desired > self.bytes {
            self.denied = true;
            return Ok(false);
        }
        self.used += desired.saturating_sub(current);
        Ok(true)
    }

    fn table_growing(&mut self, _current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        Ok(desired <= 100_000)
    }
}
