//! The text of a pipeline, from a file and as it comes over HTTP: refused with faults that lie inside the text and tell no
//! secret, or read as a pipeline that its twin in JSON gives as well.
#![no_main]

use std::io;
use std::path::Path;

use libfuzzer_sys::{Corpus, fuzz_target};
use weir_core::graph::spec::Pipeline;
use weir_fuzz::settings::{Diagnostics, Environment, Format, Secrets, Style, parse};
use weir_fuzz::twin;

/// What the variable that a server lends holds. No text contains it, and nothing that is said of a text may.
const SECRET: &str = "hunter2-hunter2-hunter2";
const VARIABLE: &str = "WEIR_FUZZ_SECRET";

/// Drawing boxes takes most of the time of a run, so it is done once.
const AT_A_TERMINAL: &[Style] = &[Style::Fancy];
const OVER_HTTP: &[Style] = &[Style::Json];

fuzz_target!(
    init: {
        // SAFETY: there is one thread yet.
        unsafe { std::env::set_var(VARIABLE, SECRET) };
    },
    |bytes: &[u8]| -> Corpus {
        let Ok(text) = std::str::from_utf8(bytes) else { return Corpus::Reject };
        if text.contains(SECRET) {
            return Corpus::Reject;
        }
        for is_local in [true, false] {
            let styles = if is_local { AT_A_TERMINAL } else { OVER_HTTP };
            let read = |text: &str, format| if is_local { of_a_file(text, format) } else { over_http(text, format) };
            let of_json = read(text, Format::Json);
            let of_toml = read(text, Format::Toml);
            for result in [&of_json, &of_toml] {
                if let Err(faults) = result {
                    are_inside(faults, text, styles);
                }
            }
            if let Some(json) = twin::json(text) {
                match (of_toml, read(&json, Format::Json)) {
                    (Ok(one), Ok(two)) => assert_eq!(one, two, "{json}"),
                    (Err(_), Err(_)) => {}
                    (one, two) => panic!("{one:?}\n{two:?}\n{json}"),
                }
            }
        }
        Corpus::Keep
    }
);

/// As `weir run` reads it.
fn of_a_file(text: &str, format: Format) -> Result<Pipeline, Diagnostics> {
    let variable = |name: &str| name.starts_with('A').then(|| "value".to_owned());
    let file = |path: &Path| match path.ends_with("there") {
        true => Ok("content\n".to_owned()),
        false => Err(io::Error::from(io::ErrorKind::NotFound)),
    };
    let base = Some(Path::new("/pipelines"));
    let environment = Environment { variable: &variable, file: Some(&file), base, secrets: None };
    read(text, format, &environment, AT_A_TERMINAL)
}

/// As a server reads it, which lends one secret.
fn over_http(text: &str, format: Format) -> Result<Pipeline, Diagnostics> {
    let secrets = Secrets { env: vec![VARIABLE.to_owned()], files: None };
    let environment = Environment { variable: &|_| None, file: None, base: None, secrets: Some(&secrets) };
    read(text, format, &environment, OVER_HTTP)
}

fn read(text: &str, format: Format, environment: &Environment<'_>, styles: &[Style]) -> Result<Pipeline, Diagnostics> {
    let loaded = parse(text, "p", format, environment)?;
    assert_eq!(loaded.source_text(), text);
    are_inside(&loaded.warnings, text, styles);
    assert!(!format!("{loaded:?}").contains(SECRET));
    for fault in loaded.literal_secrets() {
        let path = fault.path.clone();
        are_inside(&loaded.faults(vec![fault]), text, styles);
        are_inside(&loaded.error_at(&path, "found out later", None), text, styles);
    }
    for node in &loaded.spec.nodes {
        are_inside(&loaded.config_error(node.name.as_str(), "/a/0/~1", "does not fit"), text, styles);
    }
    Ok(loaded.spec)
}

/// Faults stand where there is text, can be shown, and tell no secret.
fn are_inside(faults: &Diagnostics, text: &str, styles: &[Style]) {
    let lines: Vec<&str> = text.split('\n').collect();
    for entry in faults.entries() {
        let (Some(line), Some(column)) = (entry.line, entry.column) else {
            assert!(entry.line.is_none() && entry.column.is_none());
            continue;
        };
        let written = lines.get(line - 1).unwrap_or_else(|| panic!("line {line} of {}", lines.len()));
        assert!((1..=written.chars().count() + 1).contains(&column), "column {column} of {written:?}");
    }
    for style in styles {
        assert!(!faults.render(*style).contains(SECRET));
    }
    assert!(!faults.to_string().contains(SECRET));
}
