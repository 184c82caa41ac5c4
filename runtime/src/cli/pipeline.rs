//! `weir pipeline`: pipelines of a server.

use std::path::PathBuf;

use axum::http::Method;
use serde_json::{Value, json};
use weir_core::ids::Name;

use super::apply::{Apply, apply};
use super::op::remove;
use super::remote::{On, Remote, absolute, nothing, table};
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

pub(super) fn path(name: &Name) -> String {
    format!("/api/v1/pipelines/{name}")
}

/// Says how it stands now.
pub(super) fn after(remote: &Remote, on: &On, name: &Name) -> Result<(), Exit> {
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
