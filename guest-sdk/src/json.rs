//! Writing JSON by hand where a serializer would cost more than the row.

/// Appends `bytes` as a JSON string with its quotes. What is not UTF-8 becomes U+FFFD.
pub fn string(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    if bytes.iter().all(|byte| (0x20..0x7f).contains(byte) && !matches!(byte, b'"' | b'\\')) {
        out.extend_from_slice(bytes);
    } else {
        escaped(out, bytes);
    }
    out.push(b'"');
}

#[cold]
fn escaped(out: &mut Vec<u8>, bytes: &[u8]) {
    for chunk in bytes.utf8_chunks() {
        for byte in chunk.valid().bytes() {
            match byte {
                b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
                b'\n' => out.extend_from_slice(b"\\n"),
                b'\r' => out.extend_from_slice(b"\\r"),
                b'\t' => out.extend_from_slice(b"\\t"),
                0..0x20 | 0x7f => {
                    let hex = |digit: u8| b"0123456789abcdef"[digit as usize];
                    out.extend_from_slice(&[b'\\', b'u', b'0', b'0', hex(byte >> 4), hex(byte & 15)]);
                }
                _ => out.push(byte),
            }
        }
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
}

/// Appends a whole number.
pub fn integer(out: &mut Vec<u8>, value: i64) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    let mut rest = value.unsigned_abs();
    while rest >= 100 {
        at -= 2;
        digits[at..at + 2].copy_from_slice(&PAIRS[(rest % 100) as usize]);
        rest /= 100;
    }
    if rest >= 10 {
        at -= 2;
        digits[at..at + 2].copy_from_slice(&PAIRS[rest as usize]);
    } else {
        at -= 1;
        digits[at] = b'0' + rest as u8;
    }
    if value < 0 {
        out.push(b'-');
    }
    out.extend_from_slice(&digits[at..]);
}

/// 00 to 99.
const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[0; 2]; 100];
    let mut i = 0;
    while i < 100 {
        pairs[i] = [b'0' + i as u8 / 10, b'0' + i as u8 % 10];
        i += 1;
    }
    pairs
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_are_written_as_format_writes_them() {
        let round = (0..19)
            .flat_map(|digits| [10_i64.pow(digits) - 1, 10_i64.pow(digits), 7 * 10_i64.pow(digits).min(1 << 60)]);
        for value in round.chain([i64::MIN, i64::MAX, 0]).flat_map(|value| [value, value.wrapping_neg()]) {
            let mut out = Vec::new();
            integer(&mut out, value);
            assert_eq!(out, value.to_string().into_bytes());
        }
    }

    #[test]
    fn any_bytes_become_a_json_string() {
        for bytes in [
            &b""[..],
            b"10.0.0.1",
            b"a\"b\\c",
            b"\x00\x1f\x7f\n\r\t",
            "gr\u{fc}\u{df}e \u{1f600}".as_bytes(),
            b"\xff\xc3",
        ] {
            let mut out = Vec::new();
            string(&mut out, bytes);
            let read: String = serde_json::from_slice(&out).expect("it is JSON");
            assert_eq!(read, String::from_utf8_lossy(bytes));
        }
    }
}
