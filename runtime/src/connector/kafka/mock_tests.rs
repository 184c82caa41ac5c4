//! What a result of the cluster means for us, against librdkafka's own mock: error mapping only. The mock neither fences
//! nor hides open transactions, so nothing about exactly-once is proven here.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka_sys::types::{RDKafkaApiKey as Api, RDKafkaRespErr as Code};
use weir_core::checkpoint::commit::{Claim, Commit, VERSION};
use weir_core::checkpoint::manifest::CommitKind;
use weir_core::ids::{Epoch, Token};
use weir_core::record::Batch;

use super::*;
use crate::connector::{Authority, Outcome, Sink};

type Mock = MockCluster<'static, DefaultProducerContext>;

struct Rig {
    mock: Mock,
    domain: Domain,
    authority: KafkaAuthority,
    sink: KafkaSink,
}

/// A domain on a mock cluster of one broker; nothing is fenced yet.
fn rig() -> Rig {
    let mock = MockCluster::new(1).expect("a mock cluster");
    let mut domain = Domain::new(Cluster::at(mock.bootstrap_servers()), "p", vec!["rows".into()]);
    domain.transaction_timeout = Duration::from_secs(10);
    mock.create_topic("rows", 2, 1).expect("a topic");
    mock.create_topic(&domain.commit_topic(), 1, 1).expect("a topic");
    let facts = TopicFacts { partitions: 2, message_bytes_max: 1_000_000, time_ahead_max: None, retention: None };
    let shared = SharedProducer::new(BTreeMap::from([("rows".to_owned(), facts)]));
    let authority = KafkaAuthority::new(domain.clone(), Arc::clone(&shared));
    let sink = KafkaSink::new(shared, "rows", 1 << 20, 1 << 20, Arc::new(|| {})).expect("a sink");
    Rig { mock, domain, authority, sink }
}

impl Rig {
    fn fence(&mut self) -> Result<(), Error> {
        self.authority.fence(&[self.domain.transactional_id()])
    }

    /// Fenced and claimed, with a row in an open transaction.
    fn running() -> Rig {
        let mut rig = rig();
        rig.fence().expect("fenced");
        let outcome = rig.authority.claim(&claim());
        assert!(matches!(outcome, Outcome::Committed { .. }), "{outcome:?}");
        rig.authority.begin().expect("begun");
        rig.write();
        rig
    }

    fn write(&mut self) {
        let mut rows = Batch::default();
        rows.times.push(1);
        rows.keys.push(Some(b"k"));
        rows.values.push(Some(b"v"));
        assert_eq!(self.sink.write(&rows, 0..1).expect("writable"), 1);
    }

    fn commit_under(errors: &[Code]) -> Outcome {
        let mut rig = Rig::running();
        rig.authority.flush().expect("acknowledged");
        rig.authority.mark(&commit()).expect("marked");
        rig.mock.request_errors(Api::EndTxn, errors);
        rig.authority.commit()
    }
}

fn claim() -> Claim {
    Claim {
        v: VERSION,
        nonce: "n".into(),
        lineage: "l".into(),
        txn_ids: vec![],
        host: "h".into(),
        boot_id: "b".into(),
        pid: 1,
        started_at: 0,
        build: "test".into(),
    }
}

fn commit() -> Commit {
    Commit {
        v: VERSION,
        kind: CommitKind::Checkpoint,
        lineage: "l".into(),
        epoch: Epoch(1),
        token: Token(0),
        snapshot: None,
        positions: BTreeMap::new(),
        at: 0,
    }
}

#[test]
fn a_commit_that_was_sent_twice_says_so() {
    for code in [
        Code::RD_KAFKA_RESP_ERR_CONCURRENT_TRANSACTIONS,
        Code::RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE,
        Code::RD_KAFKA_RESP_ERR_NOT_COORDINATOR,
    ] {
        let outcome = Rig::commit_under(&[code]);
        assert!(matches!(outcome, Outcome::Committed { may_have_resent: true }), "{code:?}: {outcome:?}");
    }
}

#[test]
fn a_commit_with_any_other_answer_is_unknown_and_never_taken_for_not_committed() {
    for code in [
        Code::RD_KAFKA_RESP_ERR_UNKNOWN,
        Code::RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,
        Code::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS,
        Code::RD_KAFKA_RESP_ERR_UNKNOWN_PRODUCER_ID,
        Code::RD_KAFKA_RESP_ERR_INVALID_PRODUCER_ID_MAPPING,
        Code::RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH,
        Code::RD_KAFKA_RESP_ERR_PRODUCER_FENCED,
        Code::RD_KAFKA_RESP_ERR_INVALID_TXN_STATE,
    ] {
        let outcome = Rig::commit_under(&[code]);
        assert!(matches!(outcome, Outcome::Unknown(_)), "{code:?}: {outcome:?}");
    }
}

#[test]
fn fencing_waits_for_a_transaction_that_is_being_completed() {
    let mut rig = rig();
    rig.mock.request_errors(Api::InitProducerId, &[Code::RD_KAFKA_RESP_ERR_CONCURRENT_TRANSACTIONS; 2]);
    rig.fence().expect("fenced");
}

#[test]
fn fencing_says_what_an_operator_must_change() {
    let mut refused = rig();
    refused.mock.request_errors(Api::InitProducerId, &[Code::RD_KAFKA_RESP_ERR_INVALID_TRANSACTION_TIMEOUT]);
    let error = refused.fence().expect_err("over the cap");
    assert!(matches!(&error, Error::Config(said) if said.contains("transaction.timeout is 10s")), "{error}");

    let mut denied = rig();
    denied.mock.request_errors(Api::InitProducerId, &[Code::RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED]);
    let error = denied.fence().expect_err("denied");
    assert!(matches!(&error, Error::Unreachable(said) if said.contains("WRITE and DESCRIBE")), "{error}");
}

#[test]
fn a_row_that_is_not_delivered_ends_the_attempt() {
    let mut rig = Rig::running();
    rig.authority.flush().expect("acknowledged");
    rig.mock.request_errors(Api::Produce, &[Code::RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP]);
    rig.write();
    let error = rig.authority.flush().expect_err("not delivered");
    assert!(matches!(&error, Error::Transient(said) if said.contains("rows/") && said.contains("time")), "{error}");
    // Whatever is tried afterwards with this producer fails too.
    let rows = Batch {
        times: vec![1],
        keys: [None].into_iter().collect(),
        values: [None].into_iter().collect(),
        ..Batch::default()
    };
    assert!(matches!(rig.sink.write(&rows, 0..1), Err(Error::Transient(_))));
    assert!(matches!(rig.authority.mark(&commit()), Err(Error::Transient(_))));
}

#[test]
fn a_step_that_waits_for_the_cluster_can_be_interrupted() {
    let mut rig = rig();
    rig.authority.interrupt().store(true, std::sync::atomic::Ordering::Release);
    assert!(matches!(rig.fence(), Err(Error::Transient(said)) if said.contains("stopped")));
}
