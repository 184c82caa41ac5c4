//! Proves that a pipeline may write, for `weir check --connect`: one record into its commit topic, aborted, under a
//! transactional id of its own. Never a CLAIM, and never the pipeline's id, which would fence a running owner.

use std::sync::Arc;
use std::time::Duration;

use super::error::{Code, Failure};
use super::native::Topic;
use super::producer::{Producer, Row, Sizes, Wakers};
use super::settings::Domain;
use crate::clock;
use crate::connector::Error;

/// For the whole check.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Writes a record that nobody will see. The commit topic must exist.
pub(super) fn check(domain: &Domain) -> Result<(), Error> {
    let id = format!("weir.{}.check", domain.pipeline);
    let domain = Domain { transaction_timeout: TIMEOUT, ..domain.clone() };
    let sizes = Sizes { batch: 1_000_000, message: 1_000_000 };
    let connect = || Producer::connect(&domain, &id, sizes, Arc::<Wakers>::default());
    let producer = connect()?;
    init(&producer, &id)?;
    let written = write(&producer, &domain);
    if producer.abort_transaction(TIMEOUT).is_err() {
        // A new owner of the id ends what the old one left open.
        init(&connect()?, &id)?;
    }
    written
}

fn init(producer: &Producer, id: &str) -> Result<(), Error> {
    let deadline = clock::now() + TIMEOUT * 2;
    loop {
        match producer.init_transactions(TIMEOUT / 2) {
            Ok(()) => return Ok(()),
            Err(failure) if failure.is_retriable && clock::now() < deadline => {}
            Err(failure) => return Err(failure.into_error(&format!("use transactional id `{id}`"))),
        }
    }
}

fn write(producer: &Producer, domain: &Domain) -> Result<(), Error> {
    let name = domain.commit_topic();
    let doing = format!("write to the commit topic `{name}`");
    producer.begin_transaction().map_err(|failure| failure.into_error(&doing))?;
    let topic = Topic::new(producer.client(), &name)?;
    let mut row = Row::new(&topic);
    let key = format!("check/{}", domain.domain);
    row.fill(domain.domain as i32, Some(key.as_bytes()), Some(b"{}"), clock::now_millis());
    let refused = |code: Code| {
        let failure = Failure { code, message: code.describe(), is_fatal: false, is_retriable: false };
        failure.into_error(&doing)
    };
    producer.produce(&row).map_err(refused)?;
    let is_done = producer.flush(TIMEOUT);
    match producer.first_failure() {
        Some(code) => Err(refused(code)),
        None if is_done => Ok(()),
        None => Err(refused(Code::TIMED_OUT)),
    }
}
