//! A thread that runs tasks in turn, each a bounded step at a time, and answers commands between rounds. Owns the tasks;
//! never decides when a checkpoint is due or whether it is committed. No step waits, so no two shards can wait for each
//! other: one that has nothing to do sleeps until its bell rings.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::Duration;

use weir_core::checkpoint::manifest::SourcePositions;
use weir_core::ids::{Epoch, Name};

use super::error::Error;
use super::node::Node;
use super::ring::Bell;
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
    /// End the thread.
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

/// Tasks on one thread.
pub struct Shard {
    tasks: Vec<Task>,
    commands: Receiver<Command>,
    bell: Arc<Bell>,
    report: Reporter,
    stopped: bool,
    time: Stopwatch,
}

impl Shard {
    /// Tasks in topological order. `bell` wakes the shard: whoever sends a command rings it.
    pub fn new(mut tasks: Vec<Task>, commands: Receiver<Command>, bell: Arc<Bell>, report: Reporter) -> Shard {
        let mut first = 0;
        for task in &mut tasks {
            task.count_from(first);
            first += task.nodes().count();
        }
        let time = Stopwatch::new(tasks.iter().flat_map(Task::nodes).map(Node::metrics).collect());
        Shard { tasks, commands, bell, report, stopped: false, time }
    }

    /// Runs until it is stopped or fails. The failure is the last report.
    pub fn run(mut self) {
        self.bell.hang();
        if let Err(error) = self.run_to_the_end() {
            (self.report)(Report::Failed(error));
        }
        self.tasks.iter_mut().for_each(Task::close);
    }

    fn run_to_the_end(&mut self) -> Result<(), Error> {
        for task in &mut self.tasks {
            task.resume(&mut self.time)?;
        }
        while !self.stopped {
            match self.commands()? | self.round()? {
                Worked::Something => self.time.publish(),
                Worked::Nothing(sleep) => self.sleep(sleep),
            }
        }
        Ok(())
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

    /// Waits for the bell, and says what for: room, or something to do.
    fn sleep(&mut self, wait: Duration) {
        let is_full = self.tasks.iter().any(|task| task.pending_bytes() > 0);
        let before = self.time.pass_to(if is_full { Owner::Backpressure } else { Owner::Nobody });
        self.bell.wait(wait);
        self.time.pass_to(before);
        self.time.publish();
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
