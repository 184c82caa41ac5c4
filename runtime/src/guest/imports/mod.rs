//! What a guest may call: one function per import of the contract, hand-written so that columns are read in place during
//! the import. Each checks its indices and sizes before it touches anything; a wrong one traps. Holds no state of its own.

use wasmtime::component::{Linker, WasmList};
use wasmtime::{AsContext, Result, StoreContext, StoreContextMut, bail};
use weir_core::record::{ABSENT, Batch, Column};

use super::bindings::{ColumnAnswer, ColumnRef, Domain, LogLevel, PageAnswer, RowsRef};
use super::call::{Context, Phase};
use super::engine::Engine;
use super::instance::Data;

/// Slot and ordinal that stand for "none".
const NONE: u32 = u32::MAX;
/// Characters of a log line, a reject's message, a panic's message.
const LINE_MAX: usize = 1024;

/// All imports of the contract, and nothing else.
pub(super) fn linker(engine: &Engine) -> Result<Linker<Data>> {
    let mut linker = Linker::new(engine.raw());
    input(&mut linker)?;
    output(&mut linker)?;
    state(&mut linker)?;
    timers(&mut linker)?;
    ambient(&mut linker)?;
    log(&mut linker)?;
    Ok(linker)
}

/// Guest memory, while nothing in the store changes.
type Memory<'a> = &'a StoreContext<'a, Data>;

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

/// A column in guest memory whose ends were checked.
struct View<'a> {
    ends: &'a [u32],
    data: &'a [u8],
}

impl<'a> View<'a> {
    fn new(column: &ColumnRef, store: Memory<'a>) -> Result<View<'a>> {
        let view = View { ends: column.ends.as_le_slice(store), data: column.data.as_le_slice(store) };
        let mut last = 0;
        for end in view.ends {
            let end = end & !ABSENT;
            if end < last || end as usize > view.data.len() {
                bail!("a column's ends must rise and stay within its {} bytes", view.data.len());
            }
            last = end;
        }
        Ok(view)
    }

    fn get(&self, i: usize) -> Option<&'a [u8]> {
        let start = if i == 0 { 0 } else { (self.ends[i - 1] & !ABSENT) as usize };
        let end = self.ends[i];
        if end & ABSENT != 0 { None } else { Some(&self.data[start..end as usize]) }
    }

    fn len_of(&self, i: usize) -> usize {
        self.get(i).map_or(0, <[u8]>::len)
    }

    /// Appends all items: one copy of the bytes, ends shifted.
    fn append_to(&self, column: &mut Column) {
        let base = column.data.len() as u32;
        let used = self.ends.last().map_or(0, |end| (end & !ABSENT) as usize);
        column.data.extend_from_slice(&self.data[..used]);
        column.ends.extend(self.ends.iter().map(|end| ((end & !ABSENT) + base) | (end & ABSENT)));
    }
}

fn answer(items: usize) -> ColumnAnswer {
    ColumnAnswer { ends: Vec::with_capacity(items), data: Vec::with_capacity(items * 16) }
}

fn push(column: &mut ColumnAnswer, item: Option<&[u8]>) {
    match item {
        Some(bytes) => {
            column.data.extend_from_slice(bytes);
            column.ends.push(column.data.len() as u32);
        }
        None => column.ends.push(column.data.len() as u32 | ABSENT),
    }
}

fn input(linker: &mut Linker<Data>) -> Result<()> {
    let mut input = linker.instance("weir:operator/input@0.1.0")?;
    input.func_wrap("headers", |store, (): ()| {
        with(store, |context, _| {
            in_process(context, "headers")?;
            let headers = &context.batch.headers;
            let mut column = answer(context.batch.len());
            for slot in 0..context.batch.len() {
                push(&mut column, if headers.is_empty() { None } else { headers.get(slot) });
            }
            Ok((column,))
        })
    })?;
    input.func_wrap("origins", |store, (): ()| {
        with(store, |context, _| {
            in_process(context, "origins")?;
            let (mut partitions, mut offsets) = (Vec::new(), Vec::new());
            for run in &context.batch.origins {
                for i in 0..i64::from(run.count) {
                    partitions.push(run.partition as u32);
                    offsets.push(run.first_offset + i);
                }
            }
            Ok(((partitions, offsets),))
        })
    })
}

fn output(linker: &mut Linker<Data>) -> Result<()> {
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
                context.output.rejects.push((slot, clean(&code), clean(&message)));
            }
            Ok(())
        })
    })
}

fn in_process(context: &Context, function: &str) -> Result<()> {
    if context.phase != Phase::Process {
        bail!("`{function}` is valid inside `process` only");
    }
    Ok(())
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
    let mut bytes = 0;
    for &slot in slots {
        check_slot(context, slot)?;
        let batch = &context.batch;
        let slot = slot as usize;
        bytes += batch.keys.span(slot).len() + batch.values.span(slot).len();
    }
    context.charge(slots.len(), bytes)?;
    let rows = &mut context.output.ports[port as usize];
    // Neighbouring slots are copied as one range.
    let mut at = 0;
    while at < slots.len() {
        let mut end = at + 1;
        while end < slots.len() && slots[end] == slots[end - 1] + 1 {
            end += 1;
        }
        rows.extend_from(&context.batch, slots[at] as usize..slots[end - 1] as usize + 1);
        at = end;
    }
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

/// Every ordinal of a list, or all of the call where the list is empty. Checked once, before anything is written.
fn ordinals<'a>(context: &Context, state: u32, kind: crate::state::Kind, ords: &'a [u32]) -> Result<Ordinals<'a>> {
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

fn check_ordinals(context: &Context, ords: &[u32]) -> Result<()> {
    let distinct = context.state.distinct();
    match ords.iter().find(|ord| **ord >= distinct) {
        Some(ord) => bail!("key ordinal {ord} is out of range: this call has {distinct}"),
        None => Ok(()),
    }
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

fn state(linker: &mut Linker<Data>) -> Result<()> {
    use crate::state::Kind;
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
                check_size(context, value)?;
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
                check_size(context, value)?;
                check_size(context, Some(field))?;
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

fn no_lists<R>() -> Result<R> {
    bail!("no list state is declared")
}

fn same_length(ordinals: usize, items: usize) -> Result<()> {
    if ordinals != items {
        bail!("{items} items were given for {ordinals} ordinals");
    }
    Ok(())
}

fn check_size(context: &Context, value: Option<&[u8]>) -> Result<()> {
    let (bytes, max) = (value.map_or(0, <[u8]>::len), context.limits.record);
    if bytes > max {
        bail!("a state value of {bytes} bytes is over the limit of {max} (`limits.record`)");
    }
    Ok(())
}

fn timers(linker: &mut Linker<Data>) -> Result<()> {
    type Timers = (Domain, WasmList<u32>, WasmList<i64>, WasmList<u64>);
    let mut timers = linker.instance("weir:operator/timers@0.1.0")?;
    fn each(
        context: &mut Context,
        store: Memory<'_>,
        (domain, ords, times, tags): &Timers,
        apply: fn(&mut crate::state::KeyedState, u32, i64, u64),
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
        with(store, |context, store| each(context, store, &timers, crate::state::KeyedState::timer_set))
    })?;
    timers.func_wrap("unset", |store, timers: Timers| {
        with(store, |context, store| each(context, store, &timers, crate::state::KeyedState::timer_unset))
    })
}

fn ambient(linker: &mut Linker<Data>) -> Result<()> {
    let mut clock = linker.instance("weir:operator/clock@0.1.0")?;
    clock.func_wrap("watermark", |store, (): ()| with(store, |context, _| Ok((context.watermark,))))?;
    clock.func_wrap("now", |store, (): ()| with(store, |context, _| Ok((context.now,))))?;
    let mut config = linker.instance("weir:operator/config@0.1.0")?;
    config.func_wrap("get", |store, (): ()| with(store, |context, _| Ok((context.config.clone(),))))?;
    config.func_wrap("secret", |store, (name,): (String,)| {
        with(store, |context, _| Ok((context.secrets.get(&name).cloned(),)))
    })?;
    let mut metrics = linker.instance("weir:operator/metrics@0.1.0")?;
    fn metric(context: &mut Context, metric: u32, apply: impl FnOnce(&mut f64)) -> Result<()> {
        match context.metrics.get_mut(metric as usize) {
            Some(value) => apply(value),
            None => bail!("metric {metric} is not declared"),
        }
        Ok(())
    }
    metrics.func_wrap("add", |store, (index, delta): (u32, u64)| {
        with(store, |context, _| metric(context, index, |value| *value += delta as f64))
    })?;
    metrics.func_wrap("set", |store, (index, value): (u32, f64)| {
        with(store, |context, _| metric(context, index, |current| *current = value))
    })?;
    metrics.func_wrap("observe", |store, (index, value): (u32, f64)| {
        with(store, |context, _| metric(context, index, |current| *current = value))
    })
}

fn log(linker: &mut Linker<Data>) -> Result<()> {
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
        if context.charge_log(line.len())? {
            let (node, line) = (context.node.as_str(), clean(&line));
            match level {
                LogLevel::Trace => tracing::trace!(target: "guest", node, "{line}"),
                LogLevel::Debug => tracing::debug!(target: "guest", node, "{line}"),
                LogLevel::Info => tracing::info!(target: "guest", node, "{line}"),
                LogLevel::Warn => tracing::warn!(target: "guest", node, "{line}"),
                LogLevel::Error => tracing::error!(target: "guest", node, "{line}"),
            }
        }
        Ok(())
    })?;
    log.func_wrap("panic", |mut store: StoreContextMut<'_, Data>, (slot, message): (Option<u32>, String)| {
        if let Some(context) = store.data_mut().context.as_mut() {
            context.charge_log(message.len())?;
            context.last_words = Some((slot, clean(&message)));
        }
        Ok(())
    })
}

/// A guest's text as one line of bounded length without control characters: it goes to terminals and logs.
pub(super) fn clean(text: &str) -> String {
    let mut line: String = text.chars().take(LINE_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(LINE_MAX).is_some() {
        line.push('…');
    }
    line
}
