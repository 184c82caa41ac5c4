//! Metrics that an operator declared. They count with the call: a call that fails has counted nothing.

use wasmtime::component::Linker;
use wasmtime::{Result, bail};

use super::super::call::Context;
use super::super::measured::Kind;
use super::super::store::Data;
use super::with;

pub(super) fn link(linker: &mut Linker<Data>) -> Result<()> {
    let mut metrics = linker.instance("weir:operator/metrics@0.1.0")?;
    metrics.func_wrap("add", |store, (index, delta): (u32, u64)| {
        with(store, |context, _| {
            check(context, index, "added to", &[Kind::Counter, Kind::Gauge])?;
            context.measuring.add(index as usize, delta as f64);
            Ok(())
        })
    })?;
    metrics.func_wrap("set", |store, (index, value): (u32, f64)| {
        with(store, |context, _| {
            check(context, index, "set", &[Kind::Gauge])?;
            context.measuring.set(index as usize, value);
            Ok(())
        })
    })?;
    metrics.func_wrap("observe", |store, (index, _value): (u32, f64)| {
        // Histograms are checked and not kept in this version.
        with(store, |context, _| check(context, index, "observed", &[Kind::Histogram]))
    })
}

fn check(context: &Context, index: u32, action: &str, kinds: &[Kind]) -> Result<()> {
    match context.measuring.kind(index as usize) {
        None => bail!("metric {index} is not declared"),
        Some(kind) if !kinds.contains(&kind) => bail!("metric {index} is a {}: it cannot be {action}", kind.as_str()),
        Some(_) => Ok(()),
    }
}
