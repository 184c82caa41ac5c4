//! Tasks that run on one thread, in turn, each a bounded step at a time; commands are answered between rounds. Owns the
//! tasks; never decides when a checkpoint is due or whether it is committed, nor which thread it runs on. No step waits, so
//! no two shards can wait for each other: one that has nothing to do says until when.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::Duration;

use weir_core::checkpoint::manifest::SourcePositions;
use weir_core::ids::{Epoch, Name};

use super::error::Error;
use super::node::Node;
use super::stopwatch::{Owner, Stopwatch};
use super::task::{SLEEP_MAX, Task, TaskSnapshot, Worked};

/// What a shard is told. Commands are answered in order, between rounds.
#[derive(Debug, Clone)]
pub enum Command {
    /// Sources cut here, as this epoch.
    Barrier(Epoch),
    /// The epoch is committed and the next transaction is open: held rows may go out.
    Released(Epoch),
    /// The epoch is given up: forget its barrier if it still waits; held rows go out, the next epoch covers them.
    Cancel(Epoch),
    /// The epoch is committed: tell the sources, for displays outside.
    Committed(Arc<BTreeMap<Name, SourcePositions>>),
    /// Read nothing more. Barriers are still answered.
    Pause,
    /// The same, and the watermark moves to the end of time before the next barrier: every timer fires.
    Drain,
    /// The end.
    Stop,
}

/// What a shard says.
pub enum Report {
    /// A barrier has passed through one of its tasks.
    Snapshot(Epoch, Box<TaskSnapshot>),
    /// All input of one of its tasks has ended and is through.
    Ended,
    /// The attempt is over.
    Failed(Error),
}

/// Takes what a shard says. Must not block for long.
pub type Reporter = Box<dyn Fn(Report) + Send>;

/// What a shard's turn has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// There may be more to do.
    Again,
    /// There is nothing to do until its bell rings, or so much time has passed.
    Rest(Duration),
    /// It is stopped or has failed. Its tasks are closed.
    Over,
}

/// Tasks on one thread.
pub(super) struct Shard {
    tasks: Vec<Task>,
    commands: Receiver<Command>,
    report: Reporter,
    has_begun: bool,
    stopped: bool,
    time: Stopwatch,
}

impl Shard {
    /// Tasks in topological order. Whoever sends a command wakes the shard.
    pub(super) fn new(mut tasks: Vec<Task>, commands: Receiver<Command>, report: Reporter) -> Shard {
        let mut first = 0;
        for task in &mut tasks {
            task.count_from(first);
            first += task.nodes().count();
        }
        let time = Stopwatch::new(tasks.iter().flat_map(Task::nodes).map(Node::metrics).collect());
        Shard { tasks, commands, report, has_begun: false, stopped: false, time }
    }

    /// Answers all commands that wait, then takes one step of each task. A failure is the last report.
    pub(super) fn turn(&mut self) -> Turn {
        match self.try_turn() {
            Ok(Turn::Over) => {}
            Ok(turn) => return turn,
            Err(error) => (self.report)(Report::Failed(error)),
        }
        self.tasks.iter_mut().for_each(Task::close);
        Turn::Over
    }

    /// It panicked in its turn, and has no other.
    pub(super) fn on_panic(&self, what: &str) {
        (self.report)(Report::Failed(Error::Bug(format!("the shard panicked: {what}"))));
    }

    /// What is left of it when it is over.
    pub(super) fn into_tasks(self) -> Vec<Task> {
        self.tasks
    }

    fn try_turn(&mut self) -> Result<Turn, Error> {
        // What has passed since the last turn is that one's, whoever had the thread.
        self.time.rest_until_now();
        if !std::mem::replace(&mut self.has_begun, true) {
            for task in &mut self.tasks {
                task.resume(&mut self.time)?;
            }
        }
        let worked = self.commands()?;
        if self.stopped {
            return Ok(Turn::Over);
        }
        let worked = worked | self.round()?;
        let turn = match worked {
            Worked::Something => Turn::Again,
            Worked::Nothing(wait) => {
                let is_full = self.tasks.iter().any(|task| task.pending_bytes() > 0);
                self.time.pass_to(if is_full { Owner::Backpressure } else { Owner::Nobody });
                Turn::Rest(wait)
            }
        };
        self.time.publish();
        Ok(turn)
    }

    /// One step of each task.
    fn round(&mut self) -> Result<Worked, Error> {
        let mut worked = Worked::Nothing(SLEEP_MAX);
        for task in &mut self.tasks {
            worked = worked | task.step(&mut self.time)?;
            if let Some((epoch, snapshot)) = task.take_snapshot() {
                (self.report)(Report::Snapshot(epoch, Box::new(snapshot)));
            }
            if task.take_ended() {
                (self.report)(Report::Ended);
            }
        }
        Ok(worked)
    }

    /// Answers all commands that wait.
    fn commands(&mut self) -> Result<Worked, Error> {
        let mut worked = Worked::Nothing(SLEEP_MAX);
        loop {
            match self.commands.try_recv() {
                Ok(command) => {
                    self.on_command(&command)?;
                    worked = Worked::Something;
                }
                Err(TryRecvError::Empty) => return Ok(worked),
                Err(TryRecvError::Disconnected) => {
                    self.stopped = true;
                    return Ok(worked);
                }
            }
        }
    }

    fn on_command(&mut self, command: &Command) -> Result<(), Error> {
        for task in &mut self.tasks {
            match command {
                Command::Barrier(epoch) => task.on_barrier(*epoch),
                Command::Released(epoch) => task.on_released(*epoch, &mut self.time)?,
                Command::Cancel(epoch) => task.on_cancel(*epoch, &mut self.time)?,
                Command::Committed(positions) => task.on_committed(positions),
                Command::Pause => task.pause(),
                Command::Drain => task.drain(),
                Command::Stop => self.stopped = true,
            }
        }
        Ok(())
    }
}
