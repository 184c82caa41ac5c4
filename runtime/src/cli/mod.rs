//! One file per command: parse, build, wait. Owns exit codes and what a person reads on the terminal; no command holds
//! logic that a server would need too.

/// As the standard ones; but a reader that is gone (a closed pipe) is no reason to panic: nobody misses the words.
macro_rules! print {
    ($($text:tt)*) => {{ let _ = std::io::Write::write_fmt(&mut std::io::stdout(), format_args!($($text)*)); }};
}
macro_rules! println {
    ($($text:tt)*) => { print!("{}\n", format_args!($($text)*)) };
}
macro_rules! eprint {
    ($($text:tt)*) => {{ let _ = std::io::Write::write_fmt(&mut std::io::stderr(), format_args!($($text)*)); }};
}
macro_rules! eprintln {
    ($($text:tt)*) => { eprint!("{}\n", format_args!($($text)*)) };
}

mod apply;
mod build;
mod check;
mod checkpoint;
mod client;
mod compile_child;
mod config;
mod demo;
mod exit;
mod graph;
mod inspect;
mod load;
mod logs;
mod named;
mod op;
mod pipeline;
mod problems;
mod remote;
mod run;
mod schema;
mod serve;
mod settings;
mod shown;
mod sse;
mod status_line;
mod stop;
mod target;
mod top;
mod transport;
mod txn;

use std::sync::Arc;

use clap::{ArgAction, Parser, Subcommand};

pub use exit::Exit;

use crate::pipeline::Budget;

/// Runs other people's functions over Kafka streams, exactly once.
#[derive(Debug, Parser)]
#[command(name = "weir", version, max_term_width = 100)]
pub struct Arguments {
    /// More on stderr: -v for debug, -vv for trace. WEIR_LOG takes filters ("weir=debug,guest=trace").
    #[arg(short, long, action = ArgAction::Count, global = true)]
    verbose: u8,
    /// Less on stderr: warnings and errors.
    #[arg(short, long, global = true)]
    quiet: bool,
    /// How logs are written.
    #[arg(long, value_enum, default_value = "text", global = true)]
    log_format: LogFormat,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

/// How a command prints its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a pipeline until its input ends, or until it is stopped
    Run(run::Arguments),
    /// Serve pipelines and operators over HTTP until stopped
    Serve(serve::Arguments),
    /// Settings of a server
    #[command(subcommand)]
    Config(config::Command),
    /// Check a pipeline file and its operators without running anything
    Check(check::Arguments),
    /// Show how a pipeline will run: subtasks, chains, exchanges
    Graph(graph::Arguments),
    /// Print the schema of a file that weir reads
    #[command(subcommand)]
    Schema(schema::Command),
    /// Build the operator in this crate: a component below target/weir
    Build(build::Arguments),
    /// Show what a component is, declares and imports
    Inspect(inspect::Arguments),
    /// Stop a running pipeline with a last checkpoint, or with a savepoint
    Stop(stop::Stop),
    /// End a running pipeline at once: nothing more is committed
    Cancel(stop::Cancel),
    /// Copy a checkpoint of a running pipeline into a folder of its own
    Savepoint(stop::Savepoint),
    /// Operators of a server: push, list, show, rm
    #[command(subcommand)]
    Op(op::Command),
    /// Pipelines of a server: apply, list, show, stop, pause, resume, restart, cancel, rm
    #[command(subcommand)]
    Pipeline(pipeline::Command),
    /// Show all pipelines of a server, every second
    Top(top::Arguments),
    /// Read what the operators of a pipeline log
    Logs(logs::Arguments),
    /// Show what goes wrong in a pipeline, grouped, and which attempts failed
    Problems(problems::Arguments),
    /// Checkpoints of a pipeline: list, show, verify, trigger
    #[command(subcommand)]
    Checkpoint(checkpoint::Command),
    /// Prove things on this machine
    #[command(subcommand)]
    Demo(demo::Command),
    /// Compile a component from stdin to stdout, under limits: what weir starts for itself
    #[command(hide = true)]
    CompileChild(compile_child::Arguments),
    /// Transactions of a pipeline: who owns them, what they hold back
    #[command(subcommand)]
    Txn(txn::Command),
}

/// Runs the command and returns the process's exit code.
pub fn main(arguments: Arguments) -> Exit {
    if let Err(message) = start_logging(&arguments).and_then(|()| crate::crash::check()) {
        eprintln!("error: {message}");
        return Exit::Usage;
    }
    match arguments.command {
        Command::Run(arguments) => run::run(&arguments),
        Command::Serve(arguments) => serve::run(&arguments),
        Command::Config(command) => config::run(&command),
        Command::Check(arguments) => check::run(&arguments),
        Command::Graph(arguments) => graph::run(&arguments),
        Command::Schema(command) => schema::run(&command),
        Command::Build(arguments) => build::run(&arguments),
        Command::Inspect(arguments) => inspect::run(&arguments),
        Command::Stop(arguments) => stop::stop(&arguments),
        Command::Cancel(arguments) => stop::cancel(&arguments),
        Command::Savepoint(arguments) => stop::savepoint(&arguments),
        Command::Op(command) => op::run(&command),
        Command::Pipeline(command) => pipeline::run(&command),
        Command::Top(arguments) => top::run(&arguments),
        Command::Logs(arguments) => logs::run(&arguments),
        Command::Problems(arguments) => problems::run(&arguments),
        Command::Checkpoint(command) => checkpoint::run(&command),
        Command::Demo(command) => demo::run(&command),
        Command::Txn(command) => txn::run(&command),
        Command::CompileChild(arguments) => compile_child::run(&arguments),
    }
}

fn start_logging(arguments: &Arguments) -> Result<(), String> {
    use tracing_subscriber::EnvFilter;
    let level = match (arguments.quiet, arguments.verbose) {
        (true, _) => "warn",
        (false, 0) => "info",
        (false, 1) => "debug",
        (false, _) => "trace",
    };
    // librdkafka and the compiler have their own words; they come with -v.
    let default = if arguments.verbose == 0 {
        format!("warn,weir={level},guest={level}")
    } else {
        format!("info,weir={level},guest={level}")
    };
    let filter = match std::env::var("WEIR_LOG") {
        Err(_) => EnvFilter::new(default),
        Ok(text) => EnvFilter::try_new(&text).map_err(|e| {
            format!("WEIR_LOG={text:?} is no filter for logs ({e}): write a level or targets with levels, as in weir=debug,guest=trace")
        })?,
    };
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    // It would say so with the standard `eprintln!`, which panics when nobody reads stderr any more.
    let logs = logs.log_internal_errors(false);
    match arguments.log_format {
        LogFormat::Text => logs.with_ansi(exit::colour()).compact().init(),
        LogFormat::Json => logs.json().with_span_list(false).init(),
    }
    Ok(())
}

/// An address to listen on, as written: only its form is looked at.
/// What `--state-memory` says.
fn size(text: &str) -> Result<u64, String> {
    crate::settings::size::parse(text).filter(|size| *size > 0).ok_or_else(|| crate::settings::size::SHAPE.to_owned())
}

/// The memory for state: as asked for, or half of what there is.
fn budget(asked: Option<u64>) -> Arc<Budget> {
    asked.map_or_else(Budget::of_machine, |bytes| Budget::new(usize::try_from(bytes).unwrap_or(usize::MAX)))
}

fn address(text: &str) -> Result<String, String> {
    match text.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => Ok(text.to_owned()),
        _ => Err("an address is HOST:PORT, as in 127.0.0.1:7171; port 0 takes a free one".to_owned()),
    }
}
