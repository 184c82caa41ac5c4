//! Memory of the big arrays of the working set, in large pages of the kernel where it gives them, because a look-up that
//! jumps to a random entry costs a walk of the page table for each small page. Owns where such memory lies: at the start
//! of a large page, and moved there as a whole, since what moves to any other place falls apart into small ones. Knows
//! nothing of what is in it.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error, realloc};

/// From this size on it is worth it: two large pages. Smaller pieces come from the allocator.
#[cfg(target_os = "linux")]
const WORTH: usize = 2 * LARGE;
#[cfg(not(target_os = "linux"))]
const WORTH: usize = usize::MAX;
/// A large page, on the machines that matter. On others nothing breaks.
const LARGE: usize = 2 << 20;

/// A size that is worth having: whole pages, where it is more than some.
pub(super) fn rounded(bytes: usize) -> usize {
    if bytes < WORTH { bytes } else { bytes.next_multiple_of(LARGE) }
}

/// Memory of `new.size()` bytes that starts with what `at` holds, which had `old.size()` bytes and is gone: as
/// `std::alloc::realloc`, with which it shares what a caller owes. Old memory of no bytes is none.
///
/// # Safety
/// `at` came from here with `old`, or `old` has no bytes; both layouts have one alignment, of at most a page.
pub(super) unsafe fn resize(at: *mut u8, old: Layout, new: Layout) -> *mut u8 {
    // SAFETY: each piece goes back to where its size says that it came from.
    unsafe {
        let to = match (old.size() >= WORTH, new.size() >= WORTH) {
            (false, false) if old.size() == 0 => alloc(new),
            (false, false) => realloc(at, old, new.size()),
            (true, true) => mapped::moved(at, rounded(old.size()), rounded(new.size())),
            (_, is_mapped) => {
                let to = if is_mapped { mapped::new(rounded(new.size())) } else { alloc(new) };
                if !to.is_null() && old.size() > 0 {
                    to.copy_from_nonoverlapping(at, old.size().min(new.size()));
                    free(at, old);
                }
                to
            }
        };
        if to.is_null() {
            handle_alloc_error(new);
        }
        to
    }
}

/// Gives memory back.
///
/// # Safety
/// `at` came from [`resize`] with this layout, and is not used any more; or the layout has no bytes.
pub(super) unsafe fn free(at: *mut u8, layout: Layout) {
    match layout.size() {
        0 => {}
        // SAFETY: see above.
        size if size >= WORTH => unsafe { mapped::free(at, rounded(size)) },
        // SAFETY: see above.
        _ => unsafe { dealloc(at, layout) },
    }
}

#[cfg(target_os = "linux")]
mod mapped {
    use std::ptr::null_mut;

    use libc::{MADV_HUGEPAGE, MAP_ANONYMOUS, MAP_FAILED, MAP_NORESERVE, MAP_PRIVATE, MREMAP_FIXED, MREMAP_MAYMOVE};
    use libc::{PROT_NONE, PROT_READ, PROT_WRITE, c_void};

    use super::LARGE;

    /// Addresses that nothing else gets, from the start of a large page on. Null where there are none.
    unsafe fn reserve(bytes: usize, rights: i32) -> *mut u8 {
        let flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
        // SAFETY: a mapping of its own, of which the ends are given back that lie outside of whole large pages.
        unsafe {
            let all = libc::mmap(null_mut(), bytes + LARGE, rights, flags, -1, 0);
            if all == MAP_FAILED {
                return null_mut();
            }
            let front = all.align_offset(LARGE);
            let at = all.cast::<u8>().add(front);
            if front > 0 {
                libc::munmap(all, front);
            }
            if front < LARGE {
                libc::munmap(at.add(bytes).cast(), LARGE - front);
            }
            at
        }
    }

    pub(super) unsafe fn new(bytes: usize) -> *mut u8 {
        // SAFETY: see `reserve`; the advice is a hint.
        unsafe {
            let at = reserve(bytes, PROT_READ | PROT_WRITE);
            if !at.is_null() {
                libc::madvise(at.cast(), bytes, MADV_HUGEPAGE);
            }
            at
        }
    }

    /// Moves tables of pages, not what is in them: tens of microseconds for a gigabyte.
    pub(super) unsafe fn moved(from: *mut u8, old: usize, new: usize) -> *mut u8 {
        // SAFETY: the old mapping is the caller's, the addresses it moves to are reserved for it.
        unsafe {
            let to = reserve(new, PROT_NONE);
            if to.is_null() {
                return to;
            }
            let flags = MREMAP_MAYMOVE | MREMAP_FIXED;
            let moved = libc::mremap(from.cast(), old, new, flags, to.cast::<c_void>());
            if moved == MAP_FAILED {
                libc::munmap(to.cast(), new);
                return null_mut();
            }
            to
        }
    }

    pub(super) unsafe fn free(at: *mut u8, bytes: usize) {
        // SAFETY: the mapping is the caller's, whole.
        unsafe { libc::munmap(at.cast(), bytes) };
    }
}

#[cfg(not(target_os = "linux"))]
mod mapped {
    pub(super) unsafe fn new(_: usize) -> *mut u8 {
        std::ptr::null_mut()
    }
    pub(super) unsafe fn moved(_: *mut u8, _: usize, _: usize) -> *mut u8 {
        std::ptr::null_mut()
    }
    pub(super) unsafe fn free(_: *mut u8, _: usize) {}
}
