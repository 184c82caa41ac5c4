//! The columns of a call on their way into the guest, by reference. Owns the one place where a borrow of the store's own data
//! is split from the store; never copies.

use weir_core::record::Column;

use super::bindings::{BatchIn, ColumnIn};
use super::call::Context;

/// The columns of a call, taken out of the context as raw parts.
///
/// The context lives in a `Box` inside the store, and a call needs the store mutably while its arguments are lowered from
/// columns inside that box. Nothing that runs in between can change, move or free them: `batch`, `keyed` and the ordinals
/// are written by `Instance` only, before and after the call, and no import touches them.
pub(super) struct Parts {
    ords: *const [u32],
    times: *const [i64],
    keys: (*const [u32], *const [u8]),
    values: (*const [u32], *const [u8]),
}

impl Parts {
    pub(super) fn of(context: &Context, is_keyed: bool, wants_keys: bool, wants_values: bool) -> Parts {
        let column = |wanted: bool, column: &Column| -> (*const [u32], *const [u8]) {
            let (ends, data): (&[u32], &[u8]) = if wanted { (&column.ends, &column.data) } else { (&[], &[]) };
            (ends, data)
        };
        let ords: &[u32] = if is_keyed { context.state.ordinals() } else { &[] };
        Parts {
            ords: ords as *const _,
            times: &raw const context.batch.times[..],
            keys: column(wants_keys, context.keys()),
            values: column(wants_values, &context.batch.values),
        }
    }

    pub(super) fn batch<'a>(&self, input: u32) -> BatchIn<'a> {
        // SAFETY: see the type. The columns outlive the call that the result is made for.
        unsafe {
            BatchIn {
                input,
                ords: &*self.ords,
                times: &*self.times,
                keys: ColumnIn { ends: &*self.keys.0, data: &*self.keys.1 },
                values: ColumnIn { ends: &*self.values.0, data: &*self.values.1 },
            }
        }
    }
}
