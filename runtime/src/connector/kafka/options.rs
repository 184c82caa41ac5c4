//! Hands a user's options to the clients that take them. Which names there are is the list in `settings`, by which a
//! pipeline file was read; what is in no list reaches no client.

use std::collections::BTreeMap;

use super::properties::Properties;
use crate::settings::kafka_options::{Taker, taker};

pub(super) fn for_consumer(options: &BTreeMap<String, String>) -> Properties {
    taken_by(options, Taker::Source)
}

pub(super) fn for_producer(options: &BTreeMap<String, String>) -> Properties {
    taken_by(options, Taker::Sink)
}

fn taken_by(options: &BTreeMap<String, String>, client: Taker) -> Properties {
    let takes = |name: &str| taker(name).is_some_and(|taker| taker == Taker::Both || taker == client);
    options.iter().filter(|(name, _)| takes(name)).map(|(name, value)| (name.clone(), value.clone())).collect()
}
