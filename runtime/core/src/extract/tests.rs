//! Rules one by one, and the scanner against `serde_json` on values good and damaged.

use proptest::prelude::*;
use serde::de::IgnoredAny;
use serde_json::Value;

use super::*;

/// Finds one key; `Err` is the message.
fn key(pointer: &str, value: &[u8]) -> Result<Vec<u8>, String> {
    let mut extractor = Extractor::compile(None, &[pointer]).expect("compiles");
    let mut columns = [Column::default()];
    extractor.extract(Some(value), &mut columns).map_err(|e| e.to_string())?;
    Ok(columns[0].get(0).expect("a key is never absent").to_vec())
}

fn time(value: &str, unit: Unit) -> Result<Option<i64>, String> {
    let mut extractor = Extractor::compile::<&str>(Some(("/ts", unit)), &[]).expect("compiles");
    extractor.extract(Some(value.as_bytes()), &mut []).map_err(|e| e.to_string())
}

#[test]
fn time_and_keys_are_found_in_one_pass() {
    let value = br#" {"ip":"10.3.17.201","ts":1700000000123,"path":"/a/17","status":200,"user":{"id":7}} "#;
    let mut extractor = Extractor::compile(Some(("/ts", Unit::Millis)), &["/ip", "/user/id", "/ip"]).expect("compiles");
    let mut columns = vec![Column::default(); 3];
    assert_eq!(extractor.extract(Some(value), &mut columns), Ok(Some(1_700_000_000_123)));
    let keys: Vec<_> = columns.iter().map(|c| c.get(0)).collect();
    assert_eq!(keys, [Some(&b"10.3.17.201"[..]), Some(b"7"), Some(b"10.3.17.201")]);
}

#[test]
fn a_decoy_of_the_same_name_elsewhere_is_ignored() {
    assert_eq!(key("/ip", br#"{"a":{"ip":"no"},"b":["ip","no"],"x":"\"ip\":\"no\"","ip":"yes"}"#), Ok(b"yes".to_vec()));
    assert_eq!(key("/a/ip", br#"{"ip":"no","a":{"b":{"ip":"no"},"ip":"yes"}}"#), Ok(b"yes".to_vec()));
}

#[test]
fn the_first_of_a_name_counts_at_every_level() {
    assert_eq!(key("/a", br#"{"a":"1","a":"2"}"#), Ok(b"1".to_vec()));
    assert_eq!(key("/a", br#"{"a":null,"a":"2"}"#), Err("`/a` is null".into()));
    assert_eq!(key("/a/b", br#"{"a":{},"a":{"b":"2"}}"#), Err("`/a/b` is missing".into()));
    assert_eq!(key("/a/b", br#"{"a":1,"a":{"b":"2"}}"#), Err("`/a/b` is missing".into()));
    assert_eq!(key("/a", br#"{"\u0061":"1","a":"2"}"#), Ok(b"1".to_vec()));
}

#[test]
fn a_string_gives_its_decoded_bytes_and_a_number_its_literal() {
    assert_eq!(
        key("/k", br#"{"k":"a\n\"\\\/\b\f\r\t\u00e4\ud83d\ude00z"}"#),
        Ok("a\n\"\\/\u{8}\u{c}\r\tä😀z".as_bytes().to_vec())
    );
    assert_eq!(key("/k", br#"{"k":""}"#), Ok(vec![]));
    assert_eq!(key("/k", br#"{"k":-1.50e+3}"#), Ok(b"-1.50e+3".to_vec()));
    assert_eq!(key("/k", b"{\"k\":123456789012345678901234567890}"), Ok(b"123456789012345678901234567890".to_vec()));
    assert_eq!(key("", br#""whole""#), Ok(b"whole".to_vec()));
    assert_eq!(key("/1/a~1b/~0", br#"[0,{"a/b":{"~":"x"}}]"#), Ok(b"x".to_vec()));
    assert_eq!(key("/0", br#"{"0":"name"}"#), Ok(b"name".to_vec()));
    assert_eq!(key("/00", br#"["no"]"#), Err("`/00` is missing".into()));
}

#[test]
fn what_is_no_key_says_why() {
    let cases: [(&[u8], &str); 9] = [
        (b"{}", "`/k` is missing"),
        (b"[]", "`/k` is missing"),
        (b"7", "`/k` is missing"),
        (br#"{"k":null}"#, "`/k` is null"),
        (br#"{"k":true}"#, "`/k` is true or false"),
        (br#"{"k":{}}"#, "`/k` is an object"),
        (br#"{"k":[1]}"#, "`/k` is an array"),
        (b"{\"k\":\"\xff\"}", "`/k` is not UTF-8"),
        (br#"{"k":"\ud800x"}"#, "`/k` has half a surrogate pair"),
    ];
    for (value, message) in cases {
        assert_eq!(key("/k", value), Err(message.into()), "{}", String::from_utf8_lossy(value));
    }
    // Only what is taken out must be text.
    assert_eq!(key("/k", b"{\"other\":\"\xff\\ud800\",\"k\":\"x\"}"), Ok(b"x".to_vec()));
}

#[test]
fn a_time_is_an_integer_in_its_unit() {
    assert_eq!(time(r#"{"ts":-1}"#, Unit::Micros), Ok(Some(-1)));
    assert_eq!(time(r#"{"ts":1999}"#, Unit::Micros), Ok(Some(1)));
    assert_eq!(time(r#"{"ts":1}"#, Unit::Seconds), Ok(Some(1_000)));
    assert_eq!(time(r#"{"ts":1700000000123456789}"#, Unit::Nanos), Ok(Some(1_700_000_000_123)));
    assert_eq!(time(r#"{"ts":-9223372036854775808}"#, Unit::Millis), Ok(Some(i64::MIN)));
    for (value, problem) in [
        (r#"{"ts":"1"}"#, "is a string, not an integer"),
        (r#"{"ts":1.0}"#, "is not an integer"),
        (r#"{"ts":1e3}"#, "is not an integer"),
        (r#"{"ts":9223372036854775808}"#, "is out of range"),
        (r#"{"ts":null}"#, "is null"),
        (r#"{"t":1}"#, "is missing"),
    ] {
        assert_eq!(time(value, Unit::Millis), Err(format!("`/ts` {problem}")), "{value}");
    }
    assert_eq!(time(r#"{"ts":9223372036854775807}"#, Unit::Seconds), Err("`/ts` is out of range".into()));
}

#[test]
fn the_whole_value_is_scanned() {
    for (value, message) in [
        ("", "it ends at byte 0"),
        (r#"{"k":"x""#, "it ends at byte 8"),
        (r#"{"k":"x"} x"#, "something follows at byte 10"),
        (r#"{"k":"x"}{}"#, "something follows at byte 9"),
        (r#"{"k":"x",}"#, "no name in quotes at byte 9"),
        (r#"{"k" "x"}"#, "no `:` at byte 5"),
        (r#"{"k":"x" "l":1}"#, "neither `,` nor a closing bracket at byte 9"),
        (r#"{"k":"x","l":[1,]}"#, "no value at byte 16"),
        (r#"{"k":"x","l":01}"#, "no number at byte 15"),
        (r#"{"k":"x","l":"\x"}"#, "a wrong escape at byte 15"),
        ("{\"k\":\"x\ny\"}", "a control character at byte 7"),
        (r#"{"k":"x","l":nul}"#, "no value at byte 13"),
        (r#"{"k":"x","l":{]}"#, "no name in quotes at byte 14"),
    ] {
        assert_eq!(key("/k", value.as_bytes()), Err(format!("the value is not JSON: {message}")), "{value}");
    }
    let mut extractor = Extractor::compile(None, &["/k"]).expect("compiles");
    assert_eq!(extractor.extract(None, &mut [Column::default()]), Err(Error::NoValue));
}

#[test]
fn depth_is_bounded_wherever_it_is() {
    let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    let inside = |levels: usize| format!(r#"{{"k":"x","l":{}}}"#, nested(levels));
    assert_eq!(key("/k", inside(127).as_bytes()), Ok(b"x".to_vec()));
    assert!(key("/k", inside(128).as_bytes()).is_err_and(|e| e.contains("128 levels")));
    assert!(key("/0/0", nested(129).as_bytes()).is_err_and(|e| e.contains("128 levels")));
    assert!(key("/k", "[".repeat(1_000_000).as_bytes()).is_err());
}

#[test]
fn an_error_leaves_the_columns_as_they_were() {
    let mut extractor = Extractor::compile(Some(("/ts", Unit::Millis)), &["/a", "/b"]).expect("compiles");
    let mut columns = vec![Column::default(); 2];
    extractor.extract(Some(br#"{"ts":1,"a":"x","b":"y"}"#), &mut columns).expect("good");
    let before = columns.clone();
    for bad in [
        &br#"{"ts":1,"a":"x\n"}"#[..],
        br#"{"ts":1,"a":"x","b":"\ud800"}"#,
        br#"{"ts":1,"a":"x","b":"y""#,
        br#"{"a":"x","b":"y"}"#,
    ] {
        assert!(extractor.extract(Some(bad), &mut columns).is_err());
        assert_eq!(columns, before);
    }
}

#[test]
fn pointers_that_cannot_be_compiled_are_refused() {
    assert!(matches!(Extractor::compile(None, &["ip"]), Err(CompileError::Pointer(_))));
    let many: Vec<String> = (0..64).map(|i| format!("/k{i}")).collect();
    assert!(Extractor::compile(None, &many[..63]).is_ok());
    assert_eq!(Extractor::compile(None, &many).err(), Some(CompileError::TooMany));
}

/// JSON whose numbers and names are of the awkward kind, written with random white space and escapes.
fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
        "[a-c\"\\\\\n\u{1}😀]{0,20}".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map("[a-c/~0\"é]{0,2}", inner, 0..5).prop_map(|m| m.into_iter().collect()),
        ]
    })
}

/// Every pointer into a value, with what it leads to.
fn pointers(value: &Value, path: String, out: &mut Vec<(String, Value)>) {
    out.push((path.clone(), value.clone()));
    match value {
        Value::Object(members) => members.iter().for_each(|(name, inner)| {
            pointers(inner, format!("{path}/{}", name.replace('~', "~0").replace('/', "~1")), out);
        }),
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(i, inner)| pointers(inner, format!("{path}/{i}"), out))
        }
        _ => {}
    }
}

/// What the rules say about a value at a pointer.
fn expected(pointer: &str, value: Option<&Value>) -> Result<Vec<u8>, String> {
    let problem = match value {
        Some(Value::String(text)) => return Ok(text.as_bytes().to_vec()),
        Some(Value::Number(number)) => return Ok(number.to_string().into_bytes()),
        Some(Value::Null) => Problem::Null,
        Some(Value::Bool(_)) => Problem::Boolean,
        Some(Value::Object(_)) => Problem::Object,
        Some(Value::Array(_)) => Problem::Array,
        None => Problem::Missing,
    };
    Err(format!("`{pointer}` {problem}"))
}

/// Escapes every character above ASCII, so that surrogate pairs come up.
fn ascii(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c.is_ascii() {
            true => out.push(c),
            false => c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| out.push_str(&format!("\\u{unit:04x}"))),
        }
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn every_pointer_finds_what_serde_json_finds(value in json(), pretty: bool, escaped: bool) {
        let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.expect("writes");
        let text = if escaped { ascii(&text) } else { text };
        let mut all = Vec::new();
        pointers(&value, String::new(), &mut all);
        for (pointer, inner) in &all {
            prop_assert_eq!(key(pointer, text.as_bytes()), expected(pointer, Some(inner)), "{} in {}", pointer, text);
        }
        for pointer in ["/a/b", "/x", "/0/0/0", "/c/~0"] {
            prop_assert_eq!(key(pointer, text.as_bytes()), expected(pointer, value.pointer(pointer)), "{} in {}", pointer, text);
        }
        // All at once, as the data path does it, as long as they fit.
        let some: Vec<&(String, Value)> = all.iter().filter(|(_, v)| v.is_string() || v.is_number()).take(8).collect();
        if let Ok(mut extractor) = Extractor::compile(None, &some.iter().map(|(p, _)| p).collect::<Vec<_>>()) {
            let mut columns = vec![Column::default(); some.len()];
            prop_assert_eq!(extractor.extract(Some(text.as_bytes()), &mut columns), Ok(None));
            for ((pointer, inner), column) in some.iter().zip(&columns) {
                prop_assert_eq!(column.get(0).map(<[u8]>::to_vec), expected(pointer, Some(inner)).ok());
            }
        }
    }

    /// Whether a text is JSON at all: the same as serde_json, except for the depth (generated values are flatter).
    #[test]
    fn damage_is_found_where_serde_json_finds_it(value in json(), at: prop::sample::Index, byte in prop_oneof![
        prop::sample::select(b"{}[]\",:\\ue0.-+1tn \n\x01\xff".to_vec()), any::<u8>()], kind in 0..4) {
        let mut text = serde_json::to_vec(&value).expect("writes");
        let at = at.index(text.len());
        match kind {
            0 => text[at] = byte,
            1 => text.insert(at, byte),
            2 => { text.remove(at); }
            _ => text.truncate(at),
        }
        let valid = serde_json::from_slice::<IgnoredAny>(&text).is_ok();
        for pointer in ["/nowhere", "/a/b", "/0/a", "/a", "/1"] {
            let is_json = !key(pointer, &text).is_err_and(|e| e.starts_with("the value is not JSON"));
            prop_assert_eq!(is_json, valid, "{} in {}", pointer, String::from_utf8_lossy(&text));
        }
    }
}
