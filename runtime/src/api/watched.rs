//! The pipelines behind the routes: the one of a `weir run`, or all of a server. What is the same for both is asked here.

use std::path::PathBuf;
use std::sync::Arc;

use weir_core::ids::Name;

use super::problem::{Code, Problem};
use crate::journal::Journal;
use crate::pipeline::checkpoints::{self, Checkpoints};
use crate::pipeline::removal::{Stays, remove_at_rest};
use crate::pipeline::snapshot_store::parse_id;
use crate::pipeline::statistics::History;
use crate::pipeline::{Answer, Done, Handle, Manager, State, View, Wish};

/// What the routes of one running pipeline know.
#[derive(Clone)]
pub struct Running {
    /// Its name.
    pub name: Name,
    /// The door to it.
    pub handle: Handle,
    /// Its state folder.
    pub state: PathBuf,
}

/// Whose routes these are.
#[derive(Clone)]
pub enum Watched {
    /// The one pipeline of a `weir run`.
    One(Running),
    /// Whatever a server runs at the moment of the question.
    All(Manager),
}

impl Watched {
    pub(super) fn views(&self) -> Vec<View> {
        match self {
            Watched::One(running) => vec![view(running)],
            Watched::All(manager) => manager.list(),
        }
    }

    pub(super) fn view(&self, name: &str) -> Result<View, Problem> {
        match self {
            Watched::One(running) => Ok(view(running.is(name)?)),
            Watched::All(manager) => Ok(manager.get(name)?),
        }
    }

    /// What is kept of a pipeline for those who look, also where it does not run.
    pub(super) fn journal(&self, name: &str) -> Result<Arc<Journal>, Problem> {
        match self {
            Watched::One(running) => Ok(Arc::clone(running.is(name)?.handle.status.journal())),
            Watched::All(manager) => Ok(manager.journal(name)?),
        }
    }

    /// Refuses what is no node of a pipeline. Of a `weir run` that is starting nothing is known yet.
    pub(super) fn check_node(&self, name: &str, node: &str) -> Result<(), Problem> {
        let nodes: Vec<String> = match self {
            Watched::All(manager) => manager.nodes(name)?.iter().map(ToString::to_string).collect(),
            Watched::One(running) => {
                let live = running.is(name)?.handle.status.live();
                live.nodes.iter().map(|it| it.node.name.to_string()).collect()
            }
        };
        if nodes.is_empty() || nodes.iter().any(|known| known == node) {
            Ok(())
        } else {
            Err(no_node(name, node, nodes))
        }
    }

    /// The door to a pipeline that runs.
    pub(super) fn handle(&self, name: &str) -> Result<Handle, Problem> {
        match self {
            Watched::One(running) => Ok(running.is(name)?.handle.clone()),
            Watched::All(manager) => {
                let view = manager.get(name)?;
                let handles = manager.handles();
                let handle = handles.into_iter().find(|(known, _)| known.as_str() == name).map(|(_, handle)| handle);
                handle.ok_or_else(|| not_running(name, view.state))
            }
        }
    }

    /// Of one that runs, wherever they lie; else those on disk.
    pub(super) fn checkpoints(&self, name: &str) -> Result<Checkpoints, Problem> {
        match (self.handle(name), self) {
            (Ok(handle), _) => Ok(handle.checkpoints()),
            (Err(problem), Watched::All(manager)) if problem.is(Code::PipelineNotRunning) => {
                let name = manager.get(name)?.name;
                let opened = Checkpoints::open(&manager.state_folder(&name), &name);
                opened.map_err(|e| match e {
                    // That of a server before this one, or of a run that it has forgotten.
                    checkpoints::Error::InMemory(_) => problem,
                    e => Problem::new(Code::Damaged, e.to_string()),
                })
            }
            (Err(problem), _) => Err(problem),
        }
    }

    /// How its newest checkpoints were made: nothing of that where it does not run.
    pub(super) fn history(&self, name: &str) -> Result<History, Problem> {
        match self.handle(name) {
            Ok(handle) => Ok(handle.status.read(|facts| facts.history.clone())),
            Err(problem) if problem.is(Code::PipelineNotRunning) => Ok(History::default()),
            Err(problem) => Err(problem),
        }
    }

    /// Deletes a checkpoint: the pipeline itself where it runs.
    pub(super) fn remove_checkpoint(&self, name: &str, id: &str) -> Result<(), Problem> {
        let ended = || Stays::Ended("it stops at this moment".to_owned());
        let result = match (self.handle(name), parse_id(id)) {
            (Ok(_), None) => Err(Stays::Unknown(id.to_owned())),
            (Ok(handle), Some((epoch, token))) => handle.remove(epoch, token).recv().unwrap_or_else(|_| Err(ended())),
            (Err(problem), _) if problem.is(Code::PipelineNotRunning) => Err(ended()),
            (Err(problem), _) => return Err(problem),
        };
        let result = match (result, self) {
            (Err(Stays::Ended(_)), Watched::All(manager)) => {
                let name = manager.get(name)?.name;
                remove_at_rest(&manager.state_folder(&name), &name, id)
            }
            (result, _) => result,
        };
        result.map_err(stays)
    }

    /// Waits until it is committed, and a savepoint is copied.
    pub(super) fn commit(&self, name: &str, wish: Wish) -> Result<Done, Problem> {
        answered(self.handle(name)?.ask(wish).recv().ok())
    }
}

impl Running {
    pub(super) fn is(&self, name: &str) -> Result<&Running, Problem> {
        if self.name.as_str() == name {
            return Ok(self);
        }
        Err(Problem::new(Code::UnknownPipeline, format!("this process runs `{}` and no `{name}`", self.name)))
    }
}

fn view(running: &Running) -> View {
    running.handle.view(running.name.clone(), 1)
}

/// Of a node that is none, with those that there are, in order.
pub(super) fn no_node(pipeline: &str, node: &str, mut known: Vec<String>) -> Problem {
    known.dedup();
    let detail = format!("pipeline `{pipeline}` has no node `{node}`: it has {}", known.join(", "));
    Problem::new(Code::UnknownNode, detail)
}

pub(super) fn not_running(name: &str, state: State) -> Problem {
    Problem::new(Code::PipelineNotRunning, format!("pipeline `{name}` does not run, it is {}", state.as_str()))
}

fn stays(why: Stays) -> Problem {
    let code = match &why {
        Stays::Newest(_) => Code::CheckpointNeeded,
        Stays::Unknown(_) => Code::UnknownCheckpoint,
        Stays::Failed { .. } | Stays::Ended(_) => Code::NotRemoved,
        Stays::Folder(checkpoints::Error::InMemory(_)) => Code::NotRemoved,
        Stays::Folder(_) => Code::Damaged,
    };
    Problem::new(code, why.to_string())
}

pub(super) fn answered(answer: Option<Answer>) -> Result<Done, Problem> {
    let nothing = || Err("nothing came of it: the log says why".to_owned());
    answer.unwrap_or_else(nothing).map_err(|why| Problem::new(Code::NotCommitted, why))
}
