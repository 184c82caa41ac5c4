//! A table under the reader: hands out its keys, and at the end complains about those that nobody asked for.

use weir_core::graph::fault::{ERRORS_ENOUGH, Fault};
use weir_core::graph::nearest::nearest;
use weir_core::key_group::KEY_GROUPS;

use super::super::diagnostics::note;
use super::super::tree::{Entry, Span, Tree};
use super::Reader;
use super::field::Field;

/// A table of the file.
pub(super) struct Table<'t> {
    entries: &'t [Entry],
    path: String,
    /// Where the table is named: what a missing key is reported at.
    span: Option<Span>,
    known: Vec<&'static str>,
    later: Vec<&'static str>,
    /// Where the type of the table is unknown, so are its keys.
    lenient: bool,
}

impl<'t> Table<'t> {
    /// The whole file.
    pub(super) fn root(tree: &'t Tree, reader: &mut Reader<'_>) -> Option<Table<'t>> {
        let span = tree.span.as_ref().map(|_| 0..0);
        if tree.entries().is_none() {
            let message = format!("a pipeline is a table, found {}", tree.type_name());
            reader.error(Fault::error("weir::config::wrong_type", "", message), span.clone());
        }
        Some(Table::new(tree.entries()?, String::new(), span))
    }

    pub(super) fn new(entries: &'t [Entry], path: String, span: Option<Span>) -> Table<'t> {
        Table { entries, path, span, known: vec![], later: vec![], lenient: false }
    }

    /// The value of a key, if it is there. Every key that a table may have must be asked for before [`Table::finish`].
    pub(super) fn field(&mut self, key: &'static str) -> Option<Field<'t>> {
        if !self.known.contains(&key) {
            self.known.push(key);
        }
        self.entries.iter().find(|e| e.key == key).map(|e| Field::of_entry(e, &self.path))
    }

    /// The value of a key that must be there. `example` is what to write.
    pub(super) fn required(&mut self, reader: &mut Reader<'_>, key: &'static str, example: &str) -> Option<Field<'t>> {
        let field = self.field(key);
        if field.is_none() {
            let at = if self.path.is_empty() { "the file".to_string() } else { format!("[{}]", self.path) };
            let fault =
                Fault::error("weir::config::missing_key", self.path.clone(), format!("`{key}` is missing in {at}"));
            reader.error(fault.help(format!("add {example}")), self.span.clone());
        }
        field
    }

    /// Reads a key into a place that holds the default.
    pub(super) fn set<T>(
        &mut self,
        reader: &mut Reader<'_>,
        key: &'static str,
        read: fn(&Field<'t>, &mut Reader<'_>) -> Option<T>,
        place: &mut T,
    ) {
        if let Some(value) = self.field(key).and_then(|field| read(&field, reader)) {
            *place = value;
        }
    }

    /// A key that a later version brings.
    pub(super) fn later(&mut self, reader: &mut Reader<'_>, key: &'static str, what: &str) {
        self.later.push(key);
        if let Some(entry) = self.entries.iter().find(|e| e.key == key) {
            Field::of_entry(entry, &self.path).report_later(reader, what);
        }
    }

    /// `parallelism`: at most one subtask for each key group.
    pub(super) fn parallelism(&mut self, reader: &mut Reader<'_>) -> Option<u32> {
        let field = self.field("parallelism")?;
        field.integer(reader, 1..=i64::from(KEY_GROUPS)).map(|n| n as u32)
    }

    /// Does not complain about keys: an unknown `type` has been, and which keys belong to it is unknown too.
    pub(super) fn skip_unknown(&mut self) {
        self.lenient = true;
    }

    /// All values, where the keys are names that the user chose.
    pub(super) fn into_fields(self) -> Vec<Field<'t>> {
        self.entries.iter().map(|e| Field::of_entry(e, &self.path)).collect()
    }

    /// Where the table is named.
    pub(super) fn span(&self) -> Option<Span> {
        self.span.clone()
    }

    /// The dotted path of the table.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// Complains about every key that nobody asked for.
    pub(super) fn finish(self, reader: &mut Reader<'_>) {
        #[cfg(test)]
        super::seen::note(&self.path, &self.known);
        for entry in self.entries {
            if reader.has_enough() {
                return;
            }
            let key = entry.key.as_str();
            if self.lenient || self.known.contains(&key) || self.later.contains(&key) {
                continue;
            }
            let at = if self.path.is_empty() { String::new() } else { format!(" in [{}]", self.path) };
            let path = if self.path.is_empty() { key.to_string() } else { format!("{}.{key}", self.path) };
            let fault = Fault::error("weir::config::unknown_key", path, format!("unknown key `{key}`{at}"));
            let allowed = format!("allowed here: {}", self.known.join(", "));
            let fault = fault.help(match nearest(key, &self.known) {
                Some(close) => format!("did you mean `{close}`? {allowed}", allowed = capital(&allowed)),
                None => allowed,
            });
            reader.error(fault, entry.key_span.clone());
        }
    }
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|c| c.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

impl Reader<'_> {
    /// Notes an error.
    pub(super) fn error(&mut self, fault: Fault, span: Option<Span>) {
        note(self.problems, fault, span);
    }

    /// Whether nobody will see another error.
    pub(super) fn has_enough(&self) -> bool {
        self.problems.len() > ERRORS_ENOUGH
    }
}
