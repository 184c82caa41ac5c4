//! `weir checkpoint show`: what a checkpoint holds and how it was made, or how the last twenty were. The process that runs the
//! pipeline knows most; where nobody answers, the manifests say what they can.

use axum::http::Method;
use std::fmt::Display;

use serde_json::{Value, json};
use weir_core::ids::Name;

use super::super::client::{Client, No, Where};
use super::super::shown::{lines, text};
use super::super::{Exit, Format};
use super::{failed, known, opened};
use crate::api::shown;
use crate::clock::rfc3339;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Show {
    #[command(flatten)]
    place: Where,
    /// The checkpoint, as `weir checkpoint list` names it: EPOCH-TOKEN; without one the last twenty, failed ones too
    id: Option<String>,
    /// How to print it
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

pub(super) fn run(show: &Show) -> Result<Exit, Exit> {
    let client = Client::new(&show.place)?;
    let id = show.id.as_deref().map(known).transpose()?;
    let path = format!("/api/v1/pipelines/{}/checkpoints/{}", client.name, id.unwrap_or("history"));
    let found = match client.ask(Method::GET, &path, "") {
        Ok(found) => found,
        // What lies on the disk can be read by anyone, whatever the process says.
        Err(No::Nobody(_)) if client.is_local() => at_rest(show)?,
        Err(no) => return Err(no.print()),
    };
    match (show.format, &show.id) {
        (Format::Json, Some(_)) => println!("{found:#}"),
        (Format::Json, None) => println!("{:#}", found["items"]),
        (Format::Text, Some(_)) => print_one(&client.name, &found),
        (Format::Text, None) => print_all(&found["items"]),
    }
    Ok(Exit::Ok)
}

/// What manifests say.
fn at_rest(show: &Show) -> Result<Value, Exit> {
    let target = show.place.target()?;
    let found = opened(&target)?;
    if let Some(id) = &show.id {
        return found.get(id).map(|it| shown::committed(&it, None)).map_err(failed);
    }
    let (found, damaged) = found.list().map_err(failed)?;
    damaged.iter().for_each(|error| eprintln!("warning: {error}"));
    let of_manifest = |it| {
        let mut shown: Value = shown::summary(it);
        shown["status"] = json!("completed");
        shown["full_bytes"] = shown["bytes"].take();
        shown["ended_at"] = shown["completed_at"].take();
        shown
    };
    Ok(json!({"items": found.iter().map(of_manifest).collect::<Vec<_>>()}))
}

fn print_all(items: &Value) {
    let items = items.as_array().map(Vec::as_slice).unwrap_or_default();
    if items.is_empty() {
        eprintln!("there was no checkpoint yet");
        return;
    }
    let titles = ["ID", "STATUS", "KIND", "DURATION", "FULL", "NEW", "SYNC", "ASYNC", "ALIGNMENT", "DELAY"];
    println!("{}", row(&titles, "SLOWEST, OR WHY NOT"));
    for it in items {
        let time = |key: &str| it[key].as_f64().map_or("-".to_owned(), |ms| format!("{ms:.1}ms"));
        let number = |key: &str| it[key].as_u64().map_or("-".to_owned(), |number| number.to_string());
        let cells = [
            text(&it["id"]),
            text(&it["status"]),
            text(&it["kind"]),
            time("duration_ms"),
            number("full_bytes"),
            number("new_bytes"),
            time("sync_ms"),
            time("async_ms"),
            time("alignment_ms"),
            time("start_delay_ms"),
        ];
        println!("{}", row(&cells, &blamed(it)));
    }
}

fn row(cells: &[impl Display; 10], last: &str) -> String {
    const WIDTHS: [usize; 10] = [12, 11, 10, 10, 12, 10, 9, 9, 10, 9];
    let cells = cells.iter().zip(WIDTHS).enumerate().map(|(at, (cell, width))| match at {
        // Words to the left, numbers to the right.
        0..3 => format!("{:<width$} ", cell.to_string()),
        _ => format!("{:>width$} ", cell.to_string()),
    });
    format!("{}{last}", cells.collect::<String>()).trim_end().to_owned()
}

/// Why it failed and who had not answered, or who took longest.
fn blamed(it: &Value) -> String {
    let Some(why) = it["failure"].as_str() else {
        return it["slowest"].as_object().map(|_| subtask(&it["slowest"])).unwrap_or_default();
    };
    let waiting: Vec<String> = it["waiting"].as_array().into_iter().flatten().map(subtask).collect();
    match waiting.is_empty() {
        true => lines(why),
        false => format!("{}; not passed: {}", lines(why), waiting.join(", ")),
    }
}

fn subtask(it: &Value) -> String {
    format!("{} [{}]", text(&it["chain"]), text(&it["subtask"]))
}

fn print_one(pipeline: &Name, it: &Value) {
    println!("{} {} of {pipeline} is {}", text(&it["kind"]), text(&it["id"]), text(&it["status"]));
    if it["completed_at"].is_string() {
        println!("completed  {}", text(&it["completed_at"]));
    }
    if it["files"].is_array() {
        print_manifest(it);
    }
    let made = &it["statistics"];
    if !made.is_object() {
        return;
    }
    println!("triggered  {}", text(&made["triggered_at"]));
    if let Some(why) = made["failure"].as_str() {
        println!("failed     {}", lines(why));
        made["waiting"]
            .as_array()
            .into_iter()
            .flatten()
            .for_each(|it| println!("             not passed: {}", subtask(it)));
    }
    let times = [
        ("duration", "duration_ms"),
        ("delay", "start_delay_ms"),
        ("alignment", "alignment_ms"),
        ("sync", "sync_ms"),
        ("async", "async_ms"),
        ("commit", "commit_ms"),
    ];
    for (name, key) in times {
        if let Some(ms) = made[key].as_f64() {
            println!("{name:<10} {ms:.1} ms");
        }
    }
    println!("bytes      {} of state, {} new", made["full_bytes"], made["new_bytes"]);
    for part in made["subtasks"].as_array().into_iter().flatten() {
        let is_slowest = made["slowest"]["chain"] == part["chain"] && made["slowest"]["subtask"] == part["subtask"];
        let time = |key: &str| part[key].as_f64().unwrap_or_default();
        println!(
            "subtask    {}: {:.1} ms (delay {:.1}, alignment {:.1}, sync {:.1}, async {:.1}), {} records, {} bytes of state, {} new in {} entries{}",
            subtask(part),
            time("total_ms"),
            time("start_delay_ms"),
            time("alignment_ms"),
            time("sync_ms"),
            time("async_ms"),
            part["records"],
            part["state_bytes"],
            part["new_bytes"],
            part["new_entries"],
            if is_slowest { ", the slowest" } else { "" },
        );
    }
}

fn print_manifest(it: &Value) {
    let list = |key: &str| it[key].as_array().cloned().unwrap_or_default();
    let table =
        |key: &str| it[key].as_object().into_iter().flatten().map(|(name, it)| (lines(name), it)).collect::<Vec<_>>();
    println!("state      {} bytes in {} file(s), {} key groups", it["bytes"], list("files").len(), it["key_groups"]);
    for (name, source) in table("sources") {
        println!("source     {name}: {}, watermark {}", text(&source["identity"]), watermark(&source["watermark"]));
        for split in source["splits"].as_array().into_iter().flatten() {
            let end = split["end"].as_i64().map(|end| format!(" of {end}")).unwrap_or_default();
            let named = split["split"].as_str().filter(|name| !name.is_empty()).map(|name| format!("{} ", lines(name)));
            println!("             {}next position {}{end}", named.unwrap_or_default(), split["position"]);
        }
    }
    for (name, node) in table("nodes") {
        println!("node       {name}: watermark {}", watermark(&node["watermark"]));
        for (state, declared) in node["states"].as_object().into_iter().flatten() {
            println!(
                "             {} ({} v{}, id {})",
                lines(state),
                text(&declared["kind"]),
                declared["version"],
                declared["id"]
            );
        }
    }
    for file in list("files") {
        println!("file       {}  {} bytes", text(&file["stored"]), file["bytes"]);
    }
    for part in list("parts") {
        println!("part       {}: {}  {} bytes", text(&part["sink"]), text(&part["published"]), part["bytes"]);
    }
}

/// Event time as people read it; at its ends it is no time at all.
fn watermark(millis: &Value) -> String {
    match millis.as_i64().unwrap_or(i64::MIN) {
        i64::MAX => "at the end of time".to_owned(),
        // Year 0 and year 10,000: beyond them a number says more.
        millis @ -62_167_219_200_000..253_402_300_800_000 => rfc3339(millis),
        i64::MIN => "not yet set".to_owned(),
        millis => format!("{millis} ms"),
    }
}
