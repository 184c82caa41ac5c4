//! Which steps a process can take next. Owns the bounds on them; takes none.

use weir_core::domain::Decision;

use super::Process;
use crate::broker::Transaction;
use crate::world::{Config, Step, World};

impl Process {
    pub(crate) fn steps(&self, slot: usize, world: &World, config: &Config, steps: &mut Vec<Step>) {
        let is_ready = !matches!(world.broker.transaction, Transaction::Prepared(_));
        if self.may_read && self.position < config.rows && self.can_read(config, is_ready) {
            steps.push(Step::Row(slot));
        }
        if self.is_running() && !self.is_holding && self.may_read && self.position > self.cut {
            steps.push(Step::Trigger(slot));
        }
        if config.is_simulation {
            if self.may_read && self.position == config.rows && self.sent == self.position && !self.has_told_end {
                steps.push(Step::End(slot));
            }
            if !self.has_told_stop {
                steps.push(Step::Stop(slot));
            }
            steps.push(Step::Crash(slot));
        }
        match &self.waiting {
            Some(waiting) => {
                if !waiting.was_resent && world.resends < config.resends_max {
                    steps.push(Step::Resend(slot));
                } else if waiting.was_resent && !world.network.iter().any(|request| request.process == self.id) {
                    // Every copy got lost on its way back: the client asks again.
                    steps.push(Step::Resend(slot));
                }
            }
            None => {
                if let Some(decision) = self.todo.front() {
                    self.acts(slot, decision, world, config, is_ready, steps);
                }
            }
        }
        if let Some(writing) = &self.writing {
            steps.push(Step::Write(slot));
            if world.declines < config.declines_max && !writing.has_files {
                steps.push(Step::NoSpace(slot));
            }
        }
    }

    fn can_read(&self, config: &Config, is_ready: bool) -> bool {
        if self.is_holding {
            return self.position - self.cut < config.held_max;
        }
        self.sent == self.position && is_ready && self.position - self.cut < config.cut_max
    }

    fn acts(
        &self,
        slot: usize,
        decision: &Decision,
        world: &World,
        config: &Config,
        is_ready: bool,
        steps: &mut Vec<Step>,
    ) {
        let is_possible = match decision {
            Decision::Fence { .. } => is_ready && self.claims < config.claims_max,
            Decision::Claim(_) | Decision::Mark(_) | Decision::Release { .. } | Decision::Cancel { .. } => is_ready,
            Decision::Resolve { nonce } => self.find(nonce, world).is_some(),
            _ => true,
        };
        if !is_possible {
            return;
        }
        steps.push(Step::Act(slot));
        if let (Decision::Resolve { nonce }, true) = (decision, config.stale_resolve) {
            let own = self.find(nonce, world).unwrap_or(0);
            steps.extend((0..own).map(|shown| Step::ActStale(slot, shown)));
        }
    }
}
