//! Connections: how many there are at once, and how long one may take to say what it wants. Whoever sends nothing, or a
//! byte now and then, loses its place. Knows no route; the time for a body is `body`'s.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

/// Further ones wait in the system's queue until one of these has ended.
const CONNECTIONS_MAX: usize = 64;
/// For the whole head of a request, and so also for the pause between two on one connection.
const HEAD_TIME_MAX: Duration = Duration::from_secs(10);
/// Before the next try after one that failed, for want of file descriptors for example.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// Serves for ever.
pub(super) async fn serve(listener: TcpListener, routes: Router) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    while let Ok(slot) = Arc::clone(&slots).acquire_owned().await {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(e) => {
                tracing::warn!("cannot accept a connection: {e}");
                pause().await;
                continue;
            }
        };
        let service = TowerToHyperService::new(routes.clone());
        tokio::spawn(async move {
            let mut http = http1::Builder::new();
            http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIME_MAX);
            // How a client ends its connection is its own affair.
            let _ = http.serve_connection(TokioIo::new(stream), service).await;
            drop(slot);
        });
    }
}

#[expect(clippy::disallowed_methods, reason = "nothing tells when a connection can be accepted again")]
async fn pause() {
    tokio::time::sleep(ACCEPT_PAUSE).await;
}
