//! Guests: wasmtime lives here and nowhere else. A guest holds nothing between two calls: all state is the host's, so an
//! instance can be thrown away at any moment. Owns engine, component, instance, host imports and limits; decides nothing
//! about records that a guest refuses (that is `dataflow`).

mod bindings;
mod call;
mod columns;
mod compile;
pub mod component;
mod descriptor;
mod engine;
mod imports;
mod inspection;
mod instance;
mod limits;
mod measured;
mod operator;
mod refused;
mod store;
mod structure;
mod trap;
mod wasi;
mod watchdog;

pub use call::{Failure, Output, OutputLimits, Reason};
pub use compile::{CompileLimits, Compiler, compile_child};
pub use descriptor::{Descriptor, InputDecl, MetricDecl, OutputDecl, StateDecl};
pub use engine::Engine;
pub use inspection::Inspection;
pub use instance::{Instance, Keyed, Logs, Settings, Subtask};
pub use limits::Limits;
pub use measured::{Kind as MetricKind, Measured};
pub use operator::Operator;
pub use refused::RefusedComponent;
pub use structure::SIZE_MAX as COMPONENT_BYTES_MAX;

/// The contract's package and version that this host speaks.
pub const CONTRACT: &str = "weir:operator@0.1.0";
