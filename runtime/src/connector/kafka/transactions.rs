//! Transactions from outside of an attempt: what `weir txn list` and `weir txn abort` show and do, and what a pipeline that
//! ends for good leaves open. Aborting is a FENCE and nothing else.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use weir_core::checkpoint::commit::{Claim, Commit};
use weir_core::ids::Token;

use super::admin::{Admin, Isolation};
use super::authority::KafkaAuthority;
use super::commit_log::CommitLog;
use super::commit_topic;
use super::error::Code;
use super::producer::Producer;
use super::settings::Domain;
use super::shared::SharedProducer;
use crate::connector::{Authority, Error};

/// How long a cluster may take to answer somebody who can do without.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is known about a pipeline's transactions.
#[derive(Debug, Default)]
pub struct Listing {
    /// Ids of the domain and of the last CLAIM.
    pub ids: Vec<String>,
    /// The last owner, where there ever was one.
    pub owner: Option<Claim>,
    /// The newest COMMIT.
    pub commit: Option<Commit>,
    /// Partitions whose last stable offset is below the high watermark: an open transaction, of ours or of others.
    pub held: Vec<Held>,
}

/// A partition that readers of committed records cannot read to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// Where committed readers stop.
    pub last_stable_offset: i64,
    /// Where the partition ends.
    pub high_watermark: i64,
}

/// Looks at the commit topic and the sink topics of a domain.
pub fn list(domain: &Domain) -> Result<Listing, Error> {
    let admin = Admin::connect(&domain.cluster, &domain.group())?;
    let mut listing = Listing { ids: vec![domain.transactional_id()], ..Listing::default() };
    let mut topics = domain.topics.clone();
    if commit_topic::exists(&admin, domain)? {
        topics.push(domain.commit_topic());
        let seen = CommitLog::open(domain, Arc::default())?.read(None, PATIENCE)?;
        listing.owner = seen.claim.map(|(_, claim)| claim);
        listing.commit = seen.commit;
    }
    let claimed = listing.owner.iter().flat_map(|claim| claim.txn_ids.iter().cloned());
    listing.ids.extend(claimed);
    listing.ids.sort();
    listing.ids.dedup();
    for topic in &topics {
        listing.held.extend(held(&admin, topic)?);
    }
    Ok(listing)
}

/// Fences every id of the pipeline: open transactions of theirs are aborted, and a running owner is deposed of its
/// producer and starts again. An id that nobody ever used would be made by that, so it is refused.
pub fn abort(domain: &Domain) -> Result<Vec<String>, Error> {
    let Listing { ids, owner, .. } = list(domain)?;
    if owner.is_none() {
        return Err(Error::Config(format!(
            "there is no transactional id `{}` on {}: no pipeline `{}` ever ran there; check its name and the brokers",
            domain.transactional_id(),
            domain.cluster.brokers,
            domain.pipeline
        )));
    }
    let shared = SharedProducer::new(BTreeMap::new());
    KafkaAuthority::new(domain.clone(), shared).fence(&ids)?;
    Ok(ids)
}

/// Ends the transaction that the last attempt of a pipeline left open, whose CLAIM stands at `token`: nobody here will start
/// it again, and readers of committed rows would wait for its time-out. `false`: another one has claimed the pipeline since,
/// which ended it, and must not be disturbed. One that claims it in this very moment starts once more.
pub fn leave(domain: &Domain, token: Token) -> Result<bool, Error> {
    let seen = CommitLog::open(domain, Arc::default())?.read(None, PATIENCE)?;
    if seen.claim.is_none_or(|(newest, _)| newest != token) {
        return Ok(false);
    }
    let (id, shared) = (domain.transactional_id(), SharedProducer::new(BTreeMap::new()));
    let producer = Producer::connect(domain, &id, shared.sizes(), Arc::clone(&shared.wakers))?;
    let fenced = producer.init_transactions(PATIENCE);
    fenced.map(|()| true).map_err(|failure| failure.into_error(&format!("fence transactional id `{id}`")))
}

fn held(admin: &Admin, topic: &str) -> Result<Vec<Held>, Error> {
    let found = admin.topic(topic)?;
    if found.code != Code::NONE {
        return Ok(Vec::new());
    }
    let doing = format!("ask for the offsets of topic `{topic}`");
    let ends =
        |isolation| admin.ends(topic, &found.partitions, isolation).map_err(|failure| failure.into_error(&doing));
    // Order: the stable end first, so that a commit between the two questions looks held for once and not the reverse.
    let stable = ends(Isolation::Committed)?;
    let high = ends(Isolation::Uncommitted)?;
    let pairs = found.partitions.iter().zip(stable.into_iter().zip(high));
    let open = pairs.filter(|(_, (stable, high))| stable < high);
    Ok(open
        .map(|(partition, (last_stable_offset, high_watermark))| Held {
            topic: topic.to_owned(),
            partition: *partition,
            last_stable_offset,
            high_watermark,
        })
        .collect())
}
