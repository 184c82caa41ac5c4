//! Checks a node's configuration against the JSON Schema that its operator declares. The part of JSON Schema that operators
//! use: `type`, `properties`, `required`, `additionalProperties: false`, `enum`, `minimum`, `maximum`, `items`. Other
//! keywords are the operator's own to check in `open`.

use serde_json::Value;
use weir_core::graph::fault::Fault;

/// Every place where the configuration does not fit.
pub(super) fn faults(schema: &Value, config: &Value, path: &str) -> Vec<Fault> {
    let mut faults = Vec::new();
    check(schema, config, path, &mut faults);
    faults
}

fn check(schema: &Value, value: &Value, path: &str, faults: &mut Vec<Fault>) {
    let mut wrong = |message: String| faults.push(Fault::error("weir::operator::config", path, message));
    let types: Vec<&str> = match &schema["type"] {
        Value::String(one) => vec![one],
        Value::Array(many) => many.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    if !types.is_empty() && !types.iter().any(|t| has_type(value, t)) {
        return wrong(format!("the operator wants {} here, not {}", types.join(" or "), shown(value)));
    }
    if let Some(allowed) = schema["enum"].as_array()
        && !allowed.contains(value)
    {
        let allowed: Vec<String> = allowed.iter().map(Value::to_string).collect();
        wrong(format!("{} is not allowed; allowed are {}", shown(value), allowed.join(", ")));
    }
    if let Some(number) = value.as_f64() {
        if schema["minimum"].as_f64().is_some_and(|minimum| number < minimum) {
            wrong(format!("{number} is below the least value {}", schema["minimum"]));
        }
        if schema["maximum"].as_f64().is_some_and(|maximum| number > maximum) {
            wrong(format!("{number} is over the greatest value {}", schema["maximum"]));
        }
    }
    if let Some(object) = value.as_object() {
        let properties = schema["properties"].as_object();
        for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if !object.contains_key(name) {
                wrong(format!("the operator's config lacks `{name}`"));
            }
        }
        for (name, value) in object {
            let path = format!("{path}.{name}");
            match properties.and_then(|properties| properties.get(name)) {
                Some(schema) => check(schema, value, &path, faults),
                None if schema["additionalProperties"] == Value::Bool(false) => {
                    let known: Vec<String> =
                        properties.into_iter().flatten().map(|(name, _)| format!("`{name}`")).collect();
                    let message = format!("the operator knows no config key `{name}`");
                    faults.push(
                        Fault::error("weir::operator::config", path, message)
                            .help(format!("it knows {}", known.join(", "))),
                    );
                }
                None => {}
            }
        }
    }
    if let (Some(items), Value::Object(_)) = (value.as_array(), &schema["items"]) {
        for (i, item) in items.iter().enumerate() {
            check(&schema["items"], item, &format!("{path}.{i}"), faults);
        }
    }
}

fn has_type(value: &Value, name: &str) -> bool {
    match name {
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "object" => value.is_object(),
        "array" => value.is_array(),
        "null" => value.is_null(),
        _ => true,
    }
}

fn shown(value: &Value) -> String {
    let text = value.to_string();
    if text.len() <= 60 { text } else { format!("{}…", text.chars().take(60).collect::<String>()) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::faults;

    #[test]
    fn a_config_that_does_not_fit_its_schema_is_named_key_by_key() {
        let schema = json!({
            "type": "object", "additionalProperties": false, "required": ["window"],
            "properties": { "window": { "type": "string" }, "top": { "type": "integer", "minimum": 1 } },
        });
        assert!(faults(&schema, &json!({ "window": "5s", "top": 3 }), "c").is_empty());
        let messages =
            |config| faults(&schema, &config, "c").iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        insta::assert_snapshot!(messages(json!({ "top": 0, "windw": "5s" })), @r"
        c: the operator's config lacks `window`
        c.top: 0 is below the least value 1
        c.windw: the operator knows no config key `windw` (it knows `top`, `window`)
        ");
        insta::assert_snapshot!(messages(json!({ "window": 5 })), @"c.window: the operator wants string here, not 5");
    }
}
