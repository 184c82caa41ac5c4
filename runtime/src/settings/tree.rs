//! A file as a tree of values with their places. TOML and JSON make the same tree; JSON has no places, only paths.

use std::fmt;
use std::ops::Range;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Where something stands in the text, in bytes.
pub(super) type Span = Range<usize>;

/// A value and where it stands.
#[derive(Clone)]
pub(super) struct Tree {
    pub(super) span: Option<Span>,
    pub(super) value: Value,
    /// A string as it was written, where a reference in it was replaced. What is shown to people.
    pub(super) written: Option<String>,
    /// The value could not be made out, which has been reported: nothing more is said about it.
    pub(super) unresolved: bool,
}

#[derive(Clone)]
pub(super) enum Value {
    /// In file order.
    Table(Vec<Entry>),
    Array(Vec<Tree>),
    String(String),
    Integer(i64),
    Float(f64),
    Boolean(bool),
    /// A date or time, which nothing here uses.
    Datetime,
    Null,
}

/// A key and its value.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) key_span: Option<Span>,
    pub(super) tree: Tree,
}

impl Tree {
    pub(super) fn new(span: Option<Span>, value: Value) -> Tree {
        Tree { span, value, written: None, unresolved: false }
    }

    /// The entries, if this is a table.
    pub(super) fn entries(&self) -> Option<&[Entry]> {
        match &self.value {
            Value::Table(entries) => Some(entries),
            _ => None,
        }
    }

    /// The entry of this key.
    pub(super) fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries()?.iter().find(|e| e.key == key)
    }

    /// The item at this index.
    pub(super) fn item(&self, index: usize) -> Option<&Tree> {
        match &self.value {
            Value::Array(items) => items.get(index),
            _ => None,
        }
    }

    /// What it is, for "expected …, found …".
    pub(super) fn type_name(&self) -> &'static str {
        match self.value {
            Value::Table(_) => "a table",
            Value::Array(_) => "a list",
            Value::String(_) => "a string",
            Value::Integer(_) => "an integer",
            Value::Float(_) => "a decimal number",
            Value::Boolean(_) => "true or false",
            Value::Datetime => "a date",
            Value::Null => "null",
        }
    }

    /// The tree of a TOML document. Integers that do not fit are told by their span.
    pub(super) fn of_toml(table: Spanned<DeTable<'_>>, too_large: &mut Vec<Span>) -> Tree {
        let span = table.span();
        Tree::new(Some(span), of_table(table.into_inner(), too_large))
    }

    /// The same as JSON, for the operator.
    pub(super) fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::Table(entries) => entries.iter().map(|e| (e.key.clone(), e.tree.to_json())).collect(),
            Value::Array(items) => items.iter().map(Tree::to_json).collect(),
            Value::String(text) => text.as_str().into(),
            Value::Integer(number) => (*number).into(),
            Value::Float(number) => (*number).into(),
            Value::Boolean(value) => (*value).into(),
            Value::Datetime | Value::Null => serde_json::Value::Null,
        }
    }
}

fn of_table(table: DeTable<'_>, too_large: &mut Vec<Span>) -> Value {
    let mut entries: Vec<Entry> = Vec::with_capacity(table.len());
    for (key, value) in table {
        let (key_span, span) = (key.span(), value.span());
        let tree = of_spanned(value.into_inner(), span, too_large);
        entries.push(Entry { key: key.into_inner().into_owned(), key_span: Some(key_span), tree });
    }
    // The parser sorts by name; the first Kafka sink of the file is the authority, so the order of the file matters.
    entries.sort_by_key(|e| e.key_span.as_ref().map(|s| s.start));
    Value::Table(entries)
}

fn of_spanned(value: DeValue<'_>, span: Span, too_large: &mut Vec<Span>) -> Tree {
    let before = too_large.len();
    let value = match value {
        DeValue::String(text) => Value::String(text.into_owned()),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Value::Integer(number),
            Err(_) => {
                too_large.push(span.clone());
                Value::Integer(0)
            }
        },
        DeValue::Float(number) => Value::Float(number.as_str().parse().unwrap_or(f64::NAN)),
        DeValue::Boolean(value) => Value::Boolean(value),
        DeValue::Datetime(_) => Value::Datetime,
        DeValue::Array(items) => {
            let item = |item: Spanned<DeValue<'_>>| {
                let span = item.span();
                of_spanned(item.into_inner(), span, too_large)
            };
            Value::Array(items.into_iter().map(item).collect())
        }
        DeValue::Table(table) => of_table(table, too_large),
    };
    let unresolved = matches!(value, Value::Integer(_)) && too_large.len() > before;
    Tree { unresolved, ..Tree::new(Some(span), value) }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Tree, D::Error> {
        deserializer.deserialize_any(OfJson).map(|value| Tree::new(None, value))
    }
}

/// Keeps the order of keys and refuses one that stands twice, which `serde_json::Value` does not.
struct OfJson;

impl<'de> Visitor<'de> for OfJson {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Boolean(value))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Integer(number))
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Value, E> {
        i64::try_from(number).map(Value::Integer).map_err(|_| E::custom(format!("the number {number} is too large")))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(Value::Float(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::String(text.to_string()))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut keys = std::collections::BTreeSet::new();
        while let Some((key, tree)) = map.next_entry::<String, Tree>()? {
            if !keys.insert(key.clone()) {
                return Err(serde::de::Error::custom(format!("the key {key:?} stands twice")));
            }
            entries.push(Entry { key, key_span: None, tree });
        }
        Ok(Value::Table(entries))
    }
}
