//! `weir schema`: what a program or an editor has to know about a file of ours. Prints and owns nothing.

use super::Exit;
use crate::settings::schema;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// The pipeline file as a JSON Schema (draft 2020-12)
    Pipeline,
    /// weir.toml, the settings of a server, as a JSON Schema (draft 2020-12)
    Server,
}

pub(super) fn run(command: &Command) -> Exit {
    let schema = match command {
        Command::Pipeline => schema::pipeline(),
        Command::Server => schema::server(),
    };
    println!("{schema:#}");
    Exit::Ok
}
