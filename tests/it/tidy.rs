//! The shape of the code, read from its text: which module may import which, which libraries live in one place, and that
//! every file says what it owns. The rules are those of `ARCHITECTURE.md`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use weir_tests::repository;

/// Modules that stand below all others and import none of them.
const LEAVES: &[&str] = &["settings", "journal", "clock", "crash", "durable", "hex", "lock"];

/// Leaves that do not even import the core. `settings` does: a pipeline file is read straight into the core's spec, since
/// a second set of types would only be copied into it. `journal` speaks of its names, epochs and classes.
const NOTHING_OF_OURS: &[&str] = &["clock", "crash", "durable", "hex", "lock"];

/// For each other module of `runtime/src` those that it may import beside the core and the leaves.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("access", &[]),
    ("storage", &[]),
    ("state", &["storage"]),
    ("connector", &[]),
    ("guest", &["state"]),
    ("registry", &["access", "guest"]),
    ("dataflow", &["state", "connector", "guest"]),
    ("pipeline", &["access", "storage", "state", "connector", "guest", "registry", "dataflow"]),
    // Never past pipeline and registry.
    ("api", &["access", "registry", "pipeline"]),
    ("cli", &["state", "connector", "guest", "registry", "dataflow", "pipeline", "api"]),
];

/// Libraries that one folder of `runtime` knows, so that they can be replaced there.
const ONE_PLACE: &[(&str, &str)] = &[
    ("rdkafka", "runtime/src/connector/kafka"),
    ("rdkafka_sys", "runtime/src/connector/kafka"),
    ("wasmtime", "runtime/src/guest"),
    ("rocksdb", "runtime/src/state"),
];

/// What the core must not touch: the world.
const NOT_IN_CORE: &[&str] = &[
    "std::fs",
    "std::net",
    "std::env",
    "std::process",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime",
    "tokio",
    "rand",
    "tracing",
];

#[test]
fn imports_point_one_way() {
    expect_none(&sources("runtime/src"), import_faults);
}

#[test]
fn each_library_lives_in_its_one_place() {
    expect_none(&sources("runtime"), library_faults);
}

#[test]
fn core_touches_neither_files_nor_clock_nor_threads() {
    expect_none(&sources("runtime/core/src"), core_faults);
}

#[test]
fn every_file_says_what_it_owns() {
    let mut files = Vec::new();
    for folder in ["runtime", "guest-sdk", "tests", "examples"] {
        files.extend(sources(folder));
    }
    expect_none(&files, |path, text| match text.lines().next() {
        Some(line) if line.starts_with("//! ") && line.len() > 20 => Vec::new(),
        _ => vec![format!("{path}:1: a file opens with `//!` and what it owns")],
    });
}

#[test]
fn every_test_that_the_table_of_semantics_names_exists() {
    let page = fs::read_to_string(repository().join("docs/semantics.md")).unwrap();
    let files = ["runtime", "guest-sdk", "tests"].into_iter().flat_map(sources);
    let code: String = files.map(|file| fs::read_to_string(file).unwrap()).collect();
    let named = page.split('`').skip(1).step_by(2).filter_map(|name| name.split_once("::"));
    // Its preface says how they are named.
    let named = named.filter(|name| *name != ("file", "test"));
    // Several of one beginning are named by it.
    let begins = |test: &str| test.strip_suffix('*').map_or_else(|| format!("fn {test}("), |all| format!("fn {all}"));
    let gone: Vec<_> = named.filter(|(_, test)| !code.contains(&begins(test))).collect();
    assert!(gone.is_empty(), "{gone:#?}");
}

#[test]
fn building_and_testing_ask_the_same_features_of_dependencies() {
    let manifest = |folder: &str| -> toml::Table {
        let text = fs::read_to_string(repository().join(folder).join("Cargo.toml")).unwrap();
        toml::from_str(&text).unwrap()
    };
    let names = |manifest: &toml::Table, section: &str| -> BTreeSet<String> {
        manifest
            .get(section)
            .and_then(|section| section.as_table())
            .into_iter()
            .flat_map(|t| t.keys().cloned())
            .collect()
    };
    let ours = names(&manifest("tests"), "dependencies");
    let members = manifest("")["workspace"]["members"].as_array().unwrap().clone();
    for member in members.iter().map(|member| member.as_str().unwrap()) {
        let missing: Vec<String> = names(&manifest(member), "dev-dependencies").difference(&ours).cloned().collect();
        assert!(missing.is_empty(), "dev-dependencies of {member} that tests/Cargo.toml lacks: {missing:?}");
    }
}

#[test]
fn broken_rules_are_found() {
    let faults = |path: &str, text: &str| import_faults(path, text).len();
    assert_eq!(faults("runtime/src/state/store.rs", "use crate::connector::Source;"), 1);
    assert_eq!(faults("runtime/src/state/store.rs", "fn f() { crate::guest::run() }"), 1);
    assert_eq!(faults("runtime/src/connector/mod.rs", "use crate::{clock,\n    state::{Error, Store},\n};"), 2);
    assert_eq!(faults("runtime/src/clock.rs", "use weir_core::ids::Epoch;"), 1);
    assert_eq!(faults("runtime/src/api/mod.rs", "use crate::dataflow::Shard;"), 1);
    assert_eq!(faults("runtime/src/newcomer.rs", "//! x"), 1);
    assert_eq!(faults("runtime/src/settings/mod.rs", "use weir_core::ids::Name;\nuse crate::clock;"), 1);
    assert_eq!(faults("runtime/src/guest/mod.rs", "// use crate::dataflow;\nuse crate::state::Error;"), 0);
    assert_eq!(faults("runtime/src/guest/mod.rs", "use crate::guest::engine;\nuse weir_core::ids::Epoch;"), 0);
    assert_eq!(faults("runtime/src/guest/mod.rs", "pub(crate) fn stateful() {}"), 0);

    assert_eq!(library_faults("runtime/src/cli/run.rs", "let x = rocksdb::DB::open();").len(), 1);
    assert_eq!(library_faults("runtime/src/connector/file.rs", "use rdkafka_sys as rd;").len(), 1);
    assert_eq!(library_faults("runtime/src/guest/engine.rs", "use wasmtime::Engine; // not rocksdb::DB").len(), 0);
    assert_eq!(core_faults("runtime/core/src/x.rs", "use std::{collections::HashMap, time::Instant};").len(), 1);
    assert_eq!(core_faults("runtime/core/src/x.rs", "use std::time::Duration;").len(), 0);
}

fn import_faults(path: &str, text: &str) -> Vec<String> {
    let module = path.trim_start_matches("runtime/src/").split('/').next().unwrap().trim_end_matches(".rs");
    if module == "lib" || module == "main" {
        return Vec::new();
    }
    let is_leaf = |module: &str| LEAVES.contains(&module);
    let allowed = match MAY_IMPORT.iter().find(|(name, _)| *name == module) {
        Some((_, allowed)) => *allowed,
        None if is_leaf(module) => &[],
        None => return vec![format!("{path}: {module} has no place in the order of imports: see tests/it/tidy.rs")],
    };
    let mut faults = Vec::new();
    for imported in paths(text) {
        if imported.starts_with("weir_core::") && NOTHING_OF_OURS.contains(&module) {
            faults.push(format!("{path}: `{module}` imports nothing of ours, and here {imported}"));
        }
        let Some(ours) = imported.strip_prefix("crate::") else { continue };
        let target = ours.split("::").next().unwrap();
        let known = is_leaf(target) || MAY_IMPORT.iter().any(|(name, _)| *name == target);
        let below = allowed.contains(&target) || (is_leaf(target) && !is_leaf(module));
        if known && target != module && !below {
            faults.push(format!("{path}: `{module}` must not import `{target}`, and here {imported}"));
        }
    }
    faults
}

fn library_faults(path: &str, text: &str) -> Vec<String> {
    let used = paths(text);
    let outside = ONE_PLACE.iter().filter(|(_, place)| !path.starts_with(place));
    outside
        .filter(|(library, _)| used.iter().any(|used| used.split("::").next() == Some(library)))
        .map(|(library, place)| format!("{path}: only {place} knows {library}"))
        .collect()
}

fn core_faults(path: &str, text: &str) -> Vec<String> {
    let is_below = |used: &str, banned: &str| used == banned || used.starts_with(&format!("{banned}::"));
    let used = paths(text);
    let banned = used.iter().filter(|used| NOT_IN_CORE.iter().any(|banned| is_below(used, banned)));
    banned.map(|used| format!("{path}: the core is pure, and here {used}")).collect()
}

#[track_caller]
fn expect_none(files: &[PathBuf], faults: impl Fn(&str, &str) -> Vec<String>) {
    assert!(!files.is_empty(), "no files were read");
    let mut all = Vec::new();
    for file in files {
        let text = fs::read_to_string(file).unwrap();
        let path = file.strip_prefix(repository()).unwrap().to_str().unwrap();
        all.extend(faults(path, &text));
    }
    assert!(all.is_empty(), "\n{}", all.join("\n"));
}

/// Every `.rs` file below a folder, build results left out.
fn sources(folder: &str) -> Vec<PathBuf> {
    fn walk(folder: &Path, into: &mut Vec<PathBuf>) {
        let Ok(entries) = fs::read_dir(folder) else { return };
        for path in entries.map(|entry| entry.unwrap().path()) {
            if path.is_dir() && !path.ends_with("target") {
                walk(&path, into);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                into.push(path);
            }
        }
    }
    let mut files = Vec::new();
    walk(&repository().join(folder), &mut files);
    files.sort();
    files
}

/// All paths with `::` in the code, with the groups of `use` spelled out: `use a::{b, c::d}` gives `a::b` and `a::c::d`.
fn paths(text: &str) -> BTreeSet<String> {
    let code: String = text.lines().map(|line| line.split("//").next().unwrap()).collect::<Vec<_>>().join("\n");
    let mut found = BTreeSet::new();
    for statement in code.split(';') {
        let import = statement.rfind("use ").filter(|&at| {
            let before = statement[..at].trim_end();
            before.is_empty() || before.ends_with(['}', '{', ')', ']', '"']) || before.ends_with("pub")
        });
        match import {
            Some(at) => {
                found.extend(spell_out(&statement[at + 4..]));
                found.extend(plain_paths(&statement[..at]));
            }
            None => found.extend(plain_paths(statement)),
        }
    }
    found
}

fn spell_out(tree: &str) -> Vec<String> {
    let tree = tree.trim();
    let Some((prefix, group)) = tree.split_once('{') else {
        let path = tree.split(" as ").next().unwrap().trim();
        return if path.is_empty() { Vec::new() } else { vec![path.to_owned()] };
    };
    let group = group.trim_end().trim_end_matches('}');
    let mut parts = vec![String::new()];
    let mut depth = 0;
    for letter in group.chars() {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        parts.last_mut().unwrap().push(letter);
    }
    // Trimming took the closing brackets of a nested last part as well.
    let last = parts.last_mut().unwrap();
    last.push_str(&"}".repeat(last.matches('{').count().saturating_sub(last.matches('}').count())));
    parts.iter().flat_map(|part| spell_out(part)).map(|part| format!("{}{part}", prefix.trim())).collect()
}

fn plain_paths(code: &str) -> Vec<String> {
    let is_path = |letter: char| letter.is_alphanumeric() || letter == '_' || letter == ':';
    let words = code.split(|letter| !is_path(letter)).filter(|word| word.contains("::"));
    words.map(|word| word.trim_matches(':').to_owned()).collect()
}
