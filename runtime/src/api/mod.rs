//! HTTP: routes, one file per resource, and the control socket that speaks them too. Never reaches past `pipeline` and
//! `registry`.
#![allow(unused_qualifications, reason = "what the attributes of utoipa expand to")]

mod actions;
mod apply;
mod auth;
mod body;
mod changes;
mod checkpoints;
mod codes;
mod connections;
mod drain;
mod events;
mod fits;
mod idle;
mod later;
mod logs;
pub mod metrics;
mod nodes;
mod openapi;
mod operations;
mod operators;
mod page;
mod pipelines;
mod plan;
pub mod probes;
mod problem;
mod problems;
mod query;
mod rate;
mod refusals;
mod request_id;
mod revisions;
mod server;
pub mod shown;
mod socket;
mod start_error;
mod stream;
mod tls;
mod tokens;
mod watched;
mod wishes;

use std::net::{SocketAddr, TcpListener};
use std::thread::JoinHandle;
use std::time::Duration;

use axum::extract::Request;
use axum::http::header;
use axum::response::IntoResponse;
use axum::{Router, middleware};
use tokio::sync::watch;

use self::auth::Guard;
use self::connections::Terms;
use self::problem::{Code, Problem};
use crate::access::secret_file::Token;
use crate::clock;

pub use server::Server;
pub use socket::Opened;
pub use start_error::StartError;
pub use tls::Error as TlsError;
pub use watched::{Running, Watched};

/// Takes an address. Nobody is answered yet.
pub fn listen(address: &str) -> std::io::Result<TcpListener> {
    TcpListener::bind(address)
}

/// Serves one pipeline from a thread of its own: metrics, probes, and what `weir stop` and its like ask. Whoever reads
/// needs no token; whoever changes something needs that of `admin-token` in the state folder.
pub fn serve_pipeline(listener: TcpListener, running: Running) -> std::io::Result<(SocketAddr, Served)> {
    let path = running.state.join("admin-token");
    let (token, _) =
        Token::open(&path).map_err(|e| std::io::Error::new(e.kind(), format!("{}: {e}", path.display())))?;
    let is_loopback = listener.local_addr()?.ip().is_loopback();
    let guard = Guard { admin: token, tokens: None, is_loopback, is_reading_open: true, rates: Default::default() };
    spawn(listener, guard.before(routes(Watched::One(running)).merge(openapi::routes())), Terms::default())
}

/// Serves one pipeline on the control socket in its state folder.
pub fn serve_socket(running: Running) -> std::io::Result<Served> {
    let listener = socket::bind(&running.state)?;
    listener.set_nonblocking(true)?;
    let routes = query::checked(routes(Watched::One(running)));
    serve_on_thread("control", || tokio::net::UnixListener::from_std(listener), routes, Terms::default())
}

/// What is the same for one pipeline and for all of a server.
fn routes(watched: Watched) -> Router {
    let is_server = matches!(watched, Watched::All(_));
    probes::routes(watched.clone())
        .merge(pipelines::routes(watched.clone()))
        .merge(checkpoints::routes(watched.clone()))
        .merge(events::routes(watched.clone()))
        .merge(logs::routes(watched.clone()))
        .merge(problems::routes(watched.clone()))
        .merge(nodes::routes(watched))
        .fallback(|request: Request| async move {
            Problem::new(Code::NoRoute, format!("there is no {}: the API is below /api/v1", request.uri().path()))
        })
        .method_not_allowed_fallback(move |request: Request| async move {
            let path = request.uri().path();
            let problem = Problem::new(Code::MethodNotAllowed, format!("{path} has no {}", request.method()));
            // The router knows a pipeline and its actions as one path.
            let target = path.strip_prefix("/api/v1/pipelines/").filter(|target| !target.contains('/'));
            let allowed = match target.map(|target| target.contains(':')) {
                Some(true) => "POST",
                Some(false) if is_server => "GET,HEAD,PUT,DELETE",
                Some(false) => "GET,HEAD",
                None => return problem.into_response(),
            };
            ([(header::ALLOW, allowed)], problem).into_response()
        })
}

/// What surrounds all routes, outermost last: a panic is an answer too, a problem says which request it answers, and every
/// request has an id.
fn around(routes: Router) -> Router {
    let panicked = |_: Box<dyn std::any::Any + Send>| {
        Problem::internal("a request ran into a bug of weir".to_owned()).into_response()
    };
    routes
        .layer(tower_http::catch_panic::CatchPanicLayer::custom(panicked))
        .layer(middleware::from_fn(problem::name_the_request))
        .layer(middleware::from_fn(request_id::give))
}

impl Guard {
    fn before(self, routes: Router) -> Router {
        let routes = query::checked(routes).layer(middleware::from_fn(changes::bound));
        around(routes.layer(middleware::from_fn_with_state(std::sync::Arc::new(self), auth::check)))
    }
}

/// Something that answers, until it is told to finish or the process ends.
#[derive(Debug)]
pub struct Served {
    end: watch::Sender<bool>,
    thread: JoinHandle<()>,
}

impl Served {
    /// Takes no more requests and waits until those that are there are answered.
    pub fn finish(self) {
        let _ = self.end.send(true);
        if self.thread.join().is_err() {
            tracing::error!("the thread that answers requests panicked");
        }
    }

    /// The same for at most so long.
    fn finish_within(self, most: Duration) {
        let _ = self.end.send(true);
        let until = clock::now() + most;
        while !self.thread.is_finished() && clock::now() < until {
            clock::pause(Duration::from_millis(5));
        }
    }
}

fn spawn(listener: TcpListener, routes: Router, terms: Terms) -> std::io::Result<(SocketAddr, Served)> {
    listener.set_nonblocking(true)?;
    let bound = listener.local_addr()?;
    let served = serve_on_thread("http", || tokio::net::TcpListener::from_std(listener), routes, terms)?;
    Ok((bound, served))
}

/// Answers on a thread of its own.
fn serve_on_thread<L: axum::serve::Listener>(
    name: &'static str,
    listener: impl FnOnce() -> std::io::Result<L> + Send + 'static,
    routes: Router,
    terms: Terms,
) -> std::io::Result<Served> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (end, ended) = watch::channel(false);
    let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
        runtime.block_on(async move {
            match listener() {
                Ok(listener) => connections::serve(listener, routes, terms, ended).await,
                Err(e) => tracing::error!("HTTP ended: {e}"),
            }
        });
        // Requests that wait for a pipeline wait no longer than the process.
        runtime.shutdown_background();
    })?;
    Ok(Served { end, thread })
}
