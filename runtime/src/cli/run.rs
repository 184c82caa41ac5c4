//! `weir run FILE`: one pipeline in this process, until its input ends or a signal stops it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use weir_core::domain::{Class, Start};
use weir_core::graph::spec::{Checkpoint, Guarantee, Storage};

use super::target::default_state;
use super::{Exit, load, status_line};
use crate::api::{self, Running};
use crate::pipeline::savepoint::{self, Opened};
use crate::pipeline::{Checked, Job, JobError, Service, Settings, folder};

/// Signals within this time are one.
const ONE_SIGNAL: Duration = Duration::from_millis(300);

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The pipeline file
    file: PathBuf,
    /// Where everything that the run keeps lies; default: .weir/NAME beside the file
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Metrics and probes on this address; port 0 takes a free one and prints it
    #[arg(long, value_name = "ADDRESS", value_parser = super::address)]
    listen: Option<String>,
    /// Where to start: the newest commit (`latest`, the default), nothing (`empty`), or the folder of a savepoint or of a
    /// checkpoint; a changed checkpoint.guarantee asks for it
    #[arg(long, value_name = "DIR|latest|empty")]
    from: Option<From>,
    /// With `--from empty`: forget the state that is there; with `--from DIR`: go back, though newer rows are committed
    #[arg(long)]
    rewind: bool,
    /// Leave out state of nodes that the pipeline does not have any more
    #[arg(long)]
    allow_non_restored: bool,
    /// Do not wait for an owner that may still live
    #[arg(long)]
    takeover: bool,
    /// Memory for state, as 2GiB; what is not in use beyond it lies on disk; default: half of what there is
    #[arg(long, value_name = "SIZE", value_parser = super::size)]
    state_memory: Option<u64>,
    /// Where operators that are named `name@version` are found: the --data folder of `weir serve`, or its registry
    #[arg(long, value_name = "DIR")]
    registry: Option<PathBuf>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum From {
    Latest,
    Empty,
    Folder(PathBuf),
}

impl std::str::FromStr for From {
    type Err = String;

    /// A folder of one of these names is written with its path: `./latest`.
    fn from_str(text: &str) -> Result<From, Self::Err> {
        Ok(match text {
            "latest" => From::Latest,
            "empty" => From::Empty,
            folder if Path::new(folder).is_dir() => From::Folder(PathBuf::from(folder)),
            other => return Err(format!("{other:?} is no folder: name a savepoint's, or write latest or empty")),
        })
    }
}

pub(super) fn run(arguments: &Arguments) -> Exit {
    let from = arguments.from.as_ref().unwrap_or(&From::Latest);
    if arguments.rewind && *from == From::Latest {
        eprintln!(
            "error: --rewind goes with --from empty, to forget the state that is there, or with --from DIR, to go back"
        );
        return Exit::Usage;
    }
    let checked = match load::load(&arguments.file, arguments.registry.as_deref()) {
        Ok(checked) => checked,
        Err(exit) => return exit,
    };
    // stdin cannot be read again: nothing of such a run is kept. One whose checkpoints are in memory begins anew in any folder,
    // and is found in the one that its commands look into.
    let Checkpoint { guarantee, storage, .. } = checked.pipeline.checkpoint;
    let scratch = match (guarantee, storage) {
        (Guarantee::None, Storage::Local) => match tempfile::tempdir() {
            Ok(folder) => Some(folder),
            Err(e) => {
                eprintln!("error: cannot make a temporary folder: {e}");
                return Exit::Failed;
            }
        },
        _ => None,
    };
    let state = match &scratch {
        Some(folder) => folder.path().join("state"),
        None => arguments.state.clone().unwrap_or_else(|| default_state(&arguments.file, &checked.pipeline.name)),
    };
    // Before anything is written: an address that is not to be had is no start.
    let listener = match arguments.listen.as_deref().map(api::listen).transpose() {
        Ok(listener) => listener,
        Err(e) => {
            let address = arguments.listen.as_deref().unwrap_or_default();
            eprintln!("error: cannot listen on {address}: {e}; --listen 127.0.0.1:0 takes a free port");
            return Exit::Unreachable;
        }
    };
    // All of it is read before anything is made or locked.
    let origin = match from {
        From::Folder(folder) => match open_origin(folder, &checked, arguments.allow_non_restored) {
            Ok(origin) => Some(origin),
            Err(error) => {
                eprintln!("error: {error}; nothing was changed");
                return Exit::State;
            }
        },
        From::Latest | From::Empty => None,
    };
    let opened = match origin {
        Some(origin) => Job::open_from(checked, &state, origin),
        None => Job::open(checked, &state),
    };
    let mut job = match opened {
        Ok(job) => job,
        Err(error) => {
            eprintln!("error: {error}");
            return refused(&error);
        }
    };
    job.budget = super::budget(arguments.state_memory);
    job.allows_non_restored = arguments.allow_non_restored;
    job.origin_is_given = arguments.from.is_some();
    let start = match from {
        From::Latest => Start::Newest,
        From::Empty => Start::Empty { rewind: arguments.rewind },
        From::Folder(_) => job.start_from_origin(arguments.rewind),
    };
    announce(&job, &state);
    let name = job.pipeline().name.clone();
    let settings = Settings { start, takeover: arguments.takeover, ..Settings::default() };
    let (service, handle) = Service::new(job, settings);
    let running = Running { name, handle: handle.clone(), state };
    let mut served = Vec::new();
    match api::serve_socket(running.clone()) {
        Ok(socket) => served.push(socket),
        // A file system without sockets is no reason not to run.
        Err(e) => tracing::warn!("no control socket in {}: {e}", running.state.display()),
    }
    let stopped = handle.clone();
    if let Err(e) = stop_on_signals(move || stopped.stop()) {
        eprintln!("error: cannot watch for signals: {e}");
        return Exit::Failed;
    }
    if let Some(listener) = listener {
        match api::serve_pipeline(listener, running) {
            Ok((bound, http)) => {
                served.push(http);
                eprintln!("metrics and probes on http://{bound}");
            }
            Err(e) => {
                eprintln!("error: cannot serve metrics and probes: {e}");
                return Exit::Failed;
            }
        }
    }
    let line = status_line::start(&handle.status);
    let outcome = service.run();
    drop(line);
    // Who asked for this end hears of it.
    served.into_iter().for_each(api::Served::finish);
    let skipped: u64 = handle.status.read(|facts| facts.metrics.nodes.iter().map(|node| node.skipped.get()).sum());
    if skipped > 0 {
        eprintln!("{skipped} record(s) skipped since the last start (on_error = \"skip\"); -v names each of them");
    }
    match outcome.class {
        Class::Stopped | Class::Ended => eprintln!("{}", outcome.why),
        _ if outcome.circuit_open => eprintln!("error: the same failure came three times: {}", outcome.why),
        _ => eprintln!("error: {}", outcome.why),
    }
    Exit::from(outcome.class)
}

fn open_origin(folder: &Path, checked: &Checked, allows_non_restored: bool) -> Result<Opened, savepoint::Error> {
    let opened = Opened::open(folder, &checked.pipeline.name)?;
    opened.check_names(folder, checked, allows_non_restored)?;
    Ok(opened)
}

pub(super) fn refused(error: &JobError) -> Exit {
    match error {
        JobError::Folder(folder::Error::Locked { .. }) => Exit::Locked,
        JobError::Folder(_) | JobError::OnDisk { .. } | JobError::State(_) => Exit::State,
        JobError::Random(_) => Exit::Failed,
        JobError::SinkInState { .. } => Exit::Config,
    }
}

fn announce(job: &Job, state: &Path) {
    let pipeline = job.pipeline();
    tracing::info!(
        "{}: {}, a checkpoint every {:?}{}, state in {}",
        pipeline.name,
        pipeline.checkpoint.guarantee.as_str(),
        pipeline.checkpoint.interval,
        if pipeline.checkpoint.storage == Storage::Memory { " in memory" } else { "" },
        state.display()
    );
}

/// The first SIGTERM or Ctrl-C asks for a last checkpoint; the second ends the process at once.
pub(super) fn stop_on_signals(mut stop: impl FnMut() + Send + 'static) -> std::io::Result<()> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    let mut signals = signal_hook::iterator::Signals::new([SIGTERM, SIGINT])?;
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        let mut first: Option<std::time::Instant> = None;
        for _ in &mut signals {
            // A terminal, or a tool like `timeout`, may send one signal to the process and to its group: that is one.
            if first.is_some_and(|at| at.elapsed() < ONE_SIGNAL) {
                continue;
            }
            if first.is_some() {
                eprintln!("second signal: ending now; what was not committed will be read again");
                std::process::exit(i32::from(Exit::Interrupted.code()));
            }
            first = Some(crate::clock::now());
            tracing::info!("stopping: a last checkpoint, then the end (a second signal ends at once)");
            stop();
        }
    })?;
    Ok(())
}
