//! One place that says something: the file, the variables of the environment, the flags. The last two are written as lines of
//! a text of their own, so that what is wrong in them is shown as in a file.

use std::path::{Path, PathBuf};

use super::super::diagnostics::Diagnostics;
use super::super::reference::Key;
use super::super::source::{Environment, Format, Source};
use super::super::tree::{Entry, Span, Tree, Value};
use super::Flag;

/// How a variable of ours begins.
const PREFIX: &str = "WEIR__";

pub(super) struct Layer {
    source: Source,
    /// Of a file.
    path: Option<PathBuf>,
}

/// A line of a text that is no file.
struct Line {
    /// As somebody wrote it: `WEIR__SERVER__LISTEN=`.
    before: String,
    section: String,
    key: Option<String>,
    value: String,
}

impl Layer {
    pub(super) fn file(path: &Path, text: &str, environment: &Environment<'_>) -> Result<Layer, Diagnostics> {
        let (name, mut problems) = (path.display().to_string(), Vec::new());
        let source = Source::parse(text, &name, Format::Toml, environment, &mut problems);
        match source {
            Some(source) if problems.is_empty() => Ok(Layer { source, path: Some(path.to_owned()) }),
            _ => Err(Diagnostics::new(&name, text, Format::Toml, problems)),
        }
    }

    pub(super) fn variables(variables: &[(String, String)], keys: &[Key]) -> Layer {
        let mut lines = Vec::new();
        for (name, value) in variables {
            let Some(rest) = name.strip_prefix(PREFIX) else { continue };
            let (section, key) = rest.split_once("__").map_or((rest, None), |(section, key)| (section, Some(key)));
            lines.push(Line {
                before: format!("{name}="),
                section: section.to_lowercase(),
                key: key.map(str::to_lowercase),
                value: value.clone(),
            });
        }
        lines.sort_by(|a, b| a.before.cmp(&b.before));
        Layer::of_lines("environment", lines, keys)
    }

    pub(super) fn flags(flags: &[Flag], keys: &[Key]) -> Layer {
        let line = |flag: &Flag| {
            let (section, key) = flag.key.split_once('.').unwrap_or((flag.key, ""));
            let (section, key) = (section.to_owned(), Some(key.to_owned()));
            Line { before: format!("{}=", flag.flag), section, key, value: flag.value.clone() }
        };
        Layer::of_lines("command line", flags.iter().map(line).collect(), keys)
    }

    fn of_lines(name: &str, lines: Vec<Line>, keys: &[Key]) -> Layer {
        let (mut text, mut sections) = (String::new(), Vec::<Entry>::new());
        for Line { before, section, key, value } in lines {
            let start = text.len();
            let at = start + before.len();
            let span = at..at + value.len();
            let name_span = start..at - 1;
            // One line each, whatever is in it.
            text.push_str(&format!("{before}{}\n", value.replace(['\n', '\r'], " ")));
            let Some(key) = key else {
                sections.push(entry(section, name_span.clone(), Tree::new(Some(span), Value::String(value))));
                continue;
            };
            let kind =
                keys.iter().find(|known| known.table == section && known.key == key).map_or("text", |it| it.kind);
            let inner = entry(key, name_span.clone(), Tree::new(Some(span.clone()), typed(kind, value, &span)));
            match sections.iter_mut().find(|known| known.key == section).map(|known| &mut known.tree.value) {
                Some(Value::Table(entries)) => entries.push(inner),
                _ => sections.push(entry(section, name_span, Tree::new(Some(span), Value::Table(vec![inner])))),
            }
        }
        let whole = 0..text.len();
        let tree = Tree::new(Some(whole), Value::Table(sections));
        Layer { source: Source::of_tree(name, text, tree), path: None }
    }

    pub(super) fn source(&self) -> &Source {
        &self.source
    }

    /// What its relative paths are relative to.
    pub(super) fn base(&self) -> &Path {
        self.path.as_deref().map_or(Path::new(""), super::folder)
    }

    /// What it says, by key: as it is shown, and where it stands.
    pub(super) fn said(&self) -> Vec<(String, (String, String))> {
        let mut said = Vec::new();
        for section in self.source.tree().entries().unwrap_or_default() {
            for entry in section.tree.entries().unwrap_or_default() {
                let shown = (shown(&entry.tree), self.origin(entry.key_span.as_ref()));
                said.push((format!("{}.{}", section.key, entry.key), shown));
            }
        }
        said
    }

    fn origin(&self, span: Option<&Span>) -> String {
        let (start, text) = (span.map_or(0, |span| span.start), self.source.text());
        match &self.path {
            Some(path) => format!("{}:{}", path.display(), text[..start].matches('\n').count() + 1),
            None => text[start..].split('=').next().unwrap_or_default().to_owned(),
        }
    }
}

fn entry(key: String, key_span: Span, tree: Tree) -> Entry {
    Entry { key, key_span: Some(key_span), tree }
}

/// What a line of text means where this kind is wanted. What does not fit stays text, and is refused as such.
fn typed(kind: &str, value: String, span: &Span) -> Value {
    match (kind.split(' ').next().unwrap_or_default(), value.as_str()) {
        ("int", text) => text.parse().map_or(Value::String(value), Value::Integer),
        ("bool", "true") => Value::Boolean(true),
        ("bool", "false") => Value::Boolean(false),
        ("list", text) => {
            let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
            Value::Array(items.map(|item| Tree::new(Some(span.clone()), Value::String(item.to_owned()))).collect())
        }
        _ => Value::String(value),
    }
}

/// As it is shown: references stay references.
fn shown(tree: &Tree) -> String {
    match (&tree.written, &tree.value) {
        (Some(written), _) => serde_json::Value::from(written.as_str()).to_string(),
        (None, Value::Array(items)) => format!("[{}]", items.iter().map(shown).collect::<Vec<_>>().join(", ")),
        _ => tree.to_json().to_string(),
    }
}
