//! A value under the reader: asks it for a type, and says what it is instead.

use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use weir_core::graph::fault::Fault;
use weir_core::graph::nearest::nearest;
use weir_core::graph::spec::FilePath;
use weir_core::ids::Name;

use super::super::tree::{Entry, Span, Tree, Value};
use super::super::{duration, size};
use super::Reader;
use super::table::Table;

/// A value of the file and where it stands.
#[derive(Clone)]
pub(super) struct Field<'t> {
    tree: &'t Tree,
    /// Its key; of an item in a list, the list's.
    key: &'t str,
    key_span: Option<Span>,
    path: String,
}

impl<'t> Field<'t> {
    pub(super) fn of_entry(entry: &'t Entry, path: &str) -> Field<'t> {
        let path = if path.is_empty() { entry.key.clone() } else { format!("{path}.{}", entry.key) };
        Field { tree: &entry.tree, key: &entry.key, key_span: entry.key_span.clone(), path }
    }

    pub(super) fn key(&self) -> &'t str {
        self.key
    }

    pub(super) fn tree(&self) -> &'t Tree {
        self.tree
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// Where the value stands; of a table the key, since a table may go over many lines.
    pub(super) fn span(&self) -> Option<Span> {
        match self.tree.value {
            Value::Table(_) => self.key_span.clone().or_else(|| self.tree.span.clone()),
            _ => self.tree.span.clone(),
        }
    }

    /// Where the key stands; of an item in a list, the value.
    pub(super) fn name_span(&self) -> Option<Span> {
        self.key_span.clone().or_else(|| self.tree.span.clone())
    }

    /// The place of a part of this string, where the file has the string as it is; else that of the whole.
    pub(super) fn span_within(&self, reader: &Reader<'_>, part: &Span) -> Option<Span> {
        let span = self.tree.span.clone()?;
        let Value::String(text) = &self.tree.value else { return Some(span) };
        let inner = reader.text.get(span.clone()).and_then(|raw| raw.find(text.as_str()));
        Some(inner.map_or(span.clone(), |at| span.start + at + part.start..span.start + at + part.end))
    }

    /// An error at this place, to be given to [`Reader::error`].
    pub(super) fn problem(&self, code: &'static str, message: impl Into<String>) -> Fault {
        Fault::error(code, self.path.clone(), message)
    }

    fn wrong_type(&self, reader: &mut Reader<'_>, expected: &str, help: Option<&str>) {
        if self.tree.unresolved {
            return;
        }
        let message = format!("`{}` must be {expected}, found {}", self.key, self.tree.type_name());
        let mut fault = self.problem("weir::config::wrong_type", message);
        fault.help = help.map(str::to_string);
        reader.error(fault, self.span());
    }

    fn invalid(&self, reader: &mut Reader<'_>, message: String, help: impl Into<String>) {
        if self.tree.unresolved {
            return;
        }
        reader.error(self.problem("weir::config::invalid_value", message).help(help), self.span());
    }

    /// Says that this key is known and not there yet.
    pub(super) fn report_later(&self, reader: &mut Reader<'_>, what: &str) {
        self.later_at(reader, what, self.name_span());
    }

    /// The same of the value, where the key has others.
    pub(super) fn report_value_later(&self, reader: &mut Reader<'_>, what: &str) {
        self.later_at(reader, what, self.span());
    }

    fn later_at(&self, reader: &mut Reader<'_>, what: &str, span: Option<Span>) {
        let fault = self.problem("weir::config::later", format!("`{}` comes later ({what})", self.key));
        reader.error(fault.help("this version does not have it yet: take it out"), span);
    }

    /// The text without replaced references: what may be shown.
    pub(super) fn shown(&self) -> &str {
        match (&self.tree.written, &self.tree.value) {
            (Some(written), _) => written,
            (None, Value::String(text)) => text,
            _ => "",
        }
    }

    /// A string as it stands, empty or not.
    pub(super) fn text(&self, reader: &mut Reader<'_>) -> Option<&'t str> {
        match &self.tree.value {
            Value::String(text) => Some(text),
            _ => {
                self.wrong_type(reader, "a string", None);
                None
            }
        }
    }

    /// A string that says something.
    pub(super) fn string(&self, reader: &mut Reader<'_>) -> Option<String> {
        let text = self.text(reader)?;
        if text.trim().is_empty() {
            self.invalid(reader, format!("`{}` is empty", self.key), "give it a value");
            return None;
        }
        // It comes into messages and logs, and no such text is a path, a name or an address.
        if let Some(control) = text.chars().find(|c| c.is_control()) {
            self.invalid(reader, format!("`{}` has the control character {control:?} in it", self.key), "leave it out");
            return None;
        }
        Some(text.to_string())
    }

    pub(super) fn integer(&self, reader: &mut Reader<'_>, range: RangeInclusive<i64>) -> Option<i64> {
        let Value::Integer(number) = self.tree.value else {
            self.wrong_type(reader, "an integer", None);
            return None;
        };
        if self.tree.unresolved {
            return None;
        }
        if !range.contains(&number) {
            let least = format!("`{}` must be at least {}, found {number}", self.key, range.start());
            let most = format!("`{}` must be at most {}, found {number}", self.key, range.end());
            let message = if number < *range.start() { least } else { most };
            reader.error(self.problem("weir::config::invalid_value", message), self.span());
            return None;
        }
        Some(number)
    }

    pub(super) fn boolean(&self, reader: &mut Reader<'_>) -> Option<bool> {
        match self.tree.value {
            Value::Boolean(value) => Some(value),
            _ => {
                self.wrong_type(reader, "true or false", None);
                None
            }
        }
    }

    pub(super) fn duration(&self, reader: &mut Reader<'_>) -> Option<Duration> {
        let Value::String(text) = &self.tree.value else {
            let example = match self.tree.value {
                Value::Integer(n) if n >= 0 => format!("write \"{n}s\" for seconds or \"{n}ms\" for milliseconds"),
                _ => duration::SHAPE.to_string(),
            };
            self.wrong_type(reader, "a duration", Some(&example));
            return None;
        };
        let parsed = duration::parse(text);
        if parsed.is_none() {
            self.invalid(reader, format!("`{}` is not a duration: \"{}\"", self.key, self.shown()), duration::SHAPE);
        }
        parsed
    }

    pub(super) fn size(&self, reader: &mut Reader<'_>, range: RangeInclusive<u64>) -> Option<u64> {
        let Value::String(text) = &self.tree.value else {
            self.wrong_type(reader, "a size", Some(size::SHAPE));
            return None;
        };
        let Some(bytes) = size::parse(text) else {
            self.invalid(reader, format!("`{}` is not a size: \"{}\"", self.key, self.shown()), size::SHAPE);
            return None;
        };
        if !range.contains(&bytes) {
            let (least, most) = (size::format(*range.start()), size::format(*range.end()));
            self.invalid(
                reader,
                format!("`{}` of {} is out of bounds", self.key, size::format(bytes)),
                format!("{least} to {most}"),
            );
            return None;
        }
        Some(bytes)
    }

    /// One of several words. A word without a value comes later.
    pub(super) fn choice<T: Copy>(&self, reader: &mut Reader<'_>, choices: &[(&str, Option<T>)]) -> Option<T> {
        let text = self.text(reader)?;
        match choices.iter().find(|(word, _)| *word == text) {
            Some((_, Some(value))) => Some(*value),
            Some((word, None)) => {
                let fault = self.problem("weir::config::later", format!("`{} = \"{word}\"` comes later", self.key));
                reader.error(fault.help(format!("until then: {}", quoted(choices))), self.span());
                None
            }
            None => {
                let known: Vec<&str> = choices.iter().filter(|c| c.1.is_some()).map(|c| c.0).collect();
                let help = match nearest(text, &known) {
                    Some(close) => format!("did you mean \"{close}\"? Allowed: {}", quoted(choices)),
                    None => format!("allowed: {}", quoted(choices)),
                };
                self.invalid(reader, format!("`{}` cannot be \"{}\"", self.key, self.shown()), help);
                None
            }
        }
    }

    /// A name by the one rule for names.
    pub(super) fn name(&self, reader: &mut Reader<'_>) -> Option<Name> {
        let text = self.text(reader)?;
        Name::new(text).map_err(|_| self.bad_name(reader, self.shown(), self.span())).ok()
    }

    /// The key of this entry as a name.
    pub(super) fn key_as_name(&self, reader: &mut Reader<'_>) -> Option<Name> {
        Name::new(self.key).map_err(|_| self.bad_name(reader, self.key, self.key_span.clone())).ok()
    }

    fn bad_name(&self, reader: &mut Reader<'_>, text: &str, span: Option<Span>) {
        let fault = self.problem("weir::config::bad_name", format!("\"{text}\" is not a name"));
        reader.error(fault.help("a name is 1 to 63 characters of a-z, 0-9, _ and -, and starts with a letter"), span);
    }

    /// A path, relative to the pipeline file.
    pub(super) fn path_value(&self, reader: &mut Reader<'_>) -> Option<FilePath> {
        let written = self.string(reader)?;
        match reader.environment.base {
            Some(base) => Some(FilePath { resolved: base.join(&written), written }),
            None if Path::new(&written).is_absolute() => Some(FilePath { resolved: written.clone().into(), written }),
            None => {
                let message = format!(
                    "the path \"{}\" is relative, and a pipeline that comes over HTTP lies in no folder",
                    self.shown()
                );
                let help = match self.key {
                    "operator" => "upload it, and write NAME@VERSION here",
                    _ => "write an absolute path",
                };
                reader.error(self.problem("weir::config::relative_path", message).help(help), self.span());
                None
            }
        }
    }

    /// A table.
    pub(super) fn table(&self, reader: &mut Reader<'_>) -> Option<Table<'t>> {
        match self.tree.entries() {
            Some(entries) => Some(Table::new(entries, self.path.clone(), self.span())),
            None => {
                self.wrong_type(reader, "a table", None);
                None
            }
        }
    }

    /// The value as JSON, if all of it has one: TOML knows dates and numbers that JSON does not.
    pub(super) fn json(&self, reader: &mut Reader<'_>) -> Option<serde_json::Value> {
        self.is_json(reader).then(|| self.tree.to_json())
    }

    /// Says where it is not.
    fn is_json(&self, reader: &mut Reader<'_>) -> bool {
        let inside = match &self.tree.value {
            Value::Table(entries) => entries.iter().map(|entry| Field::of_entry(entry, &self.path)).collect(),
            Value::Array(_) => self.items().unwrap_or_default(),
            Value::Datetime => return self.no_json(reader, "a date", "write it as a string"),
            Value::Float(number) if !number.is_finite() => {
                return self.no_json(reader, "not a finite number", "write it as a string, or leave it out");
            }
            _ => return true,
        };
        // All of them are told.
        inside.iter().filter(|field| !field.is_json(reader)).count() == 0
    }

    fn no_json(&self, reader: &mut Reader<'_>, what: &str, help: &str) -> bool {
        let message = format!("`{}` is {what}, which JSON does not have, and an operator gets JSON", self.path);
        self.invalid(reader, message, help);
        false
    }

    /// The items, if this is a list; without a complaint.
    pub(super) fn items(&self) -> Option<Vec<Field<'t>>> {
        let Value::Array(items) = &self.tree.value else { return None };
        let item = |(index, tree): (usize, &'t Tree)| {
            let path = format!("{}[{index}]", self.path);
            Field { tree, key: self.key, key_span: None, path }
        };
        Some(items.iter().enumerate().map(item).collect())
    }

    /// Says that the value has a form that fits nothing here.
    pub(super) fn report_shape(&self, reader: &mut Reader<'_>, expected: &str, help: &str) {
        self.wrong_type(reader, expected, Some(help));
    }

    /// Says that a value is not what it must be.
    pub(super) fn report_invalid(&self, reader: &mut Reader<'_>, message: String, help: &str) {
        self.invalid(reader, message, help);
    }
}

fn quoted<T>(choices: &[(&str, Option<T>)]) -> String {
    let words: Vec<String> = choices.iter().filter(|c| c.1.is_some()).map(|(word, _)| format!("\"{word}\"")).collect();
    words.join(", ")
}
