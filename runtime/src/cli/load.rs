//! What `run`, `check` and `demo` do first: read the pipeline file, load its operators, print what is wrong. Writes nothing.

use std::path::{Path, PathBuf};

use weir_core::ids::Name;

use super::Exit;
use crate::guest::{CompileLimits, Compiler, Engine};
use crate::pipeline::{Checked, Lookup};
use crate::registry::Registry;
use crate::settings::{self, Diagnostics};

/// Reads and checks a pipeline file; operators that are named `name@version` come from the registry in a folder. Faults
/// are printed; the exit code is theirs.
pub(super) fn load(file: &Path, registry: Option<&Path>) -> Result<Checked, Exit> {
    let loaded = settings::load(file, &|name| std::env::var(name).ok()).map_err(|faults| refuse(&faults))?;
    let guests: u32 = loaded.spec.nodes.iter().map(|node| node.parallelism).sum();
    // One more of each node is opened and thrown away by the check.
    let engine = engine_with_room(guests.saturating_add(8).max(64))?;
    let registry = registry.map(|folder| open_registry(folder, &engine)).transpose()?;
    let lookup = registry.map(|registry| move |name: &Name, version: &str| registry.lookup(name, version));
    let lookup = lookup.as_ref().map(|lookup| lookup as &Lookup<'_>);
    let checked = Checked::new(loaded.spec.clone(), &engine, lookup).and_then(Checked::rehearse);
    let checked = checked.map_err(|faults| refuse(&loaded.faults(faults)))?;
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

/// An engine for this process, with room for a few guests. Native code is kept in the user's cache folder, where there is
/// one.
pub(super) fn engine() -> Result<Engine, Exit> {
    engine_with_room(64)
}

fn engine_with_room(instances: u32) -> Result<Engine, Exit> {
    engine_for(instances, CompileLimits::default(), cache_folder().map(|folder| folder.join("native")))
}

/// An engine with room for `instances` guests, which compiles in a child process and keeps native code in this folder.
pub(super) fn engine_for(instances: u32, limits: CompileLimits, cache: Option<PathBuf>) -> Result<Engine, Exit> {
    let engine = Engine::new(instances).map_err(|e| {
        eprintln!("error: cannot start the WebAssembly engine: {e:#}");
        Exit::Failed
    })?;
    // The link, not what it points to: an upgrade may have replaced the file, and this process's own is what fits.
    let compiler = Compiler::in_child("/proc/self/exe", limits);
    Ok(engine.with_compiler(match cache {
        Some(folder) => compiler.cached_in(folder),
        None => compiler,
    }))
}

/// `$XDG_CACHE_HOME/weir`, else `~/.cache/weir`. A relative path counts as none, as the XDG rules want.
fn cache_folder() -> Option<PathBuf> {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let folder = absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")))?;
    Some(folder.join("weir"))
}

fn refuse(faults: &Diagnostics) -> Exit {
    eprint!("{}", faults.render(super::exit::style()));
    Exit::Config
}
