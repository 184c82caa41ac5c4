//! Whole numbers in as few bytes as they need, for state values: the host keeps a value of up to 30 bytes beside its key,
//! and a larger one elsewhere.
//!
//! 1 to 9 bytes. The number of zero bits at the low end of the first byte is the number of bytes that follow; above the
//! one bit that ends them stands the number, little-endian, 7 bits per byte (9 bytes: the first is 0, the others are the
//! number). Signed numbers are folded first: 0, −1, 1, −2, …

use super::{Codec, Malformed};

/// A whole number that [`compact!`](crate::compact) can write.
pub trait Compact: Sized {
    /// Appends the number.
    fn put(self, out: &mut Vec<u8>);

    /// Takes a number off the front of `input`.
    fn take(input: &mut &[u8]) -> Result<Self, Malformed>;
}

impl Compact for u64 {
    #[inline]
    fn put(self, out: &mut Vec<u8>) {
        // One way for every length: a jump by length would be guessed wrong as often as lengths change. 37/256 is 1/7 for
        // what 64 bits can hold.
        let len = (((63 - (self | 1).leading_zeros() as usize) * 37) >> 8) + 1;
        if len <= 8 {
            let word = self << len | 1 << (len - 1);
            out.extend_from_slice(&word.to_le_bytes());
            out.truncate(out.len() - (8 - len));
        } else {
            out.push(0);
            out.extend_from_slice(&self.to_le_bytes());
        }
    }

    #[inline]
    fn take(input: &mut &[u8]) -> Result<u64, Malformed> {
        let first = *input.first().ok_or(Malformed)?;
        let len = first.trailing_zeros() as usize + 1;
        if len == 1 {
            *input = &input[1..];
            return Ok(u64::from(first >> 1));
        }
        match input.first_chunk() {
            Some(word) if len <= 8 => {
                let unused = 64 - 8 * len;
                *input = &input[len..];
                Ok(u64::from_le_bytes(*word) << unused >> unused >> len)
            }
            _ => take_bytes(len, input),
        }
    }
}

/// At the end of a value, and for numbers of 9 bytes.
#[inline]
fn take_bytes(len: usize, input: &mut &[u8]) -> Result<u64, Malformed> {
    if let (2, Some((bytes, rest))) = (len, input.split_first_chunk()) {
        *input = rest;
        return Ok(u64::from(u16::from_le_bytes(*bytes) >> 2));
    }
    let (bytes, rest) = input.split_at_checked(len).ok_or(Malformed)?;
    *input = rest;
    let (bytes, shift) = if len == 9 { (&bytes[1..], 0) } else { (bytes, len) };
    Ok(bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)) >> shift)
}

impl Compact for i64 {
    #[inline]
    fn put(self, out: &mut Vec<u8>) {
        ((self << 1 ^ self >> 63) as u64).put(out);
    }

    #[inline]
    fn take(input: &mut &[u8]) -> Result<i64, Malformed> {
        u64::take(input).map(|folded| (folded >> 1) as i64 ^ -((folded & 1) as i64))
    }
}

macro_rules! narrow {
    ($($ty:ty as $wide:ty),*) => { $(
        impl Compact for $ty {
            #[inline]
            fn put(self, out: &mut Vec<u8>) {
                <$wide>::from(self).put(out);
            }

            #[inline]
            fn take(input: &mut &[u8]) -> Result<$ty, Malformed> {
                <$wide>::take(input)?.try_into().map_err(|_| Malformed)
            }
        }
    )* };
}

narrow!(u8 as u64, u16 as u64, u32 as u64, i8 as i64, i16 as i64, i32 as i64);

/// Makes a struct of whole numbers a state value, each number in as few bytes as it needs:
/// `weir_sdk::compact!(Window { start, end, count });`. The order of the fields is that of the bytes.
#[macro_export]
macro_rules! compact {
    ($name:ident { $($field:ident),+ $(,)? }) => {
        impl $crate::Codec for $name {
            #[inline]
            fn encode(&self, out: &mut ::std::vec::Vec<u8>) {
                $($crate::Compact::put(self.$field, out);)+
            }

            #[inline]
            fn decode(input: &mut &[u8]) -> ::std::result::Result<Self, $crate::Malformed> {
                ::std::result::Result::Ok($name { $($field: $crate::Compact::take(input)?),+ })
            }
        }
    };
}

/// A list that ends where the value ends: a `Vec` without the four bytes of its length. Only as a whole value, or as the
/// last part of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Items<T>(pub Vec<T>);

impl<T> Default for Items<T> {
    fn default() -> Self {
        Items(Vec::new())
    }
}

impl<T> std::ops::Deref for Items<T> {
    type Target = Vec<T>;

    #[inline]
    fn deref(&self) -> &Vec<T> {
        &self.0
    }
}

impl<T> std::ops::DerefMut for Items<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut Vec<T> {
        &mut self.0
    }
}

impl<T: Codec> Codec for Items<T> {
    #[inline]
    fn encode(&self, out: &mut Vec<u8>) {
        T::encode_all(&self.0, out);
    }

    fn decode(input: &mut &[u8]) -> Result<Items<T>, Malformed> {
        let mut items = Items::default();
        items.decode_into(input)?;
        Ok(items)
    }

    #[inline]
    fn decode_into(&mut self, input: &mut &[u8]) -> Result<(), Malformed> {
        self.0.clear();
        while !input.is_empty() {
            self.0.push(T::decode(input)?);
        }
        Ok(())
    }

    #[inline]
    fn reset(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq)]
    struct Window {
        start: i64,
        end: i64,
        count: u32,
    }

    crate::compact!(Window { start, end, count });

    #[test]
    fn every_length_of_a_number_is_written_and_read_at_the_end_of_a_value_and_before_it() {
        let edges = (0..64).flat_map(|bits| [(1_u64 << bits) - 1, 1 << bits]).chain([u64::MAX]);
        for number in edges {
            for behind in [0, 1, 20] {
                let mut bytes = Vec::new();
                number.put(&mut bytes);
                let bits = 64 - number.leading_zeros() as usize;
                assert_eq!(bytes.len(), if bits > 56 { 9 } else { bits.div_ceil(7).max(1) }, "{number}");
                bytes.resize(bytes.len() + behind, 0xa5);
                let mut input = bytes.as_slice();
                assert_eq!((u64::take(&mut input), input.len()), (Ok(number), behind));
            }
        }
    }

    #[test]
    fn signed_numbers_near_zero_are_short() {
        for (number, len) in
            [(0_i64, 1), (-64, 1), (63, 1), (64, 2), (1_700_000_000_000, 6), (i64::MIN, 9), (i64::MAX, 9)]
        {
            let mut bytes = Vec::new();
            number.put(&mut bytes);
            assert_eq!((bytes.len(), i64::take(&mut bytes.as_slice())), (len, Ok(number)));
        }
    }

    /// A layout that changes makes the state of running operators unreadable.
    #[test]
    fn the_bytes_are_these() {
        let mut bytes = Vec::new();
        let items = Items(vec![Window { start: 0, end: 5_000, count: 1 }, Window { start: -1, end: 300, count: 200 }]);
        items.encode(&mut bytes);
        assert_eq!(bytes, [1, 66, 156, 3, 3, 98, 9, 34, 3]);
        assert_eq!(Items::decode(&mut bytes.as_slice()), Ok(items));
        assert_eq!(Items::<Window>::decode(&mut &bytes[..8]), Err(Malformed));
        assert_eq!(Items::<Window>::decode(&mut &[][..]), Ok(Items::default()));
    }

    #[test]
    fn a_number_that_is_too_large_for_its_field_is_malformed() {
        let mut bytes = Vec::new();
        (1_u64 << 32).put(&mut bytes);
        assert_eq!(u32::take(&mut bytes.as_slice()), Err(Malformed));
        assert_eq!(u64::take(&mut &[0, 1, 2][..]), Err(Malformed));
    }
}
