//! The node's configuration and place. Reads what the host gives at `open`; never reads an environment.

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{Failure, host};

/// Where an instance runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Task {
    /// Name of the pipeline.
    pub pipeline: String,
    /// Name of the node.
    pub node: String,
    /// Number of this parallel copy, from 0.
    pub subtask: u32,
    /// How many copies there are.
    pub parallelism: u32,
}

/// `config = { … }` of the node, already checked against the schema of the descriptor.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    json: Value,
}

impl Config {
    /// A configuration from its JSON text; empty text is an empty configuration.
    pub fn parse(text: &str) -> Result<Config, Failure> {
        let text = if text.trim().is_empty() { "{}" } else { text };
        let json = serde_json::from_str(text).map_err(|error| Failure::fatal("config", error))?;
        Ok(Config { json })
    }

    /// The whole as a type of the operator's.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_value(self.json.clone()).map_err(|error| Failure::fatal("config", error))
    }

    /// A field as it is, `None` if it is missing or null.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.json.get(name).filter(|value| !value.is_null())
    }

    /// A duration such as "5s" in milliseconds.
    pub fn duration(&self, name: &str, default: &str) -> Result<i64, Failure> {
        let text = match self.get(name) {
            None => default,
            Some(Value::String(text)) => text,
            Some(other) => return Err(wrong(name, "a duration such as \"5s\"", kind(other))),
        };
        duration(text).ok_or_else(|| wrong(name, "a duration such as \"250ms\", \"5s\", \"1h30m\"", text))
    }

    /// A text.
    pub fn text<'a>(&'a self, name: &str, default: &'a str) -> Result<&'a str, Failure> {
        match self.get(name) {
            None => Ok(default),
            Some(value) => value.as_str().ok_or_else(|| wrong(name, "a string", kind(value))),
        }
    }

    /// A whole number.
    pub fn integer(&self, name: &str, default: i64) -> Result<i64, Failure> {
        match self.get(name) {
            None => Ok(default),
            Some(value) => value.as_i64().ok_or_else(|| wrong(name, "a whole number", kind(value))),
        }
    }

    /// Reveals a secret that the pipeline file granted to this node by this name.
    pub fn secret(&self, name: &str) -> Option<String> {
        host::secret(name)
    }
}

/// The kind alone: printing the value would put all of JSON's number formatting into each component.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

fn wrong(name: &str, wanted: &str, found: &str) -> Failure {
    Failure::fatal("config", format_args!("`{name}` must be {wanted}, found {found}"))
}

/// Reads a duration in milliseconds: whole numbers with the units ms, s, m, h, d, one behind the other ("1h30m").
pub fn duration(text: &str) -> Option<i64> {
    let mut rest = text.trim();
    let mut total: i64 = 0;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, after) = rest.split_at(digits);
        let letters = after.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, after) = after.split_at(letters);
        let unit = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return None,
        };
        total = total.checked_add(number.parse::<i64>().ok()?.checked_mul(unit)?)?;
        rest = after;
    }
    (!text.trim().is_empty()).then_some(total)
}
