//! Rows that leave: one write buffer per port, handed to the host once per call (earlier when it has grown large). Rows
//! and forwarded records of one port keep their order. Never copies a record that is passed on.

use crate::column::{Column, ColumnBuf};
use crate::host;
use crate::record::NONE;

/// A port's buffer goes to the host before the end of the call when it holds this much.
const BUFFER_BYTES_MAX: usize = 256 << 10;

/// A named output. `Port::new(0, …)` is what `inputs = ["node"]` means in a pipeline file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Port {
    pub(crate) index: u32,
    pub(crate) name: &'static str,
}

impl Port {
    /// A port with its place in the descriptor.
    pub const fn new(index: u32, name: &'static str) -> Port {
        Port { index, name }
    }
}

/// The columns of one `emit` of the contract.
pub(crate) struct Rows<'a> {
    pub(crate) slots: &'a [u32],
    pub(crate) times: &'a [i64],
    pub(crate) keys: Column<'a>,
    pub(crate) values: Column<'a>,
    pub(crate) headers: Column<'a>,
    pub(crate) partitions: &'a [u32],
}

#[derive(Default)]
pub(crate) struct Outputs {
    ports: Vec<PortBuf>,
}

impl Outputs {
    #[inline]
    pub(crate) fn port(&mut self, port: Port) -> &mut PortBuf {
        let index = port.index as usize;
        if index >= self.ports.len() {
            self.add(index);
        }
        &mut self.ports[index]
    }

    #[cold]
    fn add(&mut self, index: usize) {
        self.ports.resize_with(index + 1, PortBuf::default);
        self.ports.iter_mut().zip(0..).for_each(|(buf, index)| buf.index = index);
    }

    pub(crate) fn flush(&mut self) {
        self.ports.iter_mut().for_each(PortBuf::flush);
    }

    /// Drops what a failed call left.
    pub(crate) fn discard(&mut self) {
        self.ports.iter_mut().for_each(PortBuf::discard);
    }
}

/// Which columns the rows in the buffer have. Within one `emit` all rows have the same.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
struct Shape(u8);

impl Shape {
    const TIME: u8 = 1;
    const KEY: u8 = 2;
    const VALUE: u8 = 4;
    const HEADERS: u8 = 8;
    const PARTITION: u8 = 16;

    fn has(self, column: u8) -> bool {
        self.0 & column != 0
    }
}

#[derive(Default)]
pub(crate) struct PortBuf {
    index: u32,
    /// Records to pass on. Invariant: empty while there are rows, so that the order of the two is that of the calls.
    forwards: Vec<u32>,
    shape: Shape,
    slots: Vec<u32>,
    times: Vec<i64>,
    keys: ColumnBuf,
    values: ColumnBuf,
    headers: ColumnBuf,
    partitions: Vec<u32>,
}

impl PortBuf {
    #[inline]
    pub(crate) fn forward(&mut self, slots: impl IntoIterator<Item = u32>) {
        if !self.slots.is_empty() {
            self.flush();
        }
        self.forwards.extend(slots);
    }

    pub(crate) fn flush(&mut self) {
        if !self.forwards.is_empty() {
            host::forward(self.index, &self.forwards);
            self.forwards.clear();
        }
        if !self.slots.is_empty() {
            host::emit(
                self.index,
                &Rows {
                    slots: &self.slots,
                    times: &self.times,
                    keys: self.keys.items(),
                    values: self.values.items(),
                    headers: self.headers.items(),
                    partitions: &self.partitions,
                },
            );
            self.remove_rows();
        }
    }

    fn discard(&mut self) {
        self.forwards.clear();
        self.remove_rows();
        [&mut self.keys, &mut self.values, &mut self.headers].into_iter().for_each(ColumnBuf::clear);
    }

    fn remove_rows(&mut self) {
        self.slots.clear();
        self.times.clear();
        self.partitions.clear();
        // What is behind the rows belongs to the row that is being written.
        [&mut self.keys, &mut self.values, &mut self.headers].into_iter().for_each(ColumnBuf::remove_items);
    }

    fn bytes(&self) -> usize {
        self.keys.items_len() + self.values.items_len() + self.headers.items_len() + self.slots.len() * 32
    }
}

/// A row that is being written; it is complete when it is dropped, at the end of the statement. What is not given is
/// inherited from the record (or from the timer: its time and key).
pub struct Row<'a> {
    port: &'a mut PortBuf,
    slot: u32,
    shape: Shape,
    time: i64,
    partition: u32,
    null_key: bool,
    null_value: bool,
}

impl<'a> Row<'a> {
    #[inline]
    pub(crate) fn new(port: &'a mut PortBuf, slot: u32) -> Row<'a> {
        Row { port, slot, shape: Shape::default(), time: 0, partition: 0, null_key: false, null_value: false }
    }

    /// Event time.
    #[inline]
    pub fn time(mut self, time: i64) -> Row<'a> {
        self.shape.0 |= Shape::TIME;
        self.time = time;
        self
    }

    /// The key.
    #[inline]
    pub fn key(self, key: impl AsRef<[u8]>) -> Row<'a> {
        self.key_with(|out| out.extend_from_slice(key.as_ref()))
    }

    /// The key, appended by `write` to the buffer in which it leaves. `write` must not shorten that buffer.
    #[inline]
    pub fn key_with(mut self, write: impl FnOnce(&mut Vec<u8>)) -> Row<'a> {
        self.shape.0 |= Shape::KEY;
        self.null_key = false;
        self.port.keys.drop_tail();
        write(self.port.keys.tail());
        self
    }

    /// A null key, which is not the same as an empty one.
    pub fn null_key(mut self) -> Row<'a> {
        self.shape.0 |= Shape::KEY;
        self.null_key = true;
        self
    }

    /// The value.
    #[inline]
    pub fn value(self, value: impl AsRef<[u8]>) -> Row<'a> {
        self.value_with(|out| out.extend_from_slice(value.as_ref()))
    }

    /// The value, appended by `write` to the buffer in which it leaves. `write` must not shorten that buffer.
    #[inline]
    pub fn value_with(mut self, write: impl FnOnce(&mut Vec<u8>)) -> Row<'a> {
        self.shape.0 |= Shape::VALUE;
        self.null_value = false;
        self.port.values.drop_tail();
        write(self.port.values.tail());
        self
    }

    /// A null value (a tombstone), which is not the same as an empty one.
    pub fn null_value(mut self) -> Row<'a> {
        self.shape.0 |= Shape::VALUE;
        self.null_value = true;
        self
    }

    /// Adds a header. A row that has headers of its own inherits none.
    pub fn header(mut self, name: &str, value: Option<&[u8]>) -> Row<'a> {
        self.shape.0 |= Shape::HEADERS;
        let name_len = u16::try_from(name.len()).expect("the name of a header is shorter than 64 KiB");
        let out = self.port.headers.tail();
        out.extend_from_slice(&name_len.to_le_bytes());
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(&value.map_or(u32::MAX, |value| value.len() as u32).to_le_bytes());
        out.extend_from_slice(value.unwrap_or_default());
        self
    }

    /// No headers, rather than those of the record.
    pub fn no_headers(mut self) -> Row<'a> {
        self.shape.0 |= Shape::HEADERS;
        self
    }

    /// The output partition, rather than that of the key.
    pub fn partition(mut self, partition: u32) -> Row<'a> {
        self.shape.0 |= Shape::PARTITION;
        self.partition = partition;
        self
    }
}

impl Drop for Row<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.slot == NONE {
            // Nothing can be inherited, so no headers means none.
            self.shape.0 |= Shape::HEADERS;
        }
        let port = &mut *self.port;
        if port.shape != self.shape || !port.forwards.is_empty() || port.bytes() > BUFFER_BYTES_MAX {
            port.flush();
            port.shape = self.shape;
        }
        port.slots.push(self.slot);
        if self.shape.has(Shape::TIME) {
            port.times.push(self.time);
        }
        if self.shape.has(Shape::KEY) {
            if self.null_key { port.keys.end_absent() } else { port.keys.end_item() }
        }
        if self.shape.has(Shape::VALUE) {
            if self.null_value { port.values.end_absent() } else { port.values.end_item() }
        }
        if self.shape.has(Shape::HEADERS) {
            port.headers.end_item();
        }
        if self.shape.has(Shape::PARTITION) {
            port.partitions.push(self.partition);
        }
    }
}
