//! HTTP: routes, one file per resource. Never reaches past `pipeline` and `registry`.

mod auth;
mod body;
mod connections;
pub mod metrics;
mod operators;
mod pipelines;
pub mod probes;
mod problem;
mod server;
mod token;

use std::net::{SocketAddr, TcpListener};

use axum::Router;

use crate::pipeline::{Handle, Manager};

pub use server::{Server, StartError};

/// What the routes of one running pipeline know.
#[derive(Clone)]
pub struct Running {
    /// Its name.
    pub name: String,
    /// The door to it.
    pub handle: Handle,
}

/// Whose probes and metrics are shown.
#[derive(Clone)]
pub enum Watched {
    /// The one pipeline of a `weir run`.
    One(Running),
    /// Whatever a server runs at the moment of the question.
    All(Manager),
}

/// Takes an address. Nobody is answered yet.
pub fn listen(address: &str) -> std::io::Result<TcpListener> {
    TcpListener::bind(address)
}

/// Serves metrics and probes of one pipeline from a thread of its own, for the life of the process. Returns the address
/// that was bound.
pub fn serve_pipeline(listener: TcpListener, running: Running) -> std::io::Result<SocketAddr> {
    spawn(listener, probes::routes(Watched::One(running)))
}

/// Answers on a thread of its own, for the life of the process.
fn spawn(listener: TcpListener, routes: Router) -> std::io::Result<SocketAddr> {
    listener.set_nonblocking(true)?;
    let bound = listener.local_addr()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("http".to_owned()).spawn(move || {
        runtime.block_on(async move {
            match tokio::net::TcpListener::from_std(listener) {
                Ok(listener) => connections::serve(listener, routes).await,
                Err(e) => tracing::error!("HTTP ended: {e}"),
            }
        });
    })?;
    Ok(bound)
}
