//! Bytes that somebody uploads as a component: refused with a sentence that can be shown, or few enough of everything for a
//! compiler, as the bytes themselves say when they are read a second time.
#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};
use wasmparser::{Parser, Payload, Validator, WasmFeatures};
use weir_fuzz::guest::{RefusedComponent, check_structure};
use weir_fuzz::is_one_line;

/// The longest sentence: it goes into an answer and into a log.
const SENTENCE_BYTES_MAX: usize = 4096;

fuzz_target!(|bytes: &[u8]| -> Corpus {
    match check_structure(bytes) {
        Ok((imports, exports)) => {
            assert!(exports.iter().any(|name| name.starts_with("weir:operator/guest@0.1.")));
            let is_ours = |name: &String| name.starts_with("weir:operator/") || name.starts_with("wasi:");
            assert!(imports.iter().all(is_ours), "{imports:?}");
            if Validator::new_with_features(WasmFeatures::all()).validate_all(bytes).is_ok() {
                is_within_limits(bytes);
            }
        }
        Err(refused) => {
            let sentence = refused.to_string();
            assert!(is_one_line(&sentence), "{sentence:?}");
            assert!(sentence.len() <= SENTENCE_BYTES_MAX, "{} bytes", sentence.len());
            assert!(!refused.is_of_the_host());
            if let RefusedComponent::CoreModule | RefusedComponent::NotWasm(_) = refused {
                assert!(!Parser::is_component(bytes));
            }
        }
    }
    Corpus::Keep
});

/// What is accepted and valid is what a compiler gets.
fn is_within_limits(bytes: &[u8]) {
    let (mut depth, mut functions) = (0, 0u64);
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.expect("it is valid") {
            Payload::Version { .. } => depth += 1,
            Payload::End(_) => depth -= 1,
            Payload::CodeSectionEntry(body) => {
                functions += 1;
                assert!(body.range().len() <= 1 << 20);
                let locals = body.get_locals_reader().expect("it is valid").into_iter();
                assert!(locals.map(|group| u64::from(group.expect("it is valid").0)).sum::<u64>() <= 2_000);
            }
            _ => {}
        }
        assert!(depth <= 8);
    }
    assert!(functions <= 100_000);
}
