//! Plain values that a user sets: durations, sizes, the pipeline file and its errors with carets. Reads a file into
//! [`weir_core::graph::spec::Pipeline`]; opens no component, no broker and no state.

mod diagnostics;
pub mod duration;
mod files;
mod interpolate;
pub mod kafka_options;
#[cfg(test)]
mod kafka_source_tests;
pub mod pattern;
mod read;
mod reference;
pub mod schema;
mod secrets;
pub mod server;
pub mod size;
mod source;
#[cfg(test)]
mod tests;
mod tree;

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use weir_core::graph::check;
use weir_core::graph::fault::Fault;
use weir_core::graph::spec::Pipeline;

pub use diagnostics::{Diagnostics, Problem, Style};
pub use files::Files;
pub use secrets::Secrets;
pub use source::{Environment, Format, ReadFile};

use source::Source;

/// A pipeline that was read and found to hold together, and the text it came from.
#[derive(Debug)]
pub struct Loaded {
    /// The pipeline, defaults filled in.
    pub spec: Pipeline,
    /// The file; the name that was given for a text that came another way.
    pub path: PathBuf,
    /// What the user should know before it starts.
    pub warnings: Diagnostics,
    source: Source,
}

/// Reads and checks a pipeline file. `env` looks up variables of the environment. A name that ends in `.json` is JSON.
pub fn load(path: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<Loaded, Diagnostics> {
    let name = path.file_name().map_or_else(|| path.display().to_string(), |n| n.to_string_lossy().into_owned());
    let text = read_bounded(path)
        .map_err(|error| unreadable(path, &name, &error, ("a pipeline file", "weir run pipeline.toml")))?;
    let format = if path.extension().is_some_and(|e| e == "json") { Format::Json } else { Format::Toml };
    // A path without a folder is in the current one.
    let base = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let environment = Environment { variable: env, file: Some(&read_reference), base: Some(base), secrets: None };
    let mut loaded = parse(&text, &name, format, &environment)?;
    loaded.path = path.to_path_buf();
    Ok(loaded)
}

/// The longest pipeline file, and the longest file that `${file:…}` may name.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// What `${file:…}` names: a file as such. A device has no end, and a pipe may never begin.
fn read_reference(path: &Path) -> io::Result<String> {
    match fs::metadata(path)?.is_file() {
        true => read_bounded(path),
        false => Err(io::Error::other("it is no regular file")),
    }
}

fn read_bounded(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let mut file = File::open(path)?.take(FILE_BYTES_MAX + 1);
    file.read_to_string(&mut text)?;
    match text.len() as u64 > FILE_BYTES_MAX {
        true => Err(io::Error::new(io::ErrorKind::FileTooLarge, "it has more than 1 MiB")),
        false => Ok(text),
    }
}

/// Reads and checks a text. `name` is what errors call it.
pub fn parse(text: &str, name: &str, format: Format, environment: &Environment<'_>) -> Result<Loaded, Diagnostics> {
    let mut problems = Vec::new();
    let source = Source::parse(text, name, format, environment, &mut problems);
    let Some(source) = source else { return Err(Diagnostics::new(name, text, format, problems)) };
    let spec = read::pipeline(source.tree(), text, environment, &mut problems);
    if let Some(spec) = &spec {
        // What has been reported while reading is not reported again as a hole in the graph.
        let found = check::check(spec).into_iter().map(|fault| source.locate(fault));
        let new: Vec<Problem> = found.filter(|new| !problems.iter().any(|old| old.is_at_same_place(new))).collect();
        problems.extend(new);
    }
    let (errors, warnings): (Vec<_>, Vec<_>) = problems.into_iter().partition(Problem::is_error);
    match spec {
        Some(spec) if errors.is_empty() => {
            let warnings = source.diagnostics(warnings);
            Ok(Loaded { spec, path: PathBuf::from(name), warnings, source })
        }
        // Warnings are left out: next to an unknown node, "nothing takes the records of …" is noise.
        _ => Err(source.diagnostics(errors)),
    }
}

impl Loaded {
    /// An error at a place, as `nodes.count.operator`, for what is found out later: a missing component, an unknown port.
    /// The caret stands at the nearest key that the file has.
    pub fn error_at(&self, path: &str, message: impl Into<String>, help: Option<String>) -> Diagnostics {
        self.coded_error_at("weir::config::invalid", path, message, help)
    }

    /// The same with a code of its own.
    pub fn coded_error_at(
        &self,
        code: &'static str,
        path: &str,
        message: impl Into<String>,
        help: Option<String>,
    ) -> Diagnostics {
        self.faults(vec![Fault { help, ..Fault::error(code, path, message) }])
    }

    /// Faults that a later check found, with their places.
    pub fn faults(&self, faults: Vec<Fault>) -> Diagnostics {
        self.source.diagnostics(faults.into_iter().map(|fault| self.source.locate(fault)).collect())
    }

    /// An error within a node's `config`: `pointer` is a JSON pointer into it, as a schema check gives it.
    pub fn config_error(&self, node: &str, pointer: &str, message: impl Into<String>) -> Diagnostics {
        let problem = self.source.locate_config(node, pointer, message.into());
        self.source.diagnostics(vec![problem])
    }

    /// The text as it was given.
    pub fn source_text(&self) -> &str {
        self.source.text()
    }
}

fn unreadable(path: &Path, name: &str, error: &io::Error, (kind, example): (&str, &str)) -> Diagnostics {
    let message = match error.kind() {
        _ if path.is_dir() => format!("{} is a folder, not {kind}", path.display()),
        io::ErrorKind::NotFound => format!("{} does not exist", path.display()),
        io::ErrorKind::InvalidData => format!("{} is not UTF-8 text", path.display()),
        _ => format!("cannot read {}: {error}", path.display()),
    };
    let fault = Fault::error("weir::config::unreadable", "", message).help(format!("name {kind}, as in: {example}"));
    Diagnostics::without_text(name, fault)
}
