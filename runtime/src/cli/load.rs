//! What `run`, `check` and `demo` do first: read the pipeline file, load its operators, print what is wrong. Writes nothing.

use std::path::Path;

use weir_core::ids::Name;

use super::Exit;
use crate::guest::Engine;
use crate::pipeline::{Checked, Lookup};
use crate::registry::Registry;
use crate::settings::{self, Diagnostics};

/// Reads and checks a pipeline file; operators that are named `name@version` come from the registry in a folder. Faults
/// are printed; the exit code is theirs.
pub(super) fn load(file: &Path, registry: Option<&Path>) -> Result<Checked, Exit> {
    let loaded = settings::load(file, &|name| std::env::var(name).ok()).map_err(|faults| refuse(&faults))?;
    let engine = engine()?;
    let registry = registry.map(|folder| open_registry(folder, &engine)).transpose()?;
    let lookup = registry.map(|registry| move |name: &Name, version: &str| registry.lookup(name, version));
    let lookup = lookup.as_ref().map(|lookup| lookup as &Lookup<'_>);
    let checked =
        Checked::new(loaded.spec.clone(), &engine, lookup).map_err(|faults| refuse(&loaded.faults(faults)))?;
    for warnings in [&loaded.warnings, &loaded.faults(checked.plan.warnings.clone())] {
        if !warnings.is_empty() {
            eprint!("{}", warnings.render(super::exit::style()));
        }
    }
    Ok(checked)
}

/// `folder` is a registry, or the data folder of a server. Nothing is made where there is none.
fn open_registry(folder: &Path, engine: &Engine) -> Result<Registry, Exit> {
    let candidates = [folder.join("registry"), folder.to_owned()];
    let Some(path) = candidates.iter().find(|path| path.join("versions").is_dir()) else {
        eprintln!(
            "error: {} holds no registry: name the --data folder of a `weir serve`, or its registry",
            folder.display()
        );
        return Err(Exit::Config);
    };
    Registry::open(path, engine.clone()).map_err(|e| {
        eprintln!("error: {e}");
        Exit::Config
    })
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
