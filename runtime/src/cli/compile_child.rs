//! `weir compile-child`: the process in which weir compiles a component. Not for users: stdin, stdout and limits are those
//! of the parent.

use super::Exit;
use crate::guest::{CompileLimits, compile_child};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[arg(long)]
    cpu_seconds: u32,
    #[arg(long)]
    wall_seconds: u32,
    #[arg(long)]
    memory_mib: u32,
}

pub(super) fn run(arguments: &Arguments) -> Exit {
    let &Arguments { cpu_seconds, wall_seconds, memory_mib } = arguments;
    match compile_child(CompileLimits { cpu_seconds, wall_seconds, memory_mib }) {
        Ok(Ok(())) => Exit::Ok,
        Ok(Err(message)) => {
            eprintln!("{message}");
            Exit::Failed
        }
        Err(e) => {
            eprintln!("{e}");
            Exit::Unreachable
        }
    }
}
