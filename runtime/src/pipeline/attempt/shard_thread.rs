//! The thread that a shard runs on: its start, its commands, its end. A panic in it is a report like any other failure.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::thread::{Builder, JoinHandle};

use crate::dataflow::{Bell, Command, Error, Report, Shard};
use crate::pipeline::assemble::AssembledShard;

/// A running shard.
pub(super) struct ShardThread {
    commands: SyncSender<Command>,
    bell: Arc<Bell>,
    thread: JoinHandle<()>,
}

impl ShardThread {
    pub(super) fn start(
        shard: AssembledShard,
        report: impl Fn(Report) + Clone + Send + 'static,
    ) -> io::Result<ShardThread> {
        let AssembledShard { tasks, commands, inbox, bell } = shard;
        let shard = Shard::new(tasks, inbox, Arc::clone(&bell), Box::new(report.clone()));
        let thread = Builder::new().name("shard".to_owned()).spawn(move || {
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| shard.run())) {
                let what = panic.downcast_ref::<String>().cloned();
                let what = what.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned())).unwrap_or_default();
                report(Report::Failed(Error::Bug(format!("the shard panicked: {what}"))));
            }
        })?;
        Ok(ShardThread { commands, bell, thread })
    }

    /// A shard that is gone has reported why.
    pub(super) fn tell(&self, command: Command) {
        let _ = self.commands.send(command);
        self.bell.ring();
    }

    /// Waits for its end.
    pub(super) fn stop(self) {
        self.tell(Command::Stop);
        if self.thread.join().is_err() {
            tracing::error!("the shard panicked while it stopped");
        }
    }
}
