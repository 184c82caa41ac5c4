//! Questions and orders to the cluster outside of the data path: topics, settings, offsets. Owns the handle for them and
//! librdkafka's event dance; judges nothing.

use std::collections::BTreeMap;
use std::ffi::c_char;
use std::ptr::{self, NonNull};
use std::time::Duration;

use rdkafka_sys::bindings as sys;
use rdkafka_sys::rd_kafka_resp_err_t as Native;

use super::client::{Client, Role};
use super::error::{Code, Failure, text, with_code};
use super::metadata::{Metadata, Scope, TopicMetadata};
use super::native::{PartitionList, Queue, c_string, millis};
use super::properties;
use super::settings::Cluster;
use crate::connector::Error;

/// A handle for administration. It is a consumer's, which never makes the broker create a topic by asking for it.
pub(super) struct Admin {
    client: Client,
    timeout: Duration,
}

/// What ListOffsets counts as the end.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Isolation {
    /// The high watermark.
    Uncommitted,
    /// The last stable offset.
    Committed,
}

impl Admin {
    /// Makes the handle and waits for a first broker.
    pub(super) fn connect(cluster: &Cluster, group: &str) -> Result<Admin, Error> {
        let client = Client::new(Role::Consumer, cluster, &properties::consumer(cluster, group, 1))?;
        if let Err(error) = client.metadata(Scope::Brokers, cluster.connect_timeout()) {
            // Closing a handle joins its threads, and one may wait for a name or a broker: what was said stays true.
            std::thread::spawn(move || drop(client));
            return Err(error);
        }
        Ok(Admin { client, timeout: Duration::from_secs(15) })
    }

    pub(super) fn brokers(&self) -> Result<Metadata, Error> {
        self.client.metadata(Scope::Brokers, self.timeout)
    }

    /// The partitions of a topic; an empty list with an error code where there is none.
    pub(super) fn topic(&self, name: &str) -> Result<TopicMetadata, Error> {
        let metadata = self.client.metadata(Scope::Topic(name), self.timeout)?;
        let nothing = TopicMetadata { name: name.to_owned(), code: Code::BROKER_UNKNOWN_TOPIC, partitions: Vec::new() };
        Ok(metadata.topics.into_iter().find(|topic| topic.name == name).unwrap_or(nothing))
    }

    /// Settings of a topic, or why they cannot be seen.
    pub(super) fn topic_settings(&self, topic: &str) -> Result<BTreeMap<String, String>, Failure> {
        self.settings_of(sys::rd_kafka_ResourceType_t::RD_KAFKA_RESOURCE_TOPIC, topic)
    }

    /// Settings of a broker, or why they cannot be seen.
    pub(super) fn broker_settings(&self, id: i32) -> Result<BTreeMap<String, String>, Failure> {
        self.settings_of(sys::rd_kafka_ResourceType_t::RD_KAFKA_RESOURCE_BROKER, &id.to_string())
    }

    /// The cluster's own id.
    pub(super) fn cluster_id(&self) -> Result<String, Error> {
        // SAFETY: the string is copied and freed with librdkafka's own call.
        let id = unsafe {
            let native = sys::rd_kafka_clusterid(self.client.native(), millis(self.timeout));
            let id = text(native);
            sys::rd_kafka_mem_free(self.client.native(), native.cast());
            id
        };
        if id.is_empty() { Err(Error::Unreachable("the cluster does not tell its id".into())) } else { Ok(id) }
    }

    /// The id of any broker.
    pub(super) fn any_broker(&self) -> Option<i32> {
        let ids = unsafe {
            let mut count = 0;
            // SAFETY: the array is copied and freed with librdkafka's own call.
            let native = sys::rd_kafka_brokers_learned_ids(self.client.native(), &mut count);
            let first = (!native.is_null() && count > 0).then(|| *native);
            sys::rd_kafka_mem_free(ptr::null_mut(), native.cast());
            first
        };
        ids.filter(|id| *id >= 0)
    }

    fn settings_of(&self, kind: sys::rd_kafka_ResourceType_t, name: &str) -> Result<BTreeMap<String, String>, Failure> {
        let name = c_string(name);
        // SAFETY: the resource is destroyed after the call, which copies it; results live as long as their event.
        unsafe {
            let mut resource = sys::rd_kafka_ConfigResource_new(kind, name.as_ptr());
            let event =
                self.run(sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS, None, |rk, options, queue| {
                    sys::rd_kafka_DescribeConfigs(rk, &mut resource, 1, options, queue);
                });
            sys::rd_kafka_ConfigResource_destroy(resource);
            let event = event?;
            let mut count = 0;
            let result = sys::rd_kafka_event_DescribeConfigs_result(event.0.as_ptr());
            let resources = sys::rd_kafka_DescribeConfigs_result_resources(result, &mut count);
            let mut found = BTreeMap::new();
            for i in 0..count {
                let resource = *resources.add(i);
                let ask = with_code!(sys::rd_kafka_ConfigResource_error,
                    (*const sys::rd_kafka_ConfigResource_t) -> Native => i32);
                let code = Code(ask(resource));
                if code != Code::NONE {
                    return Err(failure(code, text(sys::rd_kafka_ConfigResource_error_string(resource))));
                }
                let mut entries = 0;
                let list = sys::rd_kafka_ConfigResource_configs(resource, &mut entries);
                for e in 0..entries {
                    let entry = *list.add(e);
                    found.insert(
                        text(sys::rd_kafka_ConfigEntry_name(entry)),
                        text(sys::rd_kafka_ConfigEntry_value(entry)),
                    );
                }
            }
            Ok(found)
        }
    }

    /// Creates a topic. One that exists already is no failure.
    pub(super) fn create_topic(
        &self,
        name: &str,
        partitions: i32,
        replication: i32,
        config: &[(&str, &str)],
    ) -> Result<(), Failure> {
        let c_name = c_string(name);
        let mut reason = [0 as c_char; 256];
        // SAFETY: the description is copied by the call and destroyed after it; results live as long as their event.
        unsafe {
            let (text_out, room) = (reason.as_mut_ptr(), reason.len());
            let mut topic = sys::rd_kafka_NewTopic_new(c_name.as_ptr(), partitions, replication, text_out, room);
            if topic.is_null() {
                return Err(failure(Code::STATE, text(reason.as_ptr())));
            }
            for (key, value) in config {
                sys::rd_kafka_NewTopic_set_config(topic, c_string(key).as_ptr(), c_string(value).as_ptr());
            }
            let event =
                self.run(sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_CREATETOPICS, None, |rk, options, queue| {
                    sys::rd_kafka_CreateTopics(rk, &mut topic, 1, options, queue);
                });
            sys::rd_kafka_NewTopic_destroy(topic);
            let event = event?;
            let mut count = 0;
            let result = sys::rd_kafka_event_CreateTopics_result(event.0.as_ptr());
            let topics = sys::rd_kafka_CreateTopics_result_topics(result, &mut count);
            for i in 0..count {
                let ask = with_code!(sys::rd_kafka_topic_result_error, (*const sys::rd_kafka_topic_result_t) -> Native => i32);
                let code = Code(ask(*topics.add(i)));
                if code != Code::NONE && code != Code::BROKER_TOPIC_EXISTS {
                    return Err(failure(code, text(sys::rd_kafka_topic_result_error_string(*topics.add(i)))));
                }
            }
            Ok(())
        }
    }

    /// The end of each partition, in the order given.
    pub(super) fn ends(&self, topic: &str, partitions: &[i32], isolation: Isolation) -> Result<Vec<i64>, Failure> {
        const LATEST: i64 = -1;
        let list = PartitionList::new(partitions.iter().map(|p| (topic, *p, LATEST)));
        // SAFETY: the list lives for the call, which copies it; results live as long as their event.
        unsafe {
            let event = self.run(
                sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_LISTOFFSETS,
                Some(isolation),
                |rk, options, queue| sys::rd_kafka_ListOffsets(rk, list.native(), options, queue),
            )?;
            let mut count = 0;
            let result = sys::rd_kafka_event_ListOffsets_result(event.0.as_ptr());
            let infos = sys::rd_kafka_ListOffsets_result_infos(result, &mut count);
            let mut ends = BTreeMap::new();
            for i in 0..count {
                let found = sys::rd_kafka_ListOffsetsResultInfo_topic_partition(*infos.add(i));
                let code = Code::read(&raw const (*found).err);
                if code != Code::NONE {
                    return Err(failure(code, format!("{topic}/{}: {code}", (*found).partition)));
                }
                ends.insert((*found).partition, (*found).offset);
            }
            Ok(partitions.iter().map(|p| ends.get(p).copied().unwrap_or(0)).collect())
        }
    }

    /// A request that only tests make.
    #[cfg(test)]
    pub(super) fn raw(
        &self,
        send: impl FnOnce(*mut sys::rd_kafka_t, *const sys::rd_kafka_AdminOptions_t, *mut sys::rd_kafka_queue_t),
    ) {
        let sent = self.run(sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_ANY, None, send);
        sent.map(drop).expect("a request of a test succeeds");
    }

    /// Sends a request and waits for its result.
    fn run(
        &self,
        operation: sys::rd_kafka_admin_op_t,
        isolation: Option<Isolation>,
        send: impl FnOnce(*mut sys::rd_kafka_t, *const sys::rd_kafka_AdminOptions_t, *mut sys::rd_kafka_queue_t),
    ) -> Result<Event, Failure> {
        // SAFETY: options and queue live for the call; the event is owned by the result.
        unsafe {
            let rk = self.client.native();
            let queue = Queue::own(sys::rd_kafka_queue_new(rk));
            let options = sys::rd_kafka_AdminOptions_new(rk, operation);
            let mut reason = [0 as c_char; 256];
            let (text_out, room) = (reason.as_mut_ptr(), reason.len());
            sys::rd_kafka_AdminOptions_set_request_timeout(options, millis(self.timeout), text_out, room);
            if let Some(isolation) = isolation {
                use sys::rd_kafka_IsolationLevel_t as Level;
                let level = match isolation {
                    Isolation::Uncommitted => Level::RD_KAFKA_ISOLATION_LEVEL_READ_UNCOMMITTED,
                    Isolation::Committed => Level::RD_KAFKA_ISOLATION_LEVEL_READ_COMMITTED,
                };
                Failure::check(sys::rd_kafka_AdminOptions_set_isolation_level(options, level))?;
            }
            send(rk, options, queue.native());
            sys::rd_kafka_AdminOptions_destroy(options);
            let event = sys::rd_kafka_queue_poll(queue.native(), millis(self.timeout + Duration::from_secs(5)));
            let Some(event) = NonNull::new(event).map(Event) else {
                return Err(failure(Code::TIMED_OUT, "no answer from the cluster".into()));
            };
            let ask = with_code!(sys::rd_kafka_event_error, (*mut sys::rd_kafka_event_t) -> Native => i32);
            let code = Code(ask(event.0.as_ptr()));
            if code != Code::NONE {
                return Err(failure(code, text(sys::rd_kafka_event_error_string(event.0.as_ptr()))));
            }
            Ok(event)
        }
    }
}

/// A result that destroys itself.
struct Event(NonNull<sys::rd_kafka_event_t>);

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: ours, destroyed once.
        unsafe { sys::rd_kafka_event_destroy(self.0.as_ptr()) }
    }
}

fn failure(code: Code, message: String) -> Failure {
    Failure { code, message, is_fatal: false, is_retriable: false }
}
