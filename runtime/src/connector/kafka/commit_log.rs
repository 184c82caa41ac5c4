//! Reads CLAIM and COMMIT out of a domain's partition of the commit topic, as a read_committed reader from offset 0. Owns
//! the keys and the decoding; decides nothing about who may run.

use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rdkafka_sys::bindings as sys;
use weir_core::checkpoint::commit::{Claim, Commit, VERSION};
use weir_core::ids::Token;

use super::client::{Client, Role};
use super::error::{Code, Failure, Kind, text};
use super::native::PartitionList;
use super::properties;
use super::settings::Domain;
use crate::clock;
use crate::connector::Error;

/// Key of the CLAIM record.
pub(super) fn claim_key(domain: u32) -> String {
    format!("claim/{domain}")
}

/// Key of the COMMIT record.
pub(super) fn commit_key(domain: u32) -> String {
    format!("commit/{domain}")
}

/// What was read.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// The newest CLAIM; with a nonce given, the newest one below its record.
    pub(super) claim: Option<(Token, Claim)>,
    /// The newest COMMIT; with a nonce given, the newest one below its record.
    pub(super) commit: Option<Commit>,
    /// Where the CLAIM with the nonce given stands.
    pub(super) own: Option<Token>,
    /// Whether a CLAIM stands above that.
    pub(super) claim_above: bool,
}

/// A reader of one partition of a commit topic.
pub(super) struct CommitLog {
    client: Client,
    topic: String,
    domain: u32,
    interrupted: Arc<AtomicBool>,
}

impl CommitLog {
    /// Once `interrupted` is true, reading ends with a transient error.
    pub(super) fn open(domain: &Domain, interrupted: Arc<AtomicBool>) -> Result<CommitLog, Error> {
        let mut properties = properties::consumer(&domain.cluster, &domain.group(), 1);
        // The end of the partition is told by an empty answer: wait for that only briefly.
        properties.push(("fetch.wait.max.ms".into(), "5".into()));
        properties.push(("fetch.min.bytes".into(), "1".into()));
        let client = Client::new(Role::Consumer, &domain.cluster, &properties)?;
        // SAFETY: the handle is a consumer's.
        unsafe { sys::rd_kafka_poll_set_consumer(client.native()) };
        Ok(CommitLog { client, topic: domain.commit_topic(), domain: domain.domain, interrupted })
    }

    /// Reads everything up to the end, or, with a nonce, at least until its CLAIM was seen and then to the end. Seeing the
    /// own CLAIM proves that everything older was read, whatever leader or watermark answered.
    pub(super) fn read(&self, nonce: Option<&str>, timeout: Duration) -> Result<Seen, Error> {
        let partition = self.domain as i32;
        // Offset 0 and not "beginning": the absolute one is fetched at once, the other costs half a second.
        let list = PartitionList::new([(self.topic.as_str(), partition, 0)]);
        // SAFETY: the list is copied.
        let assigned = Code(unsafe { sys::rd_kafka_assign(self.client.native(), list.native()) } as i32);
        if assigned != Code::NONE {
            return Err(self.failed(assigned, assigned.describe()));
        }
        let result = self.follow(nonce, clock::now() + timeout, timeout);
        // SAFETY: an empty assignment ends the fetching; the handle stays for the next reading.
        unsafe { sys::rd_kafka_assign(self.client.native(), ptr::null()) };
        result
    }

    fn follow(&self, nonce: Option<&str>, deadline: Instant, timeout: Duration) -> Result<Seen, Error> {
        let mut seen = Seen::default();
        let mut next_report = clock::now() + Duration::from_secs(5);
        loop {
            let now = clock::now();
            if self.interrupted.load(Ordering::Acquire) {
                return Err(Error::Transient("stopped while reading the commit topic".into()));
            }
            if now >= deadline {
                return Err(self.not_visible(nonce, timeout));
            }
            if now >= next_report {
                next_report = now + Duration::from_secs(5);
                tracing::warn!(target: "weir::kafka", topic = self.topic, "still reading the commit topic");
            }
            // SAFETY: one thread reads; the message is destroyed by `Message`.
            let message = unsafe { sys::rd_kafka_consumer_poll(self.client.native(), 100) };
            let Some(message) = NonNull::new(message).map(Message) else { continue };
            match message.code() {
                Code::NONE => self.take(&message, nonce, &mut seen)?,
                Code::PARTITION_EOF if nonce.is_none() || seen.own.is_some() => return Ok(seen),
                // The own CLAIM is committed but not yet visible: its marker follows.
                Code::PARTITION_EOF => {}
                Code::AUTO_OFFSET_RESET | Code::BROKER_OUT_OF_RANGE => {
                    return Err(Error::Halt(format!(
                        "records at the start of commit topic `{}` were deleted: bring them back; to begin anew instead: \
                         another `name`, or delete the topic and start with --from empty --rewind, with an empty folder as --state",
                        self.topic
                    )));
                }
                code if is_passing(code) => {}
                code => return Err(self.failed(code, message.reason())),
            }
        }
    }

    fn take(&self, message: &Message, nonce: Option<&str>, seen: &mut Seen) -> Result<(), Error> {
        let (key, value, offset) = message.record();
        let Some(value) = value else { return Ok(()) };
        if key == claim_key(self.domain).as_bytes() {
            let claim: Claim = self.decode(value, offset)?;
            self.check_version(claim.v, offset)?;
            if seen.own.is_some() {
                seen.claim_above = true;
            } else if nonce.is_some_and(|nonce| nonce == claim.nonce) {
                seen.own = Some(Token(offset));
            } else {
                seen.claim = Some((Token(offset), claim));
            }
        } else if key == commit_key(self.domain).as_bytes() && seen.own.is_none() {
            let commit: Commit = self.decode(value, offset)?;
            self.check_version(commit.v, offset)?;
            seen.commit = Some(commit);
        }
        Ok(())
    }

    fn decode<T: serde::de::DeserializeOwned>(&self, value: &[u8], offset: i64) -> Result<T, Error> {
        serde_json::from_slice(value).map_err(|reason| {
            Error::Halt(format!("record {offset} of `{}/{}` is not weir's: {reason}", self.topic, self.domain))
        })
    }

    fn check_version(&self, version: u32, offset: i64) -> Result<(), Error> {
        if version <= VERSION {
            return Ok(());
        }
        Err(Error::Halt(format!(
            "record {offset} of `{}/{}` has version {version}, this weir reads up to {VERSION}: use the newer weir",
            self.topic, self.domain
        )))
    }

    fn not_visible(&self, nonce: Option<&str>, timeout: Duration) -> Error {
        let place = format!("{}/{}", self.topic, self.domain);
        let what = if nonce.is_some() { "our own CLAIM" } else { "the end of the partition" };
        let reason = match self.client.trouble() {
            Some((_, reason)) => reason,
            None => "somebody holds an open transaction in it: `weir txn list` shows where".into(),
        };
        Error::Transient(format!("{what} did not become visible in `{place}` within {} s: {reason}", timeout.as_secs()))
    }

    fn failed(&self, code: Code, message: String) -> Error {
        let failure = Failure { code, message, is_fatal: false, is_retriable: false };
        failure.into_error(&format!("read the commit topic `{}`", self.topic))
    }
}

/// Errors that librdkafka goes on after by itself.
fn is_passing(code: Code) -> bool {
    matches!(code.kind(), Kind::Unreachable) || code == Code::TIMED_OUT
}

/// A consumed message that destroys itself.
struct Message(NonNull<sys::rd_kafka_message_t>);

impl Message {
    fn code(&self) -> Code {
        // SAFETY: live; read as a number.
        Code::read(unsafe { &raw const (*self.0.as_ptr()).err })
    }

    fn reason(&self) -> String {
        // SAFETY: live.
        text(unsafe { sys::rd_kafka_message_errstr(self.0.as_ptr()) })
    }

    /// Key, value and offset.
    fn record(&self) -> (&[u8], Option<&[u8]>, i64) {
        // SAFETY: pointers and lengths of a live message belong together.
        unsafe {
            let message = self.0.as_ptr();
            let bytes = |ptr: *mut std::ffi::c_void, len: usize| {
                (!ptr.is_null()).then(|| std::slice::from_raw_parts(ptr.cast::<u8>(), len))
            };
            let key = bytes((*message).key, (*message).key_len).unwrap_or_default();
            (key, bytes((*message).payload, (*message).len), (*message).offset)
        }
    }
}

impl Drop for Message {
    fn drop(&mut self) {
        // SAFETY: ours, destroyed once.
        unsafe { sys::rd_kafka_message_destroy(self.0.as_ptr()) }
    }
}
