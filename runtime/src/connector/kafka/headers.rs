//! Kafka's record headers in the contract's encoding and back: `u16 name length, name, u32 value length (0xffff_ffff:
//! null), value`, and so on, little-endian. Owns that layout on this side; a malformed item is an error, never a guess.

use std::ffi::{CStr, c_char, c_void};
use std::ptr;

use rdkafka_sys::bindings as sys;
use weir_core::record::Column;

/// The value length that says null.
const NULL: u32 = u32::MAX;

/// Appends the headers of a consumed message to slot `slot` of `column`. Nothing is written as long as no message of the
/// batch had any; then the slots before get absent items.
///
/// # Safety
/// `message` is a live message of a consumer.
#[inline]
pub(super) unsafe fn append(message: *const sys::rd_kafka_message_t, slot: usize, column: &mut Column) {
    let mut headers: *mut sys::rd_kafka_headers_t = ptr::null_mut();
    // SAFETY: as promised by the caller; the headers belong to the message.
    let found = unsafe {
        if has_none(message) {
            sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__NOENT
        } else {
            sys::rd_kafka_message_headers(message, &mut headers)
        }
    };
    if found != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR || headers.is_null() {
        if !column.is_empty() {
            column.push(None);
        }
        return;
    }
    while column.len() < slot {
        column.push(None);
    }
    // SAFETY: live with its message.
    unsafe { encode(headers, column) }
}

/// Whether a message surely has no headers. Asking librdkafka costs a parser with three allocations for every record, a
/// third of what reading it costs, even where there are none. In Kafka's record format (v2) the number of headers follows
/// the value at once, as a varint, and librdkafka hands out the value in place.
///
/// # Safety
/// `message` is a live message of a consumer.
#[inline]
unsafe fn has_none(message: *const sys::rd_kafka_message_t) -> bool {
    // SAFETY: librdkafka knows a leader epoch only for records of format v2, where at least the byte that counts the
    // headers lies behind the value, in the same buffer. A null value has no place in it.
    unsafe {
        let value = (*message).payload.cast::<u8>();
        !value.is_null() && sys::rd_kafka_message_leader_epoch(message) >= 0 && value.add((*message).len).read() == 0
    }
}

/// # Safety
/// `headers` are live.
unsafe fn encode(headers: *const sys::rd_kafka_headers_t, column: &mut Column) {
    for index in 0.. {
        let (mut name, mut value, mut size): (*const c_char, *const c_void, usize) = (ptr::null(), ptr::null(), 0);
        // SAFETY: all pointers live for the call.
        let found = unsafe { sys::rd_kafka_header_get_all(headers, index, &mut name, &mut value, &mut size) };
        if found != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            break;
        }
        // SAFETY: names end with a zero; a value that is not null is `size` bytes long.
        let (name, value) = unsafe {
            let value = (!value.is_null()).then(|| std::slice::from_raw_parts(value.cast::<u8>(), size));
            (CStr::from_ptr(name).to_bytes(), value)
        };
        write(name, value, &mut column.data);
    }
    column.ends.push(column.data.len() as u32);
}

fn write(name: &[u8], value: Option<&[u8]>, out: &mut Vec<u8>) {
    // Longer names are legal in Kafka and not in the contract: cut, since a header's name is not data.
    let name = &name[..name.len().min(usize::from(u16::MAX))];
    out.extend_from_slice(&(name.len() as u16).to_le_bytes());
    out.extend_from_slice(name);
    match value {
        Some(value) => {
            out.extend_from_slice(&(value.len() as u32).to_le_bytes());
            out.extend_from_slice(value);
        }
        None => out.extend_from_slice(&NULL.to_le_bytes()),
    }
}

/// Reads an item of a headers column.
pub(super) fn decode(item: &[u8]) -> Decode<'_> {
    Decode { rest: item }
}

/// The headers of an item, in order; ends with an error where the item is malformed.
pub(super) struct Decode<'a> {
    rest: &'a [u8],
}

/// The item is not as the contract says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

impl<'a> Decode<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(Malformed)?;
        self.rest = rest;
        Ok(taken)
    }

    fn header(&mut self) -> Result<(&'a [u8], Option<&'a [u8]>), Malformed> {
        let length = self.take(2)?.try_into().map(u16::from_le_bytes).map_err(|_| Malformed)?;
        let name = self.take(length.into())?;
        let length = self.take(4)?.try_into().map(u32::from_le_bytes).map_err(|_| Malformed)?;
        let value = if length == NULL { None } else { Some(self.take(length as usize)?) };
        Ok((name, value))
    }
}

impl<'a> Iterator for Decode<'a> {
    type Item = Result<(&'a [u8], Option<&'a [u8]>), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let header = self.header();
        if header.is_err() {
            self.rest = &[];
        }
        Some(header)
    }
}

/// Headers for a message to produce, which takes them over when it is accepted.
pub(super) struct Outgoing(*mut sys::rd_kafka_headers_t);

impl Outgoing {
    pub(super) fn new(item: &[u8]) -> Result<Outgoing, Malformed> {
        // SAFETY: no arguments that could dangle.
        let headers = Outgoing(unsafe { sys::rd_kafka_headers_new(8) });
        for header in decode(item) {
            let (name, value) = header?;
            let (value, size) = value.map_or((ptr::null(), 0), |v| (v.as_ptr().cast::<c_void>(), v.len() as isize));
            // SAFETY: name and value are copied; sizes are given, so no zero byte is looked for.
            unsafe {
                sys::rd_kafka_header_add(headers.0, name.as_ptr().cast(), name.len() as isize, value, size);
            }
        }
        Ok(headers)
    }

    pub(super) fn native(&self) -> *mut sys::rd_kafka_headers_t {
        self.0
    }

    /// The message owns them now.
    pub(super) fn taken(self) {
        std::mem::forget(self);
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        // SAFETY: no message took them.
        unsafe { sys::rd_kafka_headers_destroy(self.0) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read_back(headers: Vec<(Vec<u8>, Option<Vec<u8>>)>) {
            let mut item = Vec::new();
            headers.iter().for_each(|(name, value)| write(name, value.as_deref(), &mut item));
            let back: Vec<_> = decode(&item).map(|h| h.expect("well formed")).collect();
            let expected: Vec<_> = headers.iter().map(|(n, v)| (n.as_slice(), v.as_deref())).collect();
            prop_assert_eq!(back, expected);
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(item: Vec<u8>) {
            let _ = decode(&item).count();
        }
    }

    #[test]
    fn the_layout_is_the_contracts() {
        let mut item = Vec::new();
        write(b"ab", Some(b"xyz"), &mut item);
        write(b"", None, &mut item);
        assert_eq!(item, b"\x02\x00ab\x03\x00\x00\x00xyz\x00\x00\xff\xff\xff\xff");
        assert_eq!(decode(b"\x05\x00ab").collect::<Vec<_>>(), [Err(Malformed)]);
    }
}
