//! A server on its data folder: port, lock, token, registry, pipelines, in this order, so that nothing runs before
//! everything that could refuse has agreed. Prints nothing.

use std::fs::{self, File};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::middleware;
use tokio::sync::watch;
use weir_core::ids::Name;

use super::auth::Guard;
use super::connections::{self, Terms};
use super::start_error::StartError;
use super::tls::Tls;
use super::{Served, Watched, drain, later, openapi, operations, operators, query, revisions, socket, tokens};
use crate::access::audit::Audit;
use crate::access::secret_file::Token;
use crate::access::tokens::Tokens;
use crate::clock;
use crate::lock::{self, Lock};
use crate::pipeline::{Budget, Manager, State, View};
use crate::registry::{Engine, Registry};
use crate::settings::server::Server as Settings;

/// For answers that are under way, however long the pipelines took.
const LAST_ANSWERS_MIN: Duration = Duration::from_millis(500);

/// A server that answers. Ends with the process.
pub struct Server {
    manager: Manager,
    address: SocketAddr,
    is_tls: bool,
    served: Served,
    token: Token,
    token_path: PathBuf,
    is_token_new: bool,
    _lock: File,
}

impl Server {
    /// Starts on `data`; pipelines that ran when the last server ended run again.
    pub fn start(data: &Path, settings: &Settings, engine: Engine, budget: Arc<Budget>) -> Result<Server, StartError> {
        let listen = settings.listen.as_str();
        let tls = match (&settings.tls_cert, &settings.tls_key) {
            (Some(certificate), Some(key)) => Some(Arc::new(Tls::open(certificate, key)?)),
            _ => None,
        };
        let io = |source| StartError::Io { path: data.to_owned(), source };
        let refused = |source| StartError::Listen { address: listen.to_owned(), source };
        refuse_foreign(data)?;
        // An address that is not to be had leaves no folder behind; where there is one, who holds it is the better answer.
        let bound = match super::listen(listen).map_err(refused) {
            Err(error) if !data.exists() => return Err(error),
            bound => bound,
        };
        if let Ok(bound) = &bound {
            let address = bound.local_addr().map_err(refused)?;
            if !address.ip().is_loopback() && tls.is_none() && !settings.allow_plain_http {
                return Err(StartError::PlainHttp { address });
            }
        }
        fs::DirBuilder::new().recursive(true).mode(0o700).create(data).map_err(io)?;
        // Pipelines keep paths below it; the working directory is nobody's promise.
        let data = &data.canonicalize().map_err(io)?;
        let lock = take_lock(data)?;
        let listener = bound?;
        let is_loopback = listener.local_addr().map_err(refused)?.ip().is_loopback();
        let token_path = data.join("admin-token");
        let opened = Token::open(&token_path);
        let (token, is_token_new) = opened.map_err(|source| StartError::Token { path: token_path.clone(), source })?;
        let audit_path = data.join("audit.jsonl");
        let audit = Audit::open(&audit_path).map_err(|source| StartError::Io { path: audit_path, source })?;
        let audit = Arc::new(audit);
        let tokens = Arc::new(Tokens::open(&data.join("tokens"))?);
        let registry = Arc::new(Registry::open_to_write(&data.join("registry"), engine, settings.registry_bytes)?);
        let sockets = Sockets::start().map_err(io)?;
        let mut files = settings.files.clone();
        files.own.push((data.clone(), "the server's data folder"));
        for folder in files.folders.iter().filter(|folder| !folder.is_dir()) {
            tracing::warn!("files.folders: {} is no folder yet: pipelines may make it", folder.display());
        }
        let said = [
            (&settings.secrets.files, "the server's secrets"),
            (&settings.tls_cert, "the server's certificate"),
            (&settings.tls_key, "the server's key"),
        ];
        files.own.extend(said.into_iter().filter_map(|(path, what)| Some((path.clone()?, what))));
        let manager = Manager::open(
            data,
            (Arc::clone(&registry), Arc::clone(&audit)),
            (settings.secrets.clone(), files),
            budget,
            Box::new(move |manager, state| sockets.open(manager, state)),
        )?;
        let routes = super::routes(Watched::All(manager.clone()))
            .merge(operators::routes(registry, Arc::clone(&audit), manager.clone(), settings.uploads_at_once))
            .merge(operations::routes(manager.clone()))
            .merge(revisions::routes(manager.clone()))
            .merge(tokens::routes(tokens::Access { tokens: Arc::clone(&tokens), audit }))
            .merge(later::routes())
            .merge(openapi::routes())
            .layer(middleware::from_fn_with_state(manager.clone(), drain::refuse_changes));
        let guard = Guard {
            admin: token.clone(),
            tokens: Some(tokens),
            is_loopback,
            is_reading_open: false,
            rates: Default::default(),
        };
        let routes = guard.before(routes);
        let (is_tls, terms) = (tls.is_some(), Terms { connections_max: settings.connections, tls });
        let (address, served) = super::spawn(listener, routes, terms).map_err(refused)?;
        manager.start_all();
        Ok(Server { manager, address, is_tls, served, token, token_path, is_token_new, _lock: lock })
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("{}://{}", if self.is_tls { "https" } else { "http" }, self.address)
    }

    /// Whether somebody between here and a client reads along.
    pub fn is_readable_on_the_way(&self) -> bool {
        !self.is_tls && !self.address.ip().is_loopback()
    }

    /// The token, on the one start that made it.
    pub fn new_token(&self) -> Option<&str> {
        self.is_token_new.then(|| self.token.reveal())
    }

    /// Where the token is kept.
    pub fn token_path(&self) -> &Path {
        &self.token_path
    }

    /// Whether a stop has something to wait for.
    pub fn runs_pipelines(&self) -> bool {
        let runs = |view: &View| matches!(view.state, State::Starting | State::Running | State::Stopping);
        self.manager.list().iter().any(runs)
    }

    /// Stops every pipeline with a last checkpoint and waits for it, but not for longer than `most`; the next start runs them
    /// again. Gives back those that were not done by then: the end of the process is to them what a kill is.
    pub fn shut_down(self, most: Duration) -> Vec<Name> {
        let until = clock::now() + most;
        let left = self.manager.shut_down(until);
        // Until here it has answered.
        self.served.finish_within(until.saturating_duration_since(clock::now()).max(LAST_ANSWERS_MIN));
        left
    }
}

/// One thread for the control sockets of all pipelines.
struct Sockets(tokio::runtime::Handle);

impl Sockets {
    fn start() -> io::Result<Sockets> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        // For the life of the process: a socket ends with its pipeline.
        std::thread::Builder::new()
            .name("control".to_owned())
            .spawn(move || runtime.block_on(std::future::pending::<()>()))?;
        Ok(Sockets(handle))
    }

    /// Serves a pipeline's socket until what it returns is dropped. A stop that comes in here is kept like any other.
    fn open(&self, manager: &Manager, state: &Path) -> io::Result<Box<dyn Send>> {
        let listener = socket::bind(state)?;
        listener.set_nonblocking(true)?;
        let _runtime = self.0.enter();
        let listener = tokio::net::UnixListener::from_std(listener)?;
        let (end, ended) = watch::channel(false);
        self.0.spawn(connections::serve(
            listener,
            query::checked(super::routes(Watched::All(manager.clone()))),
            Terms::default(),
            ended,
        ));
        Ok(Box::new(end))
    }
}

/// A folder is taken if it is a server's, or holds nothing but what one that was killed at its first start has left.
fn refuse_foreign(data: &Path) -> Result<(), StartError> {
    const OURS: [&str; 10] = [
        "lock",
        "weir.toml",
        "admin-token",
        "audit.jsonl",
        "tokens",
        "registry",
        "specs",
        "cache",
        "pipelines",
        "lost+found",
    ];
    let entries = match fs::read_dir(data) {
        Err(e) if e.kind() == io::ErrorKind::NotADirectory && data.exists() => {
            return Err(StartError::File { path: data.to_owned() });
        }
        // Its making, or its opening, says the rest.
        Err(_) => return Ok(()),
        Ok(_) if data.join("registry/versions").is_dir() => return Ok(()),
        Ok(entries) => entries,
    };
    let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut foreign = names.filter(|name| !OURS.contains(&name.as_str()) && !name.starts_with("admin-token."));
    foreign.next().map_or(Ok(()), |found| Err(StartError::Foreign { path: data.to_owned(), found }))
}

/// Held until the process ends, whatever ends it.
fn take_lock(data: &Path) -> Result<File, StartError> {
    let path = data.join("lock");
    match lock::take(&path, clock::pause) {
        Ok(Lock::Ours(file)) => Ok(file),
        Ok(Lock::Held(pid)) => Err(StartError::Locked { path: data.to_owned(), pid }),
        Err(source) => Err(StartError::Io { path, source }),
    }
}
