//! Generated from `wit/` by `tests/bindings.rs`, which also compares: the functions of `weir:operator@0.1.0` as the
//! canonical ABI passes them. Never edited by hand.
#![allow(dead_code, reason = "one function per import of the contract, used or not")]
#![allow(clippy::too_many_arguments, reason = "records are passed flat")]
#![cfg_attr(rustfmt, rustfmt_skip)]

/// `weir:operator/input@0.1.0`
pub(crate) mod input {
    #[link(wasm_import_module = "weir:operator/input@0.1.0")]
    unsafe extern "C" {
        #[link_name = "headers"]
        pub(crate) fn headers(result: *mut u8);
        #[link_name = "origins"]
        pub(crate) fn origins(result: *mut u8);
    }
}

/// `weir:operator/output@0.1.0`
pub(crate) mod output {
    #[link(wasm_import_module = "weir:operator/output@0.1.0")]
    unsafe extern "C" {
        #[link_name = "forward"]
        pub(crate) fn forward(port: u32, slots_ptr: *mut u8, slots_len: usize);
        #[link_name = "emit"]
        pub(crate) fn emit(/* port, rows_slots_ptr, rows_slots_len, rows_times_ptr, rows_times_len, rows_keys_ends_ptr, rows_keys_ends_len, rows_keys_data_ptr, rows_keys_data_len, rows_values_ends_ptr, rows_values_ends_len, rows_values_data_ptr, rows_values_data_len, rows_headers_ends_ptr, rows_headers_ends_len, rows_headers_data_ptr, rows_headers_data_len, rows_partitions_ptr, rows_partitions_len */ params: *mut u8);
        #[link_name = "reject"]
        pub(crate) fn reject(slot: u32, code_ptr: *mut u8, code_len: usize, message_ptr: *mut u8, message_len: usize);
    }
}

/// `weir:operator/state@0.1.0`
pub(crate) mod state {
    #[link(wasm_import_module = "weir:operator/state@0.1.0")]
    unsafe extern "C" {
        #[link_name = "value-get"]
        pub(crate) fn value_get(state: u32, ords_ptr: *mut u8, ords_len: usize, result: *mut u8);
        #[link_name = "value-put"]
        pub(crate) fn value_put(state: u32, ords_ptr: *mut u8, ords_len: usize, values_ends_ptr: *mut u8, values_ends_len: usize, values_data_ptr: *mut u8, values_data_len: usize);
        #[link_name = "map-get"]
        pub(crate) fn map_get(state: u32, ords_ptr: *mut u8, ords_len: usize, fields_ends_ptr: *mut u8, fields_ends_len: usize, fields_data_ptr: *mut u8, fields_data_len: usize, result: *mut u8);
        #[link_name = "map-put"]
        pub(crate) fn map_put(state: u32, ords_ptr: *mut u8, ords_len: usize, fields_ends_ptr: *mut u8, fields_ends_len: usize, fields_data_ptr: *mut u8, fields_data_len: usize, values_ends_ptr: *mut u8, values_ends_len: usize, values_data_ptr: *mut u8, values_data_len: usize);
        #[link_name = "map-scan"]
        pub(crate) fn map_scan(state: u32, ord: u32, first_ptr: *mut u8, first_len: usize, end_is_some: u32, end_ptr: *mut u8, end_len: usize, max_bytes: u32, result: *mut u8);
        #[link_name = "map-remove-range"]
        pub(crate) fn map_remove_range(state: u32, ord: u32, first_ptr: *mut u8, first_len: usize, end_is_some: u32, end_ptr: *mut u8, end_len: usize);
        #[link_name = "list-append"]
        pub(crate) fn list_append(state: u32, ords_ptr: *mut u8, ords_len: usize, items_ends_ptr: *mut u8, items_ends_len: usize, items_data_ptr: *mut u8, items_data_len: usize);
        #[link_name = "list-read"]
        pub(crate) fn list_read(state: u32, ord: u32, first: i64, max_bytes: u32, result: *mut u8);
        #[link_name = "list-len"]
        pub(crate) fn list_len(state: u32, ords_ptr: *mut u8, ords_len: usize, result: *mut u8);
        #[link_name = "list-clear"]
        pub(crate) fn list_clear(state: u32, ords_ptr: *mut u8, ords_len: usize);
    }
}

/// `weir:operator/timers@0.1.0`
pub(crate) mod timers {
    #[link(wasm_import_module = "weir:operator/timers@0.1.0")]
    unsafe extern "C" {
        #[link_name = "set"]
        pub(crate) fn set(domain: u32, ords_ptr: *mut u8, ords_len: usize, times_ptr: *mut u8, times_len: usize, tags_ptr: *mut u8, tags_len: usize);
        #[link_name = "unset"]
        pub(crate) fn unset(domain: u32, ords_ptr: *mut u8, ords_len: usize, times_ptr: *mut u8, times_len: usize, tags_ptr: *mut u8, tags_len: usize);
    }
}

/// `weir:operator/clock@0.1.0`
pub(crate) mod clock {
    #[link(wasm_import_module = "weir:operator/clock@0.1.0")]
    unsafe extern "C" {
        #[link_name = "watermark"]
        pub(crate) fn watermark() -> i64;
        #[link_name = "now"]
        pub(crate) fn now() -> i64;
    }
}

/// `weir:operator/config@0.1.0`
pub(crate) mod config {
    #[link(wasm_import_module = "weir:operator/config@0.1.0")]
    unsafe extern "C" {
        #[link_name = "get"]
        pub(crate) fn get(result: *mut u8);
        #[link_name = "secret"]
        pub(crate) fn secret(name_ptr: *mut u8, name_len: usize, result: *mut u8);
    }
}

/// `weir:operator/log@0.1.0`
pub(crate) mod log {
    #[link(wasm_import_module = "weir:operator/log@0.1.0")]
    unsafe extern "C" {
        #[link_name = "least"]
        pub(crate) fn least() -> u32;
        #[link_name = "write"]
        pub(crate) fn write(level: u32, message_ptr: *mut u8, message_len: usize, fields_ptr: *mut u8, fields_len: usize);
        #[link_name = "panic"]
        pub(crate) fn panic(slot_is_some: u32, slot: u32, message_ptr: *mut u8, message_len: usize);
    }
}

/// `weir:operator/metrics@0.1.0`
pub(crate) mod metrics {
    #[link(wasm_import_module = "weir:operator/metrics@0.1.0")]
    unsafe extern "C" {
        #[link_name = "add"]
        pub(crate) fn add(metric: u32, delta: i64);
        #[link_name = "set"]
        pub(crate) fn set(metric: u32, value: f64);
        #[link_name = "observe"]
        pub(crate) fn observe(metric: u32, value: f64);
    }
}

/// `weir:operator/guest@0.1.0`
pub(crate) mod guest {
    /// `weir:operator/guest@0.1.0#describe`
    pub(crate) type Describe = unsafe extern "C" fn() -> *mut u8;
    /// `weir:operator/guest@0.1.0#open`
    pub(crate) type Open = unsafe extern "C" fn(task_pipeline_ptr: *mut u8, task_pipeline_len: usize, task_node_ptr: *mut u8, task_node_len: usize, task_subtask: u32, task_parallelism: u32, task_options_ptr: *mut u8, task_options_len: usize) -> *mut u8;
    /// `weir:operator/guest@0.1.0#process`
    pub(crate) type Process = unsafe extern "C" fn(batch_input: u32, batch_ords_ptr: *mut u8, batch_ords_len: usize, batch_times_ptr: *mut u8, batch_times_len: usize, batch_keys_ends_ptr: *mut u8, batch_keys_ends_len: usize, batch_keys_data_ptr: *mut u8, batch_keys_data_len: usize, batch_values_ends_ptr: *mut u8, batch_values_ends_len: usize, batch_values_data_ptr: *mut u8, batch_values_data_len: usize) -> *mut u8;
    /// `weir:operator/guest@0.1.0#on-timers`
    pub(crate) type OnTimers = unsafe extern "C" fn(due_domain: u32, due_ords_ptr: *mut u8, due_ords_len: usize, due_times_ptr: *mut u8, due_times_len: usize, due_tags_ptr: *mut u8, due_tags_len: usize, due_keys_ends_ptr: *mut u8, due_keys_ends_len: usize, due_keys_data_ptr: *mut u8, due_keys_data_len: usize) -> *mut u8;
    /// `weir:operator/guest@0.1.0#on-watermark`
    pub(crate) type OnWatermark = unsafe extern "C" fn(at: i64) -> *mut u8;
    /// `weir:operator/guest@0.1.0#on-end`
    pub(crate) type OnEnd = unsafe extern "C" fn() -> *mut u8;
    /// `weir:operator/guest@0.1.0#migrate`
    pub(crate) type Migrate = unsafe extern "C" fn(state: u32, from_version: u32, values_ends_ptr: *mut u8, values_ends_len: usize, values_data_ptr: *mut u8, values_data_len: usize) -> *mut u8;
    /// `weir:operator/guest@0.1.0#close`
    pub(crate) type Close = unsafe extern "C" fn();
}
