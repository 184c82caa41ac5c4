//! `${env:NAME}`, `${env:NAME:-default}` and `${file:PATH}` inside strings. Done after parsing, so that places stay true
//! and a value cannot become syntax. `$${` stands for a plain `${`.

use weir_core::graph::fault::Fault;

use super::diagnostics::{Problem, note};
use super::secrets;
use super::source::{Environment, ReadFile};
use super::tree::{Span, Tree, Value};

/// Replaces the references in every string of a tree.
pub(super) fn tree(tree: &mut Tree, text: &str, environment: &Environment<'_>, problems: &mut Vec<Problem>) {
    let mut walk = Walk { text, environment, problems };
    walk.visit(tree, "");
}

struct Walk<'a, 'e, 'p> {
    text: &'a str,
    environment: &'a Environment<'e>,
    problems: &'p mut Vec<Problem>,
}

impl Walk<'_, '_, '_> {
    fn visit(&mut self, tree: &mut Tree, path: &str) {
        match &mut tree.value {
            Value::Table(entries) => {
                for entry in entries {
                    let path = if path.is_empty() { entry.key.clone() } else { format!("{path}.{}", entry.key) };
                    self.visit(&mut entry.tree, &path);
                }
            }
            Value::Array(items) => {
                for (index, item) in items.iter_mut().enumerate() {
                    self.visit(item, &format!("{path}[{index}]"));
                }
            }
            Value::String(text) if text.contains("${") => {
                let (written, span) = (text.clone(), tree.span.clone());
                let (replaced, is_whole) = self.replace(&written, span, path);
                *text = replaced;
                tree.unresolved = !is_whole;
                tree.written = Some(written);
            }
            _ => {}
        }
    }

    /// The text with what its references stand for, and whether all of them stand for something.
    fn replace(&mut self, written: &str, span: Option<Span>, path: &str) -> (String, bool) {
        let (mut out, mut is_whole) = (String::with_capacity(written.len()), true);
        let mut rest = written;
        while let Some(at) = rest.find("${") {
            if rest[..at].ends_with('$') {
                out.push_str(&rest[..at]);
                out.push('{');
                rest = &rest[at + 2..];
                continue;
            }
            out.push_str(&rest[..at]);
            let Some(end) = rest[at..].find('}') else {
                let fault = Fault::error("weir::config::reference", path, "`${` is never closed");
                self.report(fault.help("write ${env:NAME} or ${file:PATH}; for a plain ${ write $${"), "${", &span);
                return (out, false);
            };
            let reference = &rest[at..=at + end];
            match self.resolve(&reference[2..reference.len() - 1], path) {
                Ok(value) => out.push_str(&value),
                Err(fault) => {
                    self.report(fault, reference, &span);
                    is_whole = false;
                }
            }
            rest = &rest[at + end + 1..];
        }
        out.push_str(rest);
        (out, is_whole)
    }

    fn resolve(&self, reference: &str, path: &str) -> Result<String, Fault> {
        match reference.split_once(':') {
            Some(("env", rest)) => {
                let (name, default) = match rest.split_once(":-") {
                    Some((name, default)) => (name, Some(default)),
                    None => (rest, None),
                };
                if let Some(secrets) = self.environment.secrets.filter(|_| secrets::is_place(path)) {
                    return secrets.variable(name, path);
                }
                (self.environment.variable)(name).or_else(|| default.map(str::to_string)).ok_or_else(|| {
                    if self.environment.secrets.is_some() {
                        return secrets::not_here(name, path);
                    }
                    let message = format!("the environment variable `{name}` is not set");
                    let help = format!("set it, or give a default: ${{env:{name}:-VALUE}}");
                    Fault::error("weir::config::missing_variable", path, message).help(help)
                })
            }
            Some(("file", file)) => self.read(file, path),
            _ => {
                let message = format!("`${{{reference}}}` is not a reference");
                let help = "write ${env:NAME}, ${env:NAME:-DEFAULT} or ${file:PATH}; for a plain ${ write $${";
                Err(Fault::error("weir::config::reference", path, message).help(help))
            }
        }
    }

    fn read(&self, file: &str, path: &str) -> Result<String, Fault> {
        let value = match (self.environment.secrets, self.environment.file) {
            (Some(secrets), _) if secrets::is_place(path) => secrets.file(file, path)?,
            (_, None) => return Err(secrets::no_file_here(path)),
            (_, Some(read)) => self.read_file(file, path, read)?,
        };
        Ok(value.strip_suffix('\n').map(|v| v.strip_suffix('\r').unwrap_or(v)).unwrap_or(&value).to_string())
    }

    fn read_file(&self, file: &str, path: &str, read: &ReadFile<'_>) -> Result<String, Fault> {
        let code = "weir::config::missing_file";
        let resolved = match self.environment.base {
            Some(base) => base.join(file),
            None if std::path::Path::new(file).is_absolute() => file.into(),
            None => {
                return Err(Fault::error(
                    code,
                    path,
                    format!("`{file}` is relative, and there is no file to be relative to"),
                ));
            }
        };
        // What the file holds is a secret as a rule, so no message shows it.
        read(&resolved).map_err(|error| {
            let message = format!("cannot read the file `{file}`: {error}");
            Fault::error(code, path, message).help(format!("it is looked for at {}", resolved.display()))
        })
    }

    /// Puts the caret under the reference itself where the text has it as it is.
    fn report(&mut self, fault: Fault, reference: &str, span: &Option<Span>) {
        let exact = span.as_ref().and_then(|span| {
            let at = span.start + self.text.get(span.clone())?.find(reference)?;
            Some(at..at + reference.len())
        });
        note(self.problems, fault, exact.or_else(|| span.clone()));
    }
}
