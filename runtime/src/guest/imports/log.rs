//! Log lines and last words of a guest, bounded and made harmless for terminals.

use wasmtime::component::Linker;
use wasmtime::{Result, StoreContextMut};

use super::super::bindings::LogLevel;
use super::super::store::Data;
use super::clean;

pub(super) fn link(linker: &mut Linker<Data>) -> Result<()> {
    let mut log = linker.instance("weir:operator/log@0.1.0")?;
    log.func_wrap("least", |_: StoreContextMut<'_, Data>, (): ()| {
        let levels = [
            (tracing::Level::TRACE, LogLevel::Trace),
            (tracing::Level::DEBUG, LogLevel::Debug),
            (tracing::Level::INFO, LogLevel::Info),
            (tracing::Level::WARN, LogLevel::Warn),
        ];
        let least = tracing::level_filters::LevelFilter::current();
        Ok((levels.iter().find(|(level, _)| *level <= least).map_or(LogLevel::Error, |(_, l)| *l),))
    })?;
    type Line = (LogLevel, String, Vec<(String, String)>);
    log.func_wrap("write", |mut store: StoreContextMut<'_, Data>, (level, message, fields): Line| {
        let Some(context) = store.data_mut().context.as_mut() else { return Ok(()) };
        let mut line = message;
        for (name, value) in fields {
            line.push_str(&format!(" {name}={value}"));
        }
        if context.charge_log(1, line.len())? {
            keep(store.data_mut(), level, &clean(&line));
        }
        Ok(())
    })?;
    log.func_wrap("panic", |mut store: StoreContextMut<'_, Data>, (slot, message): (Option<u32>, String)| {
        if let Some(context) = store.data_mut().context.as_mut() {
            context.charge_log(1, message.len())?;
            context.last_words = Some((slot, clean(&message)));
        }
        Ok(())
    })
}

/// Writes a clean line to our log, under the name of the node.
pub(in super::super) fn keep(data: &mut Data, level: LogLevel, line: &str) {
    let Some(node) = data.context.as_ref().map(|context| context.node.to_string()) else { return };
    // Whoever reads our log may be slow, and that is not the guest's call.
    let paused = data.watch.pause();
    match level {
        LogLevel::Trace => tracing::trace!(target: "guest", node, "{line}"),
        LogLevel::Debug => tracing::debug!(target: "guest", node, "{line}"),
        LogLevel::Info => tracing::info!(target: "guest", node, "{line}"),
        LogLevel::Warn => tracing::warn!(target: "guest", node, "{line}"),
        LogLevel::Error => tracing::error!(target: "guest", node, "{line}"),
    }
    data.watch.resume(paused);
}
