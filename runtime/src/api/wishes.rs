//! What is asked of a pipeline, in a `weir run` or on a server: to end, to rest, to go on. Each waits as long as it was told to.

use std::path::PathBuf;

use super::problem::{Code, Problem};
use super::watched::{Watched, answered, not_running};
use crate::access::Actor;
use crate::pipeline::{Done, State, View, Wish};

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
    /// Where a request wants a savepoint to be, if that is a place for one.
    pub(super) fn place(&self, to: Option<PathBuf>) -> Result<Option<PathBuf>, Problem> {
        let refusal = to.as_ref().and_then(|to| match self {
            _ if to.to_string_lossy().chars().any(char::is_control) => Some("has control characters in it".to_owned()),
            _ if !to.is_absolute() => {
                Some("is relative, and over HTTP there is no folder that it could be relative to".to_owned())
            }
            Watched::All(manager) => {
                manager.refuses_file(to).map(|why| format!("{why}: leave `to` out, and it lies with its pipeline"))
            }
            Watched::One(_) => None,
        });
        match (refusal, &to) {
            (Some(why), Some(to)) => {
                Err(Problem::new(Code::BadRequest, format!("`to`: {} {why}", to.to_string_lossy().escape_debug())))
            }
            _ => Ok(to),
        }
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
