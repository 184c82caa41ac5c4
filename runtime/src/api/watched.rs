//! The pipelines behind the routes: the one of a `weir run`, or all of a server. What is the same for both is asked here.

use std::path::PathBuf;
use std::sync::Arc;

use weir_core::ids::Name;

use super::problem::{Code, Problem};
use crate::access::Actor;
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

/// What else can be asked of a pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    Cancel,
    Pause,
    Resume,
    Restart,
}

/// How a pipeline is to end.
#[derive(Debug, Default, serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Stop {
    /// With a savepoint, and nothing committed behind it.
    pub(super) savepoint: bool,
    /// Where to, if so.
    #[schema(value_type = Option<String>)]
    pub(super) to: Option<PathBuf>,
    /// The watermark goes to the end of time first.
    pub(super) drain: bool,
    /// Answer when it has ended.
    pub(super) wait: bool,
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

    /// Where a request wants a savepoint to be, if that is a place for one.
    pub(super) fn place(&self, to: Option<PathBuf>) -> Result<Option<PathBuf>, Problem> {
        let refusal = to.as_ref().and_then(|to| match self {
            _ if !to.is_absolute() => {
                Some("is relative, and over HTTP there is no folder that it could be relative to".to_owned())
            }
            Watched::All(manager) => {
                manager.refuses_file(to).map(|why| format!("{why}: leave `to` out, and it lies with its pipeline"))
            }
            Watched::One(_) => None,
        });
        match (refusal, &to) {
            (Some(why), Some(to)) => Err(Problem::new(Code::BadRequest, format!("`to`: {} {why}", to.display()))),
            _ => Ok(to),
        }
    }

    /// Waits until it is committed, and a savepoint is copied.
    pub(super) fn commit(&self, name: &str, wish: Wish) -> Result<Done, Problem> {
        answered(self.handle(name)?.ask(wish).recv().ok())
    }

    /// Ends a pipeline; the operation that does, and the savepoint, if one was asked for.
    pub(super) fn stop(
        &self,
        name: &str,
        stop: Stop,
        by: &Actor,
    ) -> Result<(View, Option<String>, Option<Done>), Problem> {
        if stop.to.is_some() && !stop.savepoint {
            let detail = "`to` says where the savepoint is to be: it needs \"savepoint\": true; nothing was done";
            return Err(Problem::new(Code::BadRequest, detail));
        }
        let (to, mut done) = (self.place(stop.to)?, None);
        if stop.savepoint {
            let handle = self.handle(name)?;
            let answer = match stop.drain {
                true => handle.drain_with_savepoint(to),
                false => handle.ask(Wish::StopWithSavepoint { to }),
            };
            done = Some(answered(answer.recv().ok())?);
        } else if stop.drain {
            self.check_started(name)?;
            self.handle(name)?.drain();
        }
        let mut operation = None;
        match self {
            // One that drains, or has its savepoint, stops by itself; a server must not start it again.
            Watched::One(running) => {
                let handle = &running.is(name)?.handle;
                if !stop.savepoint && !stop.drain {
                    handle.stop();
                }
            }
            Watched::All(manager) => {
                let (view, began) = manager.stop(name, by)?;
                if stop.wait {
                    manager.wait_for(&view.name, began.number);
                }
                operation = Some(began.id(&view.name));
            }
        }
        if stop.wait {
            self.wait_for_end(name)?;
        }
        Ok((self.view(name)?, operation, done))
    }

    /// Asks something else of a pipeline.
    pub(super) fn act(&self, name: &str, act: Act, wait: bool, by: &Actor) -> Result<(View, Option<String>), Problem> {
        let manager = match self {
            Watched::All(manager) => manager,
            Watched::One(running) if act == Act::Cancel => {
                running.is(name)?.handle.cancel();
                if wait {
                    self.wait_for_end(name)?;
                }
                return Ok((self.view(name)?, None));
            }
            Watched::One(_) => {
                let detail = "a `weir run` can be stopped and cancelled; a server pauses, resumes and restarts";
                return Err(Problem::new(Code::UnknownAction, detail));
            }
        };
        if act == Act::Cancel {
            self.check_started(name)?;
        }
        let (view, operation) = match act {
            Act::Cancel => manager.cancel(name, by),
            Act::Pause => manager.pause(name, by),
            Act::Resume => manager.resume(name, by),
            Act::Restart => manager.restart(name, by),
        }?;
        let id = operation.id(&view.name);
        if wait {
            manager.wait_for(&view.name, operation.number);
        }
        Ok((self.view(name)?, Some(id)))
    }

    /// What has stopped can be stopped again; a drain or a cancel of it would claim what did not happen.
    fn check_started(&self, name: &str) -> Result<(), Problem> {
        match self.view(name)?.state {
            state @ (State::Stopped | State::Paused) => Err(not_running(name, state)),
            _ => Ok(()),
        }
    }

    fn wait_for_end(&self, name: &str) -> Result<(), Problem> {
        match self.handle(name) {
            Ok(handle) => handle.wait_for_end(),
            // It never ran.
            Err(problem) if problem.is(Code::PipelineNotRunning) => {}
            Err(problem) => return Err(problem),
        }
        Ok(())
    }
}

impl Running {
    fn is(&self, name: &str) -> Result<&Running, Problem> {
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

fn not_running(name: &str, state: State) -> Problem {
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

fn answered(answer: Option<Answer>) -> Result<Done, Problem> {
    let nothing = || Err("nothing came of it: the log says why".to_owned());
    answer.unwrap_or_else(nothing).map_err(|why| Problem::new(Code::NotCommitted, why))
}
