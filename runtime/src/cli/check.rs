//! `weir check FILE`: everything that can be known without running.

use std::path::PathBuf;

use super::{Exit, load};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The pipeline file
    file: PathBuf,
    /// Where operators that are named `name@version` are found: the --data folder of `weir serve`, or its registry
    #[arg(long, value_name = "DIR")]
    registry: Option<PathBuf>,
}

pub(super) fn run(arguments: &Arguments) -> Exit {
    match load::load(&arguments.file, arguments.registry.as_deref()) {
        Ok(checked) => {
            let pipeline = &checked.pipeline;
            let count = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
            println!(
                "{}: {} is good: {}, {}, {}; {}",
                arguments.file.display(),
                pipeline.name,
                count(pipeline.sources.len(), "source"),
                count(pipeline.nodes.len(), "operator"),
                count(pipeline.sinks.len(), "sink"),
                pipeline.checkpoint.guarantee.as_str()
            );
            Exit::Ok
        }
        Err(exit) => exit,
    }
}
