//! `weir checkpoint rm`: asks the process that runs the pipeline; where nobody answers, deletes under the lock of the state
//! folder. What may go is decided there.

use super::super::Exit;
use super::super::client::{Client, No, Where};
use super::{failed, known};
use crate::pipeline::checkpoints::Error;
use crate::pipeline::folder;
use crate::pipeline::removal::{Stays, remove_at_rest};
use axum::http::Method;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Rm {
    #[command(flatten)]
    place: Where,
    /// The checkpoints, as `weir checkpoint list` names them: EPOCH-TOKEN
    #[arg(required = true)]
    ids: Vec<String>,
}

/// Goes on behind one that stays; the exit code is that of the first.
pub(super) fn run(rm: &Rm) -> Result<Exit, Exit> {
    let client = Client::new(&rm.place)?;
    let mut exit = Exit::Ok;
    for id in &rm.ids {
        match known(id).and_then(|id| remove(&client, rm, id)) {
            Ok(()) => println!("{id}"),
            Err(code) if exit == Exit::Ok => exit = code,
            Err(_) => {}
        }
    }
    Ok(exit)
}

fn remove(client: &Client, rm: &Rm, id: &str) -> Result<(), Exit> {
    match client.ask(Method::DELETE, &format!("/api/v1/pipelines/{}/checkpoints/{id}", client.name), "") {
        Err(No::Nobody(_)) if client.is_local() => at_rest(rm, id),
        answer => answer.map(drop).map_err(|no| no.print()),
    }
}

fn at_rest(rm: &Rm, id: &str) -> Result<(), Exit> {
    let target = rm.place.target()?;
    remove_at_rest(&target.state, &target.name, id).map_err(|stays| match stays {
        Stays::Folder(error @ Error::Folder(folder::Error::Locked { .. })) => {
            eprintln!("error: {error}");
            Exit::Locked
        }
        Stays::Folder(error) => failed(error),
        stays => {
            eprintln!("error: {stays}");
            Exit::State
        }
    })
}
