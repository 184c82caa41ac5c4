//! The keys of the state database, golden: a byte once given a meaning keeps it. Big-endian, so that the order of bytes is
//! the order of meaning. Owns encoding and decoding; knows no state.
//!
//! | kind | bytes | value |
//! |---|---|---|
//! | value | `key group u16`, `state id u16`, key | as the guest wrote it |
//! | map field | `key group u16`, `state id u16`, key escaped, field | as the guest wrote it |
//! | timer | `key group u16`, `timers' id u16`, key escaped, `time i64` with the sign bit flipped, `tag u64` | empty |
//!
//! Escaped: a byte 00 becomes 00 FF, and 00 00 ends the key; so a key stands before all that it is a prefix of. What an
//! id is (a value, a map, timers) is written in the manifest. Versions of schemas are there too, and so is the version of
//! this table: `manifest.version`.

use std::borrow::Cow;

use weir_core::key_group::KeyGroup;

use super::Error;
use crate::hex;

/// Bytes before the key.
const HEAD: usize = 4;

/// Appends the key of a value.
#[inline]
pub fn value(out: &mut Vec<u8>, group: KeyGroup, state: u16, key: &[u8]) {
    head(out, group, state);
    out.extend_from_slice(key);
}

/// Appends the key of a map's field.
pub fn field(out: &mut Vec<u8>, group: KeyGroup, state: u16, key: &[u8], field: &[u8]) {
    head(out, group, state);
    escape(out, key);
    out.extend_from_slice(field);
}

/// Appends the key of a timer.
pub fn timer(out: &mut Vec<u8>, group: KeyGroup, timers: u16, key: &[u8], time: i64, tag: u64) {
    head(out, group, timers);
    escape(out, key);
    out.extend_from_slice(&(time as u64 ^ SIGN).to_be_bytes());
    out.extend_from_slice(&tag.to_be_bytes());
}

/// Key group, state id, and the rest.
pub fn split(bytes: &[u8]) -> Result<(KeyGroup, u16, &[u8]), Error> {
    let [g1, g2, s1, s2, rest @ ..] = bytes else { return Err(unreadable("shorter than its head", bytes)) };
    Ok((KeyGroup(u16::from_be_bytes([*g1, *g2])), u16::from_be_bytes([*s1, *s2]), rest))
}

/// Key and field, of the rest of a map field's key.
pub fn split_field(rest: &[u8]) -> Result<(Cow<'_, [u8]>, &[u8]), Error> {
    let end = end_of_key(rest)?;
    Ok((unescape(&rest[..end]), &rest[end + 2..]))
}

/// Key, time and tag, of the rest of a timer's key.
pub fn split_timer(rest: &[u8]) -> Result<(Cow<'_, [u8]>, i64, u64), Error> {
    let (key, tail) = split_field(rest)?;
    let (Some(time), Some(tag), 16) = (tail.first_chunk::<8>(), tail.last_chunk::<8>(), tail.len()) else {
        return Err(unreadable("a timer without time and tag", rest));
    };
    Ok((key, (u64::from_be_bytes(*time) ^ SIGN) as i64, u64::from_be_bytes(*tag)))
}

const SIGN: u64 = 1 << 63;

#[inline]
fn head(out: &mut Vec<u8>, group: KeyGroup, state: u16) {
    let mut head = [0; HEAD];
    head[..2].copy_from_slice(&group.0.to_be_bytes());
    head[2..].copy_from_slice(&state.to_be_bytes());
    out.extend_from_slice(&head);
}

fn escape(out: &mut Vec<u8>, key: &[u8]) {
    let mut rest = key;
    while let Some(at) = memchr::memchr(0, rest) {
        out.extend_from_slice(&rest[..=at]);
        out.push(0xff);
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
    out.extend_from_slice(&[0, 0]);
}

/// Where the escaped key ends, before its 00 00.
fn end_of_key(bytes: &[u8]) -> Result<usize, Error> {
    let mut from = 0;
    while let Some(at) = memchr::memchr(0, &bytes[from..]) {
        match bytes.get(from + at + 1) {
            Some(0) => return Ok(from + at),
            Some(0xff) => from += at + 2,
            _ => break,
        }
    }
    Err(unreadable("an escaped key without end", bytes))
}

fn unescape(escaped: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr(0, escaped).is_none() {
        return Cow::Borrowed(escaped);
    }
    let mut key = Vec::with_capacity(escaped.len());
    let mut bytes = escaped.iter();
    while let Some(&byte) = bytes.next() {
        key.push(byte);
        if byte == 0 {
            bytes.next();
        }
    }
    Cow::Owned(key)
}

fn unreadable(what: &str, bytes: &[u8]) -> Error {
    let shown = hex::encode(&bytes[..bytes.len().min(32)]);
    Error::Entry(format!("{what} ({shown})"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded(f: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut out = Vec::new();
        f(&mut out);
        out
    }

    #[test]
    fn bytes_are_pinned_for_ever() {
        let group = KeyGroup(0x19);
        let hex = |bytes: Vec<u8>| hex::encode(&bytes);
        assert_eq!(hex(encoded(|o| value(o, group, 3, b"10.0.0.1"))), "0019000331302e302e302e31");
        assert_eq!(hex(encoded(|o| field(o, group, 0x0102, b"a\0b", b"f"))), "001901026100ff62000066");
        assert_eq!(
            hex(encoded(|o| timer(o, group, 7, b"k", 1_700_000_004_999, 2))),
            "001900076b00008000018bcfe57b870000000000000002"
        );
        assert_eq!(hex(encoded(|o| timer(o, group, 7, b"", -1, 0))), "0019000700007fffffffffffffff0000000000000000");
    }

    #[test]
    fn what_no_writer_writes_is_refused() {
        for bytes in [&b""[..], b"\0\x19\0"] {
            assert!(split(bytes).is_err(), "{bytes:?}");
        }
        for rest in
            [&b""[..], b"k", b"k\0", b"k\0\x01", b"k\0\0", b"k\0\x00123456781234567", b"k\0\x0012345678123456789"]
        {
            assert!(split_timer(rest).is_err(), "{rest:?}");
        }
    }

    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(prop_oneof![Just(0u8), Just(1), Just(0xff), any::<u8>()], 0..12)
    }

    proptest! {
        #[test]
        fn a_key_gives_back_what_went_in(k in bytes(), f in bytes(), group in 0u16..128, id: u16, time: i64, tag: u64) {
            let group = KeyGroup(group);
            let v = encoded(|o| value(o, group, id, &k));
            prop_assert_eq!(split(&v).unwrap(), (group, id, &k[..]));
            let m = encoded(|o| field(o, group, id, &k, &f));
            let (found, found_field) = split_field(split(&m).unwrap().2).unwrap();
            prop_assert_eq!((&*found, found_field), (&k[..], &f[..]));
            let t = encoded(|o| timer(o, group, id, &k, time, tag));
            let (found, found_time, found_tag) = split_timer(split(&t).unwrap().2).unwrap();
            prop_assert_eq!((&*found, found_time, found_tag), (&k[..], time, tag));
        }

        #[test]
        fn order_of_bytes_is_order_of_meaning(a in (bytes(), bytes()), b in (bytes(), bytes()), t: (i64, u64), u: (i64, u64)) {
            let group = KeyGroup(1);
            let m = |(k, f): &(Vec<u8>, Vec<u8>)| encoded(|o| field(o, group, 1, k, f));
            prop_assert_eq!(m(&a).cmp(&m(&b)), a.cmp(&b));
            let at = |k: &[u8], t: (i64, u64)| encoded(|o| timer(o, group, 1, k, t.0, t.1));
            prop_assert_eq!(at(&a.0, t).cmp(&at(&b.0, u)), (&a.0, t).cmp(&(&b.0, u)));
        }
    }
}
