//! Durations as text: `"5s"`, `"1m30s"`, `"100ms"`.

use std::time::Duration;

/// What a duration looks like, for messages.
pub const SHAPE: &str =
    "a duration is a number with a unit: \"100ms\", \"5s\", \"2m\", \"1h\", \"7d\"; less than 500,000 years";

/// Reads a duration. Whole numbers with the units us, ms, s, m, h, d, the largest first; `None` for anything else.
pub fn parse(text: &str) -> Option<Duration> {
    let mut total = Duration::ZERO;
    let mut last_unit = u128::MAX;
    let mut rest = text;
    loop {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let letters = rest[digits..].bytes().take_while(u8::is_ascii_alphabetic).count();
        let number: u64 = rest[..digits].parse().ok()?;
        let unit = unit(&rest[digits..digits + letters])?;
        if unit.as_nanos() >= last_unit {
            return None;
        }
        last_unit = unit.as_nanos();
        let part = u128::from(number).checked_mul(unit.as_micros())?;
        total = total.checked_add(Duration::from_micros(u64::try_from(part).ok()?))?;
        rest = &rest[digits + letters..];
        if rest.is_empty() {
            return Some(total);
        }
    }
}

fn unit(text: &str) -> Option<Duration> {
    Some(match text {
        "us" => Duration::from_micros(1),
        "ms" => Duration::from_millis(1),
        "s" => Duration::from_secs(1),
        "m" => Duration::from_secs(60),
        "h" => Duration::from_secs(3_600),
        "d" => Duration::from_secs(86_400),
        _ => return None,
    })
}

/// The shortest text that [`parse`] reads back as this.
pub fn format(duration: Duration) -> String {
    let micros = duration.as_micros();
    let units =
        [(86_400_000_000, "d"), (3_600_000_000, "h"), (60_000_000, "m"), (1_000_000, "s"), (1_000, "ms"), (1, "us")];
    let whole = units.iter().find(|(size, _)| micros >= *size && micros.is_multiple_of(*size));
    whole.map_or_else(|| "0s".to_string(), |(size, unit)| format!("{}{unit}", micros / size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_written() {
        for (text, millis) in
            [("5s", 5_000), ("100ms", 100), ("1m30s", 90_000), ("2h", 7_200_000), ("1d", 86_400_000), ("0s", 0)]
        {
            assert_eq!(parse(text), Some(Duration::from_millis(millis)), "{text}");
            assert_eq!(parse(&format(Duration::from_millis(millis))), Some(Duration::from_millis(millis)), "{text}");
        }
        assert_eq!(parse("250us"), Some(Duration::from_micros(250)));
        assert_eq!(format(Duration::from_secs(90)), "90s");
    }

    #[test]
    fn what_is_not_a_duration_is_not_guessed() {
        for bad in [
            "",
            "5",
            "s",
            "5 s",
            "-5s",
            "1.5s",
            "5S",
            "5sec",
            "1s1m",
            "1s1s",
            "ä",
            "5ä",
            "99999999999999999999s",
            "9999999999999999d",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
