//! Reads JSON byte by byte, or eight at a time within strings, and checks its grammar (RFC 8259). Builds nothing and
//! allocates nothing. It does not check UTF-8: that is done for what is taken out.

use super::{Broken, DEPTH_MAX};

/// A place in a value.
pub(super) struct Cursor<'v> {
    bytes: &'v [u8],
    at: usize,
}

/// What a value is, and where it lies. Small enough to be returned in registers; a record ends below 4 GiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Found {
    pub(super) kind: Kind,
    start: u32,
    end: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Kind {
    #[default]
    Missing,
    Null,
    Boolean,
    Object,
    Array,
    /// A number of digits only, perhaps with a minus.
    Integer,
    /// A number with a fraction or an exponent.
    Decimal,
    /// Between the quotes: ASCII, without escapes.
    Ascii,
    /// Between the quotes: without escapes.
    Plain,
    /// Between the quotes: with escapes.
    Escaped,
}

impl Found {
    #[inline]
    fn new(kind: Kind, start: usize, end: usize) -> Found {
        Found { kind, start: start as u32, end: end as u32 }
    }

    pub(super) fn without_text(kind: Kind) -> Found {
        Found::new(kind, 0, 0)
    }

    /// Where it starts.
    #[inline]
    pub(super) fn start(self) -> usize {
        self.start as usize
    }

    /// Its literal, or what is between its quotes.
    #[inline]
    pub(super) fn text(self, value: &[u8]) -> &[u8] {
        &value[self.start as usize..self.end as usize]
    }
}

impl<'v> Cursor<'v> {
    pub(super) fn new(bytes: &'v [u8]) -> Cursor<'v> {
        Cursor { bytes, at: 0 }
    }

    /// How far it came: where an error is.
    pub(super) fn offset(&self) -> usize {
        self.at
    }

    /// The next byte that is not white space, not taken yet.
    #[inline(always)]
    pub(super) fn peek(&mut self) -> Result<u8, Broken> {
        match self.bytes.get(self.at) {
            // Nothing of JSON's grammar is below the space, so one comparison tells in the usual case.
            Some(byte) if *byte > b' ' => Ok(*byte),
            _ => self.peek_behind_space(),
        }
    }

    #[cold]
    fn peek_behind_space(&mut self) -> Result<u8, Broken> {
        while let Some(b' ' | b'\n' | b'\t' | b'\r') = self.bytes.get(self.at) {
            self.at += 1;
        }
        self.bytes.get(self.at).copied().ok_or(Broken::Truncated)
    }

    /// Takes the byte that `peek` showed.
    #[inline]
    pub(super) fn take(&mut self) {
        self.at += 1;
    }

    /// Takes this byte.
    #[inline]
    pub(super) fn expect(&mut self, byte: u8, what: Broken) -> Result<(), Broken> {
        if self.peek()? != byte {
            return Err(what);
        }
        self.at += 1;
        Ok(())
    }

    /// Nothing but white space may follow.
    #[inline]
    pub(super) fn end(&mut self) -> Result<(), Broken> {
        match self.peek() {
            Err(_) => Ok(()),
            Ok(_) => Err(Broken::Trailing),
        }
    }

    /// Takes a string, from its opening quote on. One of fewer than eight plain bytes is taken at a glance.
    #[inline(always)]
    pub(super) fn string(&mut self) -> Result<Found, Broken> {
        let start = self.at + 1;
        if let Some(word) = self.word_at(start) {
            let special = special_bytes(word);
            let length = special.trailing_zeros() & !7;
            if special != 0 && (word >> length) as u8 == b'"' {
                let end = start + (length / 8) as usize;
                let is_ascii = word & TOPS & !(u64::MAX << length) == 0;
                self.at = end + 1;
                return Ok(Found::new(if is_ascii { Kind::Ascii } else { Kind::Plain }, start, end));
            }
        }
        self.long_string(start)
    }

    fn long_string(&mut self, start: usize) -> Result<Found, Broken> {
        self.at = start;
        let mut kind = Kind::Ascii;
        loop {
            let (end, is_ascii) = self.end_of_plain_bytes();
            self.at = end;
            if !is_ascii && kind == Kind::Ascii {
                kind = Kind::Plain;
            }
            match self.bytes.get(end) {
                Some(b'"') => {
                    self.at = end + 1;
                    return Ok(Found::new(kind, start, end));
                }
                Some(b'\\') => {
                    kind = Kind::Escaped;
                    self.escape()?;
                }
                Some(_) => return Err(Broken::Control),
                None => return Err(Broken::Truncated),
            }
        }
    }

    /// The next quote, backslash or control character, and whether all on the way is ASCII; it may say no where only what
    /// follows is not.
    #[inline(always)]
    fn end_of_plain_bytes(&self) -> (usize, bool) {
        let mut at = self.at;
        let mut all = 0;
        while let Some(word) = self.word_at(at) {
            all |= word;
            let special = special_bytes(word);
            if special != 0 {
                return (at + (special.trailing_zeros() / 8) as usize, all & TOPS == 0);
            }
            at += 8;
        }
        while let Some(byte) = self.bytes.get(at).filter(|b| **b >= 0x20 && **b != b'"' && **b != b'\\') {
            all |= u64::from(*byte);
            at += 1;
        }
        (at, all & TOPS == 0)
    }

    /// The eight bytes from here on, if there are as many.
    #[inline(always)]
    fn word_at(&self, at: usize) -> Option<u64> {
        self.bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()).map(|eight| u64::from_le_bytes(*eight))
    }

    fn escape(&mut self) -> Result<(), Broken> {
        self.at += 1;
        match self.bytes.get(self.at) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 1,
            Some(b'u') => {
                let digits = self.bytes.get(self.at + 1..self.at + 5);
                if !digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)) {
                    return Err(Broken::Escape);
                }
                self.at += 5;
            }
            Some(_) => return Err(Broken::Escape),
            None => return Err(Broken::Truncated),
        }
        Ok(())
    }

    /// Takes a number, true, false or null, whose first byte is this.
    #[inline]
    pub(super) fn scalar(&mut self, first: u8) -> Result<Found, Broken> {
        match first {
            b'-' | b'0'..=b'9' => self.number(),
            b't' => self.word(b"true", Kind::Boolean),
            b'f' => self.word(b"false", Kind::Boolean),
            b'n' => self.word(b"null", Kind::Null),
            _ => Err(Broken::Value),
        }
    }

    fn word(&mut self, word: &[u8], kind: Kind) -> Result<Found, Broken> {
        if !self.bytes[self.at..].starts_with(word) {
            return Err(Broken::Value);
        }
        self.at += word.len();
        Ok(Found::without_text(kind))
    }

    #[inline]
    fn number(&mut self) -> Result<Found, Broken> {
        let start = self.at;
        if self.bytes[self.at] == b'-' {
            self.at += 1;
        }
        let first = self.at;
        self.digits()?;
        if self.bytes[first] == b'0' && self.at > first + 1 {
            return Err(Broken::Number);
        }
        match self.bytes.get(self.at) {
            Some(b'.' | b'e' | b'E') => {
                self.fraction_and_exponent().map(|()| Found::new(Kind::Decimal, start, self.at))
            }
            _ => Ok(Found::new(Kind::Integer, start, self.at)),
        }
    }

    fn fraction_and_exponent(&mut self) -> Result<(), Broken> {
        if self.bytes.get(self.at) == Some(&b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.bytes.get(self.at) {
            self.at += 1;
            if let Some(b'+' | b'-') = self.bytes.get(self.at) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    /// At least one digit.
    #[inline(always)]
    fn digits(&mut self) -> Result<(), Broken> {
        let start = self.at;
        while let Some(word) = self.word_at(self.at) {
            let others = other_than_digits(word);
            if others != 0 {
                self.at += (others.trailing_zeros() / 8) as usize;
                return if self.at == start { Err(Broken::Number) } else { Ok(()) };
            }
            self.at += 8;
        }
        while self.bytes.get(self.at).is_some_and(u8::is_ascii_digit) {
            self.at += 1;
        }
        if self.at == start { Err(Broken::Number) } else { Ok(()) }
    }

    /// Takes any value that nobody looks into, `depth` containers deep. A loop with one bit a level, so that no input can
    /// exhaust the stack.
    pub(super) fn skip(&mut self, mut depth: usize) -> Result<Found, Broken> {
        let bottom = depth;
        let mut is_object: u128 = 0;
        loop {
            let first = self.peek()?;
            let found = match first {
                b'"' => self.string()?,
                b'{' | b'[' => {
                    if depth == DEPTH_MAX {
                        return Err(Broken::Depth);
                    }
                    self.at += 1;
                    depth += 1;
                    is_object = is_object << 1 | u128::from(first == b'{');
                    if self.peek()? != closing(is_object) {
                        self.name_of_member(is_object)?;
                        continue;
                    }
                    self.at += 1;
                    depth -= 1;
                    is_object >>= 1;
                    Found::without_text(if first == b'{' { Kind::Object } else { Kind::Array })
                }
                _ => self.scalar(first)?,
            };
            let mut found = found;
            loop {
                if depth == bottom {
                    return Ok(found);
                }
                let next = self.peek()?;
                if next == b',' {
                    self.at += 1;
                    self.name_of_member(is_object)?;
                    break;
                }
                if next != closing(is_object) {
                    return Err(Broken::Separator);
                }
                self.at += 1;
                found = Found::without_text(if is_object & 1 == 1 { Kind::Object } else { Kind::Array });
                depth -= 1;
                is_object >>= 1;
            }
        }
    }

    /// Within an object, takes the name and the colon.
    #[inline]
    fn name_of_member(&mut self, is_object: u128) -> Result<(), Broken> {
        if is_object & 1 == 1 {
            if self.peek()? != b'"' {
                return Err(Broken::Name);
            }
            self.string()?;
            self.expect(b':', Broken::Colon)?;
        }
        Ok(())
    }
}

#[inline]
fn closing(is_object: u128) -> u8 {
    if is_object & 1 == 1 { b'}' } else { b']' }
}

const ONES: u64 = 0x0101_0101_0101_0101;
const TOPS: u64 = 0x8080_8080_8080_8080;

/// The top bit of each byte that is a quote, a backslash or below 0x20. Exact for the lowest such byte, which is the one
/// that counts: a borrow can only mark bytes above it.
#[inline(always)]
fn special_bytes(word: u64) -> u64 {
    let zero = |w: u64| w.wrapping_sub(ONES) & !w;
    let control = word.wrapping_sub(ONES * 0x20) & !word;
    (zero(word ^ (ONES * b'"' as u64)) | zero(word ^ (ONES * b'\\' as u64)) | control) & TOPS
}

/// The top bit of each byte that is no digit. Exact for the lowest one.
#[inline(always)]
fn other_than_digits(word: u64) -> u64 {
    (word.wrapping_add(ONES * (0x7f - b'9' as u64)) | word.wrapping_sub(ONES * b'0' as u64)) & TOPS
}
