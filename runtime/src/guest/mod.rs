//! Guests: wasmtime lives here and nowhere else. A guest holds nothing between two calls: all state is the host's, so an
//! instance can be thrown away at any moment. Owns engine, component, instance, host imports and limits; decides nothing
//! about records that a guest refuses (that is `dataflow`).

mod bindings;
mod call;
pub mod component;
mod descriptor;
mod engine;
mod imports;
mod instance;
mod operator;

pub use call::{Failure, Output, OutputLimits, Reason};
pub use descriptor::{Descriptor, InputDecl, MetricDecl, OutputDecl, StateDecl};
pub use engine::{Engine, Limits};
pub use instance::{Instance, Keyed, Settings};
pub use operator::{CONTRACT, Inspection, Operator, RefusedComponent, SIZE_MAX as COMPONENT_BYTES_MAX};
