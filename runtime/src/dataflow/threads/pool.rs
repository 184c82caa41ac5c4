//! Threads for shards: those that the pipelines of a server share, or one for each shard of a pipeline that has its own. Owns
//! how a shard is started, told and stopped.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use super::bell::Bell;
use super::queue::RunQueue;
use super::thread::{self, Tenant};
use crate::dataflow::shard::{Command, Reporter, Shard};
use crate::dataflow::task::Task;

/// Commands that may wait for a shard's next turn.
const COMMANDS_MAX: usize = 64;

/// Tasks in topological order that are to run on one thread, and the bell that wakes them.
pub struct Prepared {
    /// The tasks.
    pub tasks: Vec<Task>,
    /// The bell that their rings and connectors ring.
    pub bell: Arc<Bell>,
}

/// A shard that runs.
pub struct RunningShard {
    commands: SyncSender<Command>,
    bell: Arc<Bell>,
    over: Receiver<Vec<Task>>,
}

impl RunningShard {
    /// A shard that is over has reported why.
    pub fn tell(&self, command: Command) {
        let _ = self.commands.send(command);
        self.bell.ring();
    }

    /// Ends it, and waits until its tasks are closed and gone.
    pub fn stop(self) {
        self.bell.end();
        self.tell(Command::Stop);
        // One that panicked gives nothing back.
        drop(self.over.recv());
    }
}

/// Threads that run the shards of many pipelines. They end when the pool is dropped and the last of their shards is over.
pub struct ShardPool(Vec<Arc<RunQueue>>);

impl ShardPool {
    /// So many threads, without anything to do.
    pub fn start(threads: usize) -> io::Result<ShardPool> {
        let pool = ShardPool((0..threads.max(1)).map(|_| RunQueue::new(true)).collect());
        pool.0.iter().try_for_each(|queue| thread::start(Arc::clone(queue), 0, false))?;
        Ok(pool)
    }

    /// Runs the shards of one pipeline: the first on the thread that has the fewest, the others on those behind it.
    pub fn run(&self, shards: Vec<Prepared>, report: impl Fn() -> Reporter) -> Vec<RunningShard> {
        let idlest = (0..self.0.len()).min_by_key(|thread| self.0[*thread].len()).unwrap_or_default();
        let on = |(i, shard): (usize, Prepared)| {
            let (tenant, running) = tenant(shard, report());
            self.0[(idlest + i) % self.0.len()].admit(tenant);
            running
        };
        shards.into_iter().enumerate().map(on).collect()
    }

    /// Runs each shard on a thread of its own, which ends with it; behind the threads of the others, if it gives way.
    pub fn run_apart(
        shards: Vec<Prepared>,
        gives_way: bool,
        report: impl Fn() -> Reporter,
    ) -> io::Result<Vec<RunningShard>> {
        let start = |shard| {
            let (tenant, running) = tenant(shard, report());
            let queue = RunQueue::new(false);
            queue.admit(tenant);
            thread::start(queue, 0, gives_way).map(|()| running)
        };
        shards.into_iter().map(start).collect()
    }
}

impl Drop for ShardPool {
    fn drop(&mut self) {
        self.0.iter().for_each(|queue| queue.close());
    }
}

fn tenant(Prepared { tasks, bell }: Prepared, report: Reporter) -> (Box<Tenant>, RunningShard) {
    let (commands, inbox) = sync_channel(COMMANDS_MAX);
    let (over, ended) = sync_channel(1);
    let shard = Shard::new(tasks, inbox, report);
    let tenant = Tenant { shard, span: tracing::Span::current(), bell: Arc::clone(&bell), due: None, over };
    (Box::new(tenant), RunningShard { commands, bell, over: ended })
}
