//! `weir op`: operators of a server.

use std::path::PathBuf;

use axum::http::{HeaderName, Method, header};
use base64::Engine as _;
use serde_json::Value;
use sha2::{Digest, Sha256};
use weir_core::ids::Name;

use super::Exit;
use super::named;
use super::remote::{On, Remote, table};
use super::shown::text;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Upload a component
    Push(Push),
    /// List operators, or the versions of one
    List(List),
    /// Show a version
    Show(One),
    /// Delete a version that no pipeline uses
    Rm(One),
}

#[derive(Debug, clap::Args)]
pub(super) struct Push {
    /// The component
    file: PathBuf,
    /// The operator; default: what the component calls itself
    #[arg(long, value_parser = named::name)]
    name: Option<Name>,
    /// Its version; default: what the component says
    #[arg(long, value_parser = named::version)]
    version: Option<String>,
    #[command(flatten)]
    on: On,
}

#[derive(Debug, clap::Args)]
pub(super) struct List {
    /// One operator
    #[arg(value_parser = named::name)]
    name: Option<Name>,
    #[command(flatten)]
    on: On,
}

#[derive(Debug, clap::Args)]
pub(super) struct One {
    /// NAME@VERSION
    #[arg(value_name = "NAME@VERSION", value_parser = named::operator)]
    version: (Name, String),
    #[command(flatten)]
    on: On,
}

pub(super) fn run(command: &Command) -> Exit {
    let result = match command {
        Command::Push(arguments) => push(arguments),
        Command::List(arguments) => list(arguments),
        Command::Show(arguments) => show(arguments),
        Command::Rm(arguments) => rm(arguments),
    };
    result.err().unwrap_or(Exit::Ok)
}

fn push(arguments: &Push) -> Result<(), Exit> {
    let remote = arguments.on.open()?;
    let bytes = std::fs::read(&arguments.file).map_err(|e| {
        eprintln!("error: cannot read {}: {e}", arguments.file.display());
        Exit::Config
    })?;
    let wasm = (header::CONTENT_TYPE, "application/wasm".to_owned());
    let (name, version) = match (&arguments.name, &arguments.version) {
        (Some(name), Some(version)) => (name.clone(), version.clone()),
        (name, version) => {
            let looked =
                remote.send(Method::POST, "/api/v1/operators:validate", std::slice::from_ref(&wasm), bytes.clone())?;
            let own = |key: &str| looked["inspection"][key].as_str().unwrap_or_default();
            let wrong = |flag: &str, why: String| {
                eprintln!("error: what the component says of itself cannot be taken, give it a {flag}: {why}");
                Exit::Config
            };
            let name = name.clone().map_or_else(|| named::name(own("name")), Ok);
            let version = version.clone().map_or_else(|| named::version(own("version")), Ok);
            (name.map_err(|why| wrong("--name", why))?, version.map_err(|why| wrong("--version", why))?)
        }
    };
    let digest = base64::engine::general_purpose::STANDARD.encode(Sha256::digest(&bytes));
    let digest = (HeaderName::from_static("content-digest"), format!("sha-256=:{digest}:"));
    let answer = remote.send(Method::PUT, &path(&name, &version), &[wasm, digest], bytes)?;
    if !arguments.on.prints(&answer) {
        println!("{name}@{version}  sha256 {}", text(&answer["sha256"]));
        for warning in answer["warnings"].as_array().into_iter().flatten() {
            eprintln!("warning: {}", text(warning));
        }
        // Of another name the server warns.
        let own = text(&answer["inspection"]["version"]);
        if own != version {
            eprintln!("hint: the component says of itself that it is version {own}, and here it is {name}@{version}");
        }
    }
    Ok(())
}

fn list(arguments: &List) -> Result<(), Exit> {
    let remote = arguments.on.open()?;
    match &arguments.name {
        None => {
            let items = remote.list("/api/v1/operators")?;
            let versions =
                |it: &Value| it["versions"].as_array().into_iter().flatten().map(text).collect::<Vec<_>>().join(" ");
            if !arguments.on.prints(&Value::Array(items.clone())) {
                table(
                    &["operator", "versions"],
                    &items.iter().map(|it| vec![text(&it["name"]), versions(it)]).collect::<Vec<_>>(),
                );
            }
        }
        Some(name) => {
            let items = remote.list(&format!("/api/v1/operators/{name}/versions"))?;
            let row =
                |it: &Value| ["version", "bytes", "uploaded_at", "by", "sha256"].map(|key| text(&it[key])).to_vec();
            if !arguments.on.prints(&Value::Array(items.clone())) {
                table(&["version", "bytes", "uploaded", "by", "sha256"], &items.iter().map(row).collect::<Vec<_>>());
            }
        }
    }
    Ok(())
}

fn show(arguments: &One) -> Result<(), Exit> {
    let (name, version) = &arguments.version;
    let answer = arguments.on.open()?.ask(Method::GET, &path(name, version))?;
    if arguments.on.prints(&answer) {
        return Ok(());
    }
    println!("{}@{}", text(&answer["name"]), text(&answer["version"]));
    for key in ["sha256", "bytes", "uploaded_at", "by", "checked_in_ms"] {
        println!("  {key}: {}", text(&answer[key]));
    }
    let inspection = &answer["inspection"];
    println!("  contract: {}", text(&inspection["contract"]));
    let join = |list: &Value, cell: &dyn Fn(&Value) -> String| {
        list.as_array().into_iter().flatten().map(cell).collect::<Vec<_>>().join(", ")
    };
    let port = |it: &Value| format!("{} ({})", text(&it["name"]), text(&it["direction"]));
    let state = |it: &Value| format!("{} ({} v{})", text(&it["name"]), text(&it["kind"]), text(&it["schema_version"]));
    println!("  ports: {}", join(&inspection["ports"], &port));
    println!("  states: {}", join(&inspection["states"], &state));
    println!("  callbacks: {}", join(&inspection["callbacks"], &text));
    if !inspection["config_schema"].is_null() {
        println!("  config: {}", text(&inspection["config_schema"]));
    }
    println!("  imports: {}", join(&inspection["imports"], &text));
    for warning in answer["warnings"].as_array().into_iter().flatten() {
        println!("  warning: {}", text(warning));
    }
    Ok(())
}

fn rm(arguments: &One) -> Result<(), Exit> {
    let (name, version) = &arguments.version;
    remove(&arguments.on.open()?, &path(name, version))?;
    eprintln!("{name}@{version} is deleted; its name means these bytes for ever");
    Ok(())
}

/// Deletes what is at a path.
pub(super) fn remove(remote: &Remote, path: &str) -> Result<(), Exit> {
    remote.ask(Method::DELETE, path).map(drop)
}

fn path(name: &Name, version: &str) -> String {
    format!("/api/v1/operators/{name}/versions/{version}")
}
