//! The topic of CLAIM and COMMIT: made here when it is missing, and refused when it is not as the protocol needs it. Owns
//! its name and settings; what is in it belongs to `commit_log`.

use std::time::Duration;

use super::admin::Admin;
use super::error::{ACLS, Code, Kind};
use super::preflight::Report;
use super::settings::Domain;
use crate::clock;
use crate::connector::Error;

/// Makes or checks the commit topic.
pub(super) fn ensure(admin: &Admin, domain: &Domain, report: &mut Report) -> Result<(), Error> {
    let name = domain.commit_topic();
    if report.brokers < 3 {
        report.warnings.push(format!(
            "the cluster has {} broker(s): `{name}` has as many replicas, and a broker's disk is a single point of loss",
            report.brokers
        ));
    }
    let topic = admin.topic(&name)?;
    match topic.code.kind() {
        Kind::NoTopic => create(admin, domain, &name, report.brokers)?,
        Kind::NotPermitted => {
            return Err(not_permitted(&name));
        }
        _ => {}
    }
    check_existing(admin, domain, report)
}

/// Refuses a topic that is not as the protocol needs it.
pub(super) fn check_existing(admin: &Admin, domain: &Domain, report: &mut Report) -> Result<(), Error> {
    let name = domain.commit_topic();
    let partitions = wait_for_partitions(admin, &name)?;
    check(admin, domain, &name, partitions, report)
}

/// Whether there is one. Never makes one.
pub(super) fn exists(admin: &Admin, domain: &Domain) -> Result<bool, Error> {
    let name = domain.commit_topic();
    let topic = admin.topic(&name)?;
    match topic.code.kind() {
        Kind::NotPermitted => Err(not_permitted(&name)),
        _ => Ok(topic.code == Code::NONE && !topic.partitions.is_empty()),
    }
}

fn not_permitted(name: &str) -> Error {
    Error::Unreachable(format!("not permitted to see commit topic `{name}`: {ACLS}"))
}

fn create(admin: &Admin, domain: &Domain, name: &str, brokers: usize) -> Result<(), Error> {
    let replicas = brokers.clamp(1, 3) as i32;
    let in_sync = if replicas == 3 { "2" } else { "1" };
    let settings =
        [("cleanup.policy", "compact"), ("min.insync.replicas", in_sync), ("unclean.leader.election.enable", "false")];
    admin.create_topic(name, domain.domains as i32, replicas, &settings).map_err(|failure| {
        failure.into_error(&format!(
            "create the commit topic `{name}` (it can be created beforehand: {} partition(s), cleanup.policy=compact)",
            domain.domains
        ))
    })
}

/// A topic that was just made is known to each broker a moment later.
pub(super) fn wait_for_partitions(admin: &Admin, name: &str) -> Result<u32, Error> {
    let deadline = clock::now() + Duration::from_secs(15);
    loop {
        let topic = admin.topic(name)?;
        if topic.code == Code::NONE && !topic.partitions.is_empty() {
            return Ok(topic.partitions.len() as u32);
        }
        if clock::now() >= deadline {
            return Err(Error::Unreachable(format!("topic `{name}` does not appear: {}", topic.code)));
        }
        std::thread::park_timeout(Duration::from_millis(50));
    }
}

fn check(admin: &Admin, domain: &Domain, name: &str, partitions: u32, report: &mut Report) -> Result<(), Error> {
    if partitions != domain.domains {
        return Err(Error::Halt(format!(
            "commit topic `{name}` has {partitions} partitions but the pipeline has {} domain(s): it is not this \
             pipeline's; give the pipeline another name, or move the topic away",
            domain.domains
        )));
    }
    let Ok(settings) = admin.topic_settings(name) else {
        report.warnings.push(format!("the settings of commit topic `{name}` cannot be seen (DESCRIBE_CONFIGS)"));
        return Ok(());
    };
    let policy = settings.get("cleanup.policy").map_or("", String::as_str);
    if policy != "compact" {
        return Err(Error::Halt(format!(
            "commit topic `{name}` has cleanup.policy={policy} but needs compact: with any other, the newest COMMIT can be \
             deleted; set it back with `kafka-configs.sh --alter --topic {name} --add-config cleanup.policy=compact`"
        )));
    }
    Ok(())
}
