//! Log lines and last words of a guest: made harmless, bounded, kept in the pipeline's journal, and said in weir's own log.

use std::fmt::Write;

use tracing::level_filters::LevelFilter;
use wasmtime::component::Linker;
use wasmtime::{Result, StoreContextMut};

use super::super::bindings::LogLevel;
use super::super::call::Context;
use super::super::store::Data;
use crate::clock;
use crate::journal::{Level, Line, Safe};

pub(super) fn link(linker: &mut Linker<Data>) -> Result<()> {
    let mut log = linker.instance("weir:operator/log@0.1.0")?;
    log.func_wrap("least", |_: StoreContextMut<'_, Data>, (): ()| {
        let levels = [LogLevel::Trace, LogLevel::Debug, LogLevel::Info, LogLevel::Warn, LogLevel::Error];
        let found = levels.into_iter().find(|level| of(*level) == least());
        Ok((found.unwrap_or(LogLevel::Info),))
    })?;
    type Written = (LogLevel, String, Vec<(String, String)>);
    log.func_wrap("write", |mut store: StoreContextMut<'_, Data>, (level, message, fields): Written| {
        let Some(context) = store.data_mut().context.as_mut() else { return Ok(()) };
        let bytes = message.len() + fields.iter().map(|(name, value)| name.len() + value.len() + 2).sum::<usize>();
        let fits = context.charge_log(1, bytes)?;
        if of(level) >= least() {
            keep(store.data_mut(), of(level), &message, &fields, fits);
        }
        Ok(())
    })?;
    log.func_wrap("panic", |mut store: StoreContextMut<'_, Data>, (slot, message): (Option<u32>, String)| {
        if let Some(context) = store.data_mut().context.as_mut() {
            context.charge_log(1, message.len())?;
            context.last_words = Some((slot, context.shown(&message)));
        }
        Ok(())
    })
}

/// Keeps a line of the running call, and shows it in weir's own log, unless there is no room for it or they come too fast.
pub(in crate::guest) fn keep(data: &mut Data, level: Level, message: &str, fields: &[(String, String)], fits: bool) {
    let Some(context) = data.context.as_mut() else { return };
    let lines = written(context, level, message, fields, fits);
    if lines.iter().any(Option::is_some) {
        // Whoever reads our log may be slow, and that is not the guest's call.
        let paused = data.watch.pause();
        lines.iter().flatten().for_each(show);
        data.watch.resume(paused);
    }
}

/// What comes of a line: what is said of those before it that were dropped, and itself, unless it is dropped too.
fn written(
    context: &mut Context,
    level: Level,
    message: &str,
    fields: &[(String, String)],
    fits: bool,
) -> [Option<Line>; 2] {
    let (now, wall) = (clock::now(), clock::now_millis());
    let bytes = message.len() + fields.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
    if !fits {
        context.logger.drop_line();
        return [None, None];
    }
    if !context.logger.takes(bytes, now) {
        return [context.logger.tell(now, wall), None];
    }
    let secrets = context.secrets();
    let message = Safe::new(message, &secrets);
    let fields = fields.iter().map(|(name, value)| (Safe::new(name, &secrets), Safe::new(value, &secrets))).collect();
    let origin = context.origin();
    [context.logger.tell(now, wall), Some(context.logger.write(level, &message, fields, origin, wall))]
}

/// The quietest line that anybody reads: the journal keeps what is worth telling, whatever weir's own log says.
fn least() -> Level {
    let levels = [LevelFilter::TRACE, LevelFilter::DEBUG];
    let own = levels.iter().position(|level| *level <= LevelFilter::current());
    own.map_or(Level::Info, |at| Level::ALL[at])
}

fn of(level: LogLevel) -> Level {
    match level {
        LogLevel::Trace => Level::Trace,
        LogLevel::Debug => Level::Debug,
        LogLevel::Info => Level::Info,
        LogLevel::Warn => Level::Warn,
        LogLevel::Error => Level::Error,
    }
}

/// Says a line in weir's own log.
pub(in crate::guest) fn show(line: &Line) {
    let mut text = line.message.clone();
    for (name, value) in &line.fields {
        // Writing to a string does not fail.
        let _ = write!(text, " {name}={value}");
    }
    let node = line.node.as_str();
    match line.level {
        Level::Trace => tracing::trace!(target: "guest", node, "{text}"),
        Level::Debug => tracing::debug!(target: "guest", node, "{text}"),
        Level::Info => tracing::info!(target: "guest", node, "{text}"),
        Level::Warn => tracing::warn!(target: "guest", node, "{text}"),
        Level::Error => tracing::error!(target: "guest", node, "{text}"),
    }
}
