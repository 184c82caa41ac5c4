//! WASI 0.2 for guests whose toolchain imports it whether they use it or not: interfaces that are answered as if there were
//! no system behind them. Owns the list of them and the linking of what a component imports; a function without an answer
//! here is a trap that names it. Never touches a file, a clock, a network or a source of randomness.

mod ambient;
mod interfaces;
mod random;
mod stdio;

use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, Linker, LinkerInstance, ResourceType};
use wasmtime::{Result, StoreContextMut, Trap, bail};

use self::interfaces::interface;
use self::stdio::{InputStream, OutputStream, Pollable};
use super::engine::Engine;
use super::store::Data;

pub(super) use self::interfaces::{is_answered, warnings};
pub(super) use self::random::Random;
pub(super) use self::stdio::{LastLines, Stdio, flush};

/// Gives a component what it imports of WASI, and the linker nothing if that is nothing.
pub(super) fn link(linker: &mut Linker<Data>, component: &Component, engine: &Engine) -> Result<()> {
    let imports = component.component_type();
    // Each function is refused first, whatever its type; those that have an answer then get it.
    linker.allow_shadowing(true);
    for (import, item) in imports.imports(engine.raw()) {
        let Some((name, why)) = interface(import) else { continue };
        let ComponentItem::ComponentInstance(instance) = item.ty else { bail!("`{import}` is no interface") };
        let mut linked = linker.instance(import)?;
        for (item, exported) in instance.exports(engine.raw()) {
            match exported.ty {
                ComponentItem::ComponentFunc(_) => refuse(&mut linked, name, item, why)?,
                ComponentItem::Resource(_) => define(&mut linked, item)?,
                _ => {}
            }
        }
        match name {
            "io/poll" => stdio::link_poll(&mut linked)?,
            "io/streams" => stdio::link_streams(&mut linked)?,
            "cli/stdin" | "cli/stdout" | "cli/stderr" => stdio::link(&mut linked)?,
            "random/random" | "random/insecure" | "random/insecure-seed" => random::link(&mut linked)?,
            "clocks/wall-clock" => ambient::link_wall_clock(&mut linked)?,
            "clocks/monotonic-clock" => ambient::link_monotonic_clock(&mut linked)?,
            _ => ambient::link_nothing(&mut linked)?,
        }
    }
    linker.allow_shadowing(false);
    Ok(())
}

/// A function that traps, and says which it is.
fn refuse(linker: &mut LinkerInstance<'_, Data>, interface: &str, function: &str, why: &str) -> Result<()> {
    let called = function.rsplit(']').next().unwrap_or(function);
    let message = format!("the guest called `{called}` of wasi:{interface}: {why}");
    linker.func_new(function, move |_, _, _, _| bail!("{message}"))
}

/// Takes fuel for work whose length the guest chooses: what costs it nothing could last for ever.
fn pay(store: &mut StoreContextMut<'_, Data>, fuel: u64) -> Result<()> {
    match store.get_fuel()?.checked_sub(fuel) {
        Some(left) => store.set_fuel(left),
        None => Err(Trap::OutOfFuel.into()),
    }
}

/// A resource of which there is never one: nothing here opens files or terminals, and no stream ever fails.
pub(super) struct Never;

fn define(linker: &mut LinkerInstance<'_, Data>, resource: &str) -> Result<()> {
    match resource {
        "input-stream" => linker.resource(resource, ResourceType::host::<InputStream>(), stdio::dropped),
        "output-stream" => linker.resource(resource, ResourceType::host::<OutputStream>(), stdio::dropped),
        "pollable" => linker.resource(resource, ResourceType::host::<Pollable>(), stdio::dropped),
        _ => linker.resource(resource, ResourceType::host::<Never>(), |_, _| Ok(())),
    }
}

#[cfg(test)]
mod tests;
