//! Whether a value of a request is what the document says of it, in words of ours: which one, what it is to be, what it is. Knows as
//! much of JSON Schema as the document uses; reads no request.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

/// Schemas by the reference that stands for them.
type Named = BTreeMap<String, Value>;

/// Holds a body against the schema of its type. No key is taken that does not stand there.
pub(super) fn body<T: ToSchema>(value: &Value) -> Result<(), String> {
    let mut schemas = Vec::new();
    T::schemas(&mut schemas);
    let named = schemas.iter().map(|(name, schema)| (format!("#/components/schemas/{name}"), json(schema))).collect();
    fits(&json(&T::schema()), value, "", &named)
}

/// Holds what stands behind the `?` under a name against its schema.
pub(super) fn parameter(schema: &Value, name: &str, text: &str) -> Result<(), String> {
    let types = types(schema);
    let is_fine = match () {
        () if types.contains(&"boolean") => matches!(text, "true" | "false"),
        () if types.contains(&"integer") => text.parse::<u64>().is_ok(),
        () => true,
    };
    if is_fine { Ok(()) } else { Err(format!("{name}={text}: `{name}` is to be {}", wanted(&types))) }
}

pub(super) fn json<S: Serialize>(schema: &S) -> Value {
    serde_json::to_value(schema).unwrap_or_default()
}

fn fits(schema: &Value, value: &Value, at: &str, named: &Named) -> Result<(), String> {
    let list = |key: &str| schema[key].as_array().map(Vec::as_slice).unwrap_or_default();
    if let Some(schema) = schema["$ref"].as_str().and_then(|reference| named.get(reference)) {
        return fits(schema, value, at, named);
    }
    // Of two, one is null: what need not be there.
    let choices = list("oneOf");
    if value.is_null() && choices.iter().any(|choice| choice["type"] == "null") {
        return Ok(());
    }
    for part in choices.iter().filter(|choice| choice["type"] != "null").chain(list("allOf")) {
        fits(part, value, at, named)?;
    }
    let called = if at.is_empty() { "the body".to_owned() } else { format!("`{at}`") };
    let (types, words) = (types(schema), list("enum"));
    if !types.is_empty() && !types.contains(&type_of(value)) {
        return Err(format!("{called} is to be {}, and is {}", wanted(&types), found(value)));
    }
    if !words.is_empty() && !words.contains(value) {
        let words: Vec<String> = words.iter().map(Value::to_string).collect();
        return Err(format!("{called} is to be one of {}", words.join(", ")));
    }
    match (value, schema["properties"].as_object()) {
        (Value::Object(given), Some(known)) => {
            for key in list("required").iter().filter_map(Value::as_str) {
                if !given.contains_key(key) {
                    return Err(format!("`{}` is missing", below(at, key)));
                }
            }
            for (key, value) in given {
                let schema = known.get(key).ok_or_else(|| {
                    let known: Vec<String> = known.keys().map(|key| format!("`{key}`")).collect();
                    format!("there is no {:?} in {called}: there are {}", key, known.join(", "))
                })?;
                fits(schema, value, &below(at, key), named)?;
            }
            Ok(())
        }
        (Value::Array(items), _) => items
            .iter()
            .enumerate()
            .try_for_each(|(n, item)| fits(&schema["items"], item, &format!("{at}[{n}]"), named)),
        _ => Ok(()),
    }
}

fn below(at: &str, key: &str) -> String {
    if at.is_empty() { key.to_owned() } else { format!("{at}.{key}") }
}

fn types(schema: &Value) -> Vec<&str> {
    match &schema["type"] {
        Value::Array(types) => types.iter().filter_map(Value::as_str).collect(),
        one => one.as_str().into_iter().collect(),
    }
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        // Nothing that is asked for can be less than none.
        Value::Number(number) if number.is_u64() => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn wanted(types: &[&str]) -> String {
    let words = types.iter().filter(|it| **it != "null").map(|it| match *it {
        "boolean" => "true or false",
        "integer" => "a whole number from 0 on",
        "string" => "a string",
        "array" => "a list",
        "object" => "an object",
        other => other,
    });
    words.collect::<Vec<_>>().join(" or ")
}

/// Not the whole of what came: it may be long.
fn found(value: &Value) -> String {
    match value {
        Value::String(_) => "a string".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
        plain => plain.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[derive(ToSchema)]
    #[allow(dead_code, reason = "its schema is what counts")]
    struct Outer {
        name: String,
        to: Option<u64>,
        wait: Option<bool>,
        list: Option<Vec<String>>,
        inner: Option<Inner>,
        kind: Option<Kind>,
    }

    #[derive(ToSchema)]
    #[allow(dead_code, reason = "its schema is what counts")]
    struct Inner {
        count: Option<u64>,
    }

    #[derive(ToSchema, Serialize)]
    #[serde(rename_all = "kebab-case")]
    #[allow(dead_code, reason = "its schema is what counts")]
    enum Kind {
        One,
        OtherOne,
    }

    #[test]
    fn what_does_not_fit_is_told_by_its_place_and_what_is_allowed_there() {
        let says = |value: Value| body::<Outer>(&value).unwrap_err();
        assert_eq!(says(json!([])), "the body is to be an object, and is a list");
        assert_eq!(says(json!({})), "`name` is missing");
        assert_eq!(says(json!({"name": 7})), "`name` is to be a string, and is 7");
        assert_eq!(says(json!({"name": "a", "wait": "yes"})), "`wait` is to be true or false, and is a string");
        assert_eq!(says(json!({"name": "a", "to": -1})), "`to` is to be a whole number from 0 on, and is -1");
        assert_eq!(says(json!({"name": "a", "list": ["b", 1]})), "`list[1]` is to be a string, and is 1");
        assert_eq!(says(json!({"name": "a", "inner": []})), "`inner` is to be an object, and is a list");
        assert_eq!(says(json!({"name": "a", "inner": {"x": 1}})), "there is no \"x\" in `inner`: there are `count`");
        assert_eq!(says(json!({"name": "a", "kind": "two"})), "`kind` is to be one of \"one\", \"other-one\"");
        let whole = json!({"name": "a", "to": 1, "wait": true, "list": [], "inner": {"count": null}, "kind": "one"});
        body::<Outer>(&whole).unwrap();
        body::<Outer>(&json!({"name": "a", "to": null, "wait": null, "inner": null, "kind": null})).unwrap();
    }
}
