//! The steps of the commit protocol on the wire: FENCE, CLAIM, RESOLVE, begin, mark, commit. Owns the domain's producer;
//! decides nothing: which step follows is the core's. Nothing is ever aborted and no producer object that saw an error is
//! used again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use weir_core::checkpoint::commit::{Claim, Commit};

use super::client::slice_until;
use super::commit_log::{self, CommitLog, Seen};
use super::error::{Code, Failure, Kind};
use super::native::Topic;
use super::preflight;
use super::producer::{Producer, Row};
use super::settings::{Domain, RETRY_BACKOFF};
use super::shared::SharedProducer;
use super::{admin::Admin, commit_topic};
use crate::connector::{Authority, Error, Outcome, Peek, Resolved};
use crate::{clock, crash};

/// One call of librdkafka never takes longer; longer steps resume it.
const SLICE: Duration = Duration::from_secs(5);

/// The commit topic of a domain and the transactional id that writes to it.
pub struct KafkaAuthority {
    domain: Domain,
    shared: Arc<SharedProducer>,
    /// What our own CLAIM carries, once it was written: tells a time-out of ours from a successor.
    nonce: Option<String>,
    interrupted: Arc<AtomicBool>,
}

impl KafkaAuthority {
    pub(super) fn new(domain: Domain, shared: Arc<SharedProducer>) -> KafkaAuthority {
        KafkaAuthority { domain, shared, nonce: None, interrupted: Arc::default() }
    }

    /// Set to true, it makes a step that waits for the cluster (FENCE may wait for ever) end with a transient error.
    pub fn interrupt(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.interrupted)
    }

    fn check_interrupted(&self, doing: &str) -> Result<(), Error> {
        if self.interrupted.load(Ordering::Acquire) {
            return Err(Error::Transient(format!("stopped while trying to {doing}")));
        }
        Ok(())
    }

    /// A new producer of `id`, initialised: every older one of that id is fenced, and its open transaction aborted.
    fn fence_one(&self, id: &str) -> Result<Producer, Error> {
        let doing = format!("fence transactional id `{id}`");
        let producer = Producer::connect(&self.domain, id, self.shared.sizes(), Arc::clone(&self.shared.wakers))?;
        loop {
            self.check_interrupted(&doing)?;
            match producer.init_transactions(SLICE) {
                Ok(()) => return Ok(producer),
                Err(failure) if failure.code.kind() == Kind::TransactionTimeout => {
                    let admin = Admin::connect(&self.domain.cluster, &self.domain.group());
                    let cap = admin.ok().and_then(|admin| preflight::broker_timeout_cap(&admin));
                    return Err(preflight::over_cap(self.domain.transaction_timeout, cap));
                }
                // A denied id is answered as retriable by some paths; waiting does not help there.
                Err(failure) if failure.is_retriable && failure.code.kind() != Kind::NotPermitted => {
                    tracing::warn!(target: "weir::kafka", id, reason = failure.message, "fencing goes on");
                }
                Err(failure) => return Err(failure.into_error(&doing)),
            }
        }
    }

    /// What to answer when the client says fenced: a successor has written its CLAIM, or our own transaction timed out.
    fn explain(&self, failure: Failure, doing: &str) -> Error {
        if failure.code.kind() != Kind::Fenced {
            return failure.into_error(doing);
        }
        let newest = self.read(None, SLICE).ok().and_then(|seen| seen.claim);
        match (newest, &self.nonce) {
            (Some((_, claim)), Some(own)) if claim.nonce != *own => Error::Fenced(format!(
                "cannot {doing}: the pipeline is run by another weir now (host {}, pid {})",
                claim.host, claim.pid
            )),
            _ => Error::Transient(format!(
                "cannot {doing}: the transaction timed out, or another weir is starting this pipeline"
            )),
        }
    }

    /// Anything that makes the rows of this transaction incomplete.
    fn check_producer(&self, producer: &Producer, doing: &str) -> Result<(), Error> {
        if let Some((code, message)) = producer.client().fatal() {
            return Err(self.explain(Failure { code, message, is_fatal: true, is_retriable: false }, doing));
        }
        producer.failure().map_or(Ok(()), |reason| Err(Error::Transient(format!("cannot {doing}: {reason}"))))
    }

    fn read(&self, nonce: Option<&str>, timeout: Duration) -> Result<Seen, Error> {
        CommitLog::open(&self.domain, Arc::clone(&self.interrupted))?.read(nonce, timeout)
    }

    /// Puts a record into the open transaction, in this domain's partition of the commit topic.
    fn put(&self, producer: &Producer, key: &str, value: &[u8], doing: &str) -> Result<(), Error> {
        let topic = Topic::new(producer.client(), &self.domain.commit_topic())?;
        let mut row = Row::new(&topic);
        row.fill(self.domain.domain as i32, Some(key.as_bytes()), Some(value), clock::now_millis());
        let deadline = clock::now() + self.domain.transaction_timeout;
        loop {
            match producer.produce(&row) {
                Ok(()) => return Ok(()),
                Err(Code::QUEUE_FULL) if clock::now() < deadline => {
                    self.check_interrupted(doing)?;
                    producer.flush(Duration::from_millis(100));
                }
                Err(code) => {
                    self.check_producer(producer, doing)?;
                    let failure = Failure { code, message: code.describe(), is_fatal: false, is_retriable: false };
                    return Err(self.explain(failure, doing));
                }
            }
        }
    }

    fn flush_all(&self, producer: &Producer, doing: &str) -> Result<(), Error> {
        let deadline = clock::now() + self.domain.transaction_timeout;
        loop {
            let is_empty = producer.flush(slice_until(deadline, SLICE));
            self.check_producer(producer, doing)?;
            if is_empty {
                return Ok(());
            }
            self.check_interrupted(doing)?;
            if clock::now() >= deadline {
                let left = producer.outstanding();
                return Err(Error::Transient(format!("cannot {doing}: {left} rows are not acknowledged in time")));
            }
        }
    }

    /// Commits what is open and judges how sure that is: a re-send waits at least 80 % of `retry.backoff.ms`, so only a
    /// commit that was faster was surely sent once.
    fn commit_open(&self, producer: &Producer, sent: Option<&'static str>) -> Outcome {
        let begun = clock::now();
        let deadline = begun + self.domain.transaction_timeout;
        let mut met_retriable = false;
        // Where a crash is planned there, the first call comes back at once and the request goes on behind it: that is the
        // only moment at which it is sent and not answered. Nowhere else: librdkafka 2.12 ends the process by an assertion
        // of its own (`rd_kafka_txn_set_state`) when the answer meets a second call at the wrong moment, seen once in some
        // thousand commits.
        let is_split = sent.is_some_and(crash::is_planned);
        let mut slice = if is_split { Duration::from_millis(1) } else { SLICE };
        loop {
            match producer.commit_transaction(slice) {
                Ok(()) => {
                    if let (true, Some(sent)) = (slice < SLICE, sent) {
                        crash::point(sent);
                    }
                    let is_slow = begun.elapsed() >= RETRY_BACKOFF.mul_f64(0.8);
                    return Outcome::Committed {
                        may_have_resent: is_slow || met_retriable || self.domain.reclaim_always,
                    };
                }
                Err(failure) if failure.is_retriable && clock::now() < deadline => {
                    if let (true, Some(sent)) = (slice < SLICE, sent) {
                        crash::point(sent);
                    } else {
                        tracing::warn!(target: "weir::kafka", reason = failure.message, "the commit goes on");
                    }
                    // Our own short slice running out says nothing about the request.
                    met_retriable |= slice == SLICE || failure.code != Code::TIMED_OUT;
                    slice = SLICE;
                }
                // Everything else, "abort required" included, may hide a commit that the broker has made.
                Err(failure) => {
                    let name = failure.code.name();
                    let kind = if failure.is_fatal { "fatal" } else { "not to be repeated" };
                    return Outcome::Unknown(format!("the commit was answered {} ({name}, {kind})", failure.message));
                }
            }
        }
    }

    fn write_claim(&self, producer: &Producer, claim: &Claim) -> Result<(), Error> {
        let doing = "write the CLAIM";
        producer.begin_transaction().map_err(|failure| self.explain(failure, doing))?;
        let value = encode(claim)?;
        self.put(producer, &commit_log::claim_key(self.domain.domain), &value, doing)?;
        crash::point("claim.sent");
        self.flush_all(producer, doing)
    }
}

impl Authority for KafkaAuthority {
    fn peek(&mut self) -> Result<Peek, Error> {
        let admin = Admin::connect(&self.domain.cluster, &self.domain.group())?;
        if !commit_topic::exists(&admin, &self.domain)? {
            return Ok(Peek::default());
        }
        let seen = self.read(None, Duration::from_secs(30))?;
        Ok(Peek { claim: seen.claim.map(|(_, claim)| claim), commit: seen.commit })
    }

    fn fence(&mut self, ids: &[String]) -> Result<(), Error> {
        let own = self.domain.transactional_id();
        let mut kept = None;
        for id in ids.iter().filter(|id| **id != own) {
            drop(self.fence_one(id)?);
        }
        // Our own id last: the object that carries the CLAIM is the one that carries the data.
        if ids.contains(&own) {
            kept = Some(Arc::new(self.fence_one(&own)?));
        }
        if let Some(producer) = kept {
            let old = self.shared.replace(Some(producer));
            // Closing a handle joins its threads; nobody has to wait for that.
            std::thread::spawn(move || drop(old));
        }
        crash::point("fence.done");
        Ok(())
    }

    fn claim(&mut self, claim: &Claim) -> Outcome {
        let producer = match self.shared.current() {
            Ok(producer) => producer,
            Err(error) => return Outcome::Unknown(error.to_string()),
        };
        if let Err(error) = self.write_claim(&producer, claim) {
            return Outcome::Unknown(error.to_string());
        }
        let outcome = self.commit_open(&producer, None);
        if matches!(outcome, Outcome::Committed { .. }) {
            self.nonce = Some(claim.nonce.clone());
            crash::point("claim.acked");
        }
        outcome
    }

    fn resolve(&mut self, nonce: &str) -> Result<Resolved, Error> {
        let seen = self.read(Some(nonce), Duration::from_secs(60))?;
        let token = seen.own.ok_or_else(|| Error::Transient("our own CLAIM was not found".into()))?;
        Ok(Resolved { token, commit: seen.commit, claim_before: seen.claim, claim_above: seen.claim_above })
    }

    fn begin(&mut self) -> Result<(), Error> {
        let producer = self.shared.current()?;
        self.check_producer(&producer, "begin a transaction")?;
        producer.begin_transaction().map_err(|failure| self.explain(failure, "begin a transaction"))?;
        self.shared.on_begin();
        crash::point("txn.begun");
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Error> {
        let producer = self.shared.current()?;
        self.flush_all(&producer, "deliver the rows of the epoch")
    }

    fn mark(&mut self, commit: &Commit) -> Result<(), Error> {
        let doing = "write the COMMIT";
        let producer = self.shared.current()?;
        let value = encode(commit)?;
        self.put(&producer, &commit_log::commit_key(self.domain.domain), &value, doing)?;
        crash::point("mark.sent");
        self.flush_all(&producer, doing)?;
        crash::point("mark.acked");
        Ok(())
    }

    fn commit(&mut self) -> Outcome {
        let outcome = match self.shared.current() {
            Ok(producer) => self.commit_open(&producer, Some("txn.commit_sent")),
            Err(error) => Outcome::Unknown(error.to_string()),
        };
        if matches!(outcome, Outcome::Committed { .. }) {
            crash::point("txn.commit_acked");
        }
        outcome
    }
}

fn encode<T: serde::Serialize>(record: &T) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(record)
        .map_err(|reason| Error::Transient(format!("a record of the protocol cannot be written: {reason}")))
}
