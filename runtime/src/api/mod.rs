//! HTTP: routes, one file per resource. Never reaches past `pipeline` and `registry`.

pub mod metrics;
pub mod probes;

use std::net::SocketAddr;

use crate::pipeline::Handle;

/// What the routes of one running pipeline know.
#[derive(Clone)]
pub struct Running {
    /// Its name.
    pub name: String,
    /// The door to it.
    pub handle: Handle,
}

/// Serves metrics and probes of one pipeline from a thread of its own, for the life of the process. Returns the address
/// that was bound.
pub fn serve_pipeline(address: &str, running: Running) -> std::io::Result<SocketAddr> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    let bound = listener.local_addr()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let routes = probes::routes(vec![running]);
    std::thread::Builder::new().name("http".to_owned()).spawn(move || {
        runtime.block_on(async move {
            let served = match tokio::net::TcpListener::from_std(listener) {
                Ok(listener) => axum::serve(listener, routes).await,
                Err(e) => Err(e),
            };
            if let Err(e) = served {
                tracing::error!("metrics and probes ended: {e}");
            }
        });
    })?;
    Ok(bound)
}
