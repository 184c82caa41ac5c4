//! `weir demo`: proofs that anyone can run.

mod compare;
mod copies;
mod crash;

use super::Exit;

#[derive(Debug, clap::Subcommand)]
pub(in crate::cli) enum Command {
    /// Kill a pipeline with SIGKILL at random moments and count what was lost or doubled
    Crash(crash::Arguments),
}

pub(super) fn run(command: &Command) -> Exit {
    match command {
        Command::Crash(arguments) => crash::run(arguments),
    }
}
