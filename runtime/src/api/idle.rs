//! Which connections wait for a request, longest first: one of them ends where a new one finds no room. Whoever opens
//! connections without end keeps nobody out that way, probes least of all. Owns no connection.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use axum::response::Response;
use hyper::body::{Frame, SizeHint};
use tokio::sync::Notify;

/// See the module.
#[derive(Clone, Default)]
pub(super) struct Idle(Arc<Mutex<Waiting>>);

#[derive(Default)]
struct Waiting {
    /// How often one began to wait.
    began: u64,
    /// By when they began, with what ends them.
    connections: BTreeMap<u64, Arc<Notify>>,
}

impl Idle {
    /// A connection that waits for its first request.
    pub(super) fn begin(&self, hang_up: &Arc<Notify>) -> Place {
        let place = Place { idle: self.clone(), hang_up: Arc::clone(hang_up), since: AtomicU64::default() };
        place.wait();
        place
    }

    /// Ends the one that has waited for longest, if one waits.
    pub(super) fn end_oldest(&self) {
        if let Some((_, hang_up)) = self.lock().connections.pop_first() {
            hang_up.notify_one();
        }
    }

    /// How many of them wait.
    pub(super) fn count(&self) -> usize {
        self.lock().connections.len()
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of one connection among those that wait. Goes with it.
pub(super) struct Place {
    idle: Idle,
    hang_up: Arc<Notify>,
    /// Its key among those that wait; 0 while it does not.
    since: AtomicU64,
}

impl Place {
    /// A request is there: it is answered, however many others come.
    pub(super) fn answer(self: &Arc<Place>) -> Answering {
        self.leave();
        Answering(Arc::clone(self))
    }

    fn wait(&self) {
        let mut waiting = self.idle.lock();
        waiting.began += 1;
        let since = waiting.began;
        waiting.connections.insert(since, Arc::clone(&self.hang_up));
        self.since.store(since, Ordering::Relaxed);
    }

    fn leave(&self) {
        let mut waiting = self.idle.lock();
        waiting.connections.remove(&self.since.swap(0, Ordering::Relaxed));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.leave();
    }
}

/// An answer is under way; behind its last byte the connection waits again.
pub(super) struct Answering(Arc<Place>);

impl Answering {
    /// Lasts as long as the body of this answer.
    pub(super) fn until_sent(self, response: Response) -> Response {
        response.map(|body| Body::new(Held { body, _answering: self }))
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.wait();
    }
}

struct Held {
    body: Body,
    _answering: Answering,
}

impl HttpBody for Held {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_one_that_has_waited_longest_ends_and_none_that_is_being_answered() {
        let idle = Idle::default();
        let [first, second] = [(); 2].map(|()| Arc::new(Notify::new()));
        let (busy, _rests) = (Arc::new(idle.begin(&first)), idle.begin(&second));
        let answering = busy.answer();
        assert_eq!(idle.count(), 1);
        idle.end_oldest();
        second.notified().await;
        idle.end_oldest();
        let response = answering.until_sent(Response::new(Body::from("body")));
        assert_eq!((idle.count(), response.body().size_hint().exact()), (0, Some(4)));
        drop(response);
        assert_eq!(idle.count(), 1, "it waits for its next request");
        idle.end_oldest();
        first.notified().await;
        drop(busy);
        assert_eq!(idle.count(), 0);
    }
}
