//! `weir stop`, `weir cancel` and `weir savepoint`: what is asked of the process that runs a pipeline. Prints what came of
//! it; the process decides.

use std::path::PathBuf;

use serde_json::json;

use super::Exit;
use super::client::{Client, Where};
use super::shown::lines;

#[derive(Debug, clap::Args)]
pub(super) struct Stop {
    #[command(flatten)]
    place: Where,
    /// End with a savepoint; nothing behind it is committed
    #[arg(long)]
    savepoint: bool,
    /// The folder into which the savepoint's own comes; default: savepoints in the state folder
    #[arg(long, value_name = "DIR", requires = "savepoint")]
    to: Option<PathBuf>,
    /// Fire all timers first, as at the end of time: to stop for good, since what is read later is late
    #[arg(long)]
    drain: bool,
    /// Do not wait for the end
    #[arg(long, conflicts_with = "savepoint")]
    detach: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct Cancel {
    #[command(flatten)]
    place: Where,
    /// Do not wait for the end
    #[arg(long)]
    detach: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct Savepoint {
    #[command(flatten)]
    place: Where,
    /// The folder into which the savepoint's own comes; default: savepoints in the state folder
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
    /// Do not wait until it is there
    #[arg(long)]
    detach: bool,
}

pub(super) fn stop(arguments: &Stop) -> Exit {
    let Stop { savepoint, drain, detach, .. } = arguments;
    done(Client::new(&arguments.place).and_then(|client| {
        let to = client.to(arguments.to.as_deref())?;
        let body = json!({"savepoint": savepoint, "to": to, "drain": drain, "wait": !detach});
        let answer = client.post(&format!("/api/v1/pipelines/{}:stop", client.name), &body)?;
        match (answer["savepoint"]["path"].as_str(), answer["problem"].as_str()) {
            (Some(path), _) => println!("{}", lines(path)),
            (None, Some(problem)) if answer["state"] == "failed" => {
                eprintln!("error: pipeline `{}` has failed instead: {}", client.name, lines(problem));
                return Err(Exit::Failed);
            }
            (None, _) if *detach => eprintln!("pipeline `{}` is stopping", client.name),
            (None, _) => eprintln!("pipeline `{}` has stopped", client.name),
        }
        Ok(())
    }))
}

pub(super) fn cancel(arguments: &Cancel) -> Exit {
    done(Client::new(&arguments.place).and_then(|client| {
        let body = json!({"wait": !arguments.detach});
        let answer = client.post(&format!("/api/v1/pipelines/{}:cancel", client.name), &body)?;
        if answer["state"] == "failed" {
            eprintln!("error: {}", lines(answer["problem"].as_str().unwrap_or("it has failed instead")));
            return Err(Exit::Failed);
        }
        eprintln!(
            "pipeline `{}` is cancelled: nothing that was read since its last checkpoint is committed",
            client.name
        );
        Ok(())
    }))
}

pub(super) fn savepoint(arguments: &Savepoint) -> Exit {
    done(Client::new(&arguments.place).and_then(|client| {
        let to = client.to(arguments.to.as_deref())?;
        let body = json!({"kind": "savepoint", "to": to, "detach": arguments.detach});
        let answer = client.post(&format!("/api/v1/pipelines/{}/checkpoints", client.name), &body)?;
        if let Some(path) = answer["path"].as_str() {
            println!("{}", lines(path));
        }
        Ok(())
    }))
}

fn done(result: Result<(), Exit>) -> Exit {
    result.err().unwrap_or(Exit::Ok)
}
