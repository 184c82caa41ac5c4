//! What a guest may call: one function per import of the contract, hand-written so that columns are read in place during
//! the import. Each checks its indices and sizes before it touches anything; a wrong one traps. Holds no state of its own.

mod ambient;
mod input;
pub(super) mod log;
mod memory;
mod metrics;
mod output;
mod state;
mod timers;

use wasmtime::component::Linker;
use wasmtime::{AsContext, Result, StoreContextMut, bail};

pub(super) use self::log::show;
use self::memory::Memory;
use super::call::{Context, Phase};
use super::engine::Engine;
use super::store::Data;

/// Characters of a log line, a reject's message, a panic's message.
const LINE_MAX: usize = 1024;

/// All imports of the contract, and nothing else.
pub(super) fn linker(engine: &Engine) -> Result<Linker<Data>> {
    let mut linker = Linker::new(engine.raw());
    input::link(&mut linker)?;
    output::link(&mut linker)?;
    state::link(&mut linker)?;
    timers::link(&mut linker)?;
    ambient::link(&mut linker)?;
    metrics::link(&mut linker)?;
    log::link(&mut linker)?;
    Ok(linker)
}

/// Runs an import over the call's context while guest memory can be read.
fn with<R>(mut store: StoreContextMut<'_, Data>, run: impl FnOnce(&mut Context, Memory<'_>) -> Result<R>) -> Result<R> {
    // Taken out for the time of the import, so that guest memory and the context can be borrowed side by side.
    let Some(mut context) = store.data_mut().context.take() else { bail!("import called outside a call") };
    let result = match context.phase {
        Phase::Describe => Err(wasmtime::format_err!("`describe` may call nothing but `log`")),
        _ => run(&mut context, &store.as_context()),
    };
    store.data_mut().context = Some(context);
    result
}

fn in_process(context: &Context, function: &str) -> Result<()> {
    if context.phase != Phase::Process {
        bail!("`{function}` is valid inside `process` only");
    }
    Ok(())
}

fn check_ordinals(context: &Context, ords: &[u32]) -> Result<()> {
    let distinct = context.state.distinct();
    match ords.iter().find(|ord| **ord >= distinct) {
        Some(ord) => bail!("key ordinal {ord} is out of range: this call has {distinct}"),
        None => Ok(()),
    }
}

fn same_length(ordinals: usize, items: usize) -> Result<()> {
    if ordinals != items {
        bail!("{items} items were given for {ordinals} ordinals");
    }
    Ok(())
}

/// A guest's text as one line of bounded length without control characters: it goes to terminals and logs.
pub(super) fn clean(text: &str) -> String {
    let mut line: String = text.chars().take(LINE_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(LINE_MAX).is_some() {
        line.push('…');
    }
    line
}
