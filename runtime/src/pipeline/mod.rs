//! A running pipeline: from a checked file to shards, checkpoints and commits. `service` supervises attempts, `attempt`
//! drives the protocol of `weir_core`, `authority_thread` and `writer` carry out what blocks. Knows no HTTP and no terminal.

mod assemble;
mod attempt;
mod authority;
mod authority_thread;
pub mod checkpoints;
mod clusters;
pub mod compatibility;
mod config_schema;
pub mod current;
pub mod folder;
mod graph;
mod job;
mod live;
mod manager;
mod owner;
mod pace;
mod place;
mod rehearsal;
pub mod removal;
mod renames;
pub mod savepoint;
mod service;
mod shards;
pub mod snapshot_store;
mod sources;
pub mod statistics;
mod status;
mod terms;
mod wiring;
mod wishes;
mod writer;

/// What a running pipeline counts.
pub use crate::dataflow::{Metrics, NodeMetrics};
pub use crate::guest::{Measured, MetricKind, Reason};
pub use crate::state::Budget;
pub use authority::{KafkaDomain, kafka_domain, kafka_domain_of};
pub use clusters::{check_one_cluster, check_source_topics};
pub use graph::{Edge, Graph};
pub use job::{Checked, Error as JobError, Job, Lookup};
pub use live::{Live, Pulse, Watched as WatchedNode, known as known_watermark};
pub use manager::{
    Applied, Cause, Condition, Error as ManagerError, From, GRACE_MAX, Kind, Language, Manager, OpenDoor, Operation,
    Origin, Pin, Plan, Progress, Revision, View, Wanted,
};
pub use pace::Rate;
pub use service::{Handle, Outcome, Service, Settings};
pub use status::{Checkpointed, Facts, State, Status};
pub use wishes::{Answer, Done, Wish};
