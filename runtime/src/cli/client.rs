//! A client of a running pipeline: over the control socket in its state folder, or over the address of a server or of `weir
//! run --listen`. One request a connection, one answer; owns no command.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use serde_json::Value;
use weir_core::ids::Name;

use super::Exit;
use super::target;
use crate::api::Opened;
use crate::pipeline::folder::SOCKET;

/// How a command finds the process that runs a pipeline.
#[derive(Debug, clap::Args)]
pub(super) struct Where {
    /// The pipeline: its file, or its name
    pipeline: String,
    /// Its state folder, for a process on this host; default: .weir/NAME beside the file, or in the current folder
    #[arg(long, value_name = "DIR", conflicts_with = "server")]
    state: Option<PathBuf>,
    /// The address of a server, or of `weir run --listen`, instead: http://HOST:PORT
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    /// With --server: the file that holds the token; else the environment's WEIR_TOKEN counts
    #[arg(long, value_name = "FILE", requires = "server")]
    token_file: Option<PathBuf>,
}

impl Where {
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

enum Peer {
    Socket(PathBuf),
    Server { authority: String, token: Option<String> },
}

impl Client {
    pub(super) fn new(place: &Where) -> Result<Client, Exit> {
        let Some(server) = &place.server else {
            return Ok(Client::of(place.target()?));
        };
        let (name, _) = target::name(&place.pipeline)?;
        let Some(authority) = server.strip_prefix("http://").map(|rest| rest.trim_end_matches('/')) else {
            eprintln!("error: --server is http://HOST:PORT; where TLS is needed, a proxy in front of weir speaks it");
            return Err(Exit::Usage);
        };
        let token = match &place.token_file {
            Some(file) => Some(std::fs::read_to_string(file).map_err(|e| {
                eprintln!("error: cannot read the token in {}: {e}", file.display());
                Exit::Usage
            })?),
            None => std::env::var("WEIR_TOKEN").ok(),
        };
        let token = token.map(|token| token.trim().to_owned());
        Ok(Client { name, peer: Peer::Server { authority: authority.to_owned(), token } })
    }

    /// The way to the process that has this state folder.
    pub(super) fn of(target: target::Target) -> Client {
        Client { name: target.name, peer: Peer::Socket(target.state) }
    }

    /// Where a savepoint goes: a relative path means this process' folder, which another host does not know.
    pub(super) fn to(&self, to: Option<&Path>) -> Result<Option<PathBuf>, Exit> {
        let Some(to) = to else { return Ok(None) };
        if let Peer::Server { .. } = self.peer
            && !to.is_absolute()
        {
            eprintln!("error: with --server, --to is an absolute path on the server's machine");
            return Err(Exit::Usage);
        }
        std::path::absolute(to).map(Some).map_err(|e| {
            eprintln!("error: {}: {e}", to.display());
            Exit::Usage
        })
    }

    /// Asks, and waits for the answer as long as it takes. What went wrong is printed.
    pub(super) fn post(&self, path: &str, body: &Value) -> Result<Value, Exit> {
        self.ask("POST", path, &body.to_string()).map_err(|no| no.print())
    }

    /// The same with any method. Nothing is printed.
    pub(super) fn ask(&self, method: &str, path: &str, body: &str) -> Result<Value, No> {
        let (status, text) = self.request(method, path, body).map_err(|e| match &self.peer {
            Peer::Socket(state) => No::Nobody(format!(
                "no process answers for pipeline `{}` in {}: {e}; does it run, and is this its state folder?",
                self.name,
                state.display()
            )),
            Peer::Server { authority, .. } => No::Nobody(format!("no server answers at {authority}: {e}")),
        })?;
        let answer: Value = serde_json::from_str(&text).unwrap_or_default();
        if status < 300 {
            return Ok(answer);
        }
        let detail = answer["detail"].as_str().unwrap_or(text.trim());
        let mut detail = if detail.is_empty() { "no reason given" } else { detail }.to_owned();
        if status == 401 {
            detail.push_str(" (--token-file FILE gives it, or WEIR_TOKEN in the environment)");
        }
        Err(No::Refused { status, code: answer["code"].as_str().unwrap_or_default().to_owned(), detail })
    }

    /// Whether it asks over the socket of a state folder on this host.
    pub(super) fn is_local(&self) -> bool {
        matches!(self.peer, Peer::Socket(_))
    }

    fn request(&self, method: &str, path: &str, body: &str) -> io::Result<(u16, String)> {
        let (mut stream, host, token): (Box<dyn Stream>, &str, Option<&str>) = match &self.peer {
            Peer::Socket(state) => {
                let opened = Opened::new(state)?;
                (Box::new(UnixStream::connect(opened.path(SOCKET))?), "localhost", None)
            }
            Peer::Server { authority, token } => {
                (Box::new(TcpStream::connect(authority)?), authority, token.as_deref())
            }
        };
        let mut head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n",
            body.len()
        );
        if let Some(token) = token {
            head.push_str(&format!("Authorization: Bearer {token}\r\n"));
        }
        stream.write_all(format!("{head}\r\n{body}").as_bytes())?;
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes)?;
        let text = String::from_utf8_lossy(&bytes);
        let gone = || io::Error::new(io::ErrorKind::UnexpectedEof, "it ended without an answer");
        let (head, body) = text.split_once("\r\n\r\n").ok_or_else(gone)?;
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(gone)?;
        Ok((status, body.to_owned()))
    }
}

/// An answer that is none, or says no.
pub(super) enum No {
    /// Nobody answers.
    Nobody(String),
    /// Whoever answers does not do it.
    Refused { status: u16, code: String, detail: String },
}

impl No {
    /// Says it, with the exit code that it means.
    pub(super) fn print(&self) -> Exit {
        let (No::Nobody(detail) | No::Refused { detail, .. }) = self;
        eprintln!("error: {detail}");
        let No::Refused { status, code, .. } = self else { return Exit::Unreachable };
        match (status, code.as_str()) {
            (401 | 403, _) | (_, "pipeline-not-running" | "shutting-down") => Exit::Unreachable,
            (_, "unknown-checkpoint" | "checkpoint-needed" | "damaged") => Exit::State,
            (404 | 422 | 400, _) => Exit::Config,
            _ => Exit::Failed,
        }
    }
}

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}
