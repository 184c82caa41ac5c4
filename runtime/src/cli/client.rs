//! A client of a running pipeline: over the control socket in its state folder, or over the address of a server or of `weir
//! run --listen`. One request a connection, one answer; owns no command.

use std::path::{Path, PathBuf};

use axum::http::{Method, StatusCode, header};
use serde_json::Value;
use weir_core::ids::Name;

use super::shown::lines;
use super::transport::{Answer, Asked, Peer};
use super::{Exit, remote, target};

/// How a command finds the process that runs a pipeline.
#[derive(Debug, clap::Args)]
pub(super) struct Where {
    /// The pipeline: its file, or its name
    pipeline: String,
    /// Its state folder, for a process on this host; default: .weir/NAME beside the file, or in the current folder
    #[arg(long, value_name = "DIR", conflicts_with = "server")]
    state: Option<PathBuf>,
    /// The address of a server, or of `weir run --listen`, instead: http://HOST:PORT or https://HOST:PORT. WEIR_SERVER does not
    /// count here: without this a process on this host is meant
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    /// With --server: the file that holds the token; else the environment's WEIR_TOKEN counts
    #[arg(long, value_name = "FILE", requires = "server")]
    token_file: Option<PathBuf>,
    /// With --server: certificates in PEM that are trusted instead of the system's
    #[arg(long, value_name = "FILE", requires = "server")]
    ca: Option<PathBuf>,
}

impl Where {
    /// Whether it is that of a server.
    pub(super) fn is_server(&self) -> bool {
        self.server.is_some()
    }

    /// The pipeline and its state folder on this host.
    pub(super) fn target(&self) -> Result<target::Target, Exit> {
        target::target(&self.pipeline, self.state.as_deref())
    }
}

/// The way to a pipeline.
pub(super) struct Client {
    pub(super) name: Name,
    peer: Peer,
}

impl Client {
    pub(super) fn new(place: &Where) -> Result<Client, Exit> {
        let Some(server) = &place.server else {
            return Ok(Client::of(place.target()?));
        };
        let (name, _) = target::name(&place.pipeline)?;
        let server = remote::server(server, place.token_file.as_deref(), place.ca.as_deref())?;
        Ok(Client { name, peer: Peer::Server(server) })
    }

    /// The way to the process that has this state folder.
    pub(super) fn of(target: target::Target) -> Client {
        Client { name: target.name, peer: Peer::Socket(target.state) }
    }

    /// Where a savepoint goes: a relative path means this process' folder, which another host does not know.
    pub(super) fn to(&self, to: Option<&Path>) -> Result<Option<PathBuf>, Exit> {
        match &self.peer {
            Peer::Server(_) => remote::absolute(to),
            Peer::Socket(_) => to.map(std::path::absolute).transpose().map_err(|e| {
                eprintln!("error: --to: {e}");
                Exit::Usage
            }),
        }
    }

    /// Asks, and waits for the answer as long as it takes. What went wrong is printed.
    pub(super) fn post(&self, path: &str, body: &Value) -> Result<Value, Exit> {
        self.ask(Method::POST, path, &body.to_string()).map_err(|no| no.print())
    }

    /// The same with any method. Nothing is printed.
    pub(super) fn ask(&self, method: Method, path: &str, body: &str) -> Result<Value, No> {
        let headers = vec![(header::CONTENT_TYPE, "application/json".to_owned())];
        let asked = Asked { method, path, headers, body: body.to_owned().into() };
        let answer = self.peer.send(asked).map_err(|e| match &self.peer {
            Peer::Socket(state) => No::Nobody(format!(
                "no process answers for pipeline `{}` in {}: {e}; does it run, and is this its state folder? One of a server is \
                 asked with --server URL",
                self.name,
                state.display()
            )),
            Peer::Server(server) => No::Nobody(format!("no server answers at {}: {e}", server.authority)),
        })?;
        No::unless_ok(answer).map(|answer| serde_json::from_slice(&answer.body).unwrap_or_default())
    }

    /// The committed checkpoints, newest first.
    pub(super) fn checkpoints(&self) -> Result<Vec<Value>, No> {
        let (mut items, mut cursor) = (Vec::new(), String::new());
        loop {
            let path = format!("/api/v1/pipelines/{}/checkpoints?cursor={}", self.name, remote::escaped(&cursor));
            let mut page = self.ask(Method::GET, &path, "")?;
            items.extend(page["items"].as_array_mut().map(std::mem::take).unwrap_or_default());
            match page["next"].as_str() {
                Some(next) => cursor = next.to_owned(),
                None => return Ok(items),
            }
        }
    }

    /// Whether it asks over the socket of a state folder on this host.
    pub(super) fn is_local(&self) -> bool {
        matches!(self.peer, Peer::Socket(_))
    }
}

/// An answer that is none, or says no.
pub(super) enum No {
    /// Nobody answers.
    Nobody(String),
    /// Whoever answers does not do it.
    Refused { status: u16, code: String, detail: String, faults: Vec<String> },
}

impl No {
    /// The answer, where it is not a refusal.
    pub(super) fn unless_ok(answer: Answer) -> Result<Answer, No> {
        if answer.status.is_success() {
            return Ok(answer);
        }
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        let said: Value = serde_json::from_str(&text).unwrap_or_default();
        let detail = said["detail"].as_str().unwrap_or(text.trim());
        let mut detail = lines(if detail.is_empty() { "no reason given" } else { detail });
        if answer.status == StatusCode::UNAUTHORIZED {
            let is_empty = std::env::var("WEIR_TOKEN").is_ok_and(|token| token.trim().is_empty());
            let says = if is_empty { ", which is empty" } else { "" };
            detail.push_str(&format!(" (--token-file FILE gives it, or WEIR_TOKEN in the environment{says})"));
        }
        let code = said["code"].as_str().unwrap_or_default().to_owned();
        let faults = said["errors"].as_array().map(Vec::as_slice).unwrap_or_default().iter().map(fault).collect();
        Err(No::Refused { status: answer.status.as_u16(), code, detail, faults })
    }

    /// Says it, with the exit code that it means.
    pub(super) fn print(&self) -> Exit {
        match self {
            No::Refused { faults, .. } if !faults.is_empty() => {
                faults.iter().for_each(|fault| eprintln!("error: {fault}"))
            }
            No::Nobody(detail) | No::Refused { detail, .. } => eprintln!("error: {detail}"),
        }
        let No::Refused { status, code, .. } = self else { return Exit::Unreachable };
        match (status, code.as_str()) {
            (401 | 403, _) | (_, "pipeline-not-running" | "shutting-down") => Exit::Unreachable,
            (_, "unknown-checkpoint" | "checkpoint-needed" | "damaged" | "incompatible-state") => Exit::State,
            (404 | 422 | 400 | 415, _) => Exit::Config,
            _ => Exit::Failed,
        }
    }
}

/// A fault of a pipeline in a line.
fn fault(it: &Value) -> String {
    let text = |key: &str| it[key].as_str().unwrap_or_default();
    let place = match (it["file"].as_str(), it["line"].as_u64(), it["column"].as_u64()) {
        (Some(file), Some(line), Some(column)) => format!("{file}:{line}:{column}: "),
        _ if text("path").is_empty() => String::new(),
        _ => format!("{}: ", text("path")),
    };
    let help = it["help"].as_str().map_or(String::new(), |help| format!("\n  help: {help}"));
    lines(&format!("{place}{}{help}", text("message")))
}
