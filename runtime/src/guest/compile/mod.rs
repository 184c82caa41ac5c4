//! Where native code comes from: the cache, or a compiler in a child process. Only bytes that our own compiler made are
//! ever mapped as code. Owns the one `unsafe` call that maps them; never looks into a component.

mod cache;
mod child;

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use wasmtime::Engine;
use wasmtime::component::Component;

pub use child::{CompileLimits, compile_child};

use self::cache::Cache;
use super::refused::RefusedComponent;
use crate::clock;

/// How an engine comes to native code.
pub struct Compiler {
    cache: Option<Cache>,
    child: Option<Child>,
}

struct Child {
    program: PathBuf,
    limits: CompileLimits,
    /// Compilers at a time: one. Together they would get what each of them is refused.
    turn: Mutex<()>,
}

impl Compiler {
    /// Compiles in this process, where nothing limits what it costs: for components that are trusted, as in tests.
    pub fn in_process() -> Compiler {
        Compiler { cache: None, child: None }
    }

    /// Compiles in child processes of `program`, which is weir itself: `weir compile-child` runs [`compile_child`].
    pub fn in_child(program: impl Into<PathBuf>, limits: CompileLimits) -> Compiler {
        Compiler { cache: None, child: Some(Child { program: program.into(), limits, turn: Mutex::new(()) }) }
    }

    /// Keeps native code in a folder that nobody else may write to. One that cannot be used costs time and nothing else.
    pub fn cached_in(self, folder: impl Into<PathBuf>) -> Compiler {
        Compiler { cache: Some(Cache::new(folder.into())), ..self }
    }

    pub(super) fn component(&self, engine: &Engine, sha256: &str, bytes: &[u8]) -> Result<Component, RefusedComponent> {
        let entry = format!("{sha256}-{}", fingerprint(engine));
        if let Some(native) = self.cache.as_ref().and_then(|cache| cache.get(&entry)) {
            match deserialize(engine, &native) {
                Ok(component) => return Ok(component),
                Err(e) => tracing::debug!("native code of {sha256} is compiled again: {e:#}"),
            }
        }
        let started = clock::now();
        let native = self.compile(engine, bytes)?;
        tracing::debug!("compiled {sha256} in {:?}: {} bytes of native code", started.elapsed(), native.len());
        if let Some(cache) = &self.cache {
            cache.put(&entry, &native);
        }
        deserialize(engine, &native)
            .map_err(|e| RefusedComponent::NoCompiler(format!("its code cannot be mapped: {e:#}")))
    }

    fn compile(&self, engine: &Engine, bytes: &[u8]) -> Result<Vec<u8>, RefusedComponent> {
        let Some(child) = &self.child else {
            return engine.precompile_component(bytes).map_err(|e| RefusedComponent::Damaged(format!("{e:#}")));
        };
        let _turn = child.turn.lock().unwrap_or_else(PoisonError::into_inner);
        child::compile(&child.program, child.limits, bytes)
    }
}

/// Native code as a component.
fn deserialize(engine: &Engine, native: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: the bytes are what `precompile_component` of this build made: they come from this process, from a child that
    // runs the same program, or from the cache, whose folder only this user may write to and whose entries carry a digest
    // of themselves. No bytes that a user gave us are ever passed in.
    unsafe { Component::deserialize(engine, native) }
}

/// What native code depends on beside the component: wasmtime's version, its settings, the target, and this weir.
pub(super) fn fingerprint(engine: &Engine) -> String {
    use std::hash::Hash;
    let mut hasher = xxhash_rust::xxh3::Xxh3::new();
    env!("CARGO_PKG_VERSION").hash(&mut hasher);
    engine.precompile_compatibility_hash().hash(&mut hasher);
    format!("{:032x}", hasher.digest128())
}

#[cfg(test)]
mod tests;
