//! `export!`: the functions of the contract that a component must have, each handing over to `exports`. They stand in the
//! operator's own crate, since a symbol of a dependency need not reach the component.

/// Makes a component of an operator: `weir_sdk::export!(MyOperator);`, once, at the top of the crate.
#[macro_export]
macro_rules! export {
    ($operator:ty) => {
        // Elsewhere there is nothing to export, but it must be an operator all the same.
        #[cfg(not(target_family = "wasm"))]
        const _: fn() -> $crate::Descriptor = <$operator as $crate::Operator>::descriptor;

        #[cfg(target_family = "wasm")]
        const _: () = {
            use $crate::__private::{Instance, List};
            type Bytes = List<u8>;

            static INSTANCE: Instance<$operator> = Instance::new();

            #[unsafe(export_name = "cabi_realloc")]
            unsafe extern "C" fn cabi_realloc(old: *mut u8, old_len: usize, align: usize, len: usize) -> *mut u8 {
                unsafe { $crate::__private::cabi_realloc(old, old_len, align, len) }
            }

            #[unsafe(export_name = "weir:operator/guest@0.1.0#describe")]
            extern "C" fn describe() -> *mut u8 {
                INSTANCE.describe()
            }

            #[unsafe(export_name = "weir:operator/guest@0.1.0#open")]
            unsafe extern "C" fn open(
                pipeline: *mut u8,
                pipeline_len: usize,
                node: *mut u8,
                node_len: usize,
                subtask: u32,
                parallelism: u32,
                _options: *mut u8,
                _options_len: usize,
            ) -> *mut u8 {
                unsafe { INSTANCE.open(List(pipeline, pipeline_len), List(node, node_len), subtask, parallelism) }
            }

            #[unsafe(export_name = "weir:operator/guest@0.1.0#process")]
            unsafe extern "C" fn process(
                input: u32,
                ords: *mut u32,
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
                    INSTANCE.process(
                        input,
                        List(ords, ords_len),
                        List(times, times_len),
                        (List(keys, keys_len), List(keys_data, keys_data_len)),
                        (List(values, values_len), List(values_data, values_data_len)),
                    )
                }
            }

            #[unsafe(export_name = "weir:operator/guest@0.1.0#on-timers")]
            unsafe extern "C" fn on_timers(
                domain: u32,
                ords: *mut u32,
                ords_len: usize,
                times: *mut i64,
                times_len: usize,
                tags: *mut u64,
                tags_len: usize,
                keys: *mut u32,
                keys_len: usize,
                keys_data: *mut u8,
                keys_data_len: usize,
            ) -> *mut u8 {
                unsafe {
                    INSTANCE.on_timers(
                        domain,
                        List(ords, ords_len),
                        List(times, times_len),
                        List(tags, tags_len),
                        (List(keys, keys_len), List(keys_data, keys_data_len)),
                    )
                }
            }

            #[unsafe(export_name = "weir:operator/guest@0.1.0#on-watermark")]
            extern "C" fn on_watermark(at: i64) -> *mut u8 {
                INSTANCE.on_watermark(at)
            }

            #[unsafe(export_name = "weir:operator/guest@0.1.0#on-end")]
            extern "C" fn on_end() -> *mut u8 {
                INSTANCE.on_end()
            }

            #[unsafe(export_name = "weir:operator/guest@0.1.0#migrate")]
            unsafe extern "C" fn migrate(
                state: u32,
                from_version: u32,
                values: *mut u32,
                values_len: usize,
                data: *mut u8,
                data_len: usize,
            ) -> *mut u8 {
                unsafe { INSTANCE.migrate(state, from_version, (List(values, values_len), List(data, data_len))) }
            }

            #[unsafe(export_name = "weir:operator/guest@0.1.0#close")]
            extern "C" fn close() {
                INSTANCE.close()
            }
        };
    };
}
