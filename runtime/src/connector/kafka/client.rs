//! A librdkafka handle that closes itself, with its errors and logs in `tracing`. Owns the handle and its call-backs; knows
//! nothing of sources, sinks or transactions.

use std::ffi::{CString, c_char, c_int, c_void};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka_sys::bindings as sys;
use rdkafka_sys::rd_kafka_resp_err_t as Native;

use super::error::{Code, Kind, text, with_code};
use super::metadata::{Metadata, Scope};
use super::native::{Topic, c_string, millis};
use super::properties::Properties;
use super::settings::Cluster;
use crate::clock;
use crate::connector::Error;

/// A client. Every call of librdkafka on it is thread-safe; what must not run twice at once says so.
pub(super) struct Client {
    handle: NonNull<sys::rd_kafka_t>,
    /// Boxed and leaked into the handle as its opaque; freed after the handle is gone.
    shared: NonNull<Shared>,
}

// SAFETY: librdkafka's handles may be used from any thread, and `Shared` is behind a mutex.
unsafe impl Send for Client {}
// SAFETY: as above.
unsafe impl Sync for Client {}

/// What the call-backs reach.
struct Shared {
    brokers: String,
    /// The newest error of the connection, for messages.
    trouble: Mutex<Option<(Code, String)>>,
    /// A broker has answered once, here or to a client before this one. Until then whoever waits for it says why it does not.
    was_reached: AtomicBool,
    /// What its log lines say of whoever made it: they come on threads of librdkafka.
    span: tracing::Span,
}

/// What the client is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Consumer,
    Producer,
}

impl Client {
    /// Makes the handle and its threads. No broker is asked.
    pub(super) fn new(role: Role, cluster: &Cluster, properties: &Properties) -> Result<Client, Error> {
        let conf = Conf::new(properties)?;
        let shared = Shared {
            brokers: cluster.brokers.clone(),
            trouble: Mutex::new(None),
            was_reached: AtomicBool::new(false),
            span: tracing::Span::current(),
        };
        let shared = NonNull::from(Box::leak(Box::new(shared)));
        let mut reason = [0 as c_char; 512];
        // SAFETY: `conf` is live and consumed only where the handle was made; the opaque outlives the handle.
        let handle = unsafe {
            sys::rd_kafka_conf_set_opaque(conf.0, shared.as_ptr().cast());
            sys::rd_kafka_conf_set_error_cb(conf.0, Some(on_error));
            sys::rd_kafka_conf_set_log_cb(conf.0, Some(on_log));
            let native_role = match role {
                Role::Consumer => sys::rd_kafka_type_t::RD_KAFKA_CONSUMER,
                Role::Producer => {
                    // Events rather than call-backs: then `flush` waits on a condition and returns at once.
                    sys::rd_kafka_conf_set_events(conf.0, sys::RD_KAFKA_EVENT_DR);
                    sys::rd_kafka_type_t::RD_KAFKA_PRODUCER
                }
            };
            sys::rd_kafka_new(native_role, conf.0, reason.as_mut_ptr(), reason.len())
        };
        match NonNull::new(handle) {
            Some(handle) => {
                conf.consumed();
                Ok(Client { handle, shared })
            }
            None => {
                // SAFETY: no handle was made, so nobody else holds it.
                drop(unsafe { Box::from_raw(shared.as_ptr()) });
                Err(Error::Config(format!("the Kafka client does not take these settings: {}", text(reason.as_ptr()))))
            }
        }
    }

    pub(super) fn native(&self) -> *mut sys::rd_kafka_t {
        self.handle.as_ptr()
    }

    fn shared(&self) -> &Shared {
        // SAFETY: freed in `drop` only.
        unsafe { self.shared.as_ref() }
    }

    pub(super) fn brokers(&self) -> &str {
        &self.shared().brokers
    }

    /// From now on a connection that fails is news.
    pub(super) fn note_reached(&self) {
        self.shared().was_reached.store(true, Ordering::Relaxed);
    }

    /// The newest error of the connection. Serves the error queue first, for handles that nobody polls.
    pub(super) fn trouble(&self) -> Option<(Code, String)> {
        self.shared().trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The fatal error, after which the handle is of no use.
    pub(super) fn fatal(&self) -> Option<(Code, String)> {
        let mut reason = [0 as c_char; 512];
        let ask = with_code!(sys::rd_kafka_fatal_error, (*mut sys::rd_kafka_t, *mut c_char, usize) -> Native => i32);
        // SAFETY: the buffer is as long as said.
        let code = Code(unsafe { ask(self.native(), reason.as_mut_ptr(), reason.len()) });
        (code != Code::NONE).then(|| (code, text(reason.as_ptr())))
    }

    /// Brokers and, where `topic` is given, its partitions. Waits up to `timeout` for a first broker.
    pub(super) fn metadata(&self, scope: Scope<'_>, timeout: Duration) -> Result<Metadata, Error> {
        let begun = clock::now();
        let deadline = begun + timeout;
        loop {
            let left = deadline.saturating_duration_since(clock::now());
            let slice = left.min(Duration::from_millis(500));
            match self.ask_metadata(scope, slice) {
                Ok(metadata) => {
                    self.note_reached();
                    return Ok(metadata);
                }
                Err(code) => {
                    // SAFETY: serves the error call-back on this thread; consumers here are not polled elsewhere yet.
                    unsafe { sys::rd_kafka_poll(self.native(), 0) };
                    let refused = self.trouble().is_some_and(|(code, _)| code.kind() == Kind::NotAuthenticated);
                    if refused || left.is_zero() {
                        return Err(self.unreachable(code, begun.elapsed()));
                    }
                }
            }
        }
    }

    fn ask_metadata(&self, scope: Scope<'_>, timeout: Duration) -> Result<Metadata, Code> {
        let topic = match scope {
            Scope::Topic(name) => Some(Topic::new(self, name).map_err(|_| Code::UNKNOWN_TOPIC)?),
            Scope::Brokers | Scope::All => None,
        };
        let only = topic.as_ref().map_or(ptr::null_mut(), Topic::native);
        let mut found: *const sys::rd_kafka_metadata = ptr::null();
        let ask = with_code!(sys::rd_kafka_metadata,
            (*mut sys::rd_kafka_t, c_int, *mut sys::rd_kafka_topic_t, *mut *const sys::rd_kafka_metadata, c_int)
            -> Native => i32);
        let all = c_int::from(matches!(scope, Scope::All));
        // SAFETY: all pointers live for the call.
        let code = Code(unsafe { ask(self.native(), all, only, &mut found, millis(timeout)) });
        if code != Code::NONE {
            return Err(code);
        }
        // SAFETY: success gave us a tree that we copy and destroy.
        unsafe {
            let metadata = Metadata::copy(found);
            sys::rd_kafka_metadata_destroy(found);
            Ok(metadata)
        }
    }

    /// The one line for a start without a broker.
    fn unreachable(&self, code: Code, waited: Duration) -> Error {
        let brokers = self.brokers();
        match self.trouble() {
            Some((code, reason)) if code.kind() == Kind::NotAuthenticated => Error::Unreachable(format!(
                "Kafka at {brokers} refuses us: {reason}: check `security` of this connection"
            )),
            trouble => {
                let reason = trouble.map_or_else(|| code.describe(), |(_, reason)| reason);
                Error::Unreachable(format!(
                    "no Kafka broker answers at {brokers} (waited {} s; {reason}): start it, or set `brokers`",
                    waited.as_secs()
                ))
            }
        }
    }

    /// Oldest offset and last stable offset of a partition.
    pub(super) fn watermarks(&self, topic: &str, partition: i32, timeout: Duration) -> Result<(i64, i64), Code> {
        let name = c_string(topic);
        let (mut low, mut high) = (0, 0);
        let ask = with_code!(sys::rd_kafka_query_watermark_offsets,
            (*mut sys::rd_kafka_t, *const c_char, i32, *mut i64, *mut i64, c_int) -> Native => i32);
        // SAFETY: all pointers live for the call.
        let code = Code(unsafe { ask(self.native(), name.as_ptr(), partition, &mut low, &mut high, millis(timeout)) });
        if code == Code::NONE { Ok((low, high)) } else { Err(code) }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // Order: the handle joins its threads, then nobody can reach the opaque any more.
        // SAFETY: made in `new`, dropped once.
        unsafe {
            sys::rd_kafka_destroy(self.native());
            drop(Box::from_raw(self.shared.as_ptr()));
        }
    }
}

/// A configuration that is not yet a client.
struct Conf(*mut sys::rd_kafka_conf_t);

impl Conf {
    fn new(properties: &Properties) -> Result<Conf, Error> {
        // SAFETY: no arguments.
        let conf = Conf(unsafe { sys::rd_kafka_conf_new() });
        for (name, value) in properties {
            let mut reason = [0 as c_char; 512];
            let (c_name, c_value) = (CString::new(name.as_str()), CString::new(value.as_str()));
            let (Ok(c_name), Ok(c_value)) = (c_name, c_value) else {
                return Err(Error::Config(format!("Kafka property `{name}` holds a zero byte")));
            };
            // SAFETY: strings are copied.
            let result = unsafe {
                let (reason, room) = (reason.as_mut_ptr(), reason.len());
                sys::rd_kafka_conf_set(conf.0, c_name.as_ptr(), c_value.as_ptr(), reason, room)
            };
            if result != sys::rd_kafka_conf_res_t::RD_KAFKA_CONF_OK {
                return Err(Error::Config(format!("Kafka property `{name}`: {}", text(reason.as_ptr()))));
            }
        }
        Ok(conf)
    }

    /// The handle owns it now.
    fn consumed(self) {
        std::mem::forget(self);
    }
}

impl Drop for Conf {
    fn drop(&mut self) {
        // SAFETY: no handle took it.
        unsafe { sys::rd_kafka_conf_destroy(self.0) }
    }
}

unsafe extern "C" fn on_error(_: *mut sys::rd_kafka_t, err: c_int, reason: *const c_char, opaque: *mut c_void) {
    let (code, reason) = (Code(err), text(reason));
    // What follows counts attempts and milliseconds inside of the client.
    let reason = reason.split(" (after ").next().unwrap_or_default().to_owned();
    if opaque.is_null() {
        return;
    }
    // SAFETY: the opaque is the client's `Shared`, which outlives the handle.
    let shared = unsafe { &*opaque.cast::<Shared>() };
    let mut trouble = shared.trouble.lock().unwrap_or_else(PoisonError::into_inner);
    let is_news = trouble.as_ref().is_none_or(|(before, _)| *before != code);
    // "All brokers down" says less than the error before it, which names the broker and the reason.
    if code != Code::ALL_BROKERS_DOWN || trouble.is_none() {
        *trouble = Some((code, reason.clone()));
    }
    if is_news {
        // Said again at every attempt to connect, many times a second: the failure that ends the attempt says it well.
        let _in = shared.span.enter();
        tracing::debug!(target: "weir::kafka", brokers = shared.brokers, code = code.name(), "{reason}");
    }
}

unsafe extern "C" fn on_log(client: *const sys::rd_kafka_t, level: c_int, fac: *const c_char, line: *const c_char) {
    let (facility, line) = (text(fac), text(line));
    // What a broker says for its first seconds, and what the client tries again by itself.
    // SAFETY: librdkafka gives its own handle; the opaque is the client's `Shared`, which outlives it, or not set yet.
    let shared = unsafe { sys::rd_kafka_opaque(client).cast::<Shared>().as_ref() };
    let _in = shared.map(|shared| shared.span.enter());
    let is_awaited = facility == "FAIL" && shared.is_none_or(|shared| !shared.was_reached.load(Ordering::Relaxed));
    // Rows that an end throws away are not committed, and whoever fences waits for what is still being ended.
    let passing = ["Coordinator load in progress", "Producer terminating with", "Failed to acquire transactional PID"];
    let is_passing = is_awaited || passing.iter().any(|said| line.contains(said));
    match level {
        _ if is_passing => tracing::debug!(target: "weir::kafka::client", facility, "{line}"),
        0..=3 => tracing::warn!(target: "weir::kafka::client", facility, "{line}"),
        4..=5 => tracing::info!(target: "weir::kafka::client", facility, "{line}"),
        _ => tracing::debug!(target: "weir::kafka::client", facility, "{line}"),
    }
}

/// What is left until `deadline`, at most `slice`.
pub(super) fn slice_until(deadline: Instant, slice: Duration) -> Duration {
    deadline.saturating_duration_since(clock::now()).min(slice)
}
