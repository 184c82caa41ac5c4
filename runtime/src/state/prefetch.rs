//! One instruction: asks the processor for a cache line that will be needed some records later. Changes nothing else.

/// Fetches the line of `slice[at]` into the cache. Out of range is allowed and does nothing.
#[inline(always)]
pub(super) fn prefetch<T>(slice: &[T], at: usize) {
    if at < slice.len() {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the address is inside the slice, and a prefetch neither reads nor writes as far as the program can see.
        unsafe {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            _mm_prefetch::<_MM_HINT_T0>(slice.as_ptr().add(at).cast());
        }
    }
}
