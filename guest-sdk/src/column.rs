//! Columns of byte strings as the contract passes them: a view to read, a buffer to build. Never copies on reading.

/// Bit 31 of an end: the item is absent (null), which is not the same as empty.
const ABSENT: u32 = 1 << 31;

/// Byte strings one behind the other, read in place.
#[derive(Clone, Copy, Default)]
pub struct Column<'a> {
    ends: &'a [u32],
    data: &'a [u8],
}

impl<'a> Column<'a> {
    /// A column of the contract: `ends[i]` is the end of item i in `data`, bit 31 says that it is absent.
    pub fn new(ends: &'a [u32], data: &'a [u8]) -> Column<'a> {
        Column { ends, data }
    }

    /// How many items.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are no items: a column that was not asked for.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Item `i`, `None` if it is absent. Panics past the end.
    #[inline]
    pub fn get(&self, i: usize) -> Option<&'a [u8]> {
        let end = self.end(i);
        if end & ABSENT != 0 { None } else { Some(self.slice(i, end)) }
    }

    /// Item `i`, empty if it is absent. Panics past the end.
    #[inline]
    pub fn bytes(&self, i: usize) -> &'a [u8] {
        self.slice(i, self.end(i) & !ABSENT)
    }

    #[inline]
    fn end(&self, i: usize) -> u32 {
        match self.ends.get(i) {
            Some(end) => *end,
            None => missing(i, self.len()),
        }
    }

    #[inline]
    fn slice(&self, i: usize, end: u32) -> &'a [u8] {
        let start = if i == 0 { 0 } else { self.ends[i - 1] & !ABSENT };
        &self.data[start as usize..end as usize]
    }

    /// The items in order.
    pub fn iter(&self) -> impl Iterator<Item = Option<&'a [u8]>> + use<'a> {
        let column = *self;
        (0..column.len()).map(move |i| column.get(i))
    }

    /// The ends as they crossed: `ends()[i]` is the end of item i in `data()`, bit 31 says that it is absent.
    pub fn ends(&self) -> &'a [u32] {
        self.ends
    }

    /// The bytes of all items, one behind the other.
    pub fn data(&self) -> &'a [u8] {
        self.data
    }
}

#[cold]
fn missing(i: usize, len: usize) -> ! {
    match len {
        0 => panic!("this column was not asked for: name it in `Descriptor::input`"),
        len => panic!("item {i} of a column of {len}"),
    }
}

/// A column that is being built. Bytes that were written behind the last item belong to the next one.
#[derive(Default)]
pub(crate) struct ColumnBuf {
    ends: Vec<u32>,
    data: Vec<u8>,
}

impl ColumnBuf {
    #[cfg(target_family = "wasm")]
    pub(crate) const fn new() -> ColumnBuf {
        ColumnBuf { ends: Vec::new(), data: Vec::new() }
    }

    pub(crate) fn push(&mut self, item: Option<&[u8]>) {
        match item {
            Some(bytes) => {
                self.data.extend_from_slice(bytes);
                self.end_item();
            }
            None => self.end_absent(),
        }
    }

    /// Where the bytes of the next item are written.
    pub(crate) fn tail(&mut self) -> &mut Vec<u8> {
        &mut self.data
    }

    pub(crate) fn end_item(&mut self) {
        let end = self.data.len();
        assert!(end < ABSENT as usize, "a column of one call is shorter than 2 GiB");
        self.ends.push(end as u32);
    }

    pub(crate) fn end_absent(&mut self) {
        self.drop_tail();
        self.ends.push(self.data.len() as u32 | ABSENT);
    }

    pub(crate) fn drop_tail(&mut self) {
        self.data.truncate(self.items_len());
    }

    /// Removes the items and keeps the tail.
    pub(crate) fn remove_items(&mut self) {
        let items_len = self.items_len();
        self.data.drain(..items_len);
        self.ends.clear();
    }

    pub(crate) fn clear(&mut self) {
        self.ends.clear();
        self.data.clear();
    }

    /// The items, without the tail.
    pub(crate) fn items(&self) -> Column<'_> {
        Column { ends: &self.ends, data: &self.data[..self.items_len()] }
    }

    pub(crate) fn items_len(&self) -> usize {
        self.ends.last().map_or(0, |end| (end & !ABSENT) as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_and_empty_items_stay_different() {
        let mut column = ColumnBuf::default();
        let items: [Option<&[u8]>; 5] = [Some(b"ab"), None, Some(b""), Some(b"c"), None];
        items.iter().for_each(|item| column.push(*item));
        assert!(column.items().iter().eq(items));
        assert_eq!(column.items().bytes(1), b"");
    }

    #[test]
    fn an_unfinished_item_is_not_among_the_items_and_survives_their_removal() {
        let mut column = ColumnBuf::default();
        column.push(Some(b"one"));
        column.tail().extend_from_slice(b"tw");
        assert_eq!(column.items().data(), b"one");
        column.remove_items();
        column.tail().extend_from_slice(b"o");
        column.end_item();
        assert!(column.items().iter().eq([Some(&b"two"[..])]));
    }
}
