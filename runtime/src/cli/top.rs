//! `weir top`: all pipelines of a server, a line each, every second. One request a picture. Leaves the terminal as it was.

use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;
use signal_hook::consts::{SIGINT, SIGTERM};

use super::pipeline::state;
use super::remote::{On, columns};
use super::shown::text;
use super::{Exit, Format};
use crate::clock;

/// Between two pictures, and how often it is looked whether somebody wants it to end.
const EVERY: Duration = Duration::from_secs(1);
const LOOK: Duration = Duration::from_millis(100);

const HEADINGS: [&str; 10] =
    ["PIPELINE", "STATE", "IN/S", "OUT/S", "LAG", "WATERMARK LAG", "CHECKPOINT", "RESTARTS", "BUSY", "BOTTLENECK"];

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// One picture, then the end; also where stdout is not a terminal
    #[arg(long)]
    once: bool,
    #[command(flatten)]
    on: On,
}

pub(super) fn run(arguments: &Arguments) -> Exit {
    watch(arguments).err().unwrap_or(Exit::Ok)
}

fn watch(arguments: &Arguments) -> Result<(), Exit> {
    let Arguments { once, on } = arguments;
    let remote = on.open()?;
    let picture = || remote.list("/api/v1/pipelines");
    if *once || on.format == Format::Json || !std::io::stdout().is_terminal() {
        let pipelines = picture()?;
        if !on.prints(&Value::from(pipelines.clone())) {
            print!("{}", columns(&HEADINGS, &rows(&pipelines)));
        }
        return Ok(());
    }
    let is_over = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // Without it Ctrl-C ends the process and leaves the cursor hidden, which is no reason not to run.
        let _ = signal_hook::flag::register(signal, Arc::clone(&is_over));
    }
    let _screen = Screen::take();
    while !is_over.load(Ordering::Relaxed) {
        let pipelines = picture()?;
        // In one piece, so that it does not flicker.
        print!("\x1b[H\x1b[2J{}", columns(&HEADINGS, &rows(&pipelines)));
        let _ = std::io::stdout().flush();
        let until = clock::now() + EVERY;
        while !is_over.load(Ordering::Relaxed) && clock::now() < until {
            clock::pause(LOOK);
        }
    }
    Ok(())
}

/// A terminal without a cursor, until it is dropped.
struct Screen;

impl Screen {
    fn take() -> Screen {
        print!("\x1b[?25l");
        Screen
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        print!("\x1b[?25h");
        let _ = std::io::stdout().flush();
    }
}

fn rows(pipelines: &[Value]) -> Vec<Vec<String>> {
    pipelines.iter().map(row).collect()
}

fn row(it: &Value) -> Vec<String> {
    let (live, last) = (&it["live"], &it["last_checkpoint"]);
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let checkpoint = last["age_seconds"].as_f64().map(|age| match last["duration_ms"].as_f64() {
        Some(took) if took > 0.0 => format!("{age:.1} s ago, {took:.0} ms"),
        _ => format!("{age:.1} s ago"),
    });
    vec![
        text(&it["name"]),
        state(it),
        or_none(live["records_in_per_second"].as_f64().map(short)),
        or_none(live["records_out_per_second"].as_f64().map(short)),
        or_none(live["lag_records"].as_f64().map(short)),
        or_none(live["watermark_lag_seconds"].as_f64().map(|lag| format!("{:.1} s", tenths(lag)))),
        or_none(checkpoint),
        text(&it["restarts"]),
        or_none(live["busy"].as_f64().map(|busy| format!("{:.0} %", busy * 100.0))),
        text(&live["bottleneck"]),
    ]
}

/// What little a clock is behind is 0.0, and not -0.0.
fn tenths(number: f64) -> f64 {
    (number * 10.0).round() / 10.0 + 0.0
}

/// A number in at most five characters or so.
fn short(number: f64) -> String {
    match number {
        n if n >= 1e9 => format!("{:.1}G", n / 1e9),
        n if n >= 1e6 => format!("{:.1}M", n / 1e6),
        n if n >= 1e4 => format!("{:.1}k", n / 1e3),
        n => format!("{n:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_picture_has_a_line_for_each_pipeline_also_for_one_that_rests() {
        let runs = json!({"name": "a", "state": "running", "trial": {"back_to": 1}, "restarts": 2,
            "last_checkpoint": {"epoch": 7, "age_seconds": 0.42, "duration_ms": 35.4},
            "live": {"records_in_per_second": 1234567.0, "records_out_per_second": 99.6, "lag_records": 20_000,
                "watermark_lag_seconds": -0.04, "busy": 0.97, "bottleneck": "count (busy 97 %)"}});
        let rests = json!({"name": "b", "state": "stopped", "restarts": 0, "last_checkpoint": null, "live": null});
        let shown = columns(&HEADINGS, &rows(&[runs, rests]));
        let lines: Vec<Vec<&str>> = shown
            .lines()
            .map(|line| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect())
            .collect();
        assert_eq!(lines[0], HEADINGS);
        let expected = [
            "a",
            "running (trial)",
            "1.2M",
            "100",
            "20.0k",
            "0.0 s",
            "0.4 s ago, 35 ms",
            "2",
            "97 %",
            "count (busy 97 %)",
        ];
        assert_eq!(lines[1], expected);
        assert_eq!(lines[2], ["b", "stopped", "-", "-", "-", "-", "-", "0", "-", "-"]);
    }
}
