//! The imports of the contract outside a component: the test host of the running thread answers. Results are copied into
//! the arena, so that they live exactly as long as in a component.

use crate::arena;
use crate::column::Column;
use crate::output::Rows;
use crate::record::Domain;
use crate::testing::world::{Item, with};

pub(crate) fn headers() -> Column<'static> {
    let headers = with(|world| world.process_slots("headers").iter().map(|slot| Some(slot.headers.clone())).collect());
    column(headers)
}

pub(crate) fn origins() -> (&'static [u32], &'static [i64]) {
    let origins =
        with(|world| world.process_slots("origins").iter().filter_map(|slot| slot.origin).collect::<Vec<_>>());
    (list(origins.iter().map(|origin| origin.0)), list(origins.iter().map(|origin| origin.1)))
}

pub(crate) fn forward(port: u32, slots: &[u32]) {
    with(|world| slots.iter().for_each(|slot| world.forward(port, *slot)));
}

pub(crate) fn emit(port: u32, rows: &Rows<'_>) {
    with(|world| world.emit(port, rows));
}

pub(crate) fn reject(slot: u32, code: &str, message: &str) {
    with(|world| world.reject(slot, code, message));
}

pub(crate) fn value_get(state: u32, ords: &[u32]) -> Column<'static> {
    column(with(|world| world.value_get(state, ords)))
}

pub(crate) fn value_put(state: u32, ords: &[u32], values: Column<'_>) {
    with(|world| world.value_put(state, ords, values));
}

pub(crate) fn map_get(state: u32, ords: &[u32], fields: Column<'_>) -> Column<'static> {
    column(with(|world| world.map_get(state, ords, fields)))
}

pub(crate) fn map_put(state: u32, ords: &[u32], fields: Column<'_>, values: Column<'_>) {
    with(|world| world.map_put(state, ords, fields, values));
}

pub(crate) fn set_timers(domain: Domain, ords: &[u32], times: &[i64], tags: &[u64]) {
    with(|world| (0..ords.len()).for_each(|i| world.set_timer(domain, ords[i], times[i], tags[i])));
}

pub(crate) fn unset_timers(domain: Domain, ords: &[u32], times: &[i64], tags: &[u64]) {
    with(|world| (0..ords.len()).for_each(|i| world.unset_timer(domain, ords[i], times[i], tags[i])));
}

pub(crate) fn watermark() -> i64 {
    with(|world| world.watermark)
}

pub(crate) fn now() -> i64 {
    with(|world| world.now)
}

pub(crate) fn secret(name: &str) -> Option<String> {
    with(|world| world.secrets.get(name).cloned())
}

pub(crate) fn log_least() -> u32 {
    0
}

pub(crate) fn log_write(level: u32, message: &str, fields: &[(&str, String)]) {
    with(|world| world.log(level, message, fields));
}

pub(crate) fn metric_add(metric: u32, delta: u64) {
    with(|world| world.metric(metric, |value| *value += delta as f64));
}

pub(crate) fn metric_set(metric: u32, value: f64) {
    with(|world| world.metric(metric, |current| *current = value));
}

pub(crate) fn metric_observe(metric: u32, value: f64) {
    with(|world| world.metric(metric, |sum| *sum += value));
}

fn column(items: Vec<Item>) -> Column<'static> {
    let mut end = 0;
    let ends = items.iter().map(|item| {
        end += item.as_deref().map_or(0, <[u8]>::len) as u32;
        if item.is_some() { end } else { end | 1 << 31 }
    });
    let ends = list(ends.collect::<Vec<_>>().into_iter());
    Column::new(ends, list(items.into_iter().flatten().flatten().collect::<Vec<_>>().into_iter()))
}

fn list<T: Copy + 'static>(items: impl ExactSizeIterator<Item = T>) -> &'static [T] {
    let len = items.len();
    let start = arena::allocate(len * size_of::<T>(), align_of::<T>()).cast::<T>();
    // SAFETY: space for `len` items was just given out; the arena lives until the call ends.
    unsafe {
        items.enumerate().for_each(|(i, item)| start.add(i).write(item));
        std::slice::from_raw_parts(start, len)
    }
}
