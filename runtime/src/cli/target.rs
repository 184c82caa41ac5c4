//! Which pipeline a command is about, and where it is: a pipeline file or a name, and a state folder. Reads the file's text
//! and opens nothing else.

use std::path::{Path, PathBuf};

use weir_core::ids::Name;

use super::Exit;
use crate::settings;

/// A pipeline and its state folder.
pub(super) struct Target {
    pub(super) name: Name,
    pub(super) state: PathBuf,
}

/// The name of the pipeline in a file, or the name itself.
pub(super) fn name(pipeline: &str) -> Result<(Name, Option<PathBuf>), Exit> {
    let file = PathBuf::from(pipeline);
    if file.is_file() {
        let loaded = settings::load(&file, &|name| std::env::var(name).ok()).map_err(|faults| {
            eprint!("{}", faults.render(super::exit::style()));
            Exit::Config
        })?;
        return Ok((loaded.spec.name, Some(file)));
    }
    match Name::new(pipeline) {
        Ok(name) => Ok((name, None)),
        Err(_) => {
            eprintln!("error: {pipeline} is neither a pipeline file nor the name of a pipeline");
            Err(Exit::Config)
        }
    }
}

/// A pipeline and the state folder that is given, or else the one that a run would take: `.weir/NAME` beside the file, or
/// for a name in the current folder.
pub(super) fn target(pipeline: &str, state: Option<&Path>) -> Result<Target, Exit> {
    let (name, file) = name(pipeline)?;
    let state = match state {
        Some(state) => state.to_owned(),
        None => default_state(file.as_deref().unwrap_or(Path::new("")), &name),
    };
    Ok(Target { name, state })
}

/// `.weir/<name>` in the folder of the pipeline file.
pub(super) fn default_state(file: &Path, name: &Name) -> PathBuf {
    let folder = file.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    folder.join(".weir").join(name.as_str())
}
