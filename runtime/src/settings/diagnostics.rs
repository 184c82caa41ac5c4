//! Errors and warnings about a text, and their three faces: for a terminal, for a log, for a program.

use std::fmt;
use std::sync::Arc;

use miette::{
    Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource, Severity as MietteSeverity,
};
use serde::Serialize;
use weir_core::graph::fault::{ERRORS_ENOUGH, Fault, Severity};

use super::source::Format;
use super::tree::Span;

/// One thing that is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    fault: Fault,
    span: Option<Span>,
}

impl Problem {
    pub(super) fn new(fault: Fault, span: Option<Span>) -> Problem {
        Problem { fault, span }
    }

    pub(super) fn without_place(fault: Fault) -> Problem {
        Problem { fault, span: None }
    }

    pub(super) fn is_at_same_place(&self, other: &Problem) -> bool {
        match (&self.span, &other.span) {
            (Some(one), Some(two)) => one == two,
            (None, None) => self.path() == other.path(),
            _ => false,
        }
    }

    /// Whether the pipeline cannot start because of it.
    pub fn is_error(&self) -> bool {
        self.fault.severity == Severity::Error
    }

    /// Its stable code.
    pub fn code(&self) -> &'static str {
        self.fault.code
    }

    /// What is wrong.
    pub fn message(&self) -> &str {
        &self.fault.message
    }

    /// What to do.
    pub fn help(&self) -> Option<&str> {
        self.fault.help.as_deref()
    }

    /// The dotted path of the key.
    pub fn path(&self) -> &str {
        &self.fault.path
    }
}

/// Notes a problem, as long as anyone will see it: behind the last that is shown there is only one more.
pub(super) fn note(problems: &mut Vec<Problem>, fault: Fault, span: Option<Span>) {
    if problems.len() <= ERRORS_ENOUGH {
        problems.push(Problem::new(fault, span));
    }
}

/// What is wrong with a text, in the order of the text. Not empty when it is an error.
#[derive(Debug, Clone)]
pub struct Diagnostics {
    name: String,
    text: Arc<str>,
    format: Format,
    problems: Vec<Problem>,
}

/// How [`Diagnostics::render`] writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Colours and box drawing, for a terminal.
    Fancy,
    /// Neither colours nor box drawing, for logs and where `NO_COLOR` is set.
    Plain,
    /// A JSON list, for programs.
    Json,
}

impl Style {
    /// What suits an output: fancy on a terminal unless `NO_COLOR` is set to something.
    pub fn of(is_terminal: bool, no_color: Option<&str>) -> Style {
        if is_terminal && no_color.unwrap_or_default().is_empty() { Style::Fancy } else { Style::Plain }
    }
}

/// A problem as programs read it.
#[derive(Debug, Serialize)]
pub struct Entry<'a> {
    /// `error` or `warning`.
    pub severity: &'static str,
    /// Stable code.
    pub code: &'static str,
    /// What is wrong.
    pub message: &'a str,
    /// Dotted path of the key; empty for the whole text.
    pub path: &'a str,
    /// The file's name.
    pub file: &'a str,
    /// Line, from 1, where known.
    pub line: Option<usize>,
    /// Column in characters, from 1, where known.
    pub column: Option<usize>,
    /// What to do.
    pub help: Option<&'a str>,
}

impl Diagnostics {
    /// Of something wrong that stands in no text, or in one that is not at hand. `name` is what the fault is shown under.
    pub fn without_text(name: &str, fault: Fault) -> Diagnostics {
        Diagnostics::new(name, "", Format::Toml, vec![Problem::without_place(fault)])
    }

    pub(super) fn new(name: &str, text: &str, format: Format, mut problems: Vec<Problem>) -> Diagnostics {
        // What has no place concerns the whole text and comes last. Stable: what stands at one place stays in order.
        problems.sort_by_key(|p| p.span.as_ref().map_or(usize::MAX, |s| s.start));
        problems.dedup();
        if problems.len() > ERRORS_ENOUGH {
            let severity = problems[ERRORS_ENOUGH].fault.severity;
            problems.truncate(ERRORS_ENOUGH);
            let more = Fault::error("weir::config::more", "", format!("there is more than these {ERRORS_ENOUGH}"));
            let more = more.help("mend these, and look again");
            problems.push(Problem::without_place(Fault { severity, ..more }));
        }
        Diagnostics { name: name.to_string(), text: text.into(), format, problems }
    }

    /// The problems in order.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Whether there is nothing to say.
    pub fn is_empty(&self) -> bool {
        self.problems.is_empty()
    }

    /// For programs: one entry a problem.
    pub fn entries(&self) -> Vec<Entry<'_>> {
        let entry = |p: &'_ Problem| {
            let place = p.span.as_ref().map(|s| self.line_and_column(s.start));
            (place.map(|p| p.0), place.map(|p| p.1))
        };
        let entries = self.problems.iter().map(|p| {
            let (line, column) = entry(p);
            let severity = if p.is_error() { "error" } else { "warning" };
            Entry {
                severity,
                code: p.code(),
                message: p.message(),
                path: p.path(),
                file: &self.name,
                line,
                column,
                help: p.help(),
            }
        });
        entries.collect()
    }

    /// All problems, with carets and a blank line between two.
    pub fn render(&self, style: Style) -> String {
        let theme = match style {
            Style::Json => return serde_json::to_string(&self.entries()).expect("strings and numbers become JSON"),
            Style::Fancy => GraphicalTheme::unicode(),
            Style::Plain => GraphicalTheme::none(),
        };
        // The header carries `name:LINE` and nothing else, so that editors and people find the place in one form.
        let handler = GraphicalReportHandler::new_themed(theme)
            .without_primary_span_start()
            .with_width(120)
            .with_wrap_lines(false)
            .with_context_lines(1);
        let mut out = String::new();
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                out.push('\n');
            }
            let rendered = handler.render_report(&mut out, &self.report(problem));
            rendered.expect("writing to a string does not fail");
        }
        out
    }

    fn report<'a>(&'a self, problem: &'a Problem) -> Report<'a> {
        let source = problem.span.as_ref().map(|span| {
            let (line, _) = self.line_and_column(span.start);
            NamedSource::new(format!("{}:{line}", self.name), Arc::clone(&self.text))
        });
        Report { diagnostics: self, problem, source }
    }

    /// `name:LINE` of a problem; the name alone where no line is known.
    fn place(&self, problem: &Problem) -> String {
        match (&problem.span, self.format) {
            (Some(span), _) => format!("{}:{}", self.name, self.line_and_column(span.start).0),
            (None, Format::Json) if !problem.path().is_empty() => format!("{}: {}", self.name, problem.path()),
            (None, _) => self.name.clone(),
        }
    }

    fn line_and_column(&self, offset: usize) -> (usize, usize) {
        let before = &self.text[..self.text.floor_char_boundary(offset)];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
    }
}

/// One line a problem: `kafka.toml:12: unknown key …`.
impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            let newline = if index == 0 { "" } else { "\n" };
            write!(f, "{newline}{}: {}", self.place(problem), problem.message())?;
            if let Some(help) = problem.help() {
                write!(f, " ({help})")?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostics {}

/// A problem as miette wants it.
#[derive(Debug)]
struct Report<'a> {
    diagnostics: &'a Diagnostics,
    problem: &'a Problem,
    source: Option<NamedSource<Arc<str>>>,
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            Some(_) => f.write_str(self.problem.message()),
            None => write!(f, "{}: {}", self.diagnostics.place(self.problem), self.problem.message()),
        }
    }
}

impl std::error::Error for Report<'_> {}

impl Diagnostic for Report<'_> {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(self.problem.code()))
    }

    fn severity(&self) -> Option<MietteSeverity> {
        Some(if self.problem.is_error() { MietteSeverity::Error } else { MietteSeverity::Warning })
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.problem.help().map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn miette::SourceCode> {
        self.source.as_ref().map(|s| s as &dyn miette::SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let span = self.problem.span.clone()?;
        // An empty span would have no caret.
        let length = span.len().max(1);
        Some(Box::new(std::iter::once(LabeledSpan::new_primary_with_span(None, (span.start, length)))))
    }
}
