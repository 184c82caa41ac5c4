//! Checkpoints in JSON, the same over HTTP and from `weir checkpoint`: what a manifest says, and what a running pipeline
//! knows of how it was made.

use std::time::Duration;

use serde_json::{Value, json};

use crate::clock::rfc3339;
use crate::pipeline::checkpoints::Checkpoint;
use crate::pipeline::statistics::{self, Status, Subtask, SubtaskPart};

/// One line of a list.
pub fn summary(it: &Checkpoint) -> Value {
    json!({
        "id": it.id(),
        "epoch": it.snapshot.epoch,
        "completed_at": rfc3339(it.completed_at()),
        "bytes": it.bytes(),
        "kind": it.kind(),
    })
}

/// All that a manifest says, and how it was made if that is known.
pub fn committed(it: &Checkpoint, made: Option<&statistics::Checkpoint>) -> Value {
    let manifest = &it.manifest;
    let mut shown = summary(it);
    shown["status"] = json!("completed");
    shown["pipeline"] = json!(manifest.pipeline);
    shown["key_groups"] = json!(manifest.key_groups);
    shown["sources"] = json!(manifest.sources);
    shown["nodes"] = json!(manifest.nodes);
    shown["files"] = manifest.files().map(|file| json!(file)).collect();
    shown["parts"] = json!(manifest.parts);
    shown["statistics"] = made.map_or(Value::Null, statistics);
    shown
}

/// One of which there is no manifest: it failed, is under way, or was replaced by newer ones.
pub fn without_manifest(it: &statistics::Checkpoint) -> Value {
    json!({
        "id": it.id(),
        "epoch": it.epoch,
        "completed_at": it.ended_at.filter(|_| matches!(it.status, Status::Completed)).map(rfc3339),
        "bytes": it.full_bytes,
        "kind": it.kind,
        "status": status(&it.status),
        "statistics": statistics(it),
    })
}

/// How a checkpoint was made. Times are milliseconds.
pub fn statistics(it: &statistics::Checkpoint) -> Value {
    let (why, waiting) = match &it.status {
        Status::Failed { why, waiting } => (Some(why), &waiting[..]),
        Status::InProgress | Status::Completed => (None, &[][..]),
    };
    json!({
        "id": it.id(),
        "epoch": it.epoch,
        "kind": it.kind,
        "status": status(&it.status),
        "triggered_at": rfc3339(it.triggered_at),
        "ended_at": it.ended_at.map(rfc3339),
        "duration_ms": millis(it.duration),
        "start_delay_ms": millis(it.longest(|part| part.start_delay)),
        "alignment_ms": millis(it.longest(|part| part.alignment)),
        "sync_ms": millis(it.longest(|part| part.sync)),
        "async_ms": it.r#async.map(millis),
        "commit_ms": it.commit.map(millis),
        "full_bytes": it.full_bytes,
        "new_bytes": it.new_bytes,
        "slowest": it.slowest().map(|part| subtask(&part.subtask)),
        "failure": why,
        "waiting": waiting.iter().map(subtask).collect::<Vec<_>>(),
        "subtasks": it.subtasks.iter().map(part).collect::<Vec<_>>(),
    })
}

fn part(part: &SubtaskPart) -> Value {
    let mut shown = subtask(&part.subtask);
    shown["start_delay_ms"] = millis(part.start_delay);
    shown["alignment_ms"] = millis(part.alignment);
    shown["sync_ms"] = millis(part.sync);
    shown["async_ms"] = millis(part.r#async);
    shown["total_ms"] = millis(part.total);
    shown["state_bytes"] = json!(part.state_bytes);
    shown["new_bytes"] = json!(part.new_bytes);
    shown["new_entries"] = json!(part.new_entries);
    shown["records"] = json!(part.records);
    shown
}

fn subtask(subtask: &Subtask) -> Value {
    json!({"chain": subtask.chain, "subtask": subtask.index})
}

fn status(status: &Status) -> &'static str {
    match status {
        Status::InProgress => "in-progress",
        Status::Completed => "completed",
        Status::Failed { .. } => "failed",
    }
}

fn millis(time: Duration) -> Value {
    json!(time.as_micros() as f64 / 1000.0)
}
