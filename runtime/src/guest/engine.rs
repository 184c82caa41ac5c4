//! The one wasmtime engine of a process. Owns the settings that make a replay the same and a hostile guest harmless, in two
//! forms whose native code fits each other: one that runs guests, one that only compiles. Runs nothing.

use std::sync::Arc;

use wasmtime::component::Component;
use wasmtime::{Config, InstanceAllocationStrategy, PoolingAllocationConfig, Strategy, WasmBacktraceDetails};

use super::compile::Compiler;
use super::limits::MEMORY_MAX;
use super::operator::InUse;
use super::refused::RefusedComponent;

/// A cheap handle to the process's engine.
#[derive(Clone)]
pub struct Engine {
    raw: wasmtime::Engine,
    compiler: Arc<Compiler>,
    in_use: Arc<InUse>,
}

impl Engine {
    /// An engine with room for `instances` guests at a time. It compiles in this process, without limits and without a
    /// cache, until it is given another compiler.
    pub fn new(instances: u32) -> wasmtime::Result<Engine> {
        let mut pool = PoolingAllocationConfig::new();
        pool.total_component_instances(instances);
        pool.total_core_instances(instances.saturating_mul(8));
        pool.total_memories(instances.saturating_mul(2));
        pool.total_tables(instances.saturating_mul(8));
        pool.max_core_instances_per_component(64);
        pool.max_memory_size(MEMORY_MAX);
        let mut config = settings();
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
        let raw = wasmtime::Engine::new(&config)?;
        Ok(Engine { raw, compiler: Arc::new(Compiler::in_process()), in_use: Arc::default() })
    }

    /// The same engine, whose components come from this compiler.
    pub fn with_compiler(self, compiler: Compiler) -> Engine {
        Engine { compiler: Arc::new(compiler), ..self }
    }

    /// The native form of a component, which is named by its digest in hex.
    pub(super) fn compile(&self, sha256: &str, bytes: &[u8]) -> Result<Component, RefusedComponent> {
        self.compiler.component(&self.raw, sha256, bytes)
    }

    pub(super) fn in_use(&self) -> &InUse {
        &self.in_use
    }

    pub(super) fn raw(&self) -> &wasmtime::Engine {
        &self.raw
    }
}

/// An engine that compiles for the other one and never runs anything: memories come one by one, since a pool reserves more
/// than the address space that a compiler is given, and one thread makes the limit on its CPU time mean wall time too.
pub(super) fn compiling() -> wasmtime::Result<wasmtime::Engine> {
    let mut config = settings();
    config.allocation_strategy(InstanceAllocationStrategy::OnDemand);
    config.parallel_compilation(false);
    wasmtime::Engine::new(&config)
}

/// What both forms share: everything that native code depends on.
fn settings() -> Config {
    let mut config = Config::new();
    config.strategy(Strategy::Cranelift);
    // An empty call is 105 ns without the machinery of async components, 430 with it.
    config.concurrency_support(false);
    // Deterministic, unlike epochs: a replay traps at the same record. Charged per byte for bulk operations too.
    config.consume_fuel(true);
    config.cranelift_nan_canonicalization(true);
    config.relaxed_simd_deterministic(true);
    config.wasm_relaxed_simd(false);
    config.wasm_memory64(false);
    config.wasm_backtrace_details(WasmBacktraceDetails::Disable);
    // Enough to find the guest's own functions behind those of a panic.
    config.wasm_backtrace_max_frames(std::num::NonZeroUsize::new(32));
    config.max_wasm_stack(512 << 10);
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_of_the_compiling_engine_fits_the_one_that_runs() {
        let fingerprint = super::super::compile::fingerprint;
        let running = Engine::new(1).unwrap();
        assert_eq!(fingerprint(running.raw()), fingerprint(&compiling().unwrap()));
    }
}
