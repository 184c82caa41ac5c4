//! Guests: wasmtime lives here and nowhere else. Engine, component, instance, host imports, limits.
