//! Sizes as text: `"64MiB"`.

/// What a size looks like, for messages.
pub const SHAPE: &str = "a size is a number with a unit: \"512B\", \"64KiB\", \"1MiB\", \"2GiB\"";

const UNITS: [(&str, u64); 7] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("B", 1),
];

/// Reads a size in bytes; `None` for anything that is not a whole number with a unit.
pub fn parse(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let number: u64 = text[..digits].parse().ok()?;
    let (_, size) = UNITS.iter().find(|(unit, _)| *unit == &text[digits..])?;
    number.checked_mul(*size)
}

/// The shortest text that [`parse`] reads back as this.
pub fn format(bytes: u64) -> String {
    let whole = UNITS[..3].iter().find(|(_, size)| bytes >= *size && bytes.is_multiple_of(*size));
    whole.map_or_else(|| format!("{bytes}B"), |(unit, size)| format!("{}{unit}", bytes / size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_written() {
        for (text, bytes) in [("64MiB", 64 << 20), ("1KiB", 1024), ("10MB", 10_000_000), ("0B", 0), ("2GiB", 2 << 30)] {
            assert_eq!(parse(text), Some(bytes), "{text}");
            assert_eq!(parse(&format(bytes)), Some(bytes), "{text}");
        }
        for bad in ["", "64", "MiB", "64 MiB", "64mib", "1.5MiB", "-1B", "99999999999GiB", "5ä"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
