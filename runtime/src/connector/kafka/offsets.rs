//! What brokers say about offsets: the bounds of a partition, the offset at a time, where a group stands. Decides nothing.

use std::time::Duration;

use rdkafka_sys::bindings as sys;
use rdkafka_sys::rd_kafka_resp_err_t as Native;

use super::client::{Client, Role};
use super::error::{Code, Failure, Kind, with_code};
use super::native::{PartitionList, millis};
use super::properties;
use super::settings::{Cluster, Offsets, Partition};
use crate::clock;
use crate::connector::Error;

const TIMEOUT: Duration = Duration::from_secs(15);

/// The oldest offset, and the one behind the last record that a read_committed reader sees.
pub(super) fn bounds(client: &Client, partition: &Partition) -> Result<(i64, i64), Error> {
    let deadline = clock::now() + TIMEOUT;
    loop {
        match client.watermarks(&partition.topic, partition.number, TIMEOUT) {
            Ok(found) => return Ok(found),
            // A topic that was just made, or a broker that just came back, has its leaders a moment later.
            Err(code) if code.kind() == Kind::NoLeader && clock::now() < deadline => {
                std::thread::park_timeout(Duration::from_millis(50));
            }
            Err(code) => return Err(failed(code, &format!("ask for the offsets of `{partition}`"))),
        }
    }
}

/// The first offset at or after a time; `None` where there is no such record yet.
pub(super) fn at_time(client: &Client, partition: &Partition, time: i64) -> Result<Option<i64>, Error> {
    let list = PartitionList::new([(partition.topic.as_str(), partition.number, time)]);
    let ask = with_code!(sys::rd_kafka_offsets_for_times,
        (*mut sys::rd_kafka_t, *mut sys::rd_kafka_topic_partition_list_t, std::ffi::c_int) -> Native => i32);
    // SAFETY: the list lives for the call.
    let code = Code(unsafe { ask(client.native(), list.native(), millis(TIMEOUT)) });
    let (offset, item) = list.get(0);
    match (code, item) {
        (Code::NONE, Code::NONE) => Ok((offset >= 0).then_some(offset)),
        (Code::NONE, code) | (code, _) => Err(failed(code, &format!("ask for the offset at a time in `{partition}`"))),
    }
}

/// Where a consumer group stands, in those of the partitions in which it stands somewhere.
pub(super) fn of_group<'a>(
    cluster: &Cluster,
    group: &str,
    partitions: impl IntoIterator<Item = &'a Partition> + Clone,
) -> Result<Offsets, Error> {
    let client = Client::new(Role::Consumer, cluster, &properties::consumer(cluster, group, 1))?;
    let list = PartitionList::new(partitions.clone().into_iter().map(|p| (p.topic.as_str(), p.number, 0)));
    let ask = with_code!(sys::rd_kafka_committed,
        (*mut sys::rd_kafka_t, *mut sys::rd_kafka_topic_partition_list_t, std::ffi::c_int) -> Native => i32);
    // SAFETY: the list lives for the call.
    let code = Code(unsafe { ask(client.native(), list.native(), millis(TIMEOUT)) });
    let doing = format!("ask where the group `{group}` stands");
    if code != Code::NONE {
        return Err(failed(code, &doing));
    }
    let mut offsets = Offsets::new();
    for (index, partition) in partitions.into_iter().enumerate() {
        match list.get(index) {
            (offset, Code::NONE) if offset >= 0 => drop(offsets.insert(partition.clone(), offset)),
            (_, Code::NONE) => {}
            (_, code) => return Err(failed(code, &format!("{doing} in `{partition}`"))),
        }
    }
    Ok(offsets)
}

fn failed(code: Code, doing: &str) -> Error {
    Failure { code, message: code.describe(), is_fatal: false, is_retriable: false }.into_error(doing)
}
