//! What `run`, `check` and `demo` do first: read the pipeline file, load its operators, print what is wrong. Writes nothing.

use std::path::Path;

use super::Exit;
use crate::guest::Engine;
use crate::pipeline::{Checked, Lookup};
use crate::settings::{self, Diagnostics};

/// Reads and checks a pipeline file. Faults are printed; the exit code is theirs.
pub(super) fn load(file: &Path, lookup: Option<&Lookup<'_>>) -> Result<Checked, Exit> {
    let loaded = settings::load(file, &|name| std::env::var(name).ok()).map_err(|faults| refuse(&faults))?;
    let engine = engine()?;
    let checked =
        Checked::new(loaded.spec.clone(), &engine, lookup).map_err(|faults| refuse(&loaded.faults(faults)))?;
    for warnings in [&loaded.warnings, &loaded.faults(checked.plan.warnings.clone())] {
        if !warnings.is_empty() {
            eprint!("{}", warnings.render(super::exit::style()));
        }
    }
    Ok(checked)
}

/// An engine for this process.
pub(super) fn engine() -> Result<Engine, Exit> {
    Engine::new(64).map_err(|e| {
        eprintln!("error: cannot start the WebAssembly engine: {e:#}");
        Exit::Failed
    })
}

fn refuse(faults: &Diagnostics) -> Exit {
    eprint!("{}", faults.render(super::exit::style()));
    Exit::Config
}
