//! What a state folder's commits were made under: who decided them, and what was promised. A start under other terms is
//! refused before anything is written, unless the user said where to start from. Decides nothing else.

use std::path::Path;

use weir_core::domain::{Class, Failure, Start};
use weir_core::graph::plan::Authority;

use super::folder::{Decides, Folder, Terms};
use super::job::{Checked, Job};

/// Refuses a start under other terms than those of what is there, and notes the terms of this one.
pub(super) fn check(job: &Job, start: Start) -> Result<(), Failure> {
    let (folder, now) = (job.folder.path(), of(&job.checked));
    let before = Folder::terms(folder).map_err(|e| halt(e.to_string()))?;
    if before == now {
        return Ok(());
    }
    if job.store.newest_token().map_err(|e| halt(e.to_string()))?.is_some() {
        let keeps_guarantee = !job.origin_is_given && !start.leaves_newest();
        refusal(folder, &job.checked, before, start, keeps_guarantee).map_or(Ok(()), |why| Err(halt(why)))?;
    }
    job.folder.note_terms(now).map_err(|e| halt(e.to_string()))
}

/// Why a pipeline may not go on from the newest commit in its state folder, if so: what [`check`] would say at its start.
/// With `is_given`, the user said that it is to go on from there. What is wrong with the folder, the start says.
pub(super) fn refuses(folder: &Path, checked: &Checked, is_given: bool) -> Option<String> {
    let before = Folder::terms(folder).ok()?;
    refusal(folder, checked, before, Start::Newest, !is_given)
}

fn of(checked: &Checked) -> Terms {
    let decides = match checked.plan.authority {
        Authority::Kafka(_) => Decides::Kafka,
        Authority::Current => Decides::Current,
    };
    Terms { decides: Some(decides), guarantee: Some(checked.pipeline.checkpoint.guarantee) }
}

fn refusal(folder: &Path, checked: &Checked, before: Terms, start: Start, keeps_guarantee: bool) -> Option<String> {
    let of_guarantee = || keeps_guarantee.then(|| other_guarantee(folder, checked, before)).flatten();
    other_authority(folder, checked, before, start).or_else(of_guarantee)
}

/// What was committed by one authority means nothing to the other: tokens of the two do not compare.
fn other_authority(folder: &Path, checked: &Checked, before: Terms, start: Start) -> Option<String> {
    let now = of(checked).decides?;
    let before = before.decides.filter(|before| *before != now)?;
    // A pointer that is made anew stands above everything that is there; an offset in Kafka may not.
    if start == Start::Delete || start.is_reset() && now == Decides::Current {
        return None;
    }
    let (was, is) = match before {
        Decides::Current => ("the file CURRENT (it had no Kafka sink)", "a Kafka sink's transaction"),
        Decides::Kafka => ("a Kafka sink's transaction", "the file CURRENT (it has no Kafka sink any more)"),
    };
    Some(format!(
        "the authority has changed: what is in {0} was committed by {was}, and now {is} would decide; nothing was changed. \
         Set the sinks back, take a savepoint (weir stop {1} --savepoint), and start the changed pipeline from it on an \
         empty state folder: weir run FILE --from SAVEPOINT --state NEW; on a server, take it with --to, delete the pipeline, \
         and apply it with --from SAVEPOINT",
        folder.display(),
        checked.pipeline.name
    ))
}

/// A snapshot that was made without waiting at barriers holds records that its sources read again: whoever wants exactly
/// once from there on must have said so.
fn other_guarantee(folder: &Path, checked: &Checked, before: Terms) -> Option<String> {
    let now = checked.pipeline.checkpoint.guarantee;
    let was = before.guarantee.filter(|was| *was != now)?;
    Some(format!(
        "the guarantee has changed: the checkpoints in {} were made under {}, and checkpoint.guarantee is {} now; nothing was \
         changed. Set it back, or go on from the newest of them on purpose: --from latest",
        folder.display(),
        was.as_str(),
        now.as_str()
    ))
}

fn halt(why: String) -> Failure {
    Failure { class: Class::Halt, why }
}
