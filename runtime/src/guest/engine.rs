//! The one wasmtime engine of a process, and what a guest may use at most. Owns the settings that make a replay the same
//! and a hostile guest harmless; compiles components; runs nothing.

use std::time::Duration;

use wasmtime::component::Component;
use wasmtime::{Config, InstanceAllocationStrategy, PoolingAllocationConfig, Strategy, WasmBacktraceDetails};

/// Fuel that stands for one second of `call_timeout`. Fixed, so that a replay traps at the same record on any machine.
const FUEL_PER_SECOND: u64 = 4_000_000_000;

/// The largest memory that `limits.memory` may grant.
const MEMORY_MAX: usize = 512 << 20;

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
        Limits { memory: memory.min(MEMORY_MAX), fuel: u64::try_from(fuel).unwrap_or(u64::MAX), record }
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits::new(64 << 20, Duration::from_millis(100), 1 << 20)
    }
}

/// A cheap handle to the process's engine.
#[derive(Clone)]
pub struct Engine(wasmtime::Engine);

impl Engine {
    /// An engine with room for `instances` guests at a time.
    pub fn new(instances: u32) -> wasmtime::Result<Engine> {
        let mut pool = PoolingAllocationConfig::new();
        pool.total_component_instances(instances);
        pool.total_core_instances(instances.saturating_mul(8));
        pool.total_memories(instances.saturating_mul(2));
        pool.total_tables(instances.saturating_mul(8));
        pool.max_core_instances_per_component(64);
        pool.max_memory_size(MEMORY_MAX);
        let mut config = Config::new();
        config.strategy(Strategy::Cranelift);
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
        // An empty call is 105 ns without the machinery of async components, 430 with it.
        config.concurrency_support(false);
        // Deterministic, unlike epochs: a replay traps at the same record. Charged per byte for bulk operations too.
        config.consume_fuel(true);
        config.cranelift_nan_canonicalization(true);
        config.relaxed_simd_deterministic(true);
        config.wasm_relaxed_simd(false);
        config.wasm_memory64(false);
        config.wasm_backtrace_details(WasmBacktraceDetails::Disable);
        config.wasm_backtrace_max_frames(std::num::NonZeroUsize::new(8));
        config.max_wasm_stack(512 << 10);
        Ok(Engine(wasmtime::Engine::new(&config)?))
    }

    /// Compiles a component. Expensive: about 0.1 s for 100 KB.
    pub(super) fn compile(&self, bytes: &[u8]) -> wasmtime::Result<Component> {
        Component::from_binary(&self.0, bytes)
    }

    pub(super) fn raw(&self) -> &wasmtime::Engine {
        &self.0
    }
}
