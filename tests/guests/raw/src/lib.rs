//! An operator without the SDK, for what the SDK cannot be made to do.
//!
//! Its allocator grows the memory for every list and never gives a block twice, so a host that keeps a pointer into the
//! guest over an allocation reads elsewhere. What it has passed to an import it overwrites when the import returns, and what
//! it has returned it overwrites in post-return, so a host that reads in place afterwards reads 0xee.
//!
//! Every call of `process` emits the values as they came. If the first value is one of the words in `lie`, it breaks that
//! rule of the contract instead.
#![cfg(target_family = "wasm")]
#![no_std]
#![allow(clippy::too_many_arguments, reason = "the canonical ABI passes records flat")]

use core::arch::wasm32;
use core::ptr::{null_mut, write_bytes};

#[unsafe(link_section = "component-type:weir:operator@0.1.0:operator")]
#[used]
static COMPONENT_TYPE: [u8; include_bytes!("../../../../guest-sdk/src/component_type.bin").len()] =
    *include_bytes!("../../../../guest-sdk/src/component_type.bin");

#[link(wasm_import_module = "weir:operator/input@0.1.0")]
unsafe extern "C" {
    fn headers(result: *mut u8);
}

#[link(wasm_import_module = "weir:operator/output@0.1.0")]
unsafe extern "C" {
    fn forward(port: u32, slots: *const u32, len: usize);
    fn emit(params: *const Emit);
    fn reject(slot: u32, code: *const u8, code_len: usize, message: *const u8, message_len: usize);
}

#[link(wasm_import_module = "weir:operator/state@0.1.0")]
unsafe extern "C" {
    #[link_name = "value-get"]
    fn value_get(state: u32, ords: *const u32, len: usize, result: *mut u8);
    #[link_name = "value-put"]
    fn value_put(state: u32, ords: *const u32, len: usize, ends: *const u32, n: usize, data: *const u8, m: usize);
}

#[link(wasm_import_module = "weir:operator/timers@0.1.0")]
unsafe extern "C" {
    #[link_name = "set"]
    fn timers_set(domain: u32, ords: *const u32, n: usize, times: *const i64, m: usize, tags: *const u64, k: usize);
}

#[link(wasm_import_module = "weir:operator/log@0.1.0")]
unsafe extern "C" {
    #[link_name = "panic"]
    fn log_panic(is_some: u32, slot: u32, message: *const u8, len: usize);
}

#[link(wasm_import_module = "weir:operator/metrics@0.1.0")]
unsafe extern "C" {
    #[link_name = "add"]
    fn metric_add(metric: u32, delta: i64);
}

/// A list as the canonical ABI lays it out.
#[repr(C)]
#[derive(Clone, Copy)]
struct List(*const u8, usize);

const EMPTY: List = List(null_mut(), 0);

const fn text(text: &'static str) -> List {
    List(text.as_ptr(), text.len())
}

unsafe impl Sync for List {}

#[repr(C)]
struct Emit {
    port: u32,
    slots: List,
    times: List,
    keys: [List; 2],
    values: [List; 2],
    headers: [List; 2],
    partitions: List,
}

/// Where the next block begins.
static mut NEXT: usize = 0;

#[unsafe(export_name = "cabi_realloc")]
unsafe extern "C" fn cabi_realloc(_: *mut u8, old_len: usize, align: usize, len: usize) -> *mut u8 {
    if old_len != 0 {
        wasm32::unreachable();
    }
    let pages = len.div_ceil(65_536) + 1;
    let page = wasm32::memory_grow::<0>(pages);
    if page == usize::MAX {
        wasm32::unreachable();
    }
    // The blocks lie at odd places, as far as the alignment allows.
    let start = page * 65_536 + 8 * align;
    unsafe {
        NEXT = start + len;
        write_bytes(start as *mut u8, 0xee, len);
    }
    start as *mut u8
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    wasm32::unreachable()
}

#[repr(C)]
struct Descriptor {
    name: List,
    version: List,
    inputs: List,
    outputs: List,
    states: List,
    metrics: List,
    callbacks: List,
    config_schema: [usize; 3],
    options: List,
}

unsafe impl Sync for Descriptor {}

#[repr(C)]
struct State {
    name: List,
    kind: List,
    version: u32,
    options: List,
}

unsafe impl Sync for State {}

static COLUMNS: [List; 2] = [text("keys"), text("values")];
static INPUTS: [List; 3] = [text("in"), List(COLUMNS.as_ptr().cast(), 2), EMPTY];
static OUTPUTS: [List; 2] = [text("out"), EMPTY];
static STATES: [State; 1] = [State { name: text("raw"), kind: text("value"), version: 2, options: EMPTY }];
static CALLBACKS: [List; 2] = [text("timers"), text("migrate")];
static DESCRIPTOR: Descriptor = Descriptor {
    name: text("raw"),
    version: text("0.1.0"),
    inputs: List(INPUTS.as_ptr().cast(), 1),
    outputs: List(OUTPUTS.as_ptr().cast(), 1),
    states: List((&raw const STATES).cast(), 1),
    metrics: EMPTY,
    callbacks: List(CALLBACKS.as_ptr().cast(), 2),
    config_schema: [0; 3],
    options: EMPTY,
};

#[unsafe(export_name = "weir:operator/guest@0.1.0#describe")]
extern "C" fn describe() -> *const Descriptor {
    &raw const DESCRIPTOR
}

static mut RESULT: [usize; 8] = [0; 8];

fn ok() -> *mut u8 {
    unsafe {
        RESULT = [0; 8];
        (&raw mut RESULT).cast()
    }
}

/// A failure whose texts lie in blocks of their own, the message allocated after the code was written.
fn failure(slot: u32, code: &[u8], message: &[u8]) -> *mut u8 {
    unsafe {
        let copy = |text: &[u8]| {
            let at = cabi_realloc(null_mut(), 0, 1, text.len());
            core::ptr::copy_nonoverlapping(text.as_ptr(), at, text.len());
            at as usize
        };
        let code_at = copy(code);
        let message_at = copy(message);
        RESULT = [1, 1, 1, slot as usize, code_at, code.len(), message_at, message.len()];
        (&raw mut RESULT).cast()
    }
}

#[unsafe(export_name = "cabi_post_weir:operator/guest@0.1.0#process")]
unsafe extern "C" fn process_post(_: *mut u8) {
    unsafe {
        if RESULT[0] == 1 {
            write_bytes(RESULT[4] as *mut u8, 0xee, RESULT[5]);
            write_bytes(RESULT[6] as *mut u8, 0xee, RESULT[7]);
        }
        write_bytes((&raw mut RESULT).cast::<u8>(), 0xee, 32);
    }
}

#[unsafe(export_name = "weir:operator/guest@0.1.0#open")]
extern "C" fn open(_: u32, _: u32, _: u32, _: u32, _: u32, _: u32, _: u32, _: u32) -> *mut u8 {
    ok()
}

#[unsafe(export_name = "weir:operator/guest@0.1.0#process")]
unsafe extern "C" fn process(
    _input: u32,
    ords: *const u32,
    ords_len: usize,
    times: *mut i64,
    times_len: usize,
    keys: *mut u32,
    keys_len: usize,
    keys_data: *mut u8,
    keys_data_len: usize,
    values: *mut u32,
    values_len: usize,
    values_data: *mut u8,
    values_data_len: usize,
) -> *mut u8 {
    unsafe {
        let first = if values_len == 0 { 0 } else { (*values & 0x7fff_ffff) as usize };
        let word = if first == 0 { &[][..] } else { core::slice::from_raw_parts(values_data, first) };
        if let Some(answer) = lie(word, ords, ords_len) {
            return answer;
        }
        let slots = cabi_realloc(null_mut(), 0, 4, times_len * 4).cast::<u32>();
        (0..times_len).for_each(|slot| slots.add(slot).write(slot as u32));
        let params = Emit {
            port: 0,
            slots: List(slots.cast(), times_len),
            times: List(times.cast(), times_len),
            keys: [List(keys.cast(), keys_len), List(keys_data, keys_data_len)],
            values: [List(values.cast(), values_len), List(values_data, values_data_len)],
            headers: [EMPTY; 2],
            partitions: EMPTY,
        };
        emit(&raw const params);
        write_bytes(slots, 0xee, times_len);
        write_bytes(times, 0xee, times_len);
        write_bytes(keys, 0xee, keys_len);
        write_bytes(keys_data, 0xee, keys_data_len);
        write_bytes(values, 0xee, values_len);
        write_bytes(values_data, 0xee, values_data_len);
        ok()
    }
}

/// Breaks one rule. The host must trap, or take the failure for what it is.
unsafe fn lie(word: &[u8], ords: *const u32, ords_len: usize) -> Option<*mut u8> {
    static ONE: [u32; 1] = [1];
    static FAR: [u32; 1] = [1 << 30];
    static SLOT: [u32; 1] = [0];
    static ENDS: [u32; 2] = [4, 2];
    static TIMES: [i64; 1] = [0];
    static TAGS: [u64; 1] = [0];
    let rows = |port, slots: &'static [u32], ends: &'static [u32], data: &'static [u8]| Emit {
        port,
        slots: List(slots.as_ptr().cast(), slots.len()),
        times: EMPTY,
        keys: [EMPTY; 2],
        values: [List(ends.as_ptr().cast(), ends.len()), List(data.as_ptr(), data.len())],
        headers: [EMPTY; 2],
        partitions: EMPTY,
    };
    unsafe {
        match word {
            // A failure that is told properly.
            b"fail" => return Some(failure(0, b"told", b"a failure in blocks of its own")),
            b"fail-elsewhere" => return Some(failure(1 << 30, b"told", b"blames a record that is not there")),
            b"panic-elsewhere" => {
                log_panic(1, 1 << 30, b"blames no record of the call".as_ptr(), 28);
                wasm32::unreachable();
            }
            b"forward-slot" => forward(0, FAR.as_ptr(), 1),
            b"forward-port" => forward(7, SLOT.as_ptr(), 1),
            b"emit-port" => emit(&rows(7, &SLOT, &ONE, b"x")),
            b"emit-slot" => emit(&rows(0, &FAR, &ONE, b"x")),
            b"emit-too-few" => emit(&rows(0, &[0, 0], &ONE, b"x")),
            b"emit-past-data" => emit(&rows(0, &SLOT, &FAR, b"x")),
            b"emit-ends-fall" => emit(&rows(0, &[0, 0], &ENDS, b"abcd")),
            b"emit-bytes-left" => emit(&rows(0, &SLOT, &ONE, b"abcd")),
            b"emit-past-memory" => {
                let mut params = rows(0, &SLOT, &ONE, b"x");
                params.values[1] = List(core::ptr::without_provenance(0x7fff_0000), 0x1000);
                emit(&raw const params);
            }
            b"emit-misaligned" => {
                let mut params = rows(0, &SLOT, &ONE, b"x");
                params.slots = List(SLOT.as_ptr().cast::<u8>().wrapping_add(1), 1);
                emit(&raw const params);
            }
            b"reject-slot" => reject(1 << 30, b"x".as_ptr(), 1, b"y".as_ptr(), 1),
            b"reject-utf8" => reject(0, b"\xff".as_ptr(), 1, b"\xfe".as_ptr(), 1),
            b"reject-twice" => (0..2).for_each(|_| reject(0, b"x".as_ptr(), 1, b"y".as_ptr(), 1)),
            b"state-index" => get(7, ords, ords_len),
            b"state-ord" => get(0, FAR.as_ptr(), 1),
            b"state-kind" => get(0, [u32::MAX].as_ptr(), 1),
            b"state-too-few" => value_put(0, ords, ords_len, null_mut(), 0, null_mut(), 0),
            b"timer-ord" => timers_set(0, FAR.as_ptr(), 1, TIMES.as_ptr(), 1, TAGS.as_ptr(), 1),
            b"timer-too-few" => timers_set(0, SLOT.as_ptr(), 1, null_mut(), 0, TAGS.as_ptr(), 1),
            b"timer-domain" => timers_set(9, SLOT.as_ptr(), 1, TIMES.as_ptr(), 1, TAGS.as_ptr(), 1),
            b"metric-index" => metric_add(7, 1),
            // Sets a timer, whose call then asks for what belongs to `process`.
            b"timer-then-headers" => {
                timers_set(0, SLOT.as_ptr(), 1, TIMES.as_ptr(), 1, TAGS.as_ptr(), 1);
                return Some(ok());
            }
            // A pointer for the result that lies outside of the memory.
            b"answer-nowhere" => return Some(core::ptr::without_provenance_mut(0x7fff_fff8)),
            b"answer-unknown" => {
                RESULT = [9; 8];
                return Some((&raw mut RESULT).cast());
            }
            _ => return None,
        }
        Some(ok())
    }
}

unsafe fn get(state: u32, ords: *const u32, len: usize) {
    let mut column = [EMPTY; 2];
    unsafe { value_get(state, ords, len, (&raw mut column).cast()) }
}

#[unsafe(export_name = "weir:operator/guest@0.1.0#on-timers")]
unsafe extern "C" fn on_timers(
    _: u32,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
) -> *mut u8 {
    let mut column = [EMPTY; 2];
    unsafe { headers((&raw mut column).cast()) };
    ok()
}

#[unsafe(export_name = "weir:operator/guest@0.1.0#on-watermark")]
extern "C" fn on_watermark(_: i64) -> *mut u8 {
    ok()
}

#[unsafe(export_name = "weir:operator/guest@0.1.0#on-end")]
extern "C" fn on_end() -> *mut u8 {
    ok()
}

/// The values come back as they were, from blocks that post-return overwrites; of those from version 0 the last one does not.
#[unsafe(export_name = "weir:operator/guest@0.1.0#migrate")]
unsafe extern "C" fn migrate(_: u32, from: u32, ends: usize, ends_len: usize, data: usize, data_len: usize) -> *mut u8 {
    unsafe {
        let ends_len = if from == 0 { ends_len - 1 } else { ends_len };
        RESULT = [0, ends, ends_len, data, data_len, 0, 0, 0];
        (&raw mut RESULT).cast()
    }
}

#[unsafe(export_name = "cabi_post_weir:operator/guest@0.1.0#migrate")]
unsafe extern "C" fn migrate_post(_: *mut u8) {
    unsafe {
        write_bytes(RESULT[1] as *mut u8, 0xee, RESULT[2] * 4);
        write_bytes(RESULT[3] as *mut u8, 0xee, RESULT[4]);
    }
}

#[unsafe(export_name = "weir:operator/guest@0.1.0#close")]
extern "C" fn close() {}
