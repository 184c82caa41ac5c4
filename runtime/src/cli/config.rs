//! `weir config`: what a server would be told, without starting one.

use serde_json::Value;

use super::{Exit, Format, settings};
use crate::settings::server::Shown;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Show every setting of a server as `weir serve` with the same flags would have it
    Show(Show),
}

#[derive(Debug, clap::Args)]
pub(super) struct Show {
    #[command(flatten)]
    settings: settings::Layers,
    /// With where each value came from: the default, a line of the file, a variable, a flag
    #[arg(long)]
    origin: bool,
    /// How to print it; json always has the origin
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

pub(super) fn run(command: &Command) -> Exit {
    let Command::Show(show) = command;
    let loaded = match show.settings.load() {
        Ok(loaded) => loaded,
        Err(exit) => return exit,
    };
    let shown = loaded.shown();
    match show.format {
        Format::Json => println!("{:#}", Value::from_iter(shown.iter().map(Shown::json))),
        Format::Text => {
            let width = shown.iter().map(|it| it.line(0, false).chars().count()).max().unwrap_or_default();
            shown.iter().for_each(|it| println!("{}", it.line(width, show.origin)));
        }
    }
    Exit::Ok
}
