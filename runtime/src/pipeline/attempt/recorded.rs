//! What becomes of a checkpoint, for the status, for its statistics and for who waits for it. Owns no decision.

use weir_core::checkpoint::manifest::SnapshotRef;
use weir_core::ids::Epoch;

use super::carry_out::Attempt;
use crate::clock;
use crate::dataflow::TaskSnapshot;
use crate::journal::What;
use crate::pipeline::statistics::{Checkpoint, SubtaskPart};
use crate::pipeline::status::Checkpointed;

impl Attempt<'_> {
    pub(super) fn on_committed(&mut self, snapshot: SnapshotRef) {
        let (now, wall) = (clock::now(), clock::now_millis());
        let committed = self.record(snapshot.epoch, |it| {
            it.on_committed(now, wall);
            let checkpoint = Checkpointed {
                epoch: it.epoch,
                completed_at: wall,
                duration: it.duration,
                pause: it.longest(|part| part.sync),
                alignment: it.longest(|part| part.alignment),
                bytes: it.new_bytes,
            };
            (checkpoint, it.kind)
        });
        let mut afterwards = None;
        if let Some((checkpoint, kind)) = committed {
            afterwards = Some(self.wishes.on_committed(&snapshot, kind));
            tracing::debug!(epoch = snapshot.epoch.0, ?kind, ms = checkpoint.duration.as_millis() as u64, "committed");
            let Checkpointed { epoch, duration, bytes, .. } = checkpoint;
            self.status.journal().tell(wall, What::CheckpointCompleted { epoch, duration, bytes });
            self.status.update(|facts| {
                facts.committed += 1;
                // Whatever it was that an attempt before this one failed of.
                facts.problem = None;
                facts.last_checkpoint = Some(checkpoint);
            });
        }
        crate::crash::point("epoch.advanced");
        self.writer.committed(snapshot);
        if let Some(afterwards) = afterwards {
            self.writer.afterwards(afterwards);
        }
    }

    /// Changes what is known of the checkpoint that is under way, if it is this one.
    pub(super) fn record<R>(&self, epoch: Epoch, change: impl FnOnce(&mut Checkpoint) -> R) -> Option<R> {
        let mut changed = None;
        self.status.update(|facts| changed = facts.history.pending(epoch).map(change));
        changed
    }

    pub(super) fn record_part(&self, epoch: Epoch, snapshot: &TaskSnapshot) {
        let Some(subtask) = self.subtasks.get(snapshot.task) else { return };
        let (now, passed) = (clock::now(), snapshot.passed);
        self.record(epoch, |it| {
            let sealed = snapshot.nodes.iter().map(|(.., sealed)| sealed);
            it.subtasks.push(SubtaskPart {
                subtask: subtask.clone(),
                start_delay: passed.arrived.saturating_duration_since(it.started()),
                alignment: passed.alignment,
                sync: passed.pause,
                r#async: passed.copying,
                total: now - it.started(),
                state_bytes: snapshot.state_bytes,
                new_bytes: sealed.clone().map(|sealed| sealed.bytes() as u64).sum(),
                new_entries: sealed.map(|sealed| sealed.len() as u64).sum(),
                records: snapshot.records,
            });
        });
    }

    pub(super) fn decline(&self, epoch: Epoch, why: &str) {
        self.status.update(|facts| facts.declined += 1);
        let waiting = self.status.fail_checkpoint(why, &self.subtasks);
        match &waiting[..] {
            [] => tracing::warn!("checkpoint {epoch} is declined: {why}"),
            [first, more @ ..] => {
                let more = if more.is_empty() { String::new() } else { format!(" and {} more", more.len()) };
                tracing::warn!("checkpoint {epoch} is declined: {why}; its barrier had not passed {first}{more}");
            }
        }
        self.wishes.on_declined(epoch, why);
    }
}
