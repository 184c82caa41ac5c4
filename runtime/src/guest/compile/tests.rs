//! Where native code comes from, seen by what happens when the compiler is gone.

use std::fs;
use std::path::Path;

use super::*;
use crate::guest::Engine;

const DIGEST: &str = "00ff";

fn component() -> Vec<u8> {
    wat::parse_str("(component (core module (func (export \"f\") (result i32) i32.const 7)))").unwrap()
}

/// Gets the component from this compiler.
fn get(compiler: Compiler) -> Result<(), String> {
    let engine = Engine::new(1).unwrap().with_compiler(compiler);
    engine.compile(DIGEST, &component()).map(drop).map_err(|refused| refused.to_string())
}

fn with_compiler(folder: &Path) -> Result<(), String> {
    get(Compiler::in_process().cached_in(folder))
}

fn without_compiler(folder: &Path) -> Result<(), String> {
    get(Compiler::in_child("/nowhere/weir", CompileLimits::default()).cached_in(folder))
}

fn entry(folder: &Path) -> PathBuf {
    let mut entries = fs::read_dir(folder).unwrap();
    let path = entries.next().unwrap().unwrap().path();
    assert!(entries.next().is_none(), "one component, one engine, one entry");
    path
}

#[test]
fn component_is_compiled_once() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("native");
    let missed = without_compiler(&folder).unwrap_err();
    assert!(missed.starts_with("the component could not be compiled: /nowhere/weir: "), "{missed}");
    with_compiler(&folder).unwrap();
    without_compiler(&folder).unwrap();
    let name = entry(&folder).file_name().unwrap().to_str().unwrap().to_owned();
    assert!(name.starts_with("00ff-"), "{name}");
}

#[test]
fn damaged_entry_is_never_mapped_and_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("native");
    with_compiler(&folder).unwrap();
    let path = entry(&folder);
    let whole = fs::read(&path).unwrap();
    for at in [0, 32, whole.len() / 2, whole.len() - 1] {
        let mut flipped = whole.clone();
        flipped[at] ^= 1;
        fs::write(&path, &flipped).unwrap();
        without_compiler(&folder).expect_err("it is compiled again");
        with_compiler(&folder).unwrap();
        without_compiler(&folder).unwrap();
    }
}

#[test]
fn folder_that_cannot_be_used_costs_nothing_but_time() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    with_compiler(&file).unwrap();
    with_compiler(&file.join("below")).unwrap();
    with_compiler(Path::new("/proc/nowhere")).unwrap();
}

#[test]
fn what_is_no_component_is_refused_with_the_compilers_words() {
    let engine = Engine::new(1).unwrap();
    let refused = engine.compile(DIGEST, b"\0asm\x0d\0\x01\0\xff").map(drop).unwrap_err();
    assert!(matches!(refused, RefusedComponent::Damaged(_)), "{refused}");
}
