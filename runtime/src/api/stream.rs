//! Streams of server-sent events over a ring of a pipeline's journal: what is behind `Last-Event-ID` first, then what comes. Owns
//! how many there are, and when one ends. A reader that is slow loses its place in the ring and hears of the gap; one that takes
//! nothing at all loses its connection. Nothing of a pipeline ever waits for either.

use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use utoipa::{IntoParams, ToSchema};

use super::connections::{Crowd, over};
use super::problem::{Code, Problem};
use crate::journal::{Journal, Ring};

/// Events that are on their way to one reader.
const ON_THE_WAY: usize = 64;
/// What is taken out of the ring at once.
const PIECE: usize = 100;
/// A comment that often, so that a connection that nobody reads any more is found.
const ALIVE_EVERY: Duration = Duration::from_secs(10);
/// That often it is looked whether the token is still one.
const LOOKED_AT_EVERY: Duration = Duration::from_secs(1);
/// Whoever takes no event for that long has gone.
const STALL_MAX: Duration = Duration::from_secs(30);

/// What the handler of a request knows of the connection that it came on, and of who serves it.
#[derive(Clone)]
pub(super) struct Serving {
    /// Says true, or is gone, when the serving ends.
    pub(super) end: watch::Receiver<bool>,
    /// Room for further streams: each holds its connection.
    pub(super) streams: Arc<Semaphore>,
    /// All connections together.
    pub(super) crowd: Crowd,
    /// Whether who asked may still see it; nothing: whoever asks may.
    pub(super) standing: Option<Arc<dyn Fn() -> bool + Send + Sync>>,
    /// Ends the connection without a word.
    pub(super) hang_up: Arc<Notify>,
}

/// Where to go on.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default)]
pub(super) struct From {
    /// As the header `Last-Event-ID`, which counts if both are there.
    last_event_id: Option<String>,
}

impl From {
    /// The id behind which to go on, if there is one.
    pub(super) fn id(&self, headers: &HeaderMap) -> Result<Option<u64>, Problem> {
        let header = headers.get(HeaderName::from_static("last-event-id"));
        let header = header.map(|value| value.to_str().unwrap_or("?").to_owned());
        let Some(text) = header.or_else(|| self.last_event_id.clone()).filter(|text| !text.is_empty()) else {
            return Ok(None);
        };
        let id = text.parse().map(Some);
        id.map_err(|_| Problem::new(Code::BadRequest, format!("Last-Event-ID {text:?} is no id that a stream gave")))
    }
}

/// What a request would rather have, by its `Accept`: a stream, or a page.
pub(super) fn wants_stream(headers: &HeaderMap, unless_said: bool) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let names = |media_type: &str| accept.contains(media_type);
    match (names("text/event-stream"), names("application/json")) {
        (true, _) => true,
        (false, true) => false,
        (false, false) => unless_said,
    }
}

/// One event of a stream.
#[derive(ToSchema)]
#[allow(dead_code, reason = "stands in the documentation only")]
pub(super) struct ServerSentEvent {
    /// Behind which to go on; none with `gap` and `end`.
    id: Option<String>,
    /// What it is: the `event` of `data`, or `log`, `gap`, `end`.
    event: String,
    /// JSON, on one line.
    data: String,
}

/// An event: its name and its data.
pub(super) type Shown = (&'static str, serde_json::Value);

/// A ring of a journal, from an id on.
pub(super) struct Follow<T: 'static, S> {
    pub(super) journal: Arc<Journal>,
    pub(super) ring: fn(&Journal) -> &Ring<T>,
    pub(super) from: Option<u64>,
    /// Whether the reader wants to see it.
    pub(super) wants: S,
    pub(super) show: fn(u64, &T) -> Shown,
}

impl<T: Send + Sync, S: Fn(&T) -> bool + Send + Sync + 'static> Follow<T, S> {
    /// The stream, unless there are too many already.
    pub(super) fn begin(self, serving: Serving) -> Result<Response, Problem> {
        let permit = Arc::clone(&serving.streams).try_acquire_owned().map_err(|_| {
            Problem::new(Code::TooManyStreams, "half of the connections that may be open at once are streams already")
        })?;
        let (sender, receiver) = mpsc::channel(ON_THE_WAY);
        tokio::spawn(self.feed(serving, sender, permit));
        let alive = KeepAlive::new().interval(ALIVE_EVERY);
        let mut response = Sse::new(ReceiverStream::new(receiver)).keep_alive(alive).into_response();
        // For proxies that would gather answers.
        response.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
        Ok(response)
    }

    /// Sends what there is and what comes, until somebody ends.
    async fn feed(self, mut serving: Serving, sender: mpsc::Sender<Sent>, _permit: OwnedSemaphorePermit) {
        let (ring, mut at) = ((self.ring)(&self.journal), self.from);
        let send = async |event: Event| match tokio::time::timeout(STALL_MAX, sender.send(Ok(event))).await {
            Ok(sent) => sent.is_ok(),
            Err(_) => {
                serving.hang_up.notify_one();
                false
            }
        };
        loop {
            if serving.standing.as_ref().is_some_and(|stands| !stands()) {
                send(data("end", &json!({"why": "the token is deleted or has expired"}))).await;
                return;
            }
            // Order: who waits for changes first and looks then misses none.
            let (changed, is_closed) = (ring.changed(), self.journal.is_closed());
            let read = ring.after(at, PIECE, &self.wants);
            if read.has_gap && !send(data("gap", &json!({"after": at}))).await {
                return;
            }
            for (id, item) in &read.items {
                let (name, shown) = (self.show)(*id, item);
                if !send(data(name, &shown).id(id.to_string())).await {
                    return;
                }
            }
            at = Some(read.to);
            if read.has_more {
                continue;
            }
            if is_closed {
                send(data("end", &json!({"why": "the pipeline was deleted"}))).await;
                return;
            }
            tokio::select! {
                _ = tokio::time::timeout(LOOKED_AT_EVERY, changed) => {}
                () = sender.closed() => return,
                () = over(&mut serving.end) => {
                    send(data("end", &json!({"why": "the server stops"}))).await;
                    return;
                }
            }
        }
    }
}

type Sent = Result<Event, std::convert::Infallible>;

fn data<T: Serialize>(name: &str, value: &T) -> Event {
    // JSON is on one line.
    Event::default().event(name).data(serde_json::to_string(value).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accept_decides_between_a_stream_and_a_page() {
        let wants = |accept: &str, unless_said| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, accept.parse().unwrap());
            wants_stream(&headers, unless_said)
        };
        assert!(wants("text/event-stream", false) && wants("text/event-stream, application/json;q=0.1", false));
        assert!(!wants("application/json", true));
        assert!(wants("*/*", true) && !wants("*/*", false));
        assert!(wants_stream(&HeaderMap::new(), true) && !wants_stream(&HeaderMap::new(), false));
    }

    #[test]
    fn the_header_counts_before_the_query_and_what_is_no_id_is_refused() {
        let from = From { last_event_id: Some("7".to_owned()) };
        let mut headers = HeaderMap::new();
        assert_eq!(from.id(&headers).unwrap(), Some(7));
        headers.insert("last-event-id", "9".parse().unwrap());
        assert_eq!(from.id(&headers).unwrap(), Some(9));
        headers.insert("last-event-id", "x".parse().unwrap());
        assert!(from.id(&headers).is_err());
        assert_eq!(From::default().id(&HeaderMap::new()).unwrap(), None);
    }
}
