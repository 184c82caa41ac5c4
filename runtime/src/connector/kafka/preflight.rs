//! Everything that can be known before the first record: limits that contradict each other, topics that are missing,
//! rights that are missing. Each refusal carries the two numbers or the one line that fixes it. Changes nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use super::admin::Admin;
use super::error::{ACLS, Code, Kind};
use super::metadata::TopicMetadata;
use super::settings::{Cluster, Domain};
use crate::connector::Error;

/// What the broker says about a sink topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopicFacts {
    /// Partitions, fixed for the attempt: a topic that grows meanwhile is seen at the next start.
    pub partitions: u32,
    /// `max.message.bytes`.
    pub message_bytes_max: usize,
    /// How far ahead of the clock a row's time may be, where the topic bounds it.
    pub time_ahead_max: Option<Duration>,
    /// After which time the broker deletes rows, where it does. It counts from the row's own time.
    pub retention: Option<Duration>,
}

impl TopicFacts {
    /// What an unconfigured broker has, for topics whose settings we may not see.
    fn unseen(partitions: u32) -> TopicFacts {
        TopicFacts { partitions, message_bytes_max: 1_048_588, time_ahead_max: None, retention: None }
    }
}

/// What a preflight found. Warnings are one line each, to be printed.
#[derive(Debug, Default)]
pub struct Report {
    /// Sink topics.
    pub topics: BTreeMap<String, TopicFacts>,
    /// Brokers of the cluster.
    pub brokers: usize,
    /// What is not as good as it could be.
    pub warnings: Vec<String>,
}

/// Limits that contradict each other. Needs no broker.
pub fn check_limits(domain: &Domain) -> Result<(), Error> {
    let needed = domain.checkpoint_interval + domain.checkpoint_timeout + domain.margin;
    if needed > domain.transaction_timeout {
        return Err(Error::Config(format!(
            "transaction.timeout is {} but checkpoint.interval + checkpoint.timeout + {} of margin is {}: raise \
             transaction.timeout or lower checkpoint.timeout",
            seconds(domain.transaction_timeout),
            seconds(domain.margin),
            seconds(needed)
        )));
    }
    let limit = domain.transaction_timeout.as_millis();
    for (name, bound) in [("message.timeout.ms", limit), ("socket.timeout.ms", limit + 100)] {
        let Some(value) = domain.cluster.options.get(name) else { continue };
        match value.parse::<u128>() {
            Ok(value) if value <= bound => {}
            Ok(value) => {
                return Err(Error::Config(format!(
                    "option `{name}` is {value} but transaction.timeout allows at most {bound}: lower it"
                )));
            }
            Err(_) => return Err(Error::Config(format!("option `{name}` is {value:?}: milliseconds are wanted"))),
        }
    }
    Ok(())
}

/// Asks the cluster and gathers what sinks must know of their topics.
pub(super) fn check_cluster(admin: &Admin, domain: &Domain) -> Result<Report, Error> {
    let mut report = Report { brokers: admin.brokers()?.brokers, ..Report::default() };
    check_transaction_timeout(admin, domain, &mut report)?;
    for name in &domain.topics {
        let topic = existing(admin, &domain.cluster, name, "sink")?;
        let facts = facts_of(admin, &topic, &mut report);
        report.topics.insert(name.clone(), facts);
    }
    Ok(report)
}

/// The topic, or the error that says how to get it.
pub(super) fn existing(admin: &Admin, cluster: &Cluster, name: &str, role: &str) -> Result<TopicMetadata, Error> {
    let topic = admin.topic(name)?;
    let brokers = &cluster.brokers;
    match topic.code.kind() {
        Kind::NoTopic => Err(Error::Config(no_topic(name, role, brokers))),
        Kind::NotPermitted => Err(Error::Unreachable(format!("not permitted to see {role} topic `{name}`: {ACLS}"))),
        _ if topic.code == Code::NONE && !topic.partitions.is_empty() => Ok(topic),
        _ => Err(Error::Unreachable(format!("{role} topic `{name}` on {brokers} cannot be used now: {}", topic.code))),
    }
}

pub(super) fn no_topic(name: &str, role: &str, brokers: &str) -> String {
    format!(
        "{role} topic `{name}` does not exist on {brokers}: create it, for example with `kafka-topics.sh \
         --bootstrap-server {brokers} --create --topic {name} --partitions 2`"
    )
}

fn facts_of(admin: &Admin, topic: &TopicMetadata, report: &mut Report) -> TopicFacts {
    let partitions = topic.partitions.len() as u32;
    let Ok(settings) = admin.topic_settings(&topic.name) else {
        report.warnings.push(format!(
            "the settings of topic `{}` cannot be seen (DESCRIBE_CONFIGS): the limits of a plain broker are assumed",
            topic.name
        ));
        return TopicFacts::unseen(partitions);
    };
    let number = |name: &str| settings.get(name).and_then(|value| value.parse::<u64>().ok());
    if number("min.insync.replicas").is_some_and(|replicas| replicas < 2) {
        report.warnings.push(format!(
            "topic `{}` has min.insync.replicas=1: rows that are committed can be lost with one broker",
            topic.name
        ));
    }
    // Years that overflow a clock are no bound.
    let ahead = number("message.timestamp.after.max.ms").filter(|ms| *ms < i64::MAX as u64 / 2);
    let deletes = settings.get("cleanup.policy").is_none_or(|policy| policy.contains("delete"));
    let is_create_time = settings.get("message.timestamp.type").is_none_or(|kind| kind == "CreateTime");
    TopicFacts {
        partitions,
        message_bytes_max: number("max.message.bytes").map_or(1_048_588, |bytes| bytes as usize),
        time_ahead_max: ahead.filter(|_| is_create_time).map(Duration::from_millis),
        retention: number("retention.ms").filter(|_| is_create_time && deletes).map(Duration::from_millis),
    }
}

fn check_transaction_timeout(admin: &Admin, domain: &Domain, report: &mut Report) -> Result<(), Error> {
    match broker_timeout_cap(admin) {
        Some(cap) if domain.transaction_timeout > cap => Err(over_cap(domain.transaction_timeout, Some(cap))),
        Some(_) => Ok(()),
        None => {
            report.warnings.push(
                "the broker's transaction.max.timeout.ms cannot be seen (DESCRIBE_CONFIGS on the cluster)".into(),
            );
            Ok(())
        }
    }
}

/// `transaction.max.timeout.ms`, where we may see it.
pub(super) fn broker_timeout_cap(admin: &Admin) -> Option<Duration> {
    let settings = admin.broker_settings(admin.any_broker()?).ok()?;
    settings.get("transaction.max.timeout.ms")?.parse().ok().map(Duration::from_millis)
}

pub(super) fn over_cap(ours: Duration, cap: Option<Duration>) -> Error {
    let cap = cap.map_or("smaller".to_owned(), seconds);
    Error::Config(format!(
        "transaction.timeout is {} but the broker's transaction.max.timeout.ms is {cap}: lower transaction.timeout (and \
         checkpoint.timeout), or raise it on the broker",
        seconds(ours)
    ))
}

fn seconds(duration: Duration) -> String {
    if duration.subsec_millis() == 0 {
        format!("{}s", duration.as_secs())
    } else {
        format!("{}ms", duration.as_millis())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domain() -> Domain {
        Domain::new(Cluster::at("b:9092"), "p", vec!["t".into()])
    }

    #[test]
    fn defaults_pass_and_a_short_transaction_is_refused_with_both_numbers() {
        assert!(check_limits(&domain()).is_ok());
        let short = Domain { transaction_timeout: Duration::from_secs(60), ..domain() };
        let said = check_limits(&short).expect_err("91 s do not fit").to_string();
        assert!(said.starts_with("transaction.timeout is 60s") && said.contains("is 91s"), "{said}");
    }

    #[test]
    fn timeouts_longer_than_the_transaction_are_refused_with_both_numbers() {
        let mut domain = domain();
        domain.cluster.options.insert("message.timeout.ms".into(), "300000".into());
        let said = check_limits(&domain).expect_err("longer than 120 s").to_string();
        assert!(said.contains("300000") && said.contains("120000"), "{said}");
    }
}
