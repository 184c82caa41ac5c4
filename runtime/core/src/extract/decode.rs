//! The bytes that a JSON string stands for.

/// Appends the decoded text between two quotes. `false`: half a surrogate pair, which is no character. The grammar of the
/// escapes has been checked by the cursor.
pub(super) fn append(mut text: &[u8], out: &mut Vec<u8>) -> bool {
    while let Some(at) = text.iter().position(|b| *b == b'\\') {
        out.extend_from_slice(&text[..at]);
        let Some(character) = character(&text[at + 1..]) else { return false };
        let (character, length) = character;
        out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        text = &text[at + 1 + length..];
    }
    out.extend_from_slice(text);
    true
}

/// Whether the text between two quotes stands for this name. Allocates nothing; names with escapes are rare.
pub(super) fn is_name(mut text: &[u8], mut name: &[u8]) -> bool {
    while let Some(at) = text.iter().position(|b| *b == b'\\') {
        let Some((character, length)) = character(&text[at + 1..]) else { return false };
        let mut buffer = [0; 4];
        let encoded = character.encode_utf8(&mut buffer).as_bytes();
        let rest = name.strip_prefix(&text[..at]).and_then(|rest| rest.strip_prefix(encoded));
        let Some(rest) = rest else { return false };
        name = rest;
        text = &text[at + 1 + length..];
    }
    text == name
}

/// The character behind a backslash, and how many bytes it is written in.
fn character(escape: &[u8]) -> Option<(char, usize)> {
    let simple = match escape.first()? {
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'u' => return unicode(escape),
        other => char::from(*other),
    };
    Some((simple, 1))
}

/// `uXXXX`, or two of them that make one character.
fn unicode(escape: &[u8]) -> Option<(char, usize)> {
    let high = hex(escape.get(1..5)?);
    if let Some(character) = char::from_u32(high) {
        return Some((character, 5));
    }
    let low = escape.get(5..11).filter(|low| low.starts_with(b"\\u")).map(|low| hex(&low[2..]))?;
    if !(0xd800..0xdc00).contains(&high) || !(0xdc00..0xe000).contains(&low) {
        return None;
    }
    char::from_u32(0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00)).map(|character| (character, 11))
}

fn hex(digits: &[u8]) -> u32 {
    digits.iter().fold(0, |number, digit| number << 4 | char::from(*digit).to_digit(16).unwrap_or_default())
}
