//! What the runtime's `guest` knows of a component before it compiles it. Stands where `guest/mod.rs` stands there.

#[path = "../../../../runtime/src/guest/refused.rs"]
#[allow(dead_code, reason = "the compiler's and the linker's refusals are not reached from here")]
mod refused;
#[path = "../../../../runtime/src/guest/structure/mod.rs"]
#[allow(dead_code, reason = "the runtime uses all of it")]
mod structure;

mod wasi;

pub use refused::RefusedComponent;

/// As in the runtime; it stands in messages only.
const CONTRACT: &str = "weir:operator@0.1.0";

/// What the check of an upload says of these bytes: the names that the component imports and exports.
pub fn check_structure(bytes: &[u8]) -> Result<(Vec<String>, Vec<String>), RefusedComponent> {
    structure::check_structure(bytes).map(|surface| (surface.imports, surface.exports))
}
