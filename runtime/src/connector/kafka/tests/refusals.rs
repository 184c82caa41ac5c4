//! What is refused before anything starts, and checks that leave no trace.

use super::*;

#[test]
fn what_is_missing_or_contradicts_is_said_before_anything_starts() {
    let there = topic("preflight", 1, &[]);
    let refusal = |domain: &Domain| open(domain).err().expect("a refusal");

    let absent = domain("preflight", &["no-such-topic"]);
    let error = refusal(&absent);
    let said = error.to_string();
    assert!(
        matches!(error, Error::Config(_)) && said.contains("`no-such-topic`") && said.contains("--create"),
        "{said}"
    );
    let error = KafkaSource::open(&source_settings("no-such-topic"), None, waker().0).err().expect("a refusal");
    assert!(matches!(error, Error::Config(_)), "{error}");

    let mut long = domain("preflight", &[&there]);
    long.transaction_timeout = Duration::from_secs(3_600);
    let error = refusal(&long);
    let said = error.to_string();
    assert!(matches!(error, Error::Config(_)) && said.contains("3600s") && said.contains("900s"), "{said}");

    let mut nobody = domain("preflight", &[&there]);
    nobody.cluster = Cluster { connect_timeout: Some(Duration::from_secs(1)), ..Cluster::at("127.0.0.1:1") };
    let error = refusal(&nobody);
    assert!(matches!(error, Error::Unreachable(_)) && error.to_string().contains("127.0.0.1:1"), "{error}");
}

#[test]
fn a_check_of_rights_leaves_no_trace_and_fences_nobody() {
    let topic = topic("check", 1, &[]);
    let domain = domain("check", &[&topic]);
    let report = check(&domain).expect("a report");
    assert!(report.warnings.iter().any(|line| line.contains("will make the commit topic")), "{report:?}");
    let mut attempt = start(&domain, "n1");
    attempt.authority.begin().expect("begun");
    let report = check(&domain).expect("a report");
    assert_eq!(report.topics[&topic].partitions, 1);
    attempt.authority.mark(&commit(1, attempt.token)).expect("marked");
    committed(attempt.authority.commit());
    let again = start(&domain, "n2");
    assert_eq!(again.resolved.commit.map(|c| c.epoch), Some(Epoch(1)));
}

#[test]
fn a_commit_topic_that_is_not_as_the_protocol_needs_it_is_refused() {
    let there = topic("policy", 1, &[]);
    let with = |partitions: i32, policy: &str| {
        let domain = domain("policy", &[&there]);
        let admin = admin();
        admin.create_topic(&domain.commit_topic(), partitions, 1, &[("cleanup.policy", policy)]).expect("a topic");
        match open(&domain).err() {
            Some(Error::Halt(said)) => said,
            other => panic!("{other:?}"),
        }
    };
    let said = with(1, "delete");
    assert!(said.contains("cleanup.policy=delete"), "{said}");
    let said = with(2, "compact");
    assert!(said.contains("2 partitions") && said.contains("1 domain"), "{said}");
}
