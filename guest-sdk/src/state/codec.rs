//! How values and map fields become bytes. These bytes outlive the operator: a layout once given is never changed; a new
//! one is a new schema version of the state, and `migrate`.
//!
//! | type | bytes |
//! |---|---|
//! | integers, floats | little-endian, as many as the type has |
//! | bool | one, 0 or 1 |
//! | `String`, `Vec<T>` | u32 number of items, little-endian, then the items |
//! | `Option<T>` | one, 0 or 1, then the value |
//! | tuples | the parts in order |
//! | `Json<T>` | JSON text to the end |
//! | `Items<T>` | the items to the end |
//! | `compact!` | see `compact` |

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Bytes that are not of this type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

/// A type that can be kept in a value state.
pub trait Codec: Sized {
    /// How many bytes every value has; 0 if that differs from value to value. Lists of such values are written and read
    /// with one check of the length instead of one per part.
    const WIDTH: usize = 0;

    /// Appends the bytes of the value.
    fn encode(&self, out: &mut Vec<u8>);

    /// Takes a value off the front of `input`.
    fn decode(input: &mut &[u8]) -> Result<Self, Malformed>;

    /// As `decode`, into the memory that this value has.
    #[inline]
    fn decode_into(&mut self, input: &mut &[u8]) -> Result<(), Malformed> {
        *self = Self::decode(input)?;
        Ok(())
    }

    /// Makes this value the default, keeping its memory where it can.
    #[inline]
    fn reset(&mut self)
    where
        Self: Default,
    {
        *self = Self::default();
    }

    /// Writes the bytes of a value of fixed width. `out` has exactly `WIDTH` bytes.
    #[inline]
    fn write(&self, _out: &mut [u8]) {
        unreachable!("only types of fixed width are written in place");
    }

    /// Appends the bytes of many values.
    #[inline]
    fn encode_all(items: &[Self], out: &mut Vec<u8>) {
        if Self::WIDTH == 0 {
            return items.iter().for_each(|item| item.encode(out));
        }
        let old_len = out.len();
        out.resize(old_len + items.len() * Self::WIDTH, 0);
        items.iter().zip(out[old_len..].chunks_exact_mut(Self::WIDTH)).for_each(|(item, out)| item.write(out));
    }

    /// Takes `len` values off the front of `input`, appending them to `items`.
    #[inline]
    fn decode_all(len: usize, input: &mut &[u8], items: &mut Vec<Self>) -> Result<(), Malformed> {
        if Self::WIDTH == 0 {
            return (0..len).try_for_each(|_| Self::decode(input).map(|item| items.push(item)));
        }
        let bytes = take(input, len.checked_mul(Self::WIDTH).ok_or(Malformed)?)?;
        items.reserve(len);
        bytes.chunks_exact(Self::WIDTH).try_for_each(|mut bytes| Self::decode(&mut bytes).map(|item| items.push(item)))
    }
}

/// A type that can be a field of a map state. The order of the bytes is the order of the values.
pub trait Field: Sized {
    /// Appends the bytes of the field.
    fn encode_field(&self, out: &mut Vec<u8>);

    /// Reads a field, which is all of `bytes`.
    fn decode_field(bytes: &[u8]) -> Result<Self, Malformed>;
}

#[inline]
fn take<'a>(input: &mut &'a [u8], len: usize) -> Result<&'a [u8], Malformed> {
    let (taken, rest) = input.split_at_checked(len).ok_or(Malformed)?;
    *input = rest;
    Ok(taken)
}

macro_rules! numbers {
    ($($ty:ty),*) => { $(
        impl Codec for $ty {
            const WIDTH: usize = size_of::<$ty>();

            #[inline]
            fn write(&self, out: &mut [u8]) {
                out.copy_from_slice(&self.to_le_bytes());
            }

            #[inline]
            fn encode(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }

            #[inline]
            fn decode(input: &mut &[u8]) -> Result<$ty, Malformed> {
                let (bytes, rest) = input.split_first_chunk().ok_or(Malformed)?;
                *input = rest;
                Ok(<$ty>::from_le_bytes(*bytes))
            }
        }
    )* };
}

numbers!(u16, u32, u64, u128, i8, i16, i32, i64, i128, f32, f64);

impl Codec for u8 {
    const WIDTH: usize = 1;

    fn write(&self, out: &mut [u8]) {
        out[0] = *self;
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.push(*self);
    }

    fn decode(input: &mut &[u8]) -> Result<u8, Malformed> {
        take(input, 1).map(|byte| byte[0])
    }

    fn encode_all(items: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(items);
    }

    fn decode_all(len: usize, input: &mut &[u8], items: &mut Vec<u8>) -> Result<(), Malformed> {
        take(input, len).map(|bytes| items.extend_from_slice(bytes))
    }
}

impl Codec for bool {
    const WIDTH: usize = 1;

    fn write(&self, out: &mut [u8]) {
        out[0] = u8::from(*self);
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }

    fn decode(input: &mut &[u8]) -> Result<bool, Malformed> {
        match u8::decode(input)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Malformed),
        }
    }
}

impl<T: Codec> Codec for Vec<T> {
    #[inline]
    fn encode(&self, out: &mut Vec<u8>) {
        (self.len() as u32).encode(out);
        T::encode_all(self, out);
    }

    fn decode(input: &mut &[u8]) -> Result<Vec<T>, Malformed> {
        let mut items = Vec::new();
        items.decode_into(input)?;
        Ok(items)
    }

    #[inline]
    fn decode_into(&mut self, input: &mut &[u8]) -> Result<(), Malformed> {
        self.clear();
        let len = u32::decode(input)? as usize;
        T::decode_all(len, input, self)
    }

    #[inline]
    fn reset(&mut self) {
        self.clear();
    }
}

impl Codec for String {
    fn encode(&self, out: &mut Vec<u8>) {
        (self.len() as u32).encode(out);
        out.extend_from_slice(self.as_bytes());
    }

    fn decode(input: &mut &[u8]) -> Result<String, Malformed> {
        String::from_utf8(Vec::decode(input)?).map_err(|_| Malformed)
    }
}

impl<T: Codec> Codec for Option<T> {
    fn encode(&self, out: &mut Vec<u8>) {
        self.is_some().encode(out);
        self.iter().for_each(|value| value.encode(out));
    }

    fn decode(input: &mut &[u8]) -> Result<Option<T>, Malformed> {
        if bool::decode(input)? { T::decode(input).map(Some) } else { Ok(None) }
    }
}

macro_rules! tuples {
    ($(($($name:ident $at:tt),*))*) => { $(
        impl<$($name: Codec),*> Codec for ($($name,)*) {
            const WIDTH: usize = if $($name::WIDTH != 0)&&* { 0 $(+ $name::WIDTH)* } else { 0 };

            #[inline]
            fn write(&self, out: &mut [u8]) {
                $(
                    let (part, out) = out.split_at_mut($name::WIDTH);
                    self.$at.write(part);
                )*
                debug_assert!(out.is_empty());
            }

            #[inline]
            fn encode(&self, out: &mut Vec<u8>) {
                $(self.$at.encode(out);)*
            }

            #[inline]
            fn decode(input: &mut &[u8]) -> Result<Self, Malformed> {
                Ok(($($name::decode(input)?,)*))
            }

            #[inline]
            fn decode_into(&mut self, input: &mut &[u8]) -> Result<(), Malformed> {
                $(self.$at.decode_into(input)?;)*
                Ok(())
            }
        }
    )* };
}

tuples!((A 0, B 1) (A 0, B 1, C 2) (A 0, B 1, C 2, D 3) (A 0, B 1, C 2, D 3, E 4));

/// Any type of serde's, as JSON. The easiest, and the largest and slowest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Json<T>(pub T);

impl<T: Serialize + DeserializeOwned> Codec for Json<T> {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend(serde_json::to_vec(&self.0).expect("the value has a form in JSON"));
    }

    fn decode(input: &mut &[u8]) -> Result<Json<T>, Malformed> {
        serde_json::from_slice(std::mem::take(input)).map(Json).map_err(|_| Malformed)
    }
}

macro_rules! unsigned_fields {
    ($($ty:ty),*) => { $(
        impl Field for $ty {
            fn encode_field(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_be_bytes());
            }

            fn decode_field(bytes: &[u8]) -> Result<$ty, Malformed> {
                bytes.try_into().map(<$ty>::from_be_bytes).map_err(|_| Malformed)
            }
        }
    )* };
}

unsigned_fields!(u8, u16, u32, u64);

impl Field for i64 {
    /// Big-endian with the sign turned, so that negative numbers come first.
    fn encode_field(&self, out: &mut Vec<u8>) {
        (*self as u64 ^ 1 << 63).encode_field(out);
    }

    fn decode_field(bytes: &[u8]) -> Result<i64, Malformed> {
        u64::decode_field(bytes).map(|bits| (bits ^ 1 << 63) as i64)
    }
}

impl Field for Vec<u8> {
    fn encode_field(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self);
    }

    fn decode_field(bytes: &[u8]) -> Result<Vec<u8>, Malformed> {
        Ok(bytes.to_vec())
    }
}

impl Field for String {
    fn encode_field(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.as_bytes());
    }

    fn decode_field(bytes: &[u8]) -> Result<String, Malformed> {
        std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| Malformed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check<T: Codec + PartialEq + std::fmt::Debug>(value: T, bytes: &[u8]) {
        let mut encoded = Vec::new();
        value.encode(&mut encoded);
        assert_eq!(encoded, bytes);
        let mut input = bytes;
        assert_eq!((T::decode(&mut input).as_ref(), input), (Ok(&value), &[][..]));
        for len in 0..bytes.len() {
            let mut input = &bytes[..len];
            let cut = T::decode(&mut input);
            assert!(cut.is_err() || input.is_empty(), "cut at {len} it is malformed, or another whole value");
        }
    }

    /// A layout that changes makes the state of running operators unreadable.
    #[test]
    fn the_bytes_of_each_type_are_those_of_the_table() {
        check(0x0102_u16, &[2, 1]);
        check(-2_i64, &[254, 255, 255, 255, 255, 255, 255, 255]);
        check(1.5_f32, &[0, 0, 192, 63]);
        check(true, &[1]);
        check("é".to_owned(), &[2, 0, 0, 0, 195, 169]);
        check(vec![1_u8, 2], &[2, 0, 0, 0, 1, 2]);
        check(vec![(1_u8, 2_u16)], &[1, 0, 0, 0, 1, 2, 0]);
        check(vec!["a".to_owned(), String::new()], &[2, 0, 0, 0, 1, 0, 0, 0, 97, 0, 0, 0, 0]);
        check(Some(7_u8), &[1, 7]);
        check(None::<u8>, &[0]);
        check((1_u8, "x".to_owned(), 2_u8), &[1, 1, 0, 0, 0, 120, 2]);
        check(Json(vec![1_u8]), b"[1]");
    }

    #[test]
    fn what_no_value_has_written_is_malformed() {
        assert_eq!(bool::decode(&mut &[2][..]), Err(Malformed));
        assert_eq!(String::decode(&mut &[1, 0, 0, 0, 255][..]), Err(Malformed));
        assert_eq!(Vec::<(u64, u64)>::decode(&mut &[255, 255, 255, 255, 0][..]), Err(Malformed), "no memory for a lie");
        assert_eq!(Vec::<String>::decode(&mut &[255, 255, 255, 255][..]), Err(Malformed));
    }

    #[test]
    fn fields_sort_as_their_values_do() {
        let bytes = |field: i64| {
            let mut out = Vec::new();
            field.encode_field(&mut out);
            assert_eq!(i64::decode_field(&out), Ok(field));
            out
        };
        let sorted = [i64::MIN, -5, -1, 0, 1, 300, i64::MAX];
        assert!(sorted.windows(2).all(|pair| bytes(pair[0]) < bytes(pair[1])));
    }
}
