//! Memory of one call: everything that the host passes in (the arguments, and the results of imports) lies here, one list
//! behind the other, and goes at once when the call ends. So a list costs a bump of a cursor, a warm call allocates
//! nothing, and nothing of one call can be seen in the next. Never holds what the guest builds itself, nor what other code of
//! the component asked the host for, such as the standard library on wasm32-wasip2: that is given back to the allocator.

use std::alloc::{Layout, alloc, dealloc};
#[cfg(target_family = "wasm")]
use std::cell::Cell;
use std::cell::UnsafeCell;

/// What a call leaves behind for the next one; a bigger call gives the rest back.
const KEPT_BYTES_MAX: usize = 4 << 20;
const CHUNK_BYTES_MIN: usize = 64 << 10;
/// The largest alignment in the contract is that of s64.
const ALIGN: usize = 8;

thread_local! {
    static ARENA: UnsafeCell<Arena> = const { UnsafeCell::new(Arena::new()) };
}

#[cfg(target_family = "wasm")]
thread_local! {
    /// Whether what the host places now is for the SDK: arguments of a call, or what an import of the contract answers.
    static FOR_US: Cell<bool> = const { Cell::new(true) };
}

/// Runs code of the operator (`false`), or an import of the contract within it (`true`).
#[cfg(target_family = "wasm")]
#[inline]
pub(crate) fn placing_for_us<R>(for_us: bool, run: impl FnOnce() -> R) -> R {
    let before = FOR_US.replace(for_us);
    let result = run();
    FOR_US.set(before);
    result
}

/// Space for `len` bytes until the next [`reset`]. `cabi_realloc` when `old_len` is zero.
pub(crate) fn allocate(len: usize, align: usize) -> *mut u8 {
    with(|arena| arena.allocate(len, align))
}

/// The canonical ABI's allocator. The host uses it to place lists and strings; it frees nothing.
#[cfg(target_family = "wasm")]
pub(crate) fn reallocate(old: *mut u8, old_len: usize, align: usize, len: usize) -> *mut u8 {
    let new = if FOR_US.get() { allocate(len, align) } else { allocate_for_others(len, align) };
    if old_len > 0 {
        // SAFETY: the host passes a block that it got from here, of `old_len` bytes; the new block is another one.
        unsafe { std::ptr::copy_nonoverlapping(old, new, old_len.min(len)) };
    }
    new
}

/// Space that whoever asked the host gives back. One that grows is left behind: hosts of today allocate once.
#[cfg(target_family = "wasm")]
fn allocate_for_others(len: usize, align: usize) -> *mut u8 {
    match Layout::from_size_align(len, align) {
        Ok(_) if len == 0 => align as *mut u8,
        // SAFETY: `len` is not zero.
        Ok(layout) => unsafe { alloc(layout) },
        Err(_) => std::ptr::null_mut(),
    }
}

/// Ends the life of everything in the arena.
///
/// # Safety
/// No reference into the arena is used afterwards.
pub(crate) unsafe fn reset() {
    with(Arena::reset);
}

fn with<R>(f: impl FnOnce(&mut Arena) -> R) -> R {
    // SAFETY: one thread, and none of the functions that are passed in calls back into this module.
    ARENA.with(|arena| f(unsafe { &mut *arena.get() }))
}

struct Arena {
    chunk: Chunk,
    used: usize,
    /// Chunks that were too small for this call.
    full: Vec<Chunk>,
}

struct Chunk {
    start: *mut u8,
    len: usize,
}

impl Arena {
    const fn new() -> Arena {
        Arena { chunk: Chunk { start: std::ptr::null_mut(), len: 0 }, used: 0, full: Vec::new() }
    }

    fn allocate(&mut self, len: usize, align: usize) -> *mut u8 {
        debug_assert!(align <= ALIGN, "the contract has no type of a larger alignment");
        if len == 0 {
            return align as *mut u8;
        }
        let start = self.used.next_multiple_of(align);
        match start.checked_add(len) {
            Some(end) if end <= self.chunk.len => {
                self.used = end;
                // SAFETY: `end` is within the chunk.
                unsafe { self.chunk.start.add(start) }
            }
            _ => self.grow(len),
        }
    }

    #[cold]
    fn grow(&mut self, len: usize) -> *mut u8 {
        let wanted = len.max(self.chunk.len.saturating_mul(2)).max(CHUNK_BYTES_MIN);
        let outgrown = std::mem::replace(&mut self.chunk, Chunk::new(wanted));
        self.full.push(outgrown);
        self.used = len;
        self.chunk.start
    }

    fn reset(&mut self) {
        self.used = 0;
        if !self.full.is_empty() {
            let total = self.full.drain(..).map(|chunk| chunk.len).sum::<usize>() + self.chunk.len;
            // Order: the old chunk goes first, so that the new one can take its place.
            self.chunk = Chunk { start: std::ptr::null_mut(), len: 0 };
            self.chunk = Chunk::new(total.min(KEPT_BYTES_MAX));
        }
    }
}

impl Chunk {
    fn new(len: usize) -> Chunk {
        let layout = Layout::from_size_align(len, ALIGN).expect("a list of the contract is shorter than 2 GiB");
        // SAFETY: `len` is not zero: a chunk has at least CHUNK_BYTES_MIN.
        let start = unsafe { alloc(layout) };
        if start.is_null() {
            std::alloc::handle_alloc_error(layout);
        }
        Chunk { start, len }
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        if self.len > 0 {
            let layout = Layout::from_size_align(self.len, ALIGN).expect("it was one in `new`");
            // SAFETY: allocated in `new` with this layout.
            unsafe { dealloc(self.start, layout) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_one_call_lie_apart_and_keep_their_bytes_when_the_arena_grows() {
        let mut arena = Arena::new();
        let mut lists = Vec::new();
        for (i, len) in [3usize, 0, 70_000, 8, 200_000, 1].into_iter().enumerate() {
            let at = arena.allocate(len, if i % 2 == 0 { 8 } else { 4 });
            assert_eq!(at as usize % 4, 0, "a list starts where its type may");
            // SAFETY: `len` bytes were just given out.
            unsafe { at.write_bytes(i as u8, len) };
            lists.push((at, len, i as u8));
        }
        for (at, len, byte) in lists {
            // SAFETY: the arena was not reset.
            assert!(unsafe { std::slice::from_raw_parts(at, len) }.iter().all(|b| *b == byte));
        }
    }

    #[test]
    fn a_warm_call_takes_no_memory_from_the_allocator() {
        let mut arena = Arena::new();
        (0..10).for_each(|_| _ = arena.allocate(50_000, 8));
        arena.reset();
        let (start, len) = (arena.chunk.start, arena.chunk.len);
        (0..10).for_each(|_| _ = arena.allocate(50_000, 8));
        assert_eq!((start, len, arena.full.len()), (arena.chunk.start, arena.chunk.len, 0));
    }

    #[test]
    fn a_huge_call_gives_its_memory_back() {
        let mut arena = Arena::new();
        (0..3).for_each(|_| _ = arena.allocate(10 << 20, 8));
        arena.reset();
        assert_eq!(arena.chunk.len, KEPT_BYTES_MAX);
    }
}
