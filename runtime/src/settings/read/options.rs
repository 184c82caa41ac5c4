//! `options = { … }`: reads which of librdkafka's settings a user changes. What the protocol rests on is refused with the
//! reason; what has a key of its own is sent there; anything else is refused by name. The list is `kafka_options`.

use std::collections::BTreeMap;

use weir_core::graph::nearest::nearest;

use super::super::kafka_options::{self, names};
use super::super::tree::Value;
use super::Reader;
use super::field::Field;

/// Reads the options, each as text.
pub(super) fn read(field: &Field<'_>, reader: &mut Reader<'_>) -> BTreeMap<String, String> {
    let Some(table) = field.table(reader) else { return BTreeMap::new() };
    let mut options = BTreeMap::new();
    for option in flatten(table.into_fields(), reader) {
        let (name, option) = option;
        if let Some(value) = check(&name, &option, reader) {
            options.insert(name, value);
        }
    }
    options
}

/// In TOML `linger.ms = 5` without quotes is a table `linger` with a key `ms`: both ways of writing mean the same.
fn flatten<'t>(fields: Vec<Field<'t>>, reader: &mut Reader<'_>) -> Vec<(String, Field<'t>)> {
    let mut flat = Vec::new();
    for field in fields {
        match field.tree().entries() {
            Some(_) => {
                let inner = field.table(reader).map(|t| t.into_fields()).unwrap_or_default();
                flat.extend(flatten(inner, reader).into_iter().map(|(name, f)| (format!("{}.{name}", field.key()), f)));
            }
            None => flat.push((field.key().to_string(), field)),
        }
    }
    flat
}

fn check(name: &str, field: &Field<'_>, reader: &mut Reader<'_>) -> Option<String> {
    if kafka_options::taker(name).is_none() {
        let fault = match kafka_options::reason(name) {
            Some(reason) => field
                .problem("weir::config::locked_option", format!("the option `{name}` cannot be set: {reason}"))
                .help("take it out"),
            None if name.starts_with("sasl.") || name.starts_with("ssl.") || name == "security.protocol" => field
                .problem("weir::config::locked_option", format!("the option `{name}` cannot be set here"))
                .help("use security = { protocol, mechanism, username, password, ca, cert, key }"),
            None => {
                let close = nearest(name, &names()).map(|c| format!("did you mean `{c}`? ")).unwrap_or_default();
                let fault =
                    field.problem("weir::config::unknown_option", format!("the option `{name}` is not allowed"));
                fault.help(format!("{close}Allowed: {}", names().join(", ")))
            }
        };
        reader.error(fault, field.name_span());
        return None;
    }
    match &field.tree().value {
        Value::String(text) => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        Value::Boolean(value) => Some(value.to_string()),
        _ => {
            field.report_shape(
                reader,
                "a string, an integer or true or false",
                "librdkafka's own documentation says which",
            );
            None
        }
    }
}
