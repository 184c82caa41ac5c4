//! Value and map state by declaration index and key ordinal. A wrong index or a value over the limit traps before anything is
//! written; a key never crosses.

use wasmtime::component::{Linker, WasmList};
use wasmtime::{Result, StoreContextMut, bail};

use super::super::bindings::{ColumnAnswer, ColumnRef, PageAnswer};
use super::super::call::Context;
use super::super::store::Data;
use super::memory::{View, answer, push};
use super::{check_ordinals, same_length, with};
use crate::state::Kind;

pub(super) fn link(linker: &mut Linker<Data>) -> Result<()> {
    let mut state = linker.instance("weir:operator/state@0.1.0")?;
    state.func_wrap("value-get", |store, (state, ords): (u32, WasmList<u32>)| {
        with(store, |context, store| {
            let ords = ordinals(context, state, Kind::Value, ords.as_le_slice(store))?;
            let mut column = answer(ords.len());
            for i in 0..ords.len() {
                push(&mut column, context.state.value_get(state as usize, ords.get(i)));
            }
            Ok((column,))
        })
    })?;
    state.func_wrap("value-put", |store, (state, ords, values): (u32, WasmList<u32>, ColumnRef)| {
        with(store, |context, store| {
            let ords = ordinals(context, state, Kind::Value, ords.as_le_slice(store))?;
            let values = View::new(&values, store)?;
            same_length(ords.len(), values.ends.len())?;
            for i in 0..ords.len() {
                let value = values.get(i);
                check_size(context, state, value)?;
                context.state.value_put(state as usize, ords.get(i), value);
            }
            Ok(())
        })
    })?;
    state.func_wrap("map-get", |store, (state, ords, fields): (u32, WasmList<u32>, ColumnRef)| {
        with(store, |context, store| {
            let ords = ordinals(context, state, Kind::Map, ords.as_le_slice(store))?;
            let fields = View::new(&fields, store)?;
            same_length(ords.len(), fields.ends.len())?;
            let mut column = answer(ords.len());
            for i in 0..ords.len() {
                let field = fields.get(i).unwrap_or_default();
                push(&mut column, context.state.map_get(state as usize, ords.get(i), field));
            }
            Ok((column,))
        })
    })?;
    type MapPut = (u32, WasmList<u32>, ColumnRef, ColumnRef);
    state.func_wrap("map-put", |store, (state, ords, fields, values): MapPut| {
        with(store, |context, store| {
            let ords = ordinals(context, state, Kind::Map, ords.as_le_slice(store))?;
            let (fields, values) = (View::new(&fields, store)?, View::new(&values, store)?);
            same_length(ords.len(), fields.ends.len())?;
            same_length(ords.len(), values.ends.len())?;
            for i in 0..ords.len() {
                let (field, value) = (fields.get(i).unwrap_or_default(), values.get(i));
                check_size(context, state, value)?;
                check_size(context, state, Some(field))?;
                context.state.map_put(state as usize, ords.get(i), field, value);
            }
            Ok(())
        })
    })?;
    type MapScan = (u32, u32, WasmList<u8>, Option<WasmList<u8>>, u32);
    state.func_wrap("map-scan", |store, (state, ord, first, end, max_bytes): MapScan| {
        with(store, |context, store| {
            ordinals(context, state, Kind::Map, &[ord])?;
            let end = end.as_ref().map(|end| end.as_le_slice(store));
            let mut page = PageAnswer::default();
            let max = (max_bytes as usize).min(context.limits.bytes);
            context.state.map_scan(state as usize, ord, first.as_le_slice(store), end, &mut |field, value| {
                let used = page.fields.data.len() + page.values.data.len();
                if !page.fields.ends.is_empty() && used + field.len() + value.len() > max {
                    page.more = true;
                    return false;
                }
                push(&mut page.fields, Some(field));
                push(&mut page.values, Some(value));
                true
            });
            Ok((page,))
        })
    })?;
    type MapRemoveRange = (u32, u32, WasmList<u8>, Option<WasmList<u8>>);
    state.func_wrap("map-remove-range", |store, (state, ord, first, end): MapRemoveRange| {
        with(store, |context, store| {
            ordinals(context, state, Kind::Map, &[ord])?;
            let end = end.as_ref().map(|end| end.as_le_slice(store));
            context.state.map_remove_range(state as usize, ord, first.as_le_slice(store), end);
            Ok(())
        })
    })?;
    // Declared list states are refused at check ("comes later"), so these can only be reached by a wrong index.
    state.func_wrap("list-append", |_: StoreContextMut<'_, Data>, _: (u32, WasmList<u32>, ColumnRef)| {
        no_lists::<()>()
    })?;
    state.func_wrap("list-read", |_: StoreContextMut<'_, Data>, _: (u32, u32, u64, u32)| {
        no_lists::<(ColumnAnswer,)>()
    })?;
    state.func_wrap("list-len", |_: StoreContextMut<'_, Data>, _: (u32, WasmList<u32>)| no_lists::<(Vec<u64>,)>())?;
    state.func_wrap("list-clear", |_: StoreContextMut<'_, Data>, _: (u32, WasmList<u32>)| no_lists::<()>())
}

/// Every ordinal of a list, or all of the call where the list is empty. Checked once, before anything is written.
fn ordinals<'a>(context: &Context, state: u32, kind: Kind, ords: &'a [u32]) -> Result<Ordinals<'a>> {
    match context.state.kind(state as usize) {
        None => bail!("state {state} is not declared"),
        Some(declared) if declared != kind => {
            bail!("state {state} is a {} state, not a {} state", declared.as_str(), kind.as_str())
        }
        Some(_) => {}
    }
    check_ordinals(context, ords)?;
    Ok(if ords.is_empty() { Ordinals::All(context.state.distinct()) } else { Ordinals::Given(ords) })
}

#[derive(Clone, Copy)]
enum Ordinals<'a> {
    All(u32),
    Given(&'a [u32]),
}

impl Ordinals<'_> {
    fn len(self) -> usize {
        match self {
            Ordinals::All(count) => count as usize,
            Ordinals::Given(ords) => ords.len(),
        }
    }

    #[inline]
    fn get(self, i: usize) -> u32 {
        match self {
            Ordinals::All(_) => i as u32,
            Ordinals::Given(ords) => ords[i],
        }
    }
}

fn no_lists<R>() -> Result<R> {
    bail!("no list state is declared")
}

fn check_size(context: &Context, state: u32, value: Option<&[u8]>) -> Result<()> {
    let (bytes, max) = (value.map_or(0, <[u8]>::len), context.limits.record);
    if bytes > max {
        let name = context.state.name(state as usize).unwrap_or_default();
        bail!(
            "a value of {bytes} bytes in state `{name}` is over the limit of {max}, which one value has from the node's \
             `limits.record`: keep less under one key, or raise it"
        );
    }
    Ok(())
}
