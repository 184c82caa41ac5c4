//! How a server's settings are shown: a line for each key, or JSON. There is no secret among them; a reference is shown as it
//! was written.

use serde::Serialize;
use serde_json::Value;

/// A key, its value, and who said it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// `section.key`.
    pub key: String,
    /// As JSON or in words; empty where there is none.
    pub value: String,
    /// `default`, `FILE:LINE`, a variable, a flag.
    pub origin: String,
}

#[derive(Serialize)]
struct Json<'a> {
    key: &'a str,
    value: Value,
    origin: &'a str,
}

impl Shown {
    /// One line, as in the file.
    pub fn line(&self, width: usize, has_origin: bool) -> String {
        let value = if self.value.is_empty() { "-" } else { &self.value };
        let line = format!("{} = {value}", self.key);
        match has_origin {
            true => format!("{line:<width$}  # {}", self.origin),
            false => line,
        }
    }

    /// For programs.
    pub fn json(&self) -> Value {
        let value = match self.value.as_str() {
            "" => Value::Null,
            text => serde_json::from_str(text).unwrap_or_else(|_| Value::from(text)),
        };
        serde_json::to_value(Json { key: &self.key, value, origin: &self.origin }).unwrap_or_default()
    }
}
