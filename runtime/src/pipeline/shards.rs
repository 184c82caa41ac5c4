//! What a pipeline shares with the others of its server: the threads that its shards run on, unless it has its own, and the
//! time of their checkpoints. Owns the fact that a guest has held a shared thread, after which its pipeline runs apart from
//! the others; runs no shard.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use weir_core::ids::Name;
use weir_core::key_group;

use crate::dataflow::{Alarm, Bell, Prepared, Reporter, RunningShard, ShardPool};

/// See the module. Cheap to clone; clones are of one pipeline.
#[derive(Clone, Default)]
pub(super) struct Shards {
    shared: Option<Arc<ShardPool>>,
    is_apart: Arc<AtomicBool>,
}

impl Shards {
    /// Threads to share: as many as cores.
    pub(super) fn pool() -> io::Result<Arc<ShardPool>> {
        ShardPool::start(std::thread::available_parallelism().map_or(1, usize::from)).map(Arc::new)
    }

    /// A pipeline that shares these threads.
    pub(super) fn on(pool: &Arc<ShardPool>) -> Shards {
        Shards { shared: Some(Arc::clone(pool)), is_apart: Arc::default() }
    }

    /// From a start to the first checkpoint, where many may start at once: a part of the interval that the name decides, so
    /// that those of equal interval do not all cut at the same moment.
    pub(super) fn first_checkpoint(&self, pipeline: &Name, interval: Duration) -> Option<Duration> {
        let _ = self.shared.as_ref()?;
        let part = key_group::hash(pipeline.as_str().as_bytes()) as u32;
        Some(interval.mul_f64(f64::from(part) / f64::from(u32::MAX)))
    }

    /// Starts the shards of an attempt.
    pub(super) fn run(&self, shards: Vec<Prepared>, report: impl Fn() -> Reporter) -> io::Result<Vec<RunningShard>> {
        match &self.shared {
            Some(pool) if !self.is_apart.load(Ordering::Relaxed) => Ok(pool.run(shards, report)),
            shared => ShardPool::run_apart(shards, shared.is_some(), report),
        }
    }

    /// What a node calls whose guest holds the thread: its shard keeps it from then on, the others go on elsewhere, and the
    /// next attempts run apart from the beginning. Says no where the shard was told to stop.
    pub(super) fn alarm(&self, node: &Name, bell: &Arc<Bell>) -> Alarm {
        let bell = Arc::clone(bell);
        let Some(_) = self.shared else { return Arc::new(move || !bell.has_ended()) };
        let is_apart = Arc::clone(&self.is_apart);
        let node = node.clone();
        Arc::new(move || {
            if !is_apart.swap(true, Ordering::Relaxed) {
                tracing::warn!(
                    "the operator of node `{node}` trapped, took long or asked to wait; from now on the pipeline has threads of \
                     its own, which let those of the others go first"
                );
            }
            bell.leave();
            !bell.has_ended()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pipelines_of_a_server_are_spread_over_the_interval_and_one_alone_waits_for_all_of_it() {
        let name = |n: u32| Name::new(format!("p{n}")).unwrap();
        let interval = Duration::from_secs(10);
        let shared = Shards::on(&Shards::pool().unwrap());
        let mut seconds = [0; 10];
        for n in 0..1_000 {
            let first = shared.first_checkpoint(&name(n), interval).unwrap();
            assert_eq!(shared.first_checkpoint(&name(n), interval), Some(first), "at each start the same");
            seconds[(first.as_secs() as usize).min(9)] += 1;
        }
        assert!(seconds.iter().all(|count| (60..150).contains(count)), "{seconds:?}");
        assert_eq!(Shards::default().first_checkpoint(&name(1), interval), None);
    }
}
