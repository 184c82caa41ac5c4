//! An array that only grows and that a look-up may jump into: a `Vec` whose memory is in large pages once it is big, and
//! that moves without being copied. Owns its items; what they are is the caller's.

use std::alloc::Layout;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

use super::pages;

/// See the module.
#[derive(Debug)]
pub(super) struct Array<T> {
    items: NonNull<T>,
    len: usize,
    capacity: usize,
}

// SAFETY: it owns its items, as a `Vec` does.
unsafe impl<T: Send> Send for Array<T> {}
// SAFETY: a shared reference gives shared references to the items only.
unsafe impl<T: Sync> Sync for Array<T> {}

impl<T> Array<T> {
    pub(super) const fn new() -> Array<T> {
        const { assert!(size_of::<T>() > 0 && align_of::<T>() <= 4096) };
        Array { items: NonNull::dangling(), len: 0, capacity: 0 }
    }

    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }

    #[inline]
    pub(super) fn push(&mut self, item: T) {
        if self.len == self.capacity {
            self.grow((self.capacity * 2).max(16));
        }
        // SAFETY: there is room behind the last item.
        unsafe { self.items.add(self.len).write(item) };
        self.len += 1;
    }

    /// Has at least `len` items from now on; new ones are made by `make`.
    #[inline]
    pub(super) fn cover(&mut self, len: usize, mut make: impl FnMut() -> T) {
        if len > self.capacity {
            self.grow(len.max(self.capacity * 2));
        }
        while self.len < len {
            // SAFETY: there is room behind the last item.
            unsafe { self.items.add(self.len).write(make()) };
            self.len += 1;
        }
    }

    #[cold]
    fn grow(&mut self, capacity: usize) {
        let bytes = capacity.checked_mul(size_of::<T>()).map(pages::rounded);
        let capacity = bytes.map_or(usize::MAX, |bytes| bytes / size_of::<T>());
        let new = Layout::array::<T>(capacity).expect("memory ends long before addresses do");
        // SAFETY: the memory is ours, with the layout that its capacity says.
        let items = unsafe { pages::resize(self.items.as_ptr().cast(), self.layout(), new) };
        self.items = NonNull::new(items.cast()).expect("no memory ends the process");
        self.capacity = capacity;
    }

    fn layout(&self) -> Layout {
        Layout::array::<T>(self.capacity).expect("it was made with this layout")
    }
}

impl<T> Deref for Array<T> {
    type Target = [T];

    #[inline(always)]
    fn deref(&self) -> &[T] {
        // SAFETY: the first `len` items are there, and nobody changes them meanwhile.
        unsafe { std::slice::from_raw_parts(self.items.as_ptr(), self.len) }
    }
}

impl<T> DerefMut for Array<T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above, and nobody else looks at them meanwhile.
        unsafe { std::slice::from_raw_parts_mut(self.items.as_ptr(), self.len) }
    }
}

impl<T> Default for Array<T> {
    fn default() -> Array<T> {
        Array::new()
    }
}

impl<T> Drop for Array<T> {
    fn drop(&mut self) {
        // SAFETY: the items are dropped once, then their memory is given back with the layout that it has.
        unsafe {
            std::ptr::drop_in_place(&raw mut **self);
            pages::free(self.items.as_ptr().cast(), self.layout());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;

    #[test]
    fn items_stay_what_they_are_while_it_moves_from_the_allocator_into_large_pages_and_on() {
        let mut array = Array::default();
        for i in 0..3_000_000u64 {
            array.push([i, !i]);
        }
        assert!(array.iter().zip(0..).all(|(item, i)| *item == [i, !i]));
        array.cover(5_000_000, || [7, 7]);
        assert_eq!((array.len(), array[2_999_999], array[4_999_999]), (5_000_000, [2_999_999, !2_999_999], [7, 7]));
    }

    #[test]
    fn every_item_is_dropped_once() {
        let counted = Rc::new(());
        let mut array = Array::new();
        array.cover(500_000, || Rc::clone(&counted));
        array.cover(800_000, || Rc::clone(&counted));
        assert_eq!(Rc::strong_count(&counted), 800_001);
        drop(array);
        assert_eq!(Rc::strong_count(&counted), 1);
        drop(Array::<Rc<()>>::new());
    }
}
