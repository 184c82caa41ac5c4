//! Timers of event time, set and unset by key ordinal.

use wasmtime::component::{Linker, WasmList};
use wasmtime::{Result, bail};

use super::super::bindings::Domain;
use super::super::call::Context;
use super::super::store::Data;
use super::memory::Memory;
use super::{check_ordinals, same_length, with};
use crate::state::KeyedState;

pub(super) fn link(linker: &mut Linker<Data>) -> Result<()> {
    type Timers = (Domain, WasmList<u32>, WasmList<i64>, WasmList<u64>);
    let mut timers = linker.instance("weir:operator/timers@0.1.0")?;
    fn each(
        context: &mut Context,
        store: Memory<'_>,
        (domain, ords, times, tags): &Timers,
        apply: fn(&mut KeyedState, u32, i64, u64),
    ) -> Result<()> {
        if *domain != Domain::Event {
            bail!("processing-time timers come later");
        }
        let (ords, times, tags) = (ords.as_le_slice(store), times.as_le_slice(store), tags.as_le_slice(store));
        same_length(ords.len(), times.len())?;
        same_length(ords.len(), tags.len())?;
        check_ordinals(context, ords)?;
        for i in 0..ords.len() {
            apply(&mut context.state, ords[i], times[i], tags[i]);
        }
        Ok(())
    }
    timers.func_wrap("set", |store, timers: Timers| {
        with(store, |context, store| each(context, store, &timers, KeyedState::timer_set))
    })?;
    timers.func_wrap("unset", |store, timers: Timers| {
        with(store, |context, store| each(context, store, &timers, KeyedState::timer_unset))
    })
}
