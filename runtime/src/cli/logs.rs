//! `weir logs`: what the operators of a pipeline log, once or as it comes. One whose connection breaks goes on where it was.

use std::io::Write;
use std::time::Duration;

use axum::http::{HeaderName, header};
use serde_json::Value;

use super::remote::{On, Remote, escaped};
use super::shown::{lines, text};
use super::sse::{self, Parser};
use super::{Exit, Format, named};
use crate::clock;

/// Before the next attempt at a stream that broke.
const AGAIN: Duration = Duration::from_secs(1);

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The pipeline, or one node of it
    #[arg(value_name = "PIPELINE[/NODE]")]
    target: String,
    /// Go on with what comes
    #[arg(short, long)]
    follow: bool,
    /// Nothing older than this, as 5m
    #[arg(long, value_name = "DURATION")]
    since: Option<String>,
    /// This loud or louder
    #[arg(long, value_enum)]
    level: Option<Level>,
    #[command(flatten)]
    on: On,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Level {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
}

pub(super) fn run(arguments: &Arguments) -> Exit {
    read(arguments).err().unwrap_or(Exit::Ok)
}

fn read(arguments: &Arguments) -> Result<(), Exit> {
    let Arguments { follow, on, .. } = arguments;
    let path = path(arguments)?;
    let remote = on.open()?;
    if !follow {
        let lines = remote.list(&path)?;
        if lines.is_empty() && on.format == Format::Text {
            eprintln!("no lines");
        }
        for line in &lines {
            print_line(line, on.format);
        }
        return Ok(());
    }
    let join = if path.contains('?') { '&' } else { '?' };
    self::follow(&remote, &format!("{path}{join}follow=true"), on.format)
}

/// The path with what is wanted of it.
fn path(arguments: &Arguments) -> Result<String, Exit> {
    let Arguments { target, since, level, .. } = arguments;
    let (pipeline, node) = target.split_once('/').unzip();
    let wrong = |detail: String| {
        eprintln!("error: {detail}");
        Exit::Usage
    };
    let name = |text: &str| named::name(text).map_err(&wrong);
    let pipeline = name(pipeline.unwrap_or(target))?;
    let mut wanted = Vec::new();
    if let Some(node) = node {
        wanted.push(format!("node={}", name(node)?));
    }
    if let Some(since) = since {
        let shape = crate::settings::duration::SHAPE;
        crate::settings::duration::parse(since).ok_or_else(|| wrong(format!("--since {since}: {shape}")))?;
        wanted.push(format!("since={}", escaped(since)));
    }
    wanted.extend(level.map(|level| format!("level={}", format!("{level:?}").to_lowercase())));
    let query = if wanted.is_empty() { String::new() } else { format!("?{}", wanted.join("&")) };
    Ok(format!("/api/v1/pipelines/{pipeline}/logs{query}"))
}

fn follow(remote: &Remote, path: &str, format: Format) -> Result<(), Exit> {
    let mut last: Option<String> = None;
    loop {
        let mut headers = vec![(header::ACCEPT, "text/event-stream".to_owned())];
        headers.extend(last.clone().map(|id| (HeaderName::from_static("last-event-id"), id)));
        let (mut parser, mut is_over) = (Parser::default(), false);
        remote.follow(path, &headers, |line| {
            let Some(sse::Event { id, name, data }) = parser.take(line) else { return true };
            let data: Value = serde_json::from_str(&data).unwrap_or_default();
            match name.as_str() {
                // A reader that is gone wants no more.
                "log" => is_over = !print_line(&data, format),
                "gap" => eprintln!("lines are missing here: they came faster than they were read"),
                "end" => {
                    eprintln!("{}", lines(data["why"].as_str().unwrap_or("the stream ended")));
                    is_over = true;
                }
                _ => {}
            }
            last = id.or(last.take());
            !is_over
        })?;
        if is_over {
            return Ok(());
        }
        clock::pause(AGAIN);
    }
}

/// Whether somebody took it.
fn print_line(line: &Value, format: Format) -> bool {
    let text = match format {
        Format::Json => line.to_string(),
        Format::Text => shown(line),
    };
    writeln!(std::io::stdout(), "{text}").is_ok()
}

fn shown(line: &Value) -> String {
    // A server has made it harmless; what says that it is one may be none.
    let text = |key: &str| text(&line[key]);
    let level = text("level").to_uppercase();
    let mut shown = format!("{} {level:<5} {}/{} {}", text("at"), text("node"), text("subtask"), text("message"));
    for field in line["fields"].as_array().into_iter().flatten() {
        let part = |key: &str| self::text(&field[key]);
        shown.push_str(&format!(" {}={}", part("name"), part("value")));
    }
    if !line["origin"].is_null() {
        shown.push_str(&format!(" [{}]", text("origin")));
    }
    shown
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_line_says_when_where_and_what() {
        let line = json!({"at": "T", "level": "warn", "node": "n", "subtask": 1, "message": "m \\n x",
            "fields": [{"name": "a", "value": "1"}], "origin": "0@1..5"});
        assert_eq!(shown(&line), "T WARN  n/1 m \\n x a=1 [0@1..5]");
    }
}
