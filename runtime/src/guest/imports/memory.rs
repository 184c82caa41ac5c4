//! Columns in guest memory: read in place while an import runs, checked before anything is read; and columns that answer.

use wasmtime::{Result, StoreContext, bail};
use weir_core::record::{ABSENT, Column};

use super::super::bindings::{ColumnAnswer, ColumnRef};
use super::super::store::Data;

/// Guest memory, while nothing in the store changes.
pub(super) type Memory<'a> = &'a StoreContext<'a, Data>;

/// A column in guest memory whose ends were checked.
pub(super) struct View<'a> {
    pub(super) ends: &'a [u32],
    pub(super) data: &'a [u8],
}

impl<'a> View<'a> {
    pub(super) fn new(column: &ColumnRef, store: Memory<'a>) -> Result<View<'a>> {
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

    pub(super) fn get(&self, i: usize) -> Option<&'a [u8]> {
        let start = if i == 0 { 0 } else { (self.ends[i - 1] & !ABSENT) as usize };
        let end = self.ends[i];
        if end & ABSENT != 0 { None } else { Some(&self.data[start..end as usize]) }
    }

    pub(super) fn len_of(&self, i: usize) -> usize {
        self.get(i).map_or(0, <[u8]>::len)
    }

    /// Appends all items: one copy of the bytes, ends shifted.
    pub(super) fn append_to(&self, column: &mut Column) {
        let base = column.data.len() as u32;
        let used = self.ends.last().map_or(0, |end| (end & !ABSENT) as usize);
        column.data.extend_from_slice(&self.data[..used]);
        column.ends.extend(self.ends.iter().map(|end| ((end & !ABSENT) + base) | (end & ABSENT)));
    }
}

pub(super) fn answer(items: usize) -> ColumnAnswer {
    ColumnAnswer { ends: Vec::with_capacity(items), data: Vec::with_capacity(items * 16) }
}

pub(super) fn push(column: &mut ColumnAnswer, item: Option<&[u8]>) {
    match item {
        Some(bytes) => {
            column.data.extend_from_slice(bytes);
            column.ends.push(column.data.len() as u32);
        }
        None => column.ends.push(column.data.len() as u32 | ABSENT),
    }
}
