//! `weir serve`: starts a server, says where it is and with which token, and waits for the signal that ends it.

use std::path::PathBuf;
use std::sync::mpsc::sync_channel;

use super::{Exit, load, run};
use crate::api::{Server, StartError};

/// Guests at a time, over all pipelines. Each has address space set aside for its memory, 32 TiB for all of them, of which
/// only what they touch is memory.
const INSTANCES_MAX: u32 = 4096;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Where everything lies that the server keeps; made if it is not there
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// The address of API, metrics and probes; port 0 takes a free one and prints it
    #[arg(long, value_name = "ADDRESS", value_parser = super::address, default_value = "127.0.0.1:7171")]
    listen: String,
    /// Memory for the state of all pipelines, as 2GiB; what is not in use beyond it lies on disk; default: half of what there is
    #[arg(long, value_name = "SIZE", value_parser = super::size)]
    state_memory: Option<u64>,
}

pub(super) fn run(arguments: &Arguments) -> Exit {
    // Bounded: the first signal is the only message.
    let (sender, stopped) = sync_channel(1);
    // Before anything starts: a signal during the start is a signal too.
    let watched = run::stop_on_signals(move || {
        // A second message would say nothing new.
        let _ = sender.try_send(());
    });
    if let Err(e) = watched {
        eprintln!("error: cannot watch for signals: {e}");
        return Exit::Failed;
    }
    raise_limit_of_files();
    let engine = match load::engine_for(INSTANCES_MAX, Some(arguments.data.join("cache/native"))) {
        Ok(engine) => engine,
        Err(exit) => return exit,
    };
    let server = match Server::start(&arguments.data, &arguments.listen, engine, super::budget(arguments.state_memory))
    {
        Ok(server) => server,
        Err(error) => {
            eprintln!("error: {error}");
            return refused(&error);
        }
    };
    announce(&server);
    // An error would mean that the thread that watches for signals is gone: then nobody could stop us any more.
    let _ = stopped.recv();
    server.shut_down();
    eprintln!("stopped: every pipeline has its last checkpoint and goes on at the next start");
    Exit::Ok
}

/// A pipeline has up to twenty files and sockets open: as many as the system grants at all are to be had.
fn raise_limit_of_files() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the struct is plain data that the first call fills and the second reads.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) == 0 && limit.rlim_cur < limit.rlim_max {
            limit.rlim_cur = limit.rlim_max;
            // Where it is refused the old one holds.
            libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
        }
    }
}

fn announce(server: &Server) {
    let (address, path) = (server.address(), server.token_path().display());
    match server.new_token() {
        Some(token) => eprintln!("admin token: {token} (kept in {path}, not shown again)"),
        None => eprintln!("admin token: in {path}"),
    }
    if !address.ip().is_loopback() {
        eprintln!(
            "warning: {address} can be reached from other machines, and this is plain HTTP: token and data are readable on the way"
        );
    }
    eprintln!("weir {} serves http://{address}", env!("CARGO_PKG_VERSION"));
}

fn refused(error: &StartError) -> Exit {
    match error {
        StartError::Locked { .. } => Exit::Locked,
        StartError::Listen { .. } => Exit::Unreachable,
        StartError::Token { .. } => Exit::Config,
        StartError::Foreign { .. }
        | StartError::Tokens(_)
        | StartError::Registry(_)
        | StartError::Pipelines(_)
        | StartError::Io { .. } => Exit::State,
    }
}
