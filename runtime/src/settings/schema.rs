//! The pipeline file and `weir.toml` as JSON Schemas (draft 2020-12), made of the reference. An editor that knows it completes and explains
//! keys; whether a file is good says `weir check`, which knows more.

use serde_json::{Map, Value, json};

use super::reference::{Key, keys, server_keys};

/// The schema.
pub fn pipeline() -> Value {
    let keys = keys();
    let mut schema = whole(&keys, "A pipeline of weir");
    let more = json!({
        "name": {"type": "string", "pattern": "^[a-z][a-z0-9_-]{0,62}$|\\$\\{"},
        "reference": {
            "type": "string",
            "pattern": "\\$\\{",
            "description": "${env:NAME}, ${env:NAME:-DEFAULT} or ${file:PATH} in any string",
        },
        "edge": {"anyOf": [{"type": "string", "description": "node, or node.port"}, table(&keys, "edge")]},
        "key": table(&keys, "key"),
    });
    if let (Some(defs), Value::Object(more)) = (schema["$defs"].as_object_mut(), more) {
        defs.extend(more);
    }
    schema
}

/// That of `weir.toml`.
pub fn server() -> Value {
    whole(&server_keys(), "A server of weir")
}

fn whole(keys: &[Key], title: &str) -> Value {
    let mut schema = table(keys, "");
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["title"] = json!(title);
    let units = |units: &str| format!("^([0-9]+({units}))+$|\\$\\{{");
    schema["$defs"] = json!({
        "duration": {
            "type": "string",
            "pattern": units("us|ms|s|m|h|d"),
            "description": "whole numbers with units, largest first: \"100ms\", \"1m30s\"; units us, ms, s, m, h, d",
        },
        "size": {
            "type": "string",
            "pattern": units("B|KB|MB|GB|KiB|MiB|GiB"),
            "description": "a whole number with a unit: \"64MiB\"; units B, KB, MB, GB (1000), KiB, MiB, GiB (1024)",
        },
    });
    schema
}

fn table(keys: &[Key], path: &str) -> Value {
    let mine: Vec<&Key> = keys.iter().filter(|key| key.table == path).collect();
    let properties: Map<String, Value> = mine.iter().map(|key| (key.key.to_owned(), value(keys, key))).collect();
    let required = |of: &dyn Fn(&Key) -> bool| -> Vec<&str> {
        mine.iter().filter(|key| key.default == "required" && of(key)).map(|key| key.key).collect()
    };
    let mut schema = json!({"type": "object", "properties": properties, "additionalProperties": false});
    schema["required"] = json!(required(&|key| key.of.is_empty()));
    let chooser = mine.iter().find(|key| matches!(key.key, "type" | "strategy"));
    let Some(chooser) = chooser.filter(|_| mine.iter().any(|key| !key.of.is_empty())) else { return schema };
    let variant = |word: &str| {
        let has = |key: &Key| key.of.split(' ').any(|of| of == word);
        let others = mine.iter().filter(|key| !key.of.is_empty() && !has(key));
        let absent: Map<String, Value> = others.map(|key| (key.key.to_owned(), json!(false))).collect();
        // Where it is not written the default counts.
        let written = if chooser.default == format!("\"{word}\"") { vec![] } else { vec![chooser.key] };
        json!({
            "if": {"properties": {chooser.key: {"const": word}}, "required": written},
            "then": {"properties": absent, "required": required(&has)},
        })
    };
    schema["allOf"] = words(chooser).map(variant).collect();
    schema
}

fn words(key: &Key) -> impl Iterator<Item = &'static str> + use<> {
    key.kind.split(' ').skip(1)
}

fn value(keys: &[Key], key: &Key) -> Value {
    let (kind, rest) = key.kind.split_once(' ').unwrap_or((key.kind, ""));
    let inner = [key.table, key.key].iter().filter(|part| !part.is_empty()).copied().collect::<Vec<_>>().join(".");
    let mut schema = match kind {
        "duration" | "size" | "name" => json!({"$ref": format!("#/$defs/{kind}")}),
        "int" => {
            let number = |text: Option<&str>| text.and_then(|text| text.parse::<i64>().ok());
            let (least, most) = rest.split_once("..").unzip();
            json!({"type": "integer", "minimum": number(least), "maximum": number(most)})
        }
        "word" => {
            json!({"anyOf": [{"enum": words(key).collect::<Vec<_>>()}, {"$ref": "#/$defs/reference"}]})
        }
        "bool" => json!({"type": "boolean"}),
        "list" => json!({"type": "array", "items": {"type": "string"}}),
        "table" => table(keys, &inner),
        "tables" => json!({
            "type": "object",
            "propertyNames": {"$ref": "#/$defs/name"},
            "additionalProperties": table(keys, &format!("{inner}.*")),
        }),
        "json" => serde_json::from_str(rest).unwrap_or_default(),
        _ => json!({"type": "string"}),
    };
    let mut effect = key.effect.to_owned();
    match serde_json::from_str::<Value>(key.default) {
        Ok(default) => schema["default"] = default,
        Err(_) if key.default.is_empty() || key.default == "required" => {}
        Err(_) => effect = format!("{effect}; default: {}", key.default),
    }
    schema["description"] = json!(effect);
    schema
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every schema in it, with where it stands.
    fn each<'a>(schema: &'a Value, at: &str, see: &mut impl FnMut(&str, &'a Value)) {
        see(at, schema);
        let parts: Vec<(String, &Value)> = match schema {
            Value::Object(parts) => parts.iter().map(|(key, part)| (key.clone(), part)).collect(),
            Value::Array(parts) => parts.iter().enumerate().map(|(at, part)| (at.to_string(), part)).collect(),
            _ => Vec::new(),
        };
        parts.iter().for_each(|(key, part)| each(part, &format!("{at}/{key}"), see));
    }

    #[test]
    fn every_part_is_a_schema_and_every_reference_leads_somewhere() {
        for (schema, least) in [(pipeline(), 50), (server(), 5)] {
            let mut references = 0;
            each(&schema, "#", &mut |at, part| {
                assert!(!part.is_null() || at.ends_with("/default"), "{at} is nothing");
                if let Some(to) = part.get("$ref").and_then(Value::as_str) {
                    references += 1;
                    assert!(schema.pointer(to.trim_start_matches('#')).is_some(), "{at} leads to {to}");
                }
            });
            assert!(references > least);
        }
    }

    #[test]
    fn a_table_and_its_variants_are_as_they_are_read() {
        let schema = pipeline();
        insta::assert_snapshot!(format!("{:#}", schema["properties"]["checkpoint"]));
        insta::assert_snapshot!(format!("{:#}", schema["properties"]["restart"]["allOf"]));
    }
}
