//! Connections: how many there are at once, and how long one may take to say what it wants. Whoever sends nothing, or a
//! byte now and then, loses its place: in time, or to the next who comes. Knows no route; the time for a body is `body`'s.

use std::any::Any;
use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::http::Request;
use axum::response::Response;
use axum::serve::Listener;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Notify, Semaphore, watch};

use super::idle::Idle;
use super::stream::Serving;
use super::tls::Tls;

/// For the whole head of a request, and so also for the pause between two on one connection.
const HEAD_TIME_MAX: Duration = Duration::from_secs(10);
/// For answers that are under way when the serving ends.
const LAST_ANSWERS_MAX: Duration = Duration::from_secs(5);

/// How connections are taken.
pub(super) struct Terms {
    /// At once. For a further one that ends which has waited for a request for longest; where none waits, it waits itself.
    pub(super) connections_max: u32,
    /// What comes before HTTP.
    pub(super) tls: Option<Arc<Tls>>,
}

impl Default for Terms {
    fn default() -> Terms {
        Terms { connections_max: 64, tls: None }
    }
}

/// All connections, for who asks whether there is room for something that may take its time.
#[derive(Clone)]
pub(super) struct Crowd {
    slots: Arc<Semaphore>,
    idle: Idle,
    most: usize,
}

impl Crowd {
    /// Whether requests are under way on so many of them, the one that asks included, that the eighth which is left is for probes and
    /// readers.
    pub(super) fn is_dense(&self) -> bool {
        let taken = self.most - self.slots.available_permits().min(self.most);
        taken.saturating_sub(self.idle.count()) > self.most - self.most / 8
    }
}

/// Serves until `end` says true or is gone; then what is being answered is answered, within bounds.
pub(super) async fn serve(mut listener: impl Listener, routes: Router, terms: Terms, mut end: watch::Receiver<bool>) {
    let Terms { connections_max, tls } = terms;
    let slots = Arc::new(Semaphore::new(connections_max as usize));
    // Half of the connections are left for what is no stream.
    let streams = Arc::new(Semaphore::new((connections_max / 2).max(1) as usize));
    let follows = tls.clone().map(|tls| tokio::spawn(tls.follow()));
    let idle = Idle::default();
    let crowd = Crowd { slots: Arc::clone(&slots), idle: idle.clone(), most: connections_max as usize };
    loop {
        // Accepting tries again by itself after a failure, for want of file descriptors for example.
        let (stream, from) = tokio::select! {
            accepted = listener.accept() => accepted,
            () = over(&mut end) => break,
        };
        if slots.available_permits() == 0 {
            idle.end_oldest();
        }
        let slot = tokio::select! {
            slot = Arc::clone(&slots).acquire_owned() => slot,
            () = over(&mut end) => break,
        };
        let (from, routes) = ((&from as &dyn Any).downcast_ref::<SocketAddr>().copied(), routes.clone());
        let hang_up = Arc::new(Notify::new());
        let serving = Serving {
            end: end.clone(),
            streams: Arc::clone(&streams),
            crowd: crowd.clone(),
            standing: None,
            hang_up: Arc::clone(&hang_up),
        };
        let place = Arc::new(idle.begin(&hang_up));
        let service = service_fn(move |mut request: Request<Incoming>| {
            let answering = place.answer();
            request.extensions_mut().insert(serving.clone());
            if let Some(from) = from {
                request.extensions_mut().insert(ConnectInfo(from));
            }
            let answer = TowerToHyperService::new(routes.clone()).call(request);
            async { answer.await.map(|response| answering.until_sent(response)) }
        });
        let (mut end, tls) = (end.clone(), tls.clone());
        tokio::spawn(async move {
            match tls {
                None => converse(stream, service, end, &hang_up).await,
                Some(tls) => {
                    let secured = tokio::select! {
                        secured = tls.accept(stream) => secured,
                        () = hang_up.notified() => Err(io::Error::other("others need its place")),
                        () = over(&mut end) => Err(io::Error::other("the server stops")),
                    };
                    match secured {
                        Ok(stream) => converse(stream, service, end, &hang_up).await,
                        Err(e) => tracing::debug!(?from, "no TLS: {e}"),
                    }
                }
            }
            drop(slot);
        });
    }
    drop(listener);
    follows.inspect(|follows| follows.abort());
    let _ = tokio::time::timeout(LAST_ANSWERS_MAX, slots.acquire_many(connections_max)).await;
}

/// HTTP on one connection, until it or the serving ends, or a stream on it hangs up.
async fn converse<I, S>(stream: I, service: S, mut end: watch::Receiver<bool>, hang_up: &Notify)
where
    I: AsyncRead + AsyncWrite + Unpin,
    S: Service<Request<Incoming>, Response = Response, Error: Into<Box<dyn Error + Send + Sync>>>,
{
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIME_MAX);
    let mut connection = pin!(http.serve_connection(TokioIo::new(stream), service));
    // How a client ends its connection is its own affair.
    tokio::select! {
        _ = connection.as_mut() => {}
        () = hang_up.notified() => {}
        () = over(&mut end) => {
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                _ = connection => {}
                () = hang_up.notified() => {}
            }
        }
    }
}

/// Comes back when the serving ends.
pub(super) async fn over(end: &mut watch::Receiver<bool>) {
    // Whoever could say it being gone says it too.
    let _ = end.wait_for(|end| *end).await;
}
