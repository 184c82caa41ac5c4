//! `weir pipeline`: pipelines of a server.

use std::path::PathBuf;

use axum::http::{HeaderName, Method, header};
use serde_json::{Value, json};
use weir_core::ids::Name;

use super::op::remove;
use super::remote::{On, Remote, absolute, escaped, nothing, table};
use super::shown::{lines, text};
use super::{Exit, named};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Apply a pipeline file: check it, keep it, run it
    Apply(Apply),
    /// List pipelines
    List(List),
    /// Show a pipeline
    Show(One),
    /// Stop with a last checkpoint, or with a savepoint
    Stop(Stop),
    /// End at once: nothing more is committed
    Cancel(Act),
    /// Rest behind a last checkpoint, until it is resumed
    Pause(Act),
    /// Go on from where it was paused
    Resume(Act),
    /// Stop with a last checkpoint and start again; or start what has stopped or failed
    Restart(Act),
    /// Give a node another operator, on trial: where it fails at first, the one before comes back by itself
    Upgrade(Upgrade),
    /// Go back to an earlier revision
    Rollback(Rollback),
    /// Delete a stopped pipeline and its state
    Rm(Rm),
}

#[derive(Debug, clap::Args)]
pub(super) struct Apply {
    /// The pipeline file
    file: PathBuf,
    /// Print what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Only if the pipeline is at this revision
    #[arg(long, value_name = "REVISION")]
    if_match: Option<u64>,
    /// So long nothing of it is committed, and the revision before comes back where this one fails; default: none
    #[arg(long, value_name = "DURATION")]
    grace: Option<String>,
    /// Start from a savepoint on the server's machine, from nothing (empty), or from what another guarantee committed (latest)
    #[arg(long, value_name = "DIR|empty|latest")]
    from: Option<String>,
    /// With --from: forget the state that is there, or go back behind it
    #[arg(long, requires = "from")]
    rewind: bool,
    /// With --from: leave out state that the file has no place for
    #[arg(long, requires = "from")]
    allow_non_restored: bool,
    /// Do not wait until it runs
    #[arg(long)]
    detach: bool,
    #[command(flatten)]
    on: On,
}

#[derive(Debug, clap::Args)]
pub(super) struct List {
    #[command(flatten)]
    on: On,
}

#[derive(Debug, clap::Args)]
pub(super) struct One {
    /// The pipeline
    #[arg(value_parser = named::name)]
    name: Name,
    #[command(flatten)]
    on: On,
}

#[derive(Debug, clap::Args)]
pub(super) struct Act {
    /// The pipeline
    #[arg(value_parser = named::name)]
    name: Name,
    /// Do not wait until it is done
    #[arg(long)]
    detach: bool,
    #[command(flatten)]
    on: On,
}

#[derive(Debug, clap::Args)]
pub(super) struct Stop {
    #[command(flatten)]
    act: Act,
    /// End with a savepoint; nothing behind it is committed
    #[arg(long)]
    savepoint: bool,
    /// The folder on the server's machine into which the savepoint's own comes
    #[arg(long, value_name = "DIR", requires = "savepoint")]
    to: Option<PathBuf>,
    /// Fire all timers first, as at the end of time: to stop for good
    #[arg(long)]
    drain: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct Upgrade {
    #[command(flatten)]
    act: Act,
    /// The node
    #[arg(long)]
    node: String,
    /// The operator that it gets
    #[arg(long, value_name = "NAME@VERSION")]
    operator: String,
    /// So long nothing is committed, and the revision before comes back where this one fails; 0s: no trial; default: 10s
    #[arg(long, value_name = "DURATION")]
    grace: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(super) struct Rollback {
    #[command(flatten)]
    act: Act,
    /// The revision; default: the one before the one that counts
    #[arg(long, value_name = "REVISION")]
    to: Option<u64>,
}

#[derive(Debug, clap::Args)]
pub(super) struct Rm {
    /// The pipeline
    #[arg(value_parser = named::name)]
    name: Name,
    /// Stop it first, if it runs
    #[arg(long)]
    stop: bool,
    #[command(flatten)]
    on: On,
}

pub(super) fn run(command: &Command) -> Exit {
    let result = match command {
        Command::Apply(arguments) => apply(arguments),
        Command::List(arguments) => list(arguments),
        Command::Show(arguments) => show(arguments),
        Command::Stop(arguments) => stop(arguments),
        Command::Cancel(arguments) => act(arguments, "cancel", &nothing()),
        Command::Pause(arguments) => act(arguments, "pause", &nothing()),
        Command::Resume(arguments) => act(arguments, "resume", &nothing()),
        Command::Restart(arguments) => act(arguments, "restart", &nothing()),
        Command::Upgrade(Upgrade { act: it, node, operator, grace }) => {
            act(it, "upgrade", &json!({"node": node, "operator": operator, "grace": grace}))
        }
        Command::Rollback(Rollback { act: it, to }) => act(it, "rollback", &json!({"to": to})),
        Command::Rm(arguments) => rm(arguments),
    };
    result.err().unwrap_or(Exit::Ok)
}

fn path(name: &Name) -> String {
    format!("/api/v1/pipelines/{name}")
}

fn apply(arguments: &Apply) -> Result<(), Exit> {
    let Apply { file, dry_run, if_match, grace, from, rewind, allow_non_restored, detach, on } = arguments;
    let unreadable = |e: &dyn std::fmt::Display| {
        eprintln!("error: {}: {e}", file.display());
        Exit::Config
    };
    let text = std::fs::read_to_string(file).map_err(|e| unreadable(&e))?;
    let is_json = file.extension().is_some_and(|extension| extension == "json");
    let name = name_in(&text, is_json).map_err(|e| unreadable(&e))?;
    let media_type = if is_json { "application/json" } else { "application/toml" };
    let mut headers: Vec<(HeaderName, String)> = vec![(header::CONTENT_TYPE, media_type.to_owned())];
    headers.extend(if_match.map(|revision| (header::IF_MATCH, format!("\"{revision}\""))));
    let remote = on.open()?;
    let mut query = format!("?dry_run={dry_run}");
    if let Some(grace) = grace {
        query += &format!("&grace={}", escaped(grace));
    }
    if let Some(from) = from {
        query += &format!("&from={}&rewind={rewind}&allow_non_restored={allow_non_restored}", escaped(from));
    }
    let answer = remote.send(Method::PUT, &format!("{}{query}", path(&name)), &headers, text.into_bytes())?;
    if *dry_run {
        if !on.prints(&answer) {
            planned(&name, &answer);
        }
        return Ok(());
    }
    if answer["operation"].is_null() {
        eprintln!("pipeline `{name}` is at revision {} already", answer["revision"]);
    } else if !detach {
        remote.wait(&answer)?;
    }
    after(&remote, on, &name)
}

/// What the text calls its pipeline: the path of the request.
fn name_in(text: &str, is_json: bool) -> Result<Name, String> {
    let name = match is_json {
        true => serde_json::from_str::<Value>(text).map_err(|e| e.to_string())?["name"].as_str().map(str::to_owned),
        false => {
            let table: toml::Table = toml::from_str(text).map_err(|e| e.to_string())?;
            table.get("name").and_then(|name| name.as_str()).map(str::to_owned)
        }
    };
    name.and_then(|name| Name::new(name).ok()).ok_or_else(|| "it has no `name`, or none that is a name".to_owned())
}

fn planned(name: &Name, plan: &Value) {
    match (plan["creates"].as_bool(), plan["changes"].as_bool()) {
        (Some(true), _) => println!("pipeline `{name}` would be new"),
        (_, Some(true)) => println!("pipeline `{name}` would change from revision {}", plan["revision"]),
        _ => println!("pipeline `{name}` would not change"),
    }
    for (written, pin) in plan["operators"].as_object().into_iter().flatten() {
        // A version in full means itself.
        let is_range = written.split_once('@').is_none_or(|(_, version)| pin["version"] != version);
        if is_range {
            println!("  {} is {} (sha256 {})", lines(written), text(&pin["version"]), text(&pin["sha256"]));
        }
    }
    if plan["creates"] != true {
        plan["diff"]
            .as_array()
            .into_iter()
            .flatten()
            .for_each(|line| println!("  {}", lines(line.as_str().unwrap_or_default())));
    }
}

/// Says how it stands now.
fn after(remote: &Remote, on: &On, name: &Name) -> Result<(), Exit> {
    let view = remote.ask(Method::GET, &path(name))?;
    if !on.prints(&view) {
        println!("pipeline `{name}`: {}, revision {}", state(&view), view["revision"]);
        if let Some(problem) = view["problem"].as_str() {
            println!("  {}", lines(problem));
        }
    }
    Ok(())
}

/// Where it stands, and whether that is for good.
pub(super) fn state(view: &Value) -> String {
    let on_trial = if view["trial"].is_null() { "" } else { " (trial)" };
    format!("{}{on_trial}", text(&view["state"]))
}

fn list(arguments: &List) -> Result<(), Exit> {
    let items = arguments.on.open()?.list("/api/v1/pipelines")?;
    if arguments.on.prints(&Value::Array(items.clone())) {
        return Ok(());
    }
    let row = |it: &Value| {
        let checkpoint = text(&it["last_checkpoint"]["completed_at"]);
        vec![
            text(&it["name"]),
            state(it),
            text(&it["revision"]),
            checkpoint,
            text(&it["restarts"]),
            text(&it["problem"]),
        ]
    };
    let headings = ["pipeline", "state", "revision", "last checkpoint", "restarts", "problem"];
    table(&headings, &items.iter().map(row).collect::<Vec<_>>());
    Ok(())
}

fn show(arguments: &One) -> Result<(), Exit> {
    let remote = arguments.on.open()?;
    let view = remote.ask(Method::GET, &path(&arguments.name))?;
    if arguments.on.prints(&view) {
        return Ok(());
    }
    println!("{}", text(&view["name"]));
    println!("  state: {}", state(&view));
    for key in ["revision", "restarts", "problem"] {
        println!("  {key}: {}", lines(view[key].as_str().unwrap_or(&text(&view[key]))));
    }
    let checkpoint = &view["last_checkpoint"];
    println!("  last checkpoint: epoch {}, {}", text(&checkpoint["epoch"]), text(&checkpoint["completed_at"]));
    let revision = remote.ask(Method::GET, &format!("{}/revisions/current", path(&arguments.name)))?;
    for (written, pin) in revision["operators"].as_object().into_iter().flatten() {
        println!("  operator {}: {} (sha256 {})", lines(written), text(&pin["version"]), text(&pin["sha256"]));
    }
    Ok(())
}

fn stop(arguments: &Stop) -> Result<(), Exit> {
    let Stop { act: Act { name, detach, on }, savepoint, to, drain } = arguments;
    let remote = on.open()?;
    let body = json!({"savepoint": savepoint, "to": absolute(to.as_deref())?, "drain": drain});
    let answer = remote.post(&format!("{}:stop", path(name)), &body)?;
    if !detach {
        remote.wait(&answer)?;
    }
    if let Some(place) = answer["savepoint"]["path"].as_str() {
        println!("{}", lines(place));
        return Ok(());
    }
    after(&remote, on, name)
}

fn act(arguments: &Act, action: &str, body: &Value) -> Result<(), Exit> {
    let Act { name, detach, on } = arguments;
    let remote = on.open()?;
    let answer = remote.post(&format!("{}:{action}", path(name)), body)?;
    if !detach {
        remote.wait(&answer)?;
    }
    after(&remote, on, name)
}

fn rm(arguments: &Rm) -> Result<(), Exit> {
    let Rm { name, stop, on } = arguments;
    let remote = on.open()?;
    if *stop {
        let answer = remote.post(&format!("{}:stop", path(name)), &nothing())?;
        remote.wait(&answer)?;
    }
    remove(&remote, &path(name))?;
    eprintln!("pipeline `{name}` and its state are deleted");
    Ok(())
}
