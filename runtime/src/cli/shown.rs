//! What a server said, as it goes on a terminal: it may hold what an operator or a record says, which is to move no cursor and
//! to begin no line. JSON is printed as JSON has it, elsewhere.

use serde_json::Value;

use crate::journal::Safe;

/// A value on one line: the cell of a table, a word in a sentence. `-` is what a person reads where there is nothing.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => line(text),
        other => line(&other.to_string()),
    }
}

/// A text of several lines, such as faults with their carets.
pub(super) fn lines(text: &str) -> String {
    // A tab is a space to a terminal.
    let safe = |part: &str| part.split('\t').map(line).collect::<Vec<_>>().join("\t");
    text.lines().map(safe).collect::<Vec<_>>().join("\n")
}

fn line(text: &str) -> String {
    Safe::new(text, &[]).cut(usize::MAX)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_server_says_moves_no_cursor() {
        assert_eq!(text(&json!("a\u{1b}[2J\u{0}\nb")), "a\\u{1b}[2J\\u{0}\\nb");
        assert_eq!(text(&json!({"a": "\u{9b}1m"})), "{\"a\":\"\\u{9b}1m\"}");
        assert_eq!(lines("a:\n\t^ \u{1b}[2J\r\n"), "a:\n\t^ \\u{1b}[2J");
        assert_eq!((text(&Value::Null), text(&json!(7))), ("-".to_owned(), "7".to_owned()));
    }
}
