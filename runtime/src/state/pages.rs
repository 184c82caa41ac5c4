//! Memory of the big arrays of the working set. Owns how they grow: twice as large each time, in large pages of the kernel
//! where it gives them, because a look-up that jumps to a random entry costs a walk of the page table for each small page.

/// Arrays from this size on are worth it: several large pages.
const WORTH: usize = 4 << 20;

/// Makes room for `len` items in all, as `Vec::reserve` does.
pub(super) fn cover<T>(items: &mut Vec<T>, len: usize) {
    if len > items.capacity() {
        items.reserve(len - items.len());
        advise(items.as_ptr().cast(), items.capacity() * size_of::<T>());
    }
}

/// A hint: where the kernel does not take it, nothing changes.
#[cfg(target_os = "linux")]
pub(super) fn advise(from: *const u8, bytes: usize) {
    const PAGE: usize = 4096;
    if bytes < WORTH {
        return;
    }
    let first = (from as usize).next_multiple_of(PAGE);
    let last = (from as usize + bytes) / PAGE * PAGE;
    // SAFETY: whole pages of an allocation that is ours; the advice changes neither contents nor rights.
    unsafe { libc::madvise(first as *mut libc::c_void, last - first, libc::MADV_HUGEPAGE) };
}

#[cfg(not(target_os = "linux"))]
pub(super) fn advise(_: *const u8, _: usize) {}
