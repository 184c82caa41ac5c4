//! `weir checkpoint list|verify`: what a state folder holds, read whether or not the pipeline runs. `trigger` asks the process
//! that runs it, and so does `list` where they are in its memory. None of them writes; `show` and `rm` are beside.

mod rm;
mod show;

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::client::{Client, No, Where};
use super::shown::text;
use super::target::{Target, target};
use super::{Exit, Format};
use crate::api::shown::summary;
use crate::pipeline::checkpoints::{Checkpoints, Error};
use crate::pipeline::snapshot_store::parse_id;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// List the committed checkpoints, newest first
    List(List),
    /// Show what a checkpoint holds and how it was made, or how the last twenty were
    Show(show::Show),
    /// Read every file of a checkpoint and compare length and sha256
    Verify(One),
    /// Ask the running pipeline for a checkpoint now
    Trigger(Trigger),
    /// Delete checkpoints that nothing needs
    Rm(rm::Rm),
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
pub(super) struct List {
    #[command(flatten)]
    place: Where,
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
        Command::List(it) => list(it).unwrap_or_else(|exit| exit),
        Command::Show(it) => show::run(it).unwrap_or_else(|exit| exit),
        Command::Rm(it) => rm::run(it).unwrap_or_else(|exit| exit),
        Command::Verify(it) => read(&it.pipeline, it.state.as_deref(), |found| verify(found, it)),
        Command::Trigger(it) => trigger(it).err().unwrap_or(Exit::Ok),
    }
}

fn read(pipeline: &str, state: Option<&Path>, look: impl FnOnce(&Checkpoints) -> Result<Exit, Error>) -> Exit {
    let target = match target(pipeline, state) {
        Ok(target) => target,
        Err(exit) => return exit,
    };
    match opened(&target) {
        Ok(found) => look(&found).unwrap_or_else(failed),
        Err(exit) => exit,
    }
}

fn opened(target: &Target) -> Result<Checkpoints, Exit> {
    Checkpoints::open(&target.state, &target.name).map_err(failed)
}

/// An id that goes into the path of a request. What is none there cannot be.
fn known(id: &str) -> Result<&str, Exit> {
    if parse_id(id).is_none() {
        eprintln!("error: there is no checkpoint {id:?}: an id is EPOCH-TOKEN, as `weir checkpoint list` names them");
        return Err(Exit::State);
    }
    Ok(id)
}

fn failed(error: Error) -> Exit {
    eprintln!("error: {error}");
    Exit::State
}

fn trigger(arguments: &Trigger) -> Result<(), Exit> {
    let client = Client::new(&arguments.place)?;
    let body = json!({"kind": "checkpoint", "detach": arguments.detach});
    let answer = client.post(&format!("/api/v1/pipelines/{}/checkpoints", client.name), &body)?;
    if answer["id"].is_string() {
        println!("{}", text(&answer["id"]));
    }
    Ok(())
}

fn list(arguments: &List) -> Result<Exit, Exit> {
    let found: Vec<Value> = match arguments.place.is_server() {
        true => Client::new(&arguments.place)?.checkpoints().map_err(|no| no.print())?,
        false => listed(arguments.place.target()?)?,
    };
    if arguments.format == Format::Json {
        println!("{:#}", Value::from(found));
        return Ok(Exit::Ok);
    }
    if found.is_empty() {
        eprintln!("there is no committed checkpoint yet");
        return Ok(Exit::Ok);
    }
    println!("{:<16} {:<24} {:>14} KIND", "ID", "COMPLETED", "BYTES");
    for it in &found {
        let text = |key: &str| text(&it[key]);
        let bytes = it["bytes"].as_u64().unwrap_or_default();
        println!("{:<16} {:<24} {bytes:>14} {}", text("id"), text("completed_at"), text("kind"));
    }
    Ok(Exit::Ok)
}

/// Those in a state folder, or in the memory of the process that has it.
fn listed(target: Target) -> Result<Vec<Value>, Exit> {
    match Checkpoints::open(&target.state, &target.name) {
        Ok(found) => {
            let (found, damaged) = found.list().map_err(failed)?;
            damaged.iter().for_each(|error| eprintln!("warning: {error}"));
            Ok(found.iter().map(summary).collect())
        }
        Err(in_memory @ Error::InMemory(_)) => match Client::of(target).checkpoints() {
            Ok(found) => Ok(found),
            Err(No::Nobody(_)) => Err(failed(in_memory)),
            Err(no) => Err(no.print()),
        },
        Err(error) => Err(failed(error)),
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
