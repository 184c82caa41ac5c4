//! `weir demo crash FILE`: runs the pipeline once without kills, which is the truth, then again with SIGKILL at random
//! moments, and compares the committed outputs.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use weir_core::graph::spec::{Key, SinkKind, SourceKind};

use super::compare::{Difference, compare, read};
use super::copies::{Copy, copy};
use crate::cli::{Exit, load};
use crate::clock;
use crate::pipeline::Checked;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// A pipeline from a generator or a file into files
    file: PathBuf,
    /// How often to kill it
    #[arg(long, default_value_t = 5)]
    kills: u32,
    /// When to kill it; printed, so that a run can be repeated
    #[arg(long)]
    seed: Option<u64>,
    /// Keep the temporary folder, and print where it is
    #[arg(long)]
    keep: bool,
}

pub(super) fn run(arguments: &Arguments) -> Exit {
    let checked = match load::load(&arguments.file, None) {
        Ok(checked) => checked,
        Err(exit) => return exit,
    };
    if let Err(message) = suits(&checked) {
        eprintln!("error: {message}");
        return Exit::Config;
    }
    let folder = match tempfile::Builder::new().prefix("weir-demo-").tempdir() {
        Ok(folder) => folder,
        Err(e) => {
            eprintln!("error: cannot make a temporary folder: {e}");
            return Exit::Failed;
        }
    };
    let result = prove(arguments, &checked, folder.path());
    if arguments.keep {
        eprintln!("kept: {}", folder.keep().display());
    }
    match result {
        Ok(true) => Exit::Ok,
        Ok(false) => Exit::Failed,
        Err(message) => {
            eprintln!("error: {message}");
            Exit::Failed
        }
    }
}

/// The truth must come out of the same input twice, and the output must be readable.
fn suits(checked: &Checked) -> Result<(), String> {
    for source in &checked.pipeline.sources {
        match &source.kind {
            SourceKind::File { .. } => {}
            SourceKind::Generator(generator) if generator.count.is_some() => {}
            SourceKind::Generator(_) => {
                return Err(format!("generator `{}` has no `count`: it never ends", source.name));
            }
            other => {
                return Err(format!(
                    "source `{}` is {}; the demo reads generators and files",
                    source.name,
                    other.as_str()
                ));
            }
        }
    }
    match checked.pipeline.sinks.iter().find(|sink| !matches!(sink.kind, SinkKind::File { .. })) {
        Some(sink) => Err(format!("sink `{}` is {}; the demo writes files", sink.name, sink.kind.as_str())),
        None => Ok(()),
    }
}

fn prove(arguments: &Arguments, checked: &Checked, folder: &Path) -> Result<bool, String> {
    let seed = arguments.seed.unwrap_or_else(|| clock::now_millis() as u64);
    let records = records_in(checked)?;
    let truth = copy(&arguments.file, &folder.join("truth"), true)?;
    eprintln!("first run, without kills: {records} records");
    let started = clock::now();
    run_to_the_end(&truth)?;
    let crashed = copy(&arguments.file, &folder.join("crash"), false)?;
    let expected = expected_time(checked).unwrap_or(started.elapsed());
    eprintln!("second run, {} kills, seed {seed} (--seed {seed} repeats it)", arguments.kills);
    let kills = run_with_kills(&crashed, arguments.kills, expected, seed)?;
    let mut total = Difference::default();
    let mut rows = 0;
    for ((sink, expected), (_, found)) in truth.outputs.iter().zip(&crashed.outputs) {
        let expected = read(expected)?;
        rows += expected.len();
        let difference = compare(&expected, &read(found)?, key_of(checked, sink).as_deref());
        total.lost += difference.lost;
        total.doubled += difference.doubled;
        total.reordered += difference.reordered;
        total.examples.extend(difference.examples);
    }
    let good = total.lost == 0 && total.doubled == 0 && total.reordered == 0 && rows > 0 && kills == arguments.kills;
    for example in &total.examples {
        eprintln!("  {example}");
    }
    if total.reordered > 0 {
        eprintln!("{} keys have their rows in another order", total.reordered);
    }
    if rows == 0 {
        eprintln!("the first run wrote no row: this proves nothing");
    }
    if kills < arguments.kills {
        eprintln!("the pipeline ended after {kills} kills: give it more records or fewer kills");
    }
    println!("{kills} kill -9, {records} in, {} lost, {} duplicated", total.lost, total.doubled);
    Ok(good)
}

/// Records that the sources hold.
fn records_in(checked: &Checked) -> Result<u64, String> {
    let mut records = 0;
    for source in &checked.pipeline.sources {
        records += match &source.kind {
            SourceKind::Generator(generator) => generator.count.unwrap_or_default(),
            SourceKind::File { path } => {
                let bytes = std::fs::read(&path.resolved).map_err(|e| format!("cannot read {}: {e}", path.written))?;
                let unterminated = bytes.last().is_some_and(|last| *last != b'\n');
                memchr::memchr_iter(b'\n', &bytes).count() as u64 + u64::from(unterminated)
            }
            _ => 0,
        };
    }
    Ok(records)
}

/// How long the sources take at their rates.
fn expected_time(checked: &Checked) -> Option<Duration> {
    let time = |source: &weir_core::graph::spec::Source| match &source.kind {
        SourceKind::Generator(generator) => {
            Some(Duration::from_secs_f64(generator.count? as f64 / generator.rate? as f64))
        }
        _ => None,
    };
    checked.pipeline.sources.iter().filter_map(time).max()
}

/// The key of the node that feeds a sink, where rows may show it.
fn key_of(checked: &Checked, sink: &str) -> Option<String> {
    let sink = checked.pipeline.sink(sink)?;
    let from = &sink.inputs.first()?.from.first()?.node;
    match checked.pipeline.node(from)?.inputs.first()?.key.as_ref()? {
        Key::Json(pointer) => Some(pointer.clone()),
        Key::Record => None,
    }
}

fn start(copy: &Copy) -> Result<Child, String> {
    let weir = std::env::current_exe().map_err(|e| format!("cannot find this program: {e}"))?;
    Command::new(weir)
        .args(["--quiet", "run"])
        .arg(&copy.file)
        .arg("--state")
        .arg(&copy.state)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::inherit())
        .spawn()
        .map_err(|e| format!("cannot start weir: {e}"))
}

fn run_to_the_end(copy: &Copy) -> Result<(), String> {
    let status = start(copy)?.wait().map_err(|e| format!("cannot wait for weir: {e}"))?;
    if status.success() { Ok(()) } else { Err(format!("weir ended with {status}")) }
}

/// Kills it at random moments, each time later in its work, then lets it end. Returns how often it was killed.
fn run_with_kills(copy: &Copy, kills: u32, expected: Duration, seed: u64) -> Result<u32, String> {
    let share = expected / (kills + 1);
    let mut random = seed;
    let mut done = 0;
    while done < kills {
        let mut child = start(copy)?;
        // Half a share to a whole one, so that all kills fall into the time that the work takes.
        let delay = share / 2 + share.mul_f64(f64::from(next(&mut random) >> 8) / f64::from(1 << 24) / 2.0);
        clock::pause(delay);
        match child.try_wait().map_err(|e| format!("cannot wait for weir: {e}"))? {
            Some(status) if status.success() => return Ok(done),
            Some(status) => return Err(format!("weir ended with {status}")),
            None => {}
        }
        // On Unix this is SIGKILL.
        child.kill().map_err(|e| format!("cannot kill weir: {e}"))?;
        child.wait().map_err(|e| format!("cannot wait for weir: {e}"))?;
        done += 1;
        eprintln!("  kill -9 number {done}, {} ms after its start", delay.as_millis());
    }
    run_to_the_end(copy).map(|()| done)
}

/// SplitMix64: small, seeded, good enough to choose moments.
fn next(state: &mut u64) -> u32 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 32) as u32
}
