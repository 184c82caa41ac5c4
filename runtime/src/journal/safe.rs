//! A guest's text as it may be shown: on one line, without what moves a terminal's cursor or turns text around, and without
//! its node's secrets. Only text that went through here is kept.

use std::fmt::Write;

/// What stands where a secret stood.
const HIDDEN: &str = "[secret]";
/// Shorter ones would hide ordinary words.
const SECRET_BYTES_MIN: usize = 4;
/// No more is looked at: a guest chooses the length.
const BYTES_MAX: usize = 16 << 10;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Safe(String);

impl Safe {
    /// Makes a text safe. `secrets` are the values that its node knows.
    pub fn new(text: &str, secrets: &[&str]) -> Safe {
        // Order: secrets first, whole, since a cut or an escaped one would not be found.
        let hidden = hide(&text[..text.floor_char_boundary(BYTES_MAX)], secrets);
        let mut safe = String::with_capacity(hidden.len());
        for c in hidden.chars() {
            match c {
                '\n' => safe.push_str("\\n"),
                '\r' => safe.push_str("\\r"),
                '\t' => safe.push_str("\\t"),
                c if is_harmful(c) => {
                    // Writing to a string does not fail.
                    let _ = write!(safe, "\\u{{{:x}}}", u32::from(c));
                }
                c => safe.push(c),
            }
        }
        Safe(safe)
    }

    /// At most so many bytes of it, with `…` where it is cut.
    pub fn cut(&self, bytes: usize) -> String {
        if self.0.len() <= bytes {
            return self.0.clone();
        }
        format!("{}…", &self.0[..self.0.floor_char_boundary(bytes)])
    }
}

/// The text without the secrets that stand in it.
pub fn hide<'a>(text: &'a str, secrets: &[&str]) -> std::borrow::Cow<'a, str> {
    let mut found =
        secrets.iter().filter(|secret| secret.len() >= SECRET_BYTES_MIN && text.contains(**secret)).peekable();
    if found.peek().is_none() {
        return text.into();
    }
    // Longest first: one may be part of another.
    let mut found: Vec<&str> = found.copied().collect();
    found.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    found.into_iter().fold(text.to_owned(), |text, secret| text.replace(secret, HIDDEN)).into()
}

/// Control characters, separators of lines, and marks that turn the direction of text.
fn is_harmful(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn safe(text: &str) -> String {
        Safe::new(text, &["hunter22", "hunter22-long", "abc"]).0
    }

    #[test]
    fn nothing_moves_a_cursor_or_begins_a_line() {
        assert_eq!(safe("a\nERROR forged\r\t"), "a\\nERROR forged\\r\\t");
        assert_eq!(safe("\u{1b}[2Jx\u{7}\u{9b}1m"), "\\u{1b}[2Jx\\u{7}\\u{9b}1m");
        assert_eq!(safe("\u{202e}txt\u{2028}"), "\\u{202e}txt\\u{2028}");
        assert_eq!(safe("grüße 😀"), "grüße 😀");
    }

    #[test]
    fn secrets_are_hidden_the_longest_first_and_short_words_stay() {
        assert_eq!(safe("it is hunter22-long, or hunter22; abc"), "it is [secret], or [secret]; abc");
    }

    #[test]
    fn a_cut_falls_between_characters() {
        assert_eq!(Safe::new("aäb", &[]).cut(2), "a…");
        assert_eq!(Safe::new("ab", &[]).cut(2), "ab");
    }
}
