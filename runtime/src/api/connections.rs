//! Connections: how many there are at once, and how long one may take to say what it wants. Whoever sends nothing, or a
//! byte now and then, loses its place. Knows no route; the time for a body is `body`'s.

use std::any::Any;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::http::Request;
use axum::serve::Listener;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::sync::{Semaphore, watch};

/// Further ones wait in the system's queue until one of these has ended.
const CONNECTIONS_MAX: u32 = 64;
/// For the whole head of a request, and so also for the pause between two on one connection.
const HEAD_TIME_MAX: Duration = Duration::from_secs(10);
/// For answers that are under way when the serving ends.
const LAST_ANSWERS_MAX: Duration = Duration::from_secs(5);

/// Serves until `end` says true or is gone; then what is being answered is answered, within bounds.
pub(super) async fn serve(mut listener: impl Listener, routes: Router, mut end: watch::Receiver<bool>) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX as usize));
    while let Ok(slot) = Arc::clone(&slots).acquire_owned().await {
        // Accepting tries again by itself after a failure, for want of file descriptors for example.
        let (stream, from) = tokio::select! {
            accepted = listener.accept() => accepted,
            () = over(&mut end) => break,
        };
        let (from, routes) = ((&from as &dyn Any).downcast_ref::<SocketAddr>().copied(), routes.clone());
        let service = service_fn(move |mut request: Request<Incoming>| {
            if let Some(from) = from {
                request.extensions_mut().insert(ConnectInfo(from));
            }
            TowerToHyperService::new(routes.clone()).call(request)
        });
        let mut end = end.clone();
        tokio::spawn(async move {
            let mut http = http1::Builder::new();
            http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIME_MAX);
            let mut connection = pin!(http.serve_connection(TokioIo::new(stream), service));
            // How a client ends its connection is its own affair.
            tokio::select! {
                _ = connection.as_mut() => {}
                () = over(&mut end) => {
                    connection.as_mut().graceful_shutdown();
                    let _ = connection.await;
                }
            }
            drop(slot);
        });
    }
    drop(listener);
    let _ = tokio::time::timeout(LAST_ANSWERS_MAX, slots.acquire_many(CONNECTIONS_MAX)).await;
}

async fn over(end: &mut watch::Receiver<bool>) {
    // Whoever could say it being gone says it too.
    let _ = end.wait_for(|end| *end).await;
}
