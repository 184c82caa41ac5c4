//! What a guest emits, forwards and rejects: checked, charged to the call, copied into the call's overlay.

use wasmtime::component::{Linker, WasmList};
use wasmtime::{Result, bail};
use weir_core::record::{Batch, Column};

use super::super::bindings::RowsRef;
use super::super::call::{Context, Phase};
use super::super::store::Data;
use super::memory::{Memory, View};
use super::{in_process, with};

/// Slot that stands for "none".
const NONE: u32 = u32::MAX;

pub(super) fn link(linker: &mut Linker<Data>) -> Result<()> {
    let mut output = linker.instance("weir:operator/output@0.1.0")?;
    output.func_wrap("forward", |store, (port, slots): (u32, WasmList<u32>)| {
        with(store, |context, store| {
            in_process(context, "forward")?;
            forward(context, port, slots.as_le_slice(store))
        })
    })?;
    output.func_wrap("emit", |store, (port, rows): (u32, RowsRef)| {
        with(store, |context, store| emit(context, port, &rows, store))
    })?;
    output.func_wrap("reject", |store, (slot, code, message): (u32, String, String)| {
        with(store, |context, _| {
            in_process(context, "reject")?;
            check_slot(context, slot)?;
            context.charge(1, code.len() + message.len())?;
            // A record is refused once, whatever the guest says how often; the first reason stands.
            if context.output.rejects.iter().all(|(rejected, ..)| *rejected != slot) {
                let (code, message) = (context.shown(&code), context.shown(&message));
                context.output.rejects.push((slot, code, message));
            }
            Ok(())
        })
    })
}

fn check_slot(context: &Context, slot: u32) -> Result<()> {
    let slots = context.slots().map_or(0, Batch::len);
    if slot as usize >= slots {
        bail!("slot {slot} is out of range: this call has {slots}");
    }
    Ok(())
}

fn check_port(context: &Context, port: u32) -> Result<()> {
    let ports = context.output.ports.len();
    if port as usize >= ports {
        bail!("port {port} is out of range: `describe` declared {ports} outputs");
    }
    Ok(())
}

/// Records leave as they came in, with the key they had before the node's own.
fn forward(context: &mut Context, port: u32, slots: &[u32]) -> Result<()> {
    check_port(context, port)?;
    // Neighbouring slots are checked, counted and copied as one range: mostly that is the whole batch.
    let runs = slots.chunk_by(|slot, next| next.wrapping_sub(*slot) == 1);
    let runs = runs.map(|run| run[0] as usize..run[0] as usize + run.len());
    let (batch, mut bytes) = (&context.batch, 0);
    for run in runs.clone() {
        if run.end > batch.len() {
            check_slot(context, run.start.max(batch.len()) as u32)?;
        }
        for column in [&batch.keys, &batch.values] {
            bytes += column.span(run.end - 1).end - column.span(run.start).start;
        }
    }
    context.charge(slots.len(), bytes)?;
    let rows = &mut context.output.ports[port as usize];
    runs.for_each(|run| rows.extend_from(&context.batch, run));
    Ok(())
}

fn emit(context: &mut Context, port: u32, rows: &RowsRef, store: Memory<'_>) -> Result<()> {
    check_port(context, port)?;
    let slots = rows.slots.as_le_slice(store);
    let times = rows.times.as_le_slice(store);
    let partitions = rows.partitions.as_le_slice(store);
    let (keys, values) = (View::new(&rows.keys, store)?, View::new(&rows.values, store)?);
    let headers = View::new(&rows.headers, store)?;
    let count = slots.len();
    for (column, items) in [
        ("times", times.len()),
        ("keys", keys.ends.len()),
        ("values", values.ends.len()),
        ("headers", headers.ends.len()),
        ("partitions", partitions.len()),
    ] {
        if items != 0 && items != count {
            bail!("column `{column}` has {items} items for {count} rows");
        }
    }
    for &slot in slots {
        if slot != NONE {
            check_slot(context, slot)?;
        } else if times.is_empty() || keys.ends.is_empty() || values.ends.is_empty() {
            bail!("a row without a slot inherits nothing: it needs a time, a key and a value");
        }
    }
    if context.phase == Phase::Timers && values.ends.is_empty() && count > 0 {
        bail!("a row of `on-timers` needs a value");
    }
    let inherited = |given: bool, column: &Column| -> usize {
        if given { 0 } else { slots.iter().filter(|s| **s != NONE).map(|s| column.span(*s as usize).len()).sum() }
    };
    let mut bytes = keys.data.len() + values.data.len() + headers.data.len();
    if let Some(batch) = context.slots() {
        bytes += inherited(!keys.ends.is_empty(), context.inherited_keys())
            + inherited(!values.ends.is_empty(), &batch.values);
    }
    context.charge(count, bytes)?;
    // Where all rows together are within the limit of one, each of them is.
    if bytes > context.limits.record {
        check_rows(context, slots, [&keys, &values, &headers])?;
    }

    let Context { output, batch, due, keyed, phase, .. } = context;
    let from = if *phase == Phase::Timers { &*due } else { &*batch };
    let from_keys = keyed.as_ref().unwrap_or(&from.keys);
    let to = &mut output.ports[port as usize];
    let had = to.times.len();
    if times.is_empty() {
        to.times.extend(slots.iter().map(|s| from.times[*s as usize]))
    } else {
        to.times.extend_from_slice(times)
    }
    let inherit = |given: &View<'_>, column: &Column, to: &mut Column| match given.ends.is_empty() {
        true => slots.iter().for_each(|s| to.push(column.get(*s as usize))),
        false => given.append_to(to),
    };
    inherit(&keys, from_keys, &mut to.keys);
    inherit(&values, &from.values, &mut to.values);
    if !headers.ends.is_empty() || !from.headers.is_empty() || !to.headers.is_empty() {
        while to.headers.len() < had {
            to.headers.push(None);
        }
        match (headers.ends.is_empty(), from.headers.is_empty()) {
            (false, _) => headers.append_to(&mut to.headers),
            (true, false) => slots
                .iter()
                .for_each(|s| to.headers.push(if *s == NONE { None } else { from.headers.get(*s as usize) })),
            (true, true) => slots.iter().for_each(|_| to.headers.push(None)),
        }
    }
    if !partitions.is_empty() || !to.partitions.is_empty() {
        to.partitions.resize(had, weir_core::record::BY_KEY);
        match partitions.is_empty() {
            true => to.partitions.resize(had + count, weir_core::record::BY_KEY),
            false => to.partitions.extend_from_slice(partitions),
        }
    }
    Ok(())
}

/// Every row with its key, value and headers, given or inherited, is within `limits.record`.
fn check_rows(context: &Context, slots: &[u32], [keys, values, headers]: [&View<'_>; 3]) -> Result<()> {
    let inherited = |column: &Column, slot: u32| if slot == NONE { 0 } else { column.span(slot as usize).len() };
    for (row, &slot) in slots.iter().enumerate() {
        let key = if keys.ends.is_empty() { inherited(context.inherited_keys(), slot) } else { keys.len_of(row) };
        let value =
            if values.ends.is_empty() { inherited(&context.inherited().values, slot) } else { values.len_of(row) };
        let headers = if headers.ends.is_empty() { 0 } else { headers.len_of(row) };
        let (bytes, max) = (key + value + headers, context.limits.record);
        if bytes > max {
            bail!("a row of {bytes} bytes is over the limit of {max} (`limits.record`)");
        }
    }
    Ok(())
}
