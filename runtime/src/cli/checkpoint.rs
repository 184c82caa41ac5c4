//! `weir checkpoint list|show|verify`: what a state folder holds, read whether or not the pipeline runs. `trigger` asks the
//! process that runs it. None of them writes.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::client::{Client, Where};
use super::target::target;
use super::{Exit, Format};
use crate::clock::rfc3339;
use crate::pipeline::checkpoints::{Checkpoint, Checkpoints, Error};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// List the committed checkpoints, newest first
    List(Arguments),
    /// Show what a checkpoint holds: positions, states, files
    Show(One),
    /// Read every file of a checkpoint and compare length and sha256
    Verify(One),
    /// Ask the running pipeline for a checkpoint now
    Trigger(Trigger),
}

#[derive(Debug, clap::Args)]
pub(super) struct Trigger {
    #[command(flatten)]
    place: Where,
    /// Do not wait until it is committed
    #[arg(long)]
    detach: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The pipeline: its file, or its name
    pipeline: String,
    /// Its state folder; default: .weir/NAME beside the file, or in the current folder
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// How to print it
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

#[derive(Debug, clap::Args)]
pub(super) struct One {
    /// The pipeline: its file, or its name
    pipeline: String,
    /// The checkpoint, as `weir checkpoint list` names it: EPOCH-TOKEN
    id: String,
    /// Its state folder; default: .weir/NAME beside the file, or in the current folder
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// How to print it
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

pub(super) fn run(command: &Command) -> Exit {
    match command {
        Command::List(it) => read(&it.pipeline, it.state.as_deref(), |found| list(found, it.format)),
        Command::Show(it) => read(&it.pipeline, it.state.as_deref(), |found| show(found, it)),
        Command::Verify(it) => read(&it.pipeline, it.state.as_deref(), |found| verify(found, it)),
        Command::Trigger(it) => trigger(it).err().unwrap_or(Exit::Ok),
    }
}

fn read(pipeline: &str, state: Option<&Path>, look: impl FnOnce(&Checkpoints) -> Result<Exit, Error>) -> Exit {
    let target = match target(pipeline, state) {
        Ok(target) => target,
        Err(exit) => return exit,
    };
    Checkpoints::open(&target.state, &target.name).and_then(|found| look(&found)).unwrap_or_else(|error| {
        eprintln!("error: {error}");
        Exit::State
    })
}

fn trigger(arguments: &Trigger) -> Result<(), Exit> {
    let client = Client::new(&arguments.place)?;
    let body = json!({"kind": "checkpoint", "detach": arguments.detach});
    let answer = client.post(&format!("/api/v1/pipelines/{}/checkpoints", client.name), &body)?;
    if let Some(id) = answer["id"].as_str() {
        println!("{id}");
    }
    Ok(())
}

fn list(checkpoints: &Checkpoints, format: Format) -> Result<Exit, Error> {
    let (found, damaged) = checkpoints.list()?;
    for error in &damaged {
        eprintln!("warning: {error}");
    }
    if format == Format::Json {
        println!("{:#}", found.iter().map(summary).collect::<Value>());
        return Ok(Exit::Ok);
    }
    if found.is_empty() {
        eprintln!("there is no committed checkpoint yet");
        return Ok(Exit::Ok);
    }
    println!("{:<16} {:<24} {:>14} KIND", "ID", "COMPLETED", "BYTES");
    for it in &found {
        println!("{:<16} {:<24} {:>14} {}", it.id(), rfc3339(it.completed_at()), it.bytes(), it.kind().as_str());
    }
    Ok(Exit::Ok)
}

fn summary(it: &Checkpoint) -> Value {
    json!({
        "id": it.id(),
        "epoch": it.snapshot.epoch,
        "completed_at": rfc3339(it.completed_at()),
        "bytes": it.bytes(),
        "kind": it.kind(),
    })
}

fn show(checkpoints: &Checkpoints, one: &One) -> Result<Exit, Error> {
    let it = checkpoints.get(&one.id)?;
    let manifest = &it.manifest;
    if one.format == Format::Json {
        let mut shown = summary(&it);
        shown["pipeline"] = json!(manifest.pipeline);
        shown["key_groups"] = json!(manifest.key_groups);
        shown["sources"] = json!(manifest.sources);
        shown["nodes"] = json!(manifest.nodes);
        shown["files"] = manifest.files().map(|file| json!(file)).collect();
        shown["parts"] = json!(manifest.parts);
        println!("{shown:#}");
        return Ok(Exit::Ok);
    }
    let files = manifest.files().count();
    println!("{} {} of {}", it.kind().as_str(), it.id(), manifest.pipeline);
    println!("completed  {}", rfc3339(it.completed_at()));
    println!("state      {} bytes in {files} file(s), {} key groups", it.bytes(), manifest.key_groups);
    for (name, source) in &manifest.sources {
        println!("source     {name}: {}, watermark {}", source.identity, watermark(source.watermark));
        for split in &source.splits {
            let end = split.end.map(|end| format!(" of {end}")).unwrap_or_default();
            let named = if split.split.is_empty() { String::new() } else { format!("{} ", split.split) };
            println!("             {named}next position {}{end}", split.position);
        }
    }
    for (name, node) in &manifest.nodes {
        println!("node       {name}: watermark {}", watermark(node.watermark));
        for (state, declared) in &node.states {
            println!("             {state} ({} v{}, id {})", declared.kind, declared.version, declared.id);
        }
    }
    for file in manifest.files() {
        println!("file       {}  {} bytes", file.stored, file.bytes);
    }
    for part in &manifest.parts {
        println!("part       {}: {}  {} bytes", part.sink, part.published, part.bytes);
    }
    Ok(Exit::Ok)
}

/// Event time as people read it; at its ends it is no time at all.
fn watermark(millis: i64) -> String {
    match millis {
        i64::MAX => "at the end of time".to_owned(),
        // Year 0 and year 10,000: beyond them a number says more.
        -62_167_219_200_000..253_402_300_800_000 => rfc3339(millis),
        i64::MIN => "not yet set".to_owned(),
        millis => format!("{millis} ms"),
    }
}

fn verify(checkpoints: &Checkpoints, one: &One) -> Result<Exit, Error> {
    let (it, damage) = checkpoints.verify(&one.id)?;
    let files = it.manifest.files().count();
    if one.format == Format::Json {
        let mut said = summary(&it);
        said["files"] = json!(files);
        said["damage"] = damage.iter().map(|error| json!(error.to_string())).collect();
        println!("{said:#}");
    } else if damage.is_empty() {
        println!("{} is whole: {files} file(s), {} bytes", it.id(), it.bytes());
    }
    for error in &damage {
        eprintln!("error: {error}");
    }
    Ok(if damage.is_empty() { Exit::Ok } else { Exit::State })
}
