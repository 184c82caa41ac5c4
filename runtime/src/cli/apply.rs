//! `weir pipeline apply`: a pipeline file to a server, or what would come of it.

use std::path::PathBuf;

use axum::http::{HeaderName, Method, header};
use serde_json::Value;
use weir_core::ids::Name;

use super::Exit;
use super::pipeline::{after, path};
use super::remote::{On, escaped};
use super::shown::{lines, text};

#[derive(Debug, clap::Args)]
pub(super) struct Apply {
    /// The pipeline file
    file: PathBuf,
    /// Print what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Only if the pipeline is at this revision
    #[arg(long, value_name = "REVISION")]
    if_match: Option<u64>,
    /// So long nothing of it is committed, and the revision before comes back where this one fails; default: none
    #[arg(long, value_name = "DURATION")]
    grace: Option<String>,
    /// Start from a savepoint on the server's machine, from nothing (empty), or from what another guarantee committed (latest)
    #[arg(long, value_name = "DIR|empty|latest")]
    from: Option<String>,
    /// With --from: forget the state that is there, or go back behind it
    #[arg(long, requires = "from")]
    rewind: bool,
    /// With --from: leave out state that the file has no place for
    #[arg(long, requires = "from")]
    allow_non_restored: bool,
    /// Do not wait until it runs
    #[arg(long)]
    detach: bool,
    #[command(flatten)]
    on: On,
}

pub(super) fn apply(arguments: &Apply) -> Result<(), Exit> {
    let Apply { file, dry_run, if_match, grace, from, rewind, allow_non_restored, detach, on } = arguments;
    let unreadable = |e: &dyn std::fmt::Display| {
        eprintln!("error: {}: {e}", file.display());
        Exit::Config
    };
    let text = std::fs::read_to_string(file).map_err(|e| unreadable(&e))?;
    let is_json = file.extension().is_some_and(|extension| extension == "json");
    let name = name_in(&text, is_json).map_err(|e| unreadable(&e))?;
    let media_type = if is_json { "application/json" } else { "application/toml" };
    let mut headers: Vec<(HeaderName, String)> = vec![(header::CONTENT_TYPE, media_type.to_owned())];
    headers.extend(if_match.map(|revision| (header::IF_MATCH, format!("\"{revision}\""))));
    let remote = on.open()?;
    let mut query = format!("?dry_run={dry_run}");
    if let Some(grace) = grace {
        query += &format!("&grace={}", escaped(grace));
    }
    if let Some(from) = from {
        query += &format!("&from={}&rewind={rewind}&allow_non_restored={allow_non_restored}", escaped(from));
    }
    let answer = remote.send(Method::PUT, &format!("{}{query}", path(&name)), &headers, text.into_bytes())?;
    if *dry_run {
        if !on.prints(&answer) {
            planned(&name, &answer);
        }
        return Ok(());
    }
    if answer["operation"].is_null() {
        eprintln!("pipeline `{name}` is at revision {} already", answer["revision"]);
    } else if !detach {
        remote.wait(&answer)?;
    }
    after(&remote, on, &name)
}

/// What the text calls its pipeline: the path of the request.
fn name_in(text: &str, is_json: bool) -> Result<Name, String> {
    let name = match is_json {
        true => serde_json::from_str::<Value>(text).map_err(|e| e.to_string())?["name"].as_str().map(str::to_owned),
        false => {
            let table: toml::Table = toml::from_str(text).map_err(|e| e.to_string())?;
            table.get("name").and_then(|name| name.as_str()).map(str::to_owned)
        }
    };
    name.and_then(|name| Name::new(name).ok()).ok_or_else(|| "it has no `name`, or none that is a name".to_owned())
}

fn planned(name: &Name, plan: &Value) {
    match (plan["creates"].as_bool(), plan["changes"].as_bool()) {
        (Some(true), _) => println!("pipeline `{name}` would be new"),
        (_, Some(true)) => println!("pipeline `{name}` would change from revision {}", plan["revision"]),
        _ => println!("pipeline `{name}` would not change"),
    }
    for (written, pin) in plan["operators"].as_object().into_iter().flatten() {
        // A version in full means itself.
        let is_range = written.split_once('@').is_none_or(|(_, version)| pin["version"] != version);
        if is_range {
            println!("  {} is {} (sha256 {})", lines(written), text(&pin["version"]), text(&pin["sha256"]));
        }
    }
    if plan["creates"] != true {
        plan["diff"]
            .as_array()
            .into_iter()
            .flatten()
            .for_each(|line| println!("  {}", lines(line.as_str().unwrap_or_default())));
    }
}
