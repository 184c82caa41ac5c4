//! `weir build`: cargo for a target of WebAssembly, a component by wit-component where cargo leaves a module, the checks of
//! an upload, one line.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{Exit, load};
use crate::durable;
use crate::guest::{Operator, component};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The operator's crate
    #[arg(default_value = ".")]
    folder: PathBuf,
    /// What it is built for: `wasm32-wasip2` has a standard library that asks for WASI
    #[arg(long, default_value = "wasm32-unknown-unknown", value_parser = ["wasm32-unknown-unknown", "wasm32-wasip2"])]
    target: String,
}

pub(super) fn run(arguments: &Arguments) -> Exit {
    match build(&arguments.folder, &arguments.target) {
        Ok(line) => {
            println!("{line}");
            Exit::Ok
        }
        Err(message) => {
            eprintln!("error: {message}");
            Exit::Config
        }
    }
}

fn build(folder: &Path, target: &str) -> Result<String, String> {
    let manifest = folder.join("Cargo.toml");
    if !manifest.is_file() {
        return Err(format!("{} has no Cargo.toml: run `weir build` in the operator's crate", folder.display()));
    }
    require_operator(&manifest)?;
    require_target(folder, target)?;
    let module = compile(&manifest, target)?;
    let built = std::fs::read(&module).map_err(|e| format!("cannot read {}: {e}", module.display()))?;
    let bytes = match component::componentize(&built) {
        // The linker of wasm32-wasip2 has made one.
        Err(component::ComponentizeError::AlreadyComponent) => built,
        made => made.map_err(|e| with_causes(&e))?,
    };
    let engine = load::engine().map_err(|_| "the operator was built but not checked".to_owned())?;
    let operator = Operator::load(&engine, &bytes).map_err(|e| e.to_string())?;
    let name = module.file_name().map(PathBuf::from).unwrap_or_default();
    let path = folder.join("target/weir").join(name);
    write(&path, &bytes).map_err(|e| format!("cannot write {}: {e}", path.display()))?;
    let inspection = operator.inspection();
    inspection.warnings.iter().for_each(|warning| eprintln!("warning: {warning}"));
    let size = bytes.len() as f64 / 1024.0;
    Ok(format!(
        "{} {}  {size:.1} KiB  sha256 {}  {}",
        inspection.name,
        inspection.version,
        inspection.sha256,
        path.display()
    ))
}

/// The manifest is that of a crate which becomes a WebAssembly module: asked before anything is compiled.
fn require_operator(manifest: &Path) -> Result<(), String> {
    let output = Command::new(cargo())
        .args(["metadata", "--no-deps", "--format-version", "1", "--manifest-path"])
        .arg(manifest)
        .stderr(Stdio::inherit())
        .output()
        .map_err(|e| format!("cannot run cargo: {e}"))?;
    if !output.status.success() {
        return Err(format!("cargo cannot read {}", manifest.display()));
    }
    let metadata: serde_json::Value =
        serde_json::from_slice(&output.stdout).map_err(|e| format!("cargo metadata is not readable: {e}"))?;
    let here = std::fs::canonicalize(manifest).map_err(|e| format!("cannot read {}: {e}", manifest.display()))?;
    let is_here = |path: &serde_json::Value| {
        path.as_str().is_some_and(|path| std::fs::canonicalize(path).is_ok_and(|path| path == here))
    };
    let Some(package) =
        metadata["packages"].as_array().into_iter().flatten().find(|package| is_here(&package["manifest_path"]))
    else {
        let manifest = manifest.display();
        return Err(format!(
            "{manifest} has no [package], it is a workspace: run `weir build` in the operator's crate"
        ));
    };
    let kinds =
        package["targets"].as_array().into_iter().flatten().filter_map(|target| target["kind"].as_array()).flatten();
    match kinds.into_iter().any(|kind| kind == "cdylib") {
        true => Ok(()),
        false => {
            Err(format!("{} is no operator's crate: it needs [lib] crate-type = [\"cdylib\"]", manifest.display()))
        }
    }
}

fn cargo() -> std::ffi::OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// The target's standard library is there, or the one line that adds it.
fn require_target(folder: &Path, target: &str) -> Result<(), String> {
    let output = Command::new("rustc")
        .args(["--print", "target-libdir", "--target", target])
        .current_dir(folder)
        .stderr(Stdio::null())
        .output()
        .map_err(|e| format!("cannot run rustc ({e}); install Rust from https://rustup.rs"))?;
    let libdir = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    match libdir.is_dir() {
        true => Ok(()),
        false => Err(format!("Rust's {target} target is not installed; run: rustup target add {target}")),
    }
}

/// Runs cargo and returns the module that it made.
fn compile(manifest: &Path, target: &str) -> Result<PathBuf, String> {
    let output = Command::new(cargo())
        .args([
            "build",
            "--release",
            "--target",
            target,
            "--message-format",
            "json-render-diagnostics",
            "--manifest-path",
        ])
        .arg(manifest)
        // Flags of a build around this one are not meant for the guest.
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .stderr(Stdio::inherit())
        .output()
        .map_err(|e| format!("cannot run cargo: {e}"))?;
    if !output.status.success() {
        return Err("cargo could not build the operator".to_owned());
    }
    let modules = String::from_utf8_lossy(&output.stdout).lines().rev().find_map(module_of);
    modules.ok_or_else(|| {
        "cargo built no WebAssembly module; the operator's Cargo.toml needs: [lib] crate-type = [\"cdylib\"]".to_owned()
    })
}

/// The module that a line of cargo's messages names, if it tells of one.
fn module_of(line: &str) -> Option<PathBuf> {
    let message: serde_json::Value = serde_json::from_str(line).ok()?;
    if message["reason"] != "compiler-artifact" || !message["target"]["kind"].as_array()?.iter().any(|k| k == "cdylib")
    {
        return None;
    }
    let files = message["filenames"].as_array()?;
    files.iter().filter_map(|f| f.as_str()).find(|f| f.ends_with(".wasm")).map(PathBuf::from)
}

/// An error with all its causes in one line.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

/// Whole or not at all: another process may read it.
fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    std::fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
    durable::write(path, bytes)
}
