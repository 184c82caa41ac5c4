//! Finds event time and keys in a JSON value: several JSON pointers in one pass, without a tree and without allocation.
//! It is on the data path of every record. What becomes of a bad record is `on_error`'s business.
//!
//! Rules: the whole value is scanned to its end, so what is truncated, or followed by something else, is broken. Of two
//! members of one name the first counts, at every level. A key that is a string is its decoded bytes, one that is a number
//! its literal text; null, true, false, an object, an array or nothing at all is a bad record. A time is a JSON integer.
//! Within a key, invalid UTF-8 and half a surrogate pair are bad; elsewhere in the value neither is looked for. A number of
//! any size is a number. Containers deeper than [`DEPTH_MAX`] are broken.

mod cursor;
mod decode;
mod pointer;
#[cfg(test)]
mod tests;
mod trie;
mod walk;

use crate::graph::spec::Unit;
use crate::record::Column;
use cursor::{Found, Kind};
use trie::Trie;

pub use pointer::{Pointer, PointerError};

/// Containers within containers, at most.
pub const DEPTH_MAX: usize = 128;

/// Finds an event time and keys. Compiled once; `extract` is called for each record.
#[derive(Debug, Clone)]
pub struct Extractor {
    trie: Trie,
    /// The time's pointer first, if there is one, then those of the keys.
    pointers: Vec<Pointer>,
    unit: Option<Unit>,
    found: Vec<Found>,
}

/// Pointers that cannot be looked for together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// One of them is none.
    #[error(transparent)]
    Pointer(#[from] PointerError),
    /// Too many names.
    #[error("the JSON pointers of one output have more than 63 names in them")]
    TooMany,
}

/// Why a record is bad.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// There is no value.
    #[error("the value is null")]
    NoValue,
    /// The value is not JSON.
    #[error("the value is not JSON: {what} at byte {offset}")]
    Broken {
        /// Where, from 0.
        offset: usize,
        /// What was wrong there.
        what: Broken,
    },
    /// The value is JSON, and a field is not what it must be.
    #[error("`{pointer}` {problem}")]
    Field {
        /// The field, as the pipeline file names it.
        pointer: String,
        /// What is wrong with it.
        problem: Problem,
    },
}

/// What is not JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// The end came too early.
    #[error("it ends")]
    Truncated,
    /// Something follows the value.
    #[error("something follows")]
    Trailing,
    /// No value begins like this.
    #[error("no value")]
    Value,
    /// A number that is none.
    #[error("no number")]
    Number,
    /// A backslash with something that it cannot stand before.
    #[error("a wrong escape")]
    Escape,
    /// A byte below 0x20 in a string.
    #[error("a control character")]
    Control,
    /// The name of a member is no string.
    #[error("no name in quotes")]
    Name,
    /// No `:` behind a name.
    #[error("no `:`")]
    Colon,
    /// Neither `,` nor the end of an object or array.
    #[error("neither `,` nor a closing bracket")]
    Separator,
    /// Nested too deep.
    #[error("more than 128 levels")]
    Depth,
}

/// What is wrong with a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// It is not there.
    #[error("is missing")]
    Missing,
    /// It is null.
    #[error("is null")]
    Null,
    /// It is true or false.
    #[error("is true or false")]
    Boolean,
    /// It is an object.
    #[error("is an object")]
    Object,
    /// It is an array.
    #[error("is an array")]
    Array,
    /// It is a string where an integer must be.
    #[error("is a string, not an integer")]
    Text,
    /// It has a fraction or an exponent.
    #[error("is not an integer")]
    NotInteger,
    /// It does not fit into 64 bits of milliseconds.
    #[error("is out of range")]
    Range,
    /// It is not UTF-8.
    #[error("is not UTF-8")]
    Utf8,
    /// Half a surrogate pair.
    #[error("has half a surrogate pair")]
    Surrogate,
}

impl Extractor {
    /// Compiles the pointers of an output: where the time is, if it is in the value, and where the keys are.
    pub fn compile<P: AsRef<str>>(time: Option<(&str, Unit)>, keys: &[P]) -> Result<Extractor, CompileError> {
        let texts = time.iter().map(|(pointer, _)| *pointer).chain(keys.iter().map(AsRef::as_ref));
        let pointers = texts.map(Pointer::parse).collect::<Result<Vec<_>, _>>()?;
        let trie = Trie::new(pointers.iter()).ok_or(CompileError::TooMany)?;
        let found = vec![Found::default(); pointers.len()];
        Ok(Extractor { trie, pointers, unit: time.map(|(_, unit)| unit), found })
    }

    /// Whether nothing is looked for: then a value need not be JSON.
    pub fn is_empty(&self) -> bool {
        self.pointers.is_empty()
    }

    /// Finds everything in one value. Appends one key to each column, and gives the time in milliseconds if there is one
    /// to look for. After an error the columns are as before.
    ///
    /// `keys` has one column for each key that was compiled.
    #[inline]
    pub fn extract(&mut self, value: Option<&[u8]>, keys: &mut [Column]) -> Result<Option<i64>, Error> {
        debug_assert_eq!(keys.len() + usize::from(self.unit.is_some()), self.pointers.len());
        if self.pointers.is_empty() {
            return Ok(None);
        }
        let value = value.ok_or(Error::NoValue)?;
        self.found.fill(Found::default());
        walk::value(value, &self.trie, &mut self.found)?;
        let (time, found) = match self.unit {
            Some(unit) => {
                let time = time(value, self.found[0], unit).map_err(|problem| self.field(0, problem))?;
                (Some(time), &self.found[1..])
            }
            None => (None, &self.found[..]),
        };
        for (index, (found, column)) in found.iter().zip(&mut *keys).enumerate() {
            if let Err(problem) = append(value, *found, column) {
                keys[..index].iter_mut().for_each(forget_last);
                return Err(self.field(index + usize::from(self.unit.is_some()), problem));
            }
        }
        Ok(time)
    }

    #[cold]
    fn field(&self, index: usize, problem: Problem) -> Error {
        Error::Field { pointer: self.pointers[index].as_str().to_string(), problem }
    }
}

/// Reads a time.
#[inline]
fn time(value: &[u8], found: Found, unit: Unit) -> Result<i64, Problem> {
    if found.kind != Kind::Integer {
        return Err(no_time(found.kind));
    }
    let literal = found.text(value);
    // The usual case: a time since 1970, below 10¹⁸ of whatever it counts.
    let number = match literal {
        [b'-', ..] => parse(literal)?,
        _ if literal.len() > 18 => parse(literal)?,
        _ => digits(literal),
    };
    unit.to_millis(number).ok_or(Problem::Range)
}

/// At most 18 digits. The first eight at once: two to a byte, four to two bytes, eight to four.
#[inline]
fn digits(literal: &[u8]) -> i64 {
    let (head, rest) = match literal.split_first_chunk::<8>() {
        Some((eight, rest)) => {
            let word = u64::from_le_bytes(*eight) & 0x0f0f_0f0f_0f0f_0f0f;
            let twos = (word.wrapping_mul(10) + (word >> 8)) & 0x00ff_00ff_00ff_00ff;
            let fours = (twos.wrapping_mul(100) + (twos >> 16)) & 0x0000_ffff_0000_ffff;
            let eights = (fours.wrapping_mul(10_000) + (fours >> 32)) & 0xffff_ffff;
            (eights as i64, rest)
        }
        None => (0, literal),
    };
    rest.iter().fold(head, |number, digit| number * 10 + i64::from(digit - b'0'))
}

/// Any integer, by the book.
#[cold]
fn parse(literal: &[u8]) -> Result<i64, Problem> {
    std::str::from_utf8(literal).ok().and_then(|text| text.parse().ok()).ok_or(Problem::Range)
}

/// Appends a key; leaves the column as it was if it is none.
#[inline]
fn append(value: &[u8], found: Found, column: &mut Column) -> Result<(), Problem> {
    match found.kind {
        Kind::Ascii | Kind::Integer | Kind::Decimal => column.push(Some(found.text(value))),
        Kind::Plain | Kind::Escaped => return append_text(found.text(value), column),
        other => return Err(no_key(other)),
    }
    Ok(())
}

/// Appends what a string with escapes, or with more than ASCII, stands for.
fn append_text(text: &[u8], column: &mut Column) -> Result<(), Problem> {
    if std::str::from_utf8(text).is_err() {
        return Err(Problem::Utf8);
    }
    let before = column.data.len();
    if !decode::append(text, &mut column.data) {
        column.data.truncate(before);
        return Err(Problem::Surrogate);
    }
    column.ends.push(column.data.len() as u32);
    Ok(())
}

#[cold]
fn no_time(kind: Kind) -> Problem {
    match kind {
        Kind::Ascii | Kind::Plain | Kind::Escaped => Problem::Text,
        Kind::Integer | Kind::Decimal => Problem::NotInteger,
        other => no_key(other),
    }
}

#[cold]
fn no_key(kind: Kind) -> Problem {
    match kind {
        Kind::Null => Problem::Null,
        Kind::Boolean => Problem::Boolean,
        Kind::Object => Problem::Object,
        Kind::Array => Problem::Array,
        _ => Problem::Missing,
    }
}

/// Takes back the last item.
fn forget_last(column: &mut Column) {
    if let Some(last) = column.len().checked_sub(1) {
        let start = column.span(last).start;
        column.data.truncate(start);
        column.ends.pop();
    }
}
