//! `weir serve`: starts a server, says where it is and with which token, and waits for the signal that drains it.

use std::io::Write;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use super::{Exit, load, run, settings};
use crate::api::{Server, StartError};
use crate::guest::CompileLimits;
use crate::settings::server::Server as Settings;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    settings: settings::Layers,
}

pub(super) fn run(arguments: &Arguments) -> Exit {
    let loaded = match arguments.settings.load() {
        Ok(loaded) => loaded,
        Err(exit) => return exit,
    };
    let settings = loaded.server;
    let Some(data) = &settings.data else {
        eprintln!("error: no data folder: --data DIR, or data in [server] of the file that --config names");
        return Exit::Usage;
    };
    if let Some(file) = loaded.file {
        tracing::info!("settings of {}; `weir config show --origin` shows all of them", file.display());
    }
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
    let engine = load::engine_for(settings.instances, limits(&settings), Some(data.join("cache/native")));
    let engine = match engine {
        Ok(engine) => engine,
        Err(exit) => return exit,
    };
    let server = match Server::start(data, &settings, engine, super::budget(settings.state_memory)) {
        Ok(server) => server,
        Err(error) => {
            eprintln!("error: {error}");
            return refused(&error);
        }
    };
    announce(&server);
    // An error would mean that the thread that watches for signals is gone: then nobody could stop us any more.
    let _ = stopped.recv();
    drain(server, settings.shutdown_timeout)
}

/// Last checkpoints, in the time that there is. One that needs longer is no failure of the stop: it loses nothing, and goes on
/// from its newest commit.
fn drain(server: Server, most: Duration) -> Exit {
    let ran = server.runs_pipelines();
    let left = server.shut_down(most);
    if left.is_empty() {
        eprintln!(
            "stopped{}",
            if ran { ": every pipeline that ran has its last checkpoint and goes on at the next start" } else { "" }
        );
        return Exit::Ok;
    }
    for name in left {
        eprintln!(
            "warning: pipeline `{name}` has no last checkpoint after {} s: it goes on from the one before",
            most.as_secs()
        );
    }
    eprintln!("stopped: every other pipeline has its last checkpoint; all go on at the next start");
    let _ = std::io::stderr().flush();
    // Order: nothing of this process is torn down under the threads that still work: to them this is a kill.
    // SAFETY: it takes a number, and does not come back.
    unsafe { libc::_exit(i32::from(Exit::Ok.code())) }
}

fn limits(settings: &Settings) -> CompileLimits {
    let seconds = |time: Duration| u32::try_from(time.as_secs()).unwrap_or(u32::MAX);
    CompileLimits {
        cpu_seconds: seconds(settings.compile_cpu),
        wall_seconds: seconds(settings.compile_wall),
        memory_mib: u32::try_from(settings.compile_memory >> 20).unwrap_or(u32::MAX),
    }
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
    let (url, path) = (server.url(), server.token_path().display());
    match server.new_token() {
        Some(token) => eprintln!("admin token: {token} (kept in {path}, not shown again)"),
        None => eprintln!("admin token: in {path}"),
    }
    if server.is_readable_on_the_way() {
        eprintln!("warning: {url} can be reached from other machines: token and data are readable on the way");
    }
    eprintln!("weir {} serves {url}", env!("CARGO_PKG_VERSION"));
}

fn refused(error: &StartError) -> Exit {
    match error {
        StartError::Locked { .. } => Exit::Locked,
        StartError::Listen { .. } => Exit::Unreachable,
        StartError::Token { .. } | StartError::PlainHttp { .. } | StartError::Tls(_) => Exit::Config,
        StartError::File { .. }
        | StartError::Foreign { .. }
        | StartError::Tokens(_)
        | StartError::Registry(_)
        | StartError::Pipelines(_)
        | StartError::Io { .. } => Exit::State,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_limits_of_the_compiler_are_its_own() {
        let (ours, own) = (limits(&Settings::default()), CompileLimits::default());
        assert_eq!(
            (ours.cpu_seconds, ours.wall_seconds, ours.memory_mib),
            (own.cpu_seconds, own.wall_seconds, own.memory_mib)
        );
    }
}
