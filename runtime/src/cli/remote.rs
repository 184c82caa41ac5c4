//! What the commands that speak to a server have in common: where it is, the token, how an answer or a refusal is printed, and
//! how an operation is waited for. They use the public API and nothing else.

use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::http::{HeaderName, Method, StatusCode, header};
use serde_json::{Value, json};

use super::client::No;
use super::shown::{lines, text};
use super::transport::{Answer, Asked, Peer, Server, trusted};
use super::{Exit, Format};
use crate::clock;

/// Where a server is unless somebody says.
const DEFAULT: &str = "http://127.0.0.1:7171";
/// How often an operation is asked how far it is.
const PATIENCE: Duration = Duration::from_millis(200);

/// Which server, and as whom.
#[derive(Debug, clap::Args)]
pub(super) struct On {
    /// The server, as http://HOST:PORT or https://HOST:PORT; else WEIR_SERVER, else http://127.0.0.1:7171
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    /// The file that holds the token; else the environment's WEIR_TOKEN counts
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Certificates in PEM that are trusted instead of the system's
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// How to print the answer
    #[arg(long, value_enum, default_value = "text")]
    pub(super) format: Format,
}

/// A server that is asked.
pub(super) struct Remote {
    peer: Peer,
    name: String,
}

impl On {
    pub(super) fn open(&self) -> Result<Remote, Exit> {
        let url =
            self.server.clone().or_else(|| std::env::var("WEIR_SERVER").ok()).unwrap_or_else(|| DEFAULT.to_owned());
        let server = server(&url, self.token_file.as_deref(), self.ca.as_deref())?;
        Ok(Remote { name: server.authority.clone(), peer: Peer::Server(server) })
    }

    /// Prints an answer as JSON if that is wanted. Says whether it was.
    pub(super) fn prints(&self, answer: &Value) -> bool {
        if self.format == Format::Json {
            println!("{}", serde_json::to_string_pretty(answer).unwrap_or_default());
        }
        self.format == Format::Json
    }
}

/// How often something is asked that a server has no room for just now, a second apart.
const TRIES_MAX: u32 = 30;

impl Remote {
    /// Asks. What went wrong is printed.
    pub(super) fn ask(&self, method: Method, path: &str) -> Result<Value, Exit> {
        self.send(method, path, &[], Vec::new())
    }

    /// Asks for something that is said in JSON.
    pub(super) fn post(&self, path: &str, body: &Value) -> Result<Value, Exit> {
        let json = [(header::CONTENT_TYPE, "application/json".to_owned())];
        self.send(Method::POST, path, &json, body.to_string().into_bytes())
    }

    /// Asks with a body.
    pub(super) fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(HeaderName, String)],
        body: Vec<u8>,
    ) -> Result<Value, Exit> {
        let answer = self.answer(Asked { method, path, headers: headers.to_vec(), body: body.into() })?;
        Ok(serde_json::from_slice(&answer.body).unwrap_or_default())
    }

    /// The same, with all that was answered.
    pub(super) fn answer(&self, asked: Asked<'_>) -> Result<Answer, Exit> {
        let mut tries = 1;
        loop {
            let answer = self.peer.send(asked.clone()).map_err(|e| self.nobody(&e))?;
            if !is_crowded(&answer) || tries == TRIES_MAX {
                return No::unless_ok(answer).map_err(|no| no.print());
            }
            tries += 1;
            // As its Retry-After says.
            clock::pause(Duration::from_secs(1));
        }
    }

    fn nobody(&self, error: &std::io::Error) -> Exit {
        No::Nobody(format!("no server answers at {}: {error} (--server URL, or WEIR_SERVER)", self.name)).print()
    }

    /// All items of a list, page after page.
    pub(super) fn list(&self, path: &str) -> Result<Vec<Value>, Exit> {
        let (mut items, mut next) = (Vec::new(), None::<String>);
        loop {
            let join = if path.contains('?') { '&' } else { '?' };
            let page = match &next {
                None => self.ask(Method::GET, path)?,
                Some(cursor) => self.ask(Method::GET, &format!("{path}{join}cursor={}", escaped(cursor)))?,
            };
            items.extend(page["items"].as_array().cloned().unwrap_or_default());
            next = page["next"].as_str().map(str::to_owned);
            if next.is_none() {
                return Ok(items);
            }
        }
    }

    /// Waits until what an action began is over. What it came to nothing for is printed.
    pub(super) fn wait(&self, answer: &Value) -> Result<(), Exit> {
        let Some(path) = answer["operation"].as_str() else { return Ok(()) };
        loop {
            let operation = self.ask(Method::GET, path)?;
            match operation["state"].as_str() {
                Some("running") => clock::pause(PATIENCE),
                Some("failed") => {
                    let problem = operation["problem"].as_str().unwrap_or("it came to nothing");
                    eprintln!("error: pipeline `{}`: {}", text(&operation["pipeline"]), lines(problem));
                    return Err(Exit::Failed);
                }
                _ => return Ok(()),
            }
        }
    }

    /// Follows a stream of events, a line at a time, until it ends or `take` says false.
    pub(super) fn follow(
        &self,
        path: &str,
        headers: &[(HeaderName, String)],
        mut take: impl FnMut(&str) -> bool,
    ) -> Result<(), Exit> {
        let mut rest = Vec::new();
        let asked = Asked { method: Method::GET, path, headers: headers.to_vec(), body: Default::default() };
        let answer = self.peer.follow(asked, |piece| {
            rest.extend_from_slice(piece);
            while let Some(end) = rest.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = rest.drain(..=end).collect();
                if !take(String::from_utf8_lossy(&line).trim_end()) {
                    return false;
                }
            }
            true
        });
        No::unless_ok(answer.map_err(|e| self.nobody(&e))?).map(drop).map_err(|no| no.print())
    }
}

/// Whether nothing was done for want of room, which there may be in a second.
fn is_crowded(answer: &Answer) -> bool {
    let code = || serde_json::from_slice::<Value>(&answer.body).map(|problem| problem["code"].clone());
    let is_busy = matches!(answer.status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS);
    is_busy && code().is_ok_and(|code| code == "too-many-changes" || code == "too-many-requests")
}

/// As it may stand behind the `?` of a request.
pub(super) fn escaped(value: &str) -> String {
    form_urlencoded::byte_serialize(value.as_bytes()).collect()
}

/// A server by its address, with the token that is given or set.
pub(super) fn server(url: &str, token_file: Option<&Path>, ca: Option<&Path>) -> Result<Server, Exit> {
    let Some((authority, is_tls)) = Server::parse(url) else {
        eprintln!("error: {url}: a server is http://HOST:PORT or https://HOST:PORT");
        return Err(Exit::Usage);
    };
    let token = match token_file {
        Some(file) => Some(std::fs::read_to_string(file).map_err(|e| {
            eprintln!("error: cannot read the token in {}: {e}", file.display());
            Exit::Usage
        })?),
        None => std::env::var("WEIR_TOKEN").ok(),
    };
    // One that is empty is what a script makes of a request that failed.
    let token = token.map(|token| token.trim().to_owned()).filter(|token| !token.is_empty());
    let ca = ca.map(|file| {
        trusted(file).map_err(|error| {
            eprintln!("error: cannot take the certificates in {}: {error}", file.display());
            Exit::Usage
        })
    });
    Ok(Server { authority, is_tls, token, ca: ca.transpose()? })
}

/// A path on the server's machine: a relative one means this process' folder, which another host does not know.
pub(super) fn absolute(to: Option<&Path>) -> Result<Option<PathBuf>, Exit> {
    match to {
        Some(to) if !to.is_absolute() => {
            eprintln!("error: with a server, --to is an absolute path on the server's machine");
            Err(Exit::Usage)
        }
        to => Ok(to.map(Path::to_owned)),
    }
}

/// Prints rows under headings.
pub(super) fn table(headings: &[&str], rows: &[Vec<String>]) {
    print!("{}", columns(headings, rows));
}

/// Rows under headings, each column as wide as its widest cell.
pub(super) fn columns(headings: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([headings[column].len()]).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..headings.len()).map(width).collect();
    let line = |cells: &[&str]| {
        let padded: Vec<String> = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        format!("{}\n", padded.join("  ").trim_end())
    };
    let rows = rows.iter().map(|row| line(&row.iter().map(String::as_str).collect::<Vec<_>>()));
    std::iter::once(line(headings)).chain(rows).collect()
}

/// The body of an action that has nothing to say.
pub(super) fn nothing() -> Value {
    json!({})
}
