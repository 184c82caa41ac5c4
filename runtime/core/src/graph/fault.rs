//! What is wrong with a pipeline, and at which key of its file. Owns no text of the file: `settings` finds the caret.

use std::fmt;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The pipeline cannot start.
    Error,
    /// It can, and the user should know.
    Warning,
}

/// Something wrong at a place in the pipeline file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Error or warning.
    pub severity: Severity,
    /// Stable code: `weir::config::…`.
    pub code: &'static str,
    /// The place, as dotted keys and indices: `nodes.count.inputs[0]`.
    pub path: String,
    /// What is wrong, lower case, without a full stop.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
}

impl Fault {
    /// An error.
    pub fn error(code: &'static str, path: impl Into<String>, message: impl Into<String>) -> Fault {
        Fault { severity: Severity::Error, code, path: path.into(), message: message.into(), help: None }
    }

    /// A warning.
    pub fn warning(code: &'static str, path: impl Into<String>, message: impl Into<String>) -> Fault {
        Fault { severity: Severity::Warning, ..Fault::error(code, path, message) }
    }

    /// With what to do about it.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Fault {
        self.help = Some(help.into());
        self
    }
}

/// More errors than anyone mends at once. Whoever looks for them may stop here: what a text can be wrong in grows with its
/// length, and what is said of each with the number of names in it.
pub const ERRORS_ENOUGH: usize = 100;

/// Whether there are more errors than [`ERRORS_ENOUGH`].
pub(super) fn are_enough(faults: &[Fault]) -> bool {
    faults.len() > ERRORS_ENOUGH && faults.iter().filter(|f| f.severity == Severity::Error).nth(ERRORS_ENOUGH).is_some()
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)?;
        match &self.help {
            Some(help) => write!(f, " ({help})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Fault {}
