//! `weir problems`: what goes wrong in a pipeline, grouped, and the attempts that failed.

use serde_json::{Value, json};
use weir_core::ids::Name;

use super::remote::On;
use super::{Exit, named};
use crate::journal::Safe;

/// What of a text stands on a line.
const TEXT_MAX: usize = 500;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The pipeline
    #[arg(value_parser = named::name)]
    name: Name,
    #[command(flatten)]
    on: On,
}

pub(super) fn run(arguments: &Arguments) -> Exit {
    show(arguments).err().unwrap_or(Exit::Ok)
}

fn show(arguments: &Arguments) -> Result<(), Exit> {
    let Arguments { name, on } = arguments;
    let remote = on.open()?;
    let problems = remote.list(&format!("/api/v1/pipelines/{name}/problems"))?;
    let restarts = remote.list(&format!("/api/v1/pipelines/{name}/restarts"))?;
    if on.prints(&json!({"problems": problems, "restarts": restarts})) {
        return Ok(());
    }
    if problems.is_empty() && restarts.is_empty() {
        println!("no problems");
    }
    for problem in &problems {
        print!("{}", group(problem));
    }
    if !restarts.is_empty() {
        println!("failed attempts, newest first:");
        restarts.iter().for_each(|it| println!("  {}", attempt(it)));
    }
    Ok(())
}

/// On one line and harmless: it may hold what a record holds.
fn text(value: &Value) -> String {
    Safe::new(value.as_str().unwrap_or("?"), &[]).cut(TEXT_MAX)
}

fn group(it: &Value) -> String {
    let node = if it["node"].is_null() { String::new() } else { format!(" at {}", text(&it["node"])) };
    let times = match it["count"].as_u64() {
        Some(1) => format!("once, {}", text(&it["first_seen"])),
        _ => format!("{} times, {} to {}", it["count"], text(&it["first_seen"]), text(&it["last_seen"])),
    };
    let (kind, code, outcome) = (text(&it["kind"]), text(&it["code"]), text(&it["outcome"]));
    let code = if kind == code { String::new() } else { format!(" ({code})") };
    let mut shown = format!("{kind}{code}{node}, {outcome}: {times}\n  {}\n", text(&it["said"]));
    let frames: Vec<String> = it["backtrace"].as_array().into_iter().flatten().map(text).collect();
    if !frames.is_empty() {
        shown.push_str(&format!("  in {}\n", frames.join(" < ")));
    }
    if let sample @ Value::Object(_) = &it["sample"] {
        shown.push_str(&format!(
            "  record {}{}{}\n",
            text(&sample["origin"]),
            part(sample, "key"),
            part(sample, "value")
        ));
    }
    shown
}

/// ` key="…"`, where there is one and it may be seen.
fn part(sample: &Value, name: &str) -> String {
    let it = &sample[name];
    let shown = match (it["text"].as_str(), it["base64"].as_str()) {
        (Some(_), _) => format!("\"{}\"", text(&it["text"])),
        (None, Some(_)) => format!("base64:{}", text(&it["base64"])),
        (None, None) => return String::new(),
    };
    format!(" {name}={shown}")
}

fn attempt(it: &Value) -> String {
    let node = if it["node"].is_null() { String::new() } else { format!(" at {}", text(&it["node"])) };
    let then = match (it["then"].as_str(), it["after_ms"].as_f64()) {
        (Some("restart"), Some(after)) => format!("restart in {:.1} s", after / 1000.0),
        (Some("circuit-open"), _) => "the circuit opened".to_owned(),
        _ => "gave up".to_owned(),
    };
    format!("{} {}{node}: {}; {then}", text(&it["at"]), text(&it["class"]), text(&it["why"]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_told_in_few_lines_and_a_record_in_it_moves_no_cursor() {
        let it = json!({"node": "bad", "kind": "trap", "code": "trap", "outcome": "skipped", "count": 3,
            "first_seen": "A", "last_seen": "B", "said": "unreachable", "backtrace": ["f", "g"],
            "sample": {"origin": "t/0@7", "key": {"text": "k\u{1b}[2J"}, "value": {"base64": "AA=="}}});
        assert_eq!(
            group(&it),
            "trap at bad, skipped: 3 times, A to B\n  unreachable\n  in f < g\n  record t/0@7 key=\"k\\u{1b}[2J\" value=base64:AA==\n"
        );
        let hidden = json!({"kind": "reject", "code": "x", "node": null, "outcome": "failed", "count": 1,
            "first_seen": "A", "said": "no", "sample": {"origin": "t/0@7", "key": null, "value": null}});
        assert_eq!(group(&hidden), "reject (x), failed: once, A\n  no\n  record t/0@7\n");
    }
}
