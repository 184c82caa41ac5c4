//! The binary: parses, runs one command, exits with its code.

use clap::Parser;
use weir::cli;

fn main() -> std::process::ExitCode {
    cli::main(cli::Arguments::parse()).code().into()
}
