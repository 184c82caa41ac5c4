//! A pipeline text, its tree, and the way from a dotted path back to a place in the text.

use std::path::Path;

use weir_core::graph::fault::Fault;

use super::diagnostics::{Diagnostics, Problem, note};
use super::interpolate;
use super::secrets::Secrets;
use super::tree::{Span, Tree, Value};

/// How a text is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// TOML: errors carry a caret.
    Toml,
    /// JSON: errors carry the path.
    Json,
}

/// Reads a file to its end.
pub type ReadFile<'a> = dyn Fn(&Path) -> std::io::Result<String> + 'a;

/// What a text may refer to.
#[derive(Clone, Copy)]
pub struct Environment<'a> {
    /// Looks up a variable for `${env:NAME}`.
    pub variable: &'a dyn Fn(&str) -> Option<String>,
    /// Reads a file for `${file:PATH}`; `None` refuses them.
    pub file: Option<&'a ReadFile<'a>>,
    /// The folder that relative paths are relative to; `None` refuses them.
    pub base: Option<&'a Path>,
    /// Of a pipeline that comes over HTTP: what a secret in it may refer to. Everything else refers to the above.
    pub secrets: Option<&'a Secrets>,
}

/// A parsed text.
pub(super) struct Source {
    name: String,
    text: String,
    format: Format,
    tree: Tree,
}

/// The name alone: the tree holds secrets with their references replaced.
impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Source").field(&self.name).finish()
    }
}

impl Source {
    /// Parses a text and replaces the references in its strings. `None`: not even the syntax is right.
    pub(super) fn parse(
        text: &str,
        name: &str,
        format: Format,
        environment: &Environment<'_>,
        problems: &mut Vec<Problem>,
    ) -> Option<Source> {
        let mut tree = match format {
            Format::Toml => toml(text, problems)?,
            Format::Json => json(text, problems)?,
        };
        interpolate::tree(&mut tree, text, environment, problems);
        Some(Source { name: name.to_string(), text: text.to_string(), format, tree })
    }

    /// A text whose tree was made beside it.
    pub(super) fn of_tree(name: &str, text: String, tree: Tree) -> Source {
        Source { name: name.to_owned(), text, format: Format::Toml, tree }
    }

    pub(super) fn tree(&self) -> &Tree {
        &self.tree
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn diagnostics(&self, problems: Vec<Problem>) -> Diagnostics {
        Diagnostics::new(&self.name, &self.text, self.format, problems)
    }

    /// Puts a fault at its place: at the nearest key on its path that the file has.
    pub(super) fn locate(&self, fault: Fault) -> Problem {
        let span = place(&self.tree, steps(&fault.path));
        Problem::new(fault, span)
    }

    /// Puts a complaint about an operator's configuration at its place.
    pub(super) fn locate_config(&self, node: &str, pointer: &str, message: String) -> Problem {
        let inner = pointer.split('/').skip(1).map(|token| token.replace("~1", "/").replace("~0", "~"));
        let path = format!("nodes.{node}.config{}", pointer.replace('/', "."));
        let outer = ["nodes", node, "config"].map(str::to_string);
        let span = place(&self.tree, outer.into_iter().chain(inner));
        Problem::new(Fault::error("weir::config::operator_config", path, message), span)
    }
}

/// The steps of a dotted path: `nodes.count.inputs[0]` is nodes, count, inputs, 0.
fn steps(path: &str) -> impl Iterator<Item = String> {
    path.split(['.', '[', ']']).filter(|step| !step.is_empty()).map(str::to_string)
}

/// The place of a value; for one written over several lines, and for what is missing, that of the key.
fn place(tree: &Tree, steps: impl Iterator<Item = String>) -> Option<Span> {
    let mut at = tree;
    let mut found = None;
    for step in steps {
        let (next, key_span) = match (&at.value, step.parse::<usize>()) {
            (Value::Array(_), Ok(index)) => (at.item(index), None),
            _ => at.entry(&step).map(|e| (Some(&e.tree), e.key_span.clone())).unwrap_or_default(),
        };
        let Some(next) = next else { break };
        found = match (&next.value, key_span) {
            (Value::Table(_), Some(key)) => Some(key),
            _ => next.span.clone(),
        };
        at = next;
    }
    found
}

fn toml(text: &str, problems: &mut Vec<Problem>) -> Option<Tree> {
    let (table, errors) = toml::de::DeTable::parse_recoverable(text);
    for error in &errors {
        let fault = Fault::error("weir::config::syntax", "", error.message().to_string());
        note(problems, syntax_help(fault), error.span());
    }
    if !errors.is_empty() {
        return None;
    }
    let mut too_large = Vec::new();
    let tree = Tree::of_toml(table, &mut too_large);
    for span in too_large {
        let fault = Fault::error("weir::config::wrong_type", "", "the number does not fit into 64 bits");
        note(problems, fault, Some(span));
    }
    Some(tree)
}

fn syntax_help(fault: Fault) -> Fault {
    if fault.message.contains("duplicate key") {
        return fault
            .help("each key, and each [sources.NAME], [nodes.NAME] and [sinks.NAME], stands once: rename one of them");
    }
    fault
}

fn json(text: &str, problems: &mut Vec<Problem>) -> Option<Tree> {
    match serde_json::from_str(text) {
        Ok(tree) => Some(tree),
        Err(error) => {
            let span = offset(text, error.line(), error.column()).map(|at| at..at);
            problems.push(Problem::new(Fault::error("weir::config::syntax", "", json_message(&error)), span));
            None
        }
    }
}

/// serde_json's message without its own "at line … column …": the place is printed once.
fn json_message(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.rsplit_once(" at line ").map_or(text.clone(), |(message, _)| message.to_string())
}

fn offset(text: &str, line: usize, column: usize) -> Option<usize> {
    let start: usize = text.split_inclusive('\n').take(line.checked_sub(1)?).map(str::len).sum();
    Some((start + column.saturating_sub(1)).min(text.len()))
}
