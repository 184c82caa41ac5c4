//! The value of a record, of which event time and keys are taken in one scan: the scan finds what a JSON parser finds, and
//! leaves nothing behind where the record is bad.
#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};
use serde::de::IgnoredAny;
use serde_json::Value;
use weir_core::extract::{Error, Extractor};
use weir_core::graph::spec::Unit;
use weir_core::record::Column;
use weir_fuzz::first::First;

const KEYS: [&str; 4] = ["/k", "/a/0", "/a~1b/~0", ""];

fuzz_target!(|value: &[u8]| -> Corpus {
    let is_json = serde_json::from_slice::<IgnoredAny>(value);
    for key in KEYS {
        let mut extractor = Extractor::compile(None, &[key]).expect("it is a pointer");
        let mut columns = [Column::default()];
        let found = extractor.extract(Some(value), &mut columns);
        match &found {
            Ok(_) => assert_eq!(columns[0].len(), 1),
            Err(_) => assert_eq!(columns[0], Column::default()),
        }
        if let Err(Error::Broken { offset, .. }) = found {
            assert!(offset <= value.len(), "{offset} of {}", value.len());
        }
        // Deeper than this a JSON parser gives up on its own; invalid UTF-8 is only looked for in what is taken out.
        if deepest(value) < 120 && std::str::from_utf8(value).is_ok() {
            let is_broken = matches!(found, Err(Error::Broken { .. }));
            assert_eq!(is_broken, is_json.is_err(), "{key}: {found:?}, {is_json:?}");
        }
        if let Ok(First(tree)) = serde_json::from_slice(value)
            && let Some(Value::String(text)) = tree.pointer(key)
        {
            assert_eq!(columns[0].get(0), Some(text.as_bytes()), "{key}");
        }
    }
    let mut all = Extractor::compile(Some(("/ts", Unit::Millis)), &KEYS[..3]).expect("they are pointers");
    let mut columns = vec![Column::default(); 3];
    match all.extract(Some(value), &mut columns) {
        Ok(time) => assert!(time.is_some() && columns.iter().all(|column| column.len() == 1)),
        Err(_) => assert!(columns.iter().all(Column::is_empty)),
    }
    Corpus::Keep
});

/// Brackets that are open at once, those in strings too.
fn deepest(value: &[u8]) -> usize {
    let (mut open, mut most) = (0usize, 0);
    for byte in value {
        match byte {
            b'{' | b'[' => open += 1,
            b'}' | b']' => open = open.saturating_sub(1),
            _ => {}
        }
        most = most.max(open);
    }
    most
}
