//! One producer handle and the transaction steps on it. Owns its poll thread and the memory of the first row that could
//! not be delivered; decides nothing about epochs, and never aborts: what is not committed is fenced by the next attempt.

use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rdkafka_sys::bindings as sys;
use rdkafka_sys::rd_kafka_resp_err_t as Native;

use super::client::{Client, Role};
use super::error::{Code, Failure, text};
use super::metadata::Scope;
use super::native::{Queue, Topic, millis};
use super::properties;
use super::settings::Domain;
use crate::clock;
use crate::connector::{Error, Waker};

/// A producer of one transactional id. An object that saw any error is never used again.
pub(super) struct Producer {
    inner: Arc<Inner>,
    polling: Option<JoinHandle<()>>,
}

struct Inner {
    deliveries: Deliveries,
    wakers: Arc<Wakers>,
    stopping: AtomicBool,
    /// Rows outstanding when the queue was last found full; 0 when nobody waits for room.
    full_at: AtomicI64,
    // Order of fields: the queue goes before its client.
    queue: Queue,
    client: Client,
}

/// What became of rows, counted from the poll thread and from `flush` alike.
#[derive(Default)]
struct Deliveries {
    failed: AtomicU64,
    first_failure: OnceLock<(Code, String)>,
}

/// Who is told when there is room again.
#[derive(Default)]
pub(super) struct Wakers(Mutex<Vec<Waker>>);

impl Wakers {
    pub(super) fn add(&self, waker: Waker) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(waker);
    }

    pub(super) fn wake(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().for_each(|waker| waker());
    }
}

/// Sizes that a producer must keep to, found in the sink topics' own settings.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    pub(super) batch: usize,
    pub(super) message: usize,
}

impl Producer {
    /// Makes the handle and waits until it talks to a broker: an `init_transactions` within 50 ms of the handle's making
    /// costs half a second.
    pub(super) fn connect(domain: &Domain, id: &str, sizes: Sizes, wakers: Arc<Wakers>) -> Result<Producer, Error> {
        let begun = clock::now();
        let properties = properties::producer(domain, id, sizes.batch, sizes.message);
        let client = Client::new(Role::Producer, &domain.cluster, &properties)?;
        client.note_reached();
        // SAFETY: the queue lives no longer than its client.
        let queue = Queue::own(unsafe { sys::rd_kafka_queue_get_main(client.native()) });
        let inner = Arc::new(Inner {
            deliveries: Deliveries::default(),
            wakers,
            stopping: AtomicBool::new(false),
            full_at: AtomicI64::new(0),
            queue,
            client,
        });
        inner.client.metadata(Scope::Brokers, domain.cluster.connect_timeout())?;
        let (serving, span) = (Arc::clone(&inner), tracing::Span::current());
        let polling = std::thread::Builder::new()
            .name("kafka-producer".into())
            .spawn(move || span.in_scope(|| serving.serve()))
            .map_err(|e| Error::Transient(format!("cannot start a thread for the Kafka producer: {e}")))?;
        let settle = Duration::from_millis(50).saturating_sub(begun.elapsed());
        if !settle.is_zero() {
            // No condition tells when the coordinator's connection has settled; see above for what the wait saves.
            std::thread::park_timeout(settle);
        }
        Ok(Producer { inner, polling: Some(polling) })
    }

    pub(super) fn client(&self) -> &Client {
        &self.inner.client
    }

    /// The first thing that went wrong for good, if anything did: rows of this epoch are then incomplete.
    pub(super) fn failure(&self) -> Option<String> {
        if self.inner.deliveries.failed.load(Ordering::Acquire) == 0 {
            return None;
        }
        let first = self.inner.deliveries.first_failure.get();
        Some(first.map_or_else(|| "a row was not delivered".to_owned(), |(_, said)| said.clone()))
    }

    /// The code of the first row that could not be delivered.
    pub(super) fn first_failure(&self) -> Option<Code> {
        self.inner.deliveries.first_failure.get().map(|(code, _)| *code)
    }

    /// Rows not yet acknowledged.
    pub(super) fn outstanding(&self) -> i64 {
        // SAFETY: the handle is live.
        i64::from(unsafe { sys::rd_kafka_outq_len(self.inner.client.native()) })
    }

    /// Hands one row to librdkafka, which copies it.
    #[inline]
    pub(super) fn produce(&self, row: &Row) -> Result<(), Code> {
        // SAFETY: all that the row points to lives for the call; librdkafka copies key and value.
        let error = unsafe { sys::rd_kafka_produceva(self.inner.client.native(), row.0.as_ptr(), row.0.len()) };
        if error.is_null() {
            return Ok(());
        }
        let code = Failure::check(error).map_or_else(|failure| failure.code, |()| Code::NONE);
        if code == Code::QUEUE_FULL {
            self.inner.full_at.store(self.outstanding().max(1), Ordering::Release);
            // The poll thread may be in a long wait; it has to watch for room now.
            // SAFETY: the queue is live.
            unsafe { sys::rd_kafka_queue_yield(self.inner.queue.native()) };
        }
        Err(code)
    }

    /// Waits until every row is acknowledged or has failed. `false`: not within `timeout`.
    pub(super) fn flush(&self, timeout: Duration) -> bool {
        // SAFETY: the handle is live; the poll thread serves delivery reports meanwhile.
        let code = unsafe { sys::rd_kafka_flush(self.inner.client.native(), millis(timeout)) };
        code == Native::RD_KAFKA_RESP_ERR_NO_ERROR
    }

    /// Fences every older owner of the id. May be called again after a retriable failure: it resumes.
    pub(super) fn init_transactions(&self, slice: Duration) -> Result<(), Failure> {
        // SAFETY: the handle is live.
        Failure::check(unsafe { sys::rd_kafka_init_transactions(self.inner.client.native(), millis(slice)) })
    }

    pub(super) fn begin_transaction(&self) -> Result<(), Failure> {
        // SAFETY: the handle is live.
        Failure::check(unsafe { sys::rd_kafka_begin_transaction(self.inner.client.native()) })
    }

    /// Commits. May be called again after a retriable failure: it resumes.
    pub(super) fn commit_transaction(&self, slice: Duration) -> Result<(), Failure> {
        // SAFETY: the handle is live.
        Failure::check(unsafe { sys::rd_kafka_commit_transaction(self.inner.client.native(), millis(slice)) })
    }

    /// Ends an open transaction for nothing. Only for the check of rights, never on the data path.
    pub(super) fn abort_transaction(&self, slice: Duration) -> Result<(), Failure> {
        // SAFETY: the handle is live.
        Failure::check(unsafe { sys::rd_kafka_abort_transaction(self.inner.client.native(), millis(slice)) })
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        self.inner.stopping.store(true, Ordering::Release);
        // SAFETY: the queue is live.
        unsafe { sys::rd_kafka_queue_yield(self.inner.queue.native()) };
        if let Some(polling) = self.polling.take() {
            // A panic in the poll thread has been reported by its own hook.
            let _ = polling.join();
        }
    }
}

impl Inner {
    fn serve(&self) {
        while !self.stopping.load(Ordering::Acquire) {
            let waiting = self.full_at.load(Ordering::Acquire);
            let wait = if waiting > 0 { Duration::from_millis(2) } else { Duration::from_millis(200) };
            // SAFETY: the queue is live; the event is destroyed below.
            let event = unsafe { sys::rd_kafka_queue_poll(self.queue.native(), millis(wait)) };
            if !event.is_null() {
                // SAFETY: not null, ours.
                unsafe {
                    self.on_event(event);
                    sys::rd_kafka_event_destroy(event);
                }
            }
            if waiting > 0 {
                self.watch_for_room(waiting);
            }
        }
    }

    fn watch_for_room(&self, full_at: i64) {
        // SAFETY: the handle is live.
        let outstanding = i64::from(unsafe { sys::rd_kafka_outq_len(self.client.native()) });
        let has_failed = self.deliveries.failed.load(Ordering::Acquire) > 0;
        if outstanding > full_at / 4 * 3 && !has_failed {
            return;
        }
        // Only this notice is taken back: a newer one stays.
        if self.full_at.compare_exchange(full_at, 0, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            self.wakers.wake();
        }
    }

    /// # Safety
    /// `event` is live.
    unsafe fn on_event(&self, event: *mut sys::rd_kafka_event_t) {
        // SAFETY: as promised by the caller; messages live as long as their event.
        unsafe {
            if sys::rd_kafka_event_type(event) != sys::RD_KAFKA_EVENT_DR {
                return;
            }
            loop {
                let message = sys::rd_kafka_event_message_next(event);
                if message.is_null() {
                    break;
                }
                let code = Code::read(&raw const (*message).err);
                if code == Code::NONE {
                    continue;
                }
                let topic = if (*message).rkt.is_null() {
                    String::new()
                } else {
                    text(sys::rd_kafka_topic_name((*message).rkt))
                };
                let partition = (*message).partition;
                let advice = match code {
                    Code::BROKER_INVALID_TIMESTAMP => {
                        ": its time is outside of what the topic takes (message.timestamp.after.max.ms)"
                    }
                    Code::BROKER_TOO_LARGE => ": the topic's max.message.bytes is too small for it",
                    _ => "",
                };
                let said = format!("a row for {topic}/{partition} was not delivered: {code}{advice}");
                let _ = self.deliveries.first_failure.set((code, said));
                self.deliveries.failed.fetch_add(1, Ordering::AcqRel);
            }
        }
    }
}

/// The arguments of one row: made once, refilled for each.
pub(super) struct Row([sys::rd_kafka_vu_t; 7]);

impl Row {
    pub(super) fn new(topic: &Topic) -> Row {
        use sys::rd_kafka_vtype_t as Type;
        let empty = sys::rd_kafka_vu_s__bindgen_ty_1 { ptr: ptr::null_mut() };
        let vu = |vtype| sys::rd_kafka_vu_t { vtype, u: empty };
        let mut row = Row([
            vu(Type::RD_KAFKA_VTYPE_RKT),
            vu(Type::RD_KAFKA_VTYPE_MSGFLAGS),
            vu(Type::RD_KAFKA_VTYPE_PARTITION),
            vu(Type::RD_KAFKA_VTYPE_KEY),
            vu(Type::RD_KAFKA_VTYPE_VALUE),
            vu(Type::RD_KAFKA_VTYPE_TIMESTAMP),
            vu(Type::RD_KAFKA_VTYPE_HEADERS),
        ]);
        row.0[0].u.rkt = topic.native();
        row.0[1].u.i = sys::RD_KAFKA_MSG_F_COPY;
        row
    }

    /// Fills in a row. Null and empty stay different: an empty slice has a pointer that is not null.
    #[inline]
    pub(super) fn fill(&mut self, partition: i32, key: Option<&[u8]>, value: Option<&[u8]>, time: i64) {
        self.0[2].u.i32_ = partition;
        self.0[3].u.mem = bytes(key);
        self.0[4].u.mem = bytes(value);
        // librdkafka takes 0 for "now", which would make a replay differ, and the broker refuses negative times.
        self.0[5].u.i64_ = time.max(1);
        self.0[6].u.headers = ptr::null_mut();
    }

    #[inline]
    pub(super) fn set_headers(&mut self, headers: *mut sys::rd_kafka_headers_t) {
        self.0[6].u.headers = headers;
    }
}

#[inline]
fn bytes(item: Option<&[u8]>) -> sys::rd_kafka_vu_s__bindgen_ty_1__bindgen_ty_1 {
    let (ptr, size) = item.map_or((ptr::null_mut(), 0), |b| (b.as_ptr().cast_mut().cast(), b.len()));
    sys::rd_kafka_vu_s__bindgen_ty_1__bindgen_ty_1 { ptr, size }
}
