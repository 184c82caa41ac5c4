//! The same document as JSON: a TOML text, written again from its own tree of values. Does not go through the settings.

use serde_json::Value as Json;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The twin of a TOML text, with the keys in the order of the file. `None` where there is none: the text is no TOML, or holds
/// what JSON cannot say (dates, infinities, numbers above 64 bits).
pub fn json(text: &str) -> Option<String> {
    let table = DeTable::parse(text).ok()?;
    let mut out = String::with_capacity(text.len());
    write_table(table.get_ref(), &mut out)?;
    Some(out)
}

fn write_table(table: &DeTable<'_>, out: &mut String) -> Option<()> {
    // The parser sorts by name.
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    out.push('{');
    for (at, (key, value)) in entries.into_iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        write_text(key.get_ref(), out);
        out.push(':');
        write_value(value, out)?;
    }
    out.push('}');
    Some(())
}

fn write_value(value: &Spanned<DeValue<'_>>, out: &mut String) -> Option<()> {
    match value.get_ref() {
        DeValue::String(text) => write_text(text, out),
        DeValue::Integer(number) => {
            let number = i64::from_str_radix(number.as_str(), number.radix()).ok()?;
            out.push_str(&number.to_string());
        }
        DeValue::Float(number) => {
            let number: f64 = number.as_str().parse().ok()?;
            let text = serde_json::Number::from_f64(number)?.to_string();
            // JSON is read without the last bit of precision.
            let read = serde_json::from_str::<f64>(&text).ok()?;
            (read.to_bits() == number.to_bits()).then(|| out.push_str(&text))?;
        }
        DeValue::Boolean(value) => out.push_str(if *value { "true" } else { "false" }),
        DeValue::Datetime(_) => return None,
        DeValue::Array(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                write_value(item, out)?;
            }
            out.push(']');
        }
        DeValue::Table(table) => write_table(table, out)?,
    }
    Some(())
}

fn write_text(text: &str, out: &mut String) {
    out.push_str(&Json::from(text).to_string());
}
