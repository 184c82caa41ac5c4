//! The imports of the contract over the canonical ABI: slices go out as pointer and length, lists come back in the arena.

use crate::arena;
use crate::bindings as abi;
use crate::column::Column;
use crate::output::Rows;
use crate::record::Domain;

/// A list as the canonical ABI lays it out in memory.
#[repr(C)]
#[derive(Clone, Copy)]
struct List {
    ptr: *mut u8,
    len: usize,
}

const EMPTY: List = List { ptr: std::ptr::null_mut(), len: 0 };

impl List {
    fn of<T>(items: &[T]) -> List {
        List { ptr: items.as_ptr().cast_mut().cast(), len: items.len() }
    }

    /// SAFETY: the host placed a list of `T` here, in the arena.
    unsafe fn items<T>(self) -> &'static [T] {
        if self.len == 0 { &[] } else { unsafe { std::slice::from_raw_parts(self.ptr.cast(), self.len) } }
    }
}

/// Calls an import that writes its result to memory.
fn receive<R>(empty: R, call: impl FnOnce(*mut u8)) -> R {
    let mut result = empty;
    arena::placing_for_us(true, || call((&raw mut result).cast()));
    result
}

fn column([ends, data]: [List; 2]) -> Column<'static> {
    // SAFETY: a column of the contract is a list of u32 and a list of u8.
    unsafe { Column::new(ends.items(), data.items()) }
}

macro_rules! pass {
    ($items:expr) => {{
        let items = $items;
        (items.as_ptr().cast_mut().cast::<u8>(), items.len())
    }};
}

pub(crate) fn headers() -> Column<'static> {
    // SAFETY (all calls below): the pointers are valid for their lengths during the call, and results have the layout of
    // the type in the contract. `tests/bindings.rs` holds the order of the parameters.
    column(receive([EMPTY; 2], |result| unsafe { abi::input::headers(result) }))
}

pub(crate) fn origins() -> (&'static [u32], &'static [i64]) {
    let [partitions, offsets] = receive([EMPTY; 2], |result| unsafe { abi::input::origins(result) });
    unsafe { (partitions.items(), offsets.items()) }
}

pub(crate) fn forward(port: u32, slots: &[u32]) {
    let (slots, len) = pass!(slots);
    unsafe { abi::output::forward(port, slots, len) }
}

pub(crate) fn emit(port: u32, rows: &Rows<'_>) {
    /// More than 16 flat parameters travel in memory.
    #[repr(C)]
    struct Params {
        port: u32,
        slots: List,
        times: List,
        keys: [List; 2],
        values: [List; 2],
        headers: [List; 2],
        partitions: List,
    }
    let column = |column: Column<'_>| [List::of(column.ends()), List::of(column.data())];
    let mut params = Params {
        port,
        slots: List::of(rows.slots),
        times: List::of(rows.times),
        keys: column(rows.keys),
        values: column(rows.values),
        headers: column(rows.headers),
        partitions: List::of(rows.partitions),
    };
    unsafe { abi::output::emit((&raw mut params).cast()) }
}

pub(crate) fn reject(slot: u32, code: &str, message: &str) {
    let ((code, code_len), (message, message_len)) = (pass!(code), pass!(message));
    unsafe { abi::output::reject(slot, code, code_len, message, message_len) }
}

pub(crate) fn value_get(state: u32, ords: &[u32]) -> Column<'static> {
    let (ords, len) = pass!(ords);
    column(receive([EMPTY; 2], |result| unsafe { abi::state::value_get(state, ords, len, result) }))
}

pub(crate) fn value_put(state: u32, ords: &[u32], values: Column<'_>) {
    let ((ords, len), (ends, ends_len), (data, data_len)) = (pass!(ords), pass!(values.ends()), pass!(values.data()));
    unsafe { abi::state::value_put(state, ords, len, ends, ends_len, data, data_len) }
}

pub(crate) fn map_get(state: u32, ords: &[u32], fields: Column<'_>) -> Column<'static> {
    let ((ords, len), (ends, ends_len), (data, data_len)) = (pass!(ords), pass!(fields.ends()), pass!(fields.data()));
    column(receive([EMPTY; 2], |result| unsafe {
        abi::state::map_get(state, ords, len, ends, ends_len, data, data_len, result)
    }))
}

pub(crate) fn map_put(state: u32, ords: &[u32], fields: Column<'_>, values: Column<'_>) {
    let ((ords, len), (ends, ends_len), (data, data_len)) = (pass!(ords), pass!(fields.ends()), pass!(fields.data()));
    let ((value_ends, value_ends_len), (value_data, value_data_len)) = (pass!(values.ends()), pass!(values.data()));
    unsafe {
        abi::state::map_put(
            state,
            ords,
            len,
            ends,
            ends_len,
            data,
            data_len,
            value_ends,
            value_ends_len,
            value_data,
            value_data_len,
        )
    }
}

pub(crate) fn set_timers(domain: Domain, ords: &[u32], times: &[i64], tags: &[u64]) {
    let ((ords, len), (times, times_len), (tags, tags_len)) = (pass!(ords), pass!(times), pass!(tags));
    unsafe { abi::timers::set(domain as u32, ords, len, times, times_len, tags, tags_len) }
}

pub(crate) fn unset_timers(domain: Domain, ords: &[u32], times: &[i64], tags: &[u64]) {
    let ((ords, len), (times, times_len), (tags, tags_len)) = (pass!(ords), pass!(times), pass!(tags));
    unsafe { abi::timers::unset(domain as u32, ords, len, times, times_len, tags, tags_len) }
}

pub(crate) fn watermark() -> i64 {
    unsafe { abi::clock::watermark() }
}

pub(crate) fn now() -> i64 {
    unsafe { abi::clock::now() }
}

pub(crate) fn config() -> String {
    let text = receive(EMPTY, |result| unsafe { abi::config::get(result) });
    text_of(unsafe { text.items() })
}

pub(crate) fn secret(name: &str) -> Option<String> {
    #[repr(C)]
    struct Found {
        is_some: u8,
        text: List,
    }
    let (name, len) = pass!(name);
    let empty = Found { is_some: 0, text: EMPTY };
    let found = receive(empty, |result| unsafe { abi::config::secret(name, len, result) });
    (found.is_some == 1).then(|| text_of(unsafe { found.text.items() }))
}

fn text_of(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub(crate) fn log_least() -> u32 {
    unsafe { abi::log::least() }
}

pub(crate) fn log_write(level: u32, message: &str, fields: &[(&str, String)]) {
    let fields: Vec<[List; 2]> =
        fields.iter().map(|(name, value)| [List::of(name.as_bytes()), List::of(value.as_bytes())]).collect();
    let ((message, len), (fields, fields_len)) = (pass!(message), pass!(&fields));
    unsafe { abi::log::write(level, message, len, fields, fields_len) }
}

pub(crate) fn log_panic(slot: Option<u32>, message: &str) {
    let (message, len) = pass!(message);
    unsafe { abi::log::panic(slot.is_some().into(), slot.unwrap_or(0), message, len) }
}

pub(crate) fn metric_add(metric: u32, delta: u64) {
    unsafe { abi::metrics::add(metric, delta as i64) }
}

pub(crate) fn metric_set(metric: u32, value: f64) {
    unsafe { abi::metrics::set(metric, value) }
}

pub(crate) fn metric_observe(metric: u32, value: f64) {
    unsafe { abi::metrics::observe(metric, value) }
}
