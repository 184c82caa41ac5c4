//! A copy of a pipeline in a folder of its own: sinks write there, everything else is read where it was. The user's own
//! output and state are never touched.

use std::path::{Path, PathBuf};

use toml::{Table, Value};

/// A copy that can be run.
pub(super) struct Copy {
    pub(super) file: PathBuf,
    pub(super) state: PathBuf,
    /// Sink and the folder that it writes.
    pub(super) outputs: Vec<(String, PathBuf)>,
}

/// Writes a copy of the pipeline below `folder`. `fast`: without the generator's rate, which changes no record.
pub(super) fn copy(original: &Path, folder: &Path, fast: bool) -> Result<Copy, String> {
    let text = std::fs::read_to_string(original).map_err(|e| format!("cannot read {}: {e}", original.display()))?;
    let mut table: Table = text.parse().map_err(|e: toml::de::Error| e.to_string())?;
    // A path without a folder is in the current one.
    let home = original.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let home = home.canonicalize().map_err(|e| format!("cannot read {}: {e}", home.display()))?;
    let mut outputs = Vec::new();
    each(&mut table, "sources", |_, source| {
        absolute(source, "path", &home);
        if fast {
            source.remove("rate");
        }
    });
    each(&mut table, "nodes", |_, node| {
        if node.get("operator").and_then(Value::as_str).is_some_and(|o| o.contains('/') || o.ends_with(".wasm")) {
            absolute(node, "operator", &home);
        }
    });
    each(&mut table, "sinks", |name, sink| {
        let output = folder.join("out").join(name);
        sink.insert("path".to_owned(), Value::String(output.display().to_string()));
        outputs.push((name.to_owned(), output));
    });
    std::fs::create_dir_all(folder).map_err(|e| format!("cannot make {}: {e}", folder.display()))?;
    let file = folder.join("pipeline.toml");
    std::fs::write(&file, table.to_string()).map_err(|e| format!("cannot write {}: {e}", file.display()))?;
    Ok(Copy { file, state: folder.join("state"), outputs })
}

fn each(table: &mut Table, kind: &str, mut change: impl FnMut(&str, &mut Table)) {
    for (name, value) in table.get_mut(kind).and_then(Value::as_table_mut).into_iter().flatten() {
        if let Some(value) = value.as_table_mut() {
            change(name, value);
        }
    }
}

fn absolute(table: &mut Table, key: &str, home: &Path) {
    if let Some(Value::String(path)) = table.get_mut(key)
        && !path.starts_with('$')
    {
        *path = home.join(&*path).display().to_string();
    }
}
