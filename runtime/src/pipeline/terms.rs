//! What a state folder's commits were made under: who decided them, and what was promised. A start under other terms is
//! refused before anything is written, unless the user said where to start from. Decides nothing else.

use weir_core::domain::{Class, Failure, Start};
use weir_core::graph::plan::Authority;

use super::folder::{Decides, Terms};
use super::job::Job;

/// Refuses a start under other terms than those of what is there, and notes the terms of this one.
pub(super) fn check(job: &Job, start: Start) -> Result<(), Failure> {
    let decides = match job.checked.plan.authority {
        Authority::Kafka(_) => Decides::Kafka,
        Authority::Current => Decides::Current,
    };
    let now = Terms { decides: Some(decides), guarantee: Some(job.pipeline().checkpoint.guarantee) };
    let before = job.folder.terms().map_err(|e| halt(e.to_string()))?;
    if before == now {
        return Ok(());
    }
    if job.store.newest_token().map_err(|e| halt(e.to_string()))?.is_some() {
        check_decides(job, start, before, decides)?;
        check_guarantee(job, start, before)?;
    }
    job.folder.note_terms(now).map_err(|e| halt(e.to_string()))
}

/// What was committed by one authority means nothing to the other: tokens of the two do not compare.
fn check_decides(job: &Job, start: Start, before: Terms, now: Decides) -> Result<(), Failure> {
    // A pointer that is made anew stands above everything that is there; an offset in Kafka may not.
    let is_thrown_away = start == Start::Delete || start.is_reset() && now == Decides::Current;
    if before.decides.is_none_or(|before| before == now) || is_thrown_away {
        return Ok(());
    }
    let (was, is) = match now {
        Decides::Kafka => ("the file CURRENT (it had no Kafka sink)", "a Kafka sink's transaction"),
        Decides::Current => ("a Kafka sink's transaction", "the file CURRENT (it has no Kafka sink any more)"),
    };
    Err(halt(format!(
        "the authority has changed: what is in {0} was committed by {was}, and now {is} would decide; nothing was changed. \
         Set the sinks back, take a savepoint (weir stop {1} --savepoint), and start the changed pipeline from it on an \
         empty state folder: weir run FILE --from SAVEPOINT --state NEW",
        job.folder.path().display(),
        job.pipeline().name
    )))
}

/// A snapshot that was made without waiting at barriers holds records that its sources read again: whoever wants exactly
/// once from there on must have said so.
fn check_guarantee(job: &Job, start: Start, before: Terms) -> Result<(), Failure> {
    let now = job.pipeline().checkpoint.guarantee;
    let Some(was) = before.guarantee.filter(|was| *was != now) else { return Ok(()) };
    if job.origin_is_given || start.leaves_newest() {
        return Ok(());
    }
    Err(halt(format!(
        "the guarantee has changed: the checkpoints in {} were made under {}, and checkpoint.guarantee is {} now; nothing was \
         changed. Set it back, or go on from the newest of them on purpose: weir run FILE --from latest",
        job.folder.path().display(),
        was.as_str(),
        now.as_str()
    )))
}

fn halt(why: String) -> Failure {
    Failure { class: Class::Halt, why }
}
