//! Comparing and copying byte strings of a few words without a call: `memcmp` and `memcpy` cost more than they do.

/// Whether `key` is what `inline` starts with. `key` is not longer than `inline`.
#[inline(always)]
pub(super) fn same<const N: usize>(inline: &[u8; N], key: &[u8]) -> bool {
    let Some(inline) = inline.get(..key.len()) else { return false };
    if let (Some(a), Some(b)) = (inline.last_chunk::<8>(), key.last_chunk::<8>()) {
        // Whole words from the front, and the last one once more from the end.
        let mut differ = u64::from_ne_bytes(*a) ^ u64::from_ne_bytes(*b);
        for (a, b) in inline.as_chunks::<8>().0.iter().zip(key.as_chunks::<8>().0) {
            differ |= u64::from_ne_bytes(*a) ^ u64::from_ne_bytes(*b);
        }
        return differ == 0;
    }
    if let (Some(a), Some(b)) = (inline.last_chunk::<4>(), key.last_chunk::<4>()) {
        return a == b && inline.first_chunk::<4>() == key.first_chunk::<4>();
    }
    inline.iter().eq(key)
}

/// Puts `bytes` in front of `place`. They are not longer than it.
#[inline(always)]
pub(super) fn copy<const N: usize>(place: &mut [u8; N], bytes: &[u8]) {
    let Some(place) = place.get_mut(..bytes.len()) else { return };
    if let Some(last) = bytes.last_chunk::<8>() {
        for (to, from) in place.as_chunks_mut::<8>().0.iter_mut().zip(bytes.as_chunks::<8>().0) {
            *to = *from;
        }
        if let Some(to) = place.last_chunk_mut::<8>() {
            *to = *last;
        }
    } else {
        place.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_is_copied_and_every_changed_byte_is_seen() {
        let bytes: Vec<u8> = (1..=40).collect();
        for len in 0..=36 {
            let mut place = [0; 36];
            copy(&mut place, &bytes[..len]);
            assert_eq!(&place[..len], &bytes[..len]);
            assert!(place[len..].iter().all(|b| *b == 0));
            assert!(same(&place, &bytes[..len]));
            for at in 0..len {
                let mut other = bytes[..len].to_vec();
                other[at] ^= 0x80;
                assert!(!same(&place, &other), "{len} {at}");
            }
        }
        assert!(!same(&[0; 4], &[0; 5]));
    }
}
