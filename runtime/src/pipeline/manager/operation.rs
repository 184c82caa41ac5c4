//! What somebody asked of a pipeline and takes its time: when it began, when it was over, and what came of it. Kept in the
//! pipeline's record, so that it can still be asked for behind a kill of the server.

use serde::{Deserialize, Serialize};
use weir_core::ids::Name;

use crate::clock;

/// That many are kept of a pipeline.
pub(super) const KEPT: usize = 16;

/// What was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A text was applied.
    Apply,
    /// A last checkpoint and the end.
    Stop,
    /// The end at once.
    Cancel,
    /// A last checkpoint and rest, until it is resumed.
    Pause,
    /// On, from where it rested.
    Resume,
    /// A last checkpoint, and on from it.
    Restart,
    /// Another operator at a node.
    Upgrade,
    /// Back to an earlier revision.
    Rollback,
}

impl Kind {
    /// As users read it.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Apply => "apply",
            Kind::Stop => "stop",
            Kind::Cancel => "cancel",
            Kind::Pause => "pause",
            Kind::Resume => "resume",
            Kind::Restart => "restart",
            Kind::Upgrade => "upgrade",
            Kind::Rollback => "rollback",
        }
    }

    /// Whether it wants the pipeline to run in the end.
    pub(super) fn wants_running(self) -> bool {
        !matches!(self, Kind::Stop | Kind::Cancel | Kind::Pause)
    }
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Progress {
    /// Under way.
    Running,
    /// Done.
    Succeeded,
    /// It came to nothing, or to something else.
    Failed,
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// Counts the operations of its pipeline.
    pub number: u64,
    /// What was asked for.
    pub kind: Kind,
    /// The revision that it is about.
    pub revision: u64,
    /// The token that asked.
    pub by: String,
    /// Milliseconds since 1970.
    pub started_at: i64,
    /// The same.
    pub ended_at: Option<i64>,
    /// How far it is.
    pub progress: Progress,
    /// Why it came to nothing.
    pub problem: Option<String>,
}

impl Operation {
    /// What users call it. No name of a pipeline has a dot in it.
    pub fn id(&self, pipeline: &Name) -> String {
        format!("{pipeline}.{}", self.number)
    }

    pub(super) fn end(&mut self, result: Result<(), String>) {
        self.ended_at = Some(clock::now_millis());
        self.progress = if result.is_ok() { Progress::Succeeded } else { Progress::Failed };
        self.problem = result.err();
    }
}

/// Begins an operation. One that was still under way is over: this one is what counts now.
pub(super) fn begin(operations: &mut Vec<Operation>, kind: Kind, revision: u64, by: &str) {
    end(operations, Err(format!("`{}` came in between", kind.as_str())));
    let number = operations.last().map_or(0, |last| last.number) + 1;
    if operations.len() >= KEPT {
        operations.remove(0);
    }
    operations.push(Operation {
        number,
        kind,
        revision,
        by: by.to_owned(),
        started_at: clock::now_millis(),
        ended_at: None,
        progress: Progress::Running,
        problem: None,
    });
}

/// The one that is under way, which is the newest if any.
pub(super) fn current(operations: &[Operation]) -> Option<&Operation> {
    operations.last().filter(|operation| operation.progress == Progress::Running)
}

/// Ends the one that is under way, if any. Says whether there was one.
pub(super) fn end(operations: &mut [Operation], result: Result<(), String>) -> bool {
    match operations.last_mut().filter(|operation| operation.progress == Progress::Running) {
        Some(operation) => {
            operation.end(result);
            true
        }
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_kept_and_one_that_another_overtakes_says_so() {
        let mut operations = Vec::new();
        for _ in 0..20 {
            begin(&mut operations, Kind::Restart, 1, "admin");
        }
        assert_eq!(operations.iter().map(|o| o.number).collect::<Vec<_>>(), (5..=20).collect::<Vec<_>>());
        assert_eq!(current(&operations).map(|o| o.number), Some(20));
        assert_eq!(operations[0].problem.as_deref(), Some("`restart` came in between"));
        assert!(end(&mut operations, Ok(())));
        assert!(!end(&mut operations, Ok(())));
        assert_eq!(current(&operations), None);
    }
}
