//! What each decision does to broker and store, and the fact that answers it: the edge of the model.

use std::collections::BTreeMap;

use weir_core::checkpoint::manifest::SnapshotRef;
use weir_core::domain::{Class, Decision, Fact, Outcome, Resolved};
use weir_core::ids::Token;

use super::records::{inventory, newest_claim, newest_commit, nonce_of};
use super::{Process, Waiting, Writing};
use crate::broker::{Answer, Content, Record, Row, Transaction};
use crate::world::{Config, EndTxn, File, Snapshot, World, file_name, file_of, key};

impl Process {
    fn produce(&mut self, world: &mut World, config: &Config, row: Option<Row>, record: Option<Record>) -> bool {
        if config.is_pointer {
            self.staged.rows.extend(row);
            self.staged.records.extend(record);
            return true;
        }
        let is_ok = world.broker().produce(self.producer, row, record) == Answer::Ok;
        if !is_ok {
            self.fail(world, Class::Fenced, "fenced");
        }
        is_ok
    }

    pub(super) fn send_row(&mut self, world: &mut World, config: &Config) {
        self.produce(world, config, Some(self.sent), None);
        self.sent += 1;
    }

    fn end_transaction(&mut self, is_claim: bool, world: &mut World) {
        self.calls += 1;
        self.waiting = Some(Waiting { is_claim, was_resent: false });
        world.send(EndTxn { process: self.id, producer: self.producer, call: self.calls });
    }

    pub(super) fn act(&mut self, stale: Option<usize>, world: &mut World, config: &Config) {
        let Some(decision) = self.todo.pop_front() else { return };
        match decision {
            Decision::Peek => self.peek(world, config),
            Decision::Fence { .. } if config.is_pointer => self.tell(world, Fact::Fenced),
            Decision::Fence { .. } => {
                if let Some(producer) = world.broker().init() {
                    self.producer = producer;
                    self.tell(world, Fact::Fenced);
                }
            }
            Decision::Claim(claim) => {
                self.claims += 1;
                let (process, attempt, number) = nonce_of(&claim.nonce);
                if config.is_pointer {
                    self.producer = world.broker().swap_token(Record::Claim { process, attempt, number });
                    self.tell(world, Fact::Claimed(Outcome::Committed { may_have_resent: false }));
                } else if self.produce(world, config, None, Some(Record::Claim { process, attempt, number })) {
                    self.end_transaction(true, world);
                }
            }
            Decision::Resolve { nonce } => self.resolve(&nonce, stale, world, config),
            Decision::List => {
                let inventory = inventory(world);
                self.tell(world, Fact::Listed(inventory));
            }
            Decision::Restore { snapshot } => self.restore(snapshot, world),
            Decision::Begin { .. } => {
                self.staged = Content::default();
                self.tell(world, Fact::Begun);
            }
            Decision::Run { .. } => self.may_read = true,
            Decision::InjectBarrier { epoch, last, .. } => {
                self.cut = self.position;
                self.is_holding = true;
                self.may_read &= !last;
                self.tell(world, Fact::BarrierPassed { sink: 0, epoch });
            }
            Decision::Flush { epoch } => self.tell(world, Fact::Flushed { epoch }),
            Decision::WriteSnapshot { epoch, token, .. } => {
                assert!(self.writing.is_none(), "one snapshot is written at a time");
                self.writing = Some(Writing { epoch, token, position: self.cut, has_files: false });
            }
            Decision::Mark(commit) => {
                let named = commit.snapshot.as_ref().map_or(0, |snapshot| snapshot.token.0);
                let (kind, epoch, token) = (commit.kind, commit.epoch.0, commit.token.0);
                if self.produce(world, config, None, Some(Record::Commit { kind, epoch, token, named })) {
                    self.tell(world, Fact::Marked);
                }
            }
            Decision::Commit { .. } if config.is_pointer => {
                let is_swapped = world.broker().swap_commit(self.producer, std::mem::take(&mut self.staged));
                let lost = Outcome::Unknown("another token".to_owned());
                let won = Outcome::Committed { may_have_resent: false };
                self.tell(world, Fact::Committed(if is_swapped { won } else { lost }));
            }
            Decision::Commit { .. } => self.end_transaction(false, world),
            Decision::NoteCommitted { snapshot } => {
                if let Some(stored) = world.store().manifests.get_mut(&key(snapshot.epoch, snapshot.token)) {
                    stored.noted = config.is_simulation;
                }
            }
            release @ (Decision::Release { .. } | Decision::Cancel { .. }) => self.release(release, world, config),
            Decision::Retire(_) if !config.deletes => {}
            Decision::Retire(mut retire) => {
                // One at a time: a process may die or sleep between any two.
                if let Some((epoch, token)) = retire.manifests.pop() {
                    world.store().manifests.remove(&key(epoch, token));
                } else if let Some(name) = retire.files.pop() {
                    world.store().files.remove(&file_of(&name));
                }
                if !retire.manifests.is_empty() || !retire.files.is_empty() {
                    self.todo.push_front(Decision::Retire(retire));
                }
            }
            Decision::Exit { class, why } => self.exit(class, why, world),
            Decision::Wait { .. }
            | Decision::Publish { .. }
            | Decision::Import { .. }
            | Decision::HoldRows { .. }
            | Decision::PublishLag { .. } => {}
        }
    }

    fn peek(&mut self, world: &World, config: &Config) {
        let is_real = config.is_simulation || !config.rules().resolve_after_fence;
        let log = if is_real { world.broker.log.as_slice() } else { &[] };
        let claim = newest_claim(log, config).map(|(_, claim)| claim);
        // The model's processes are of one host and boot.
        let owner_gone = claim.as_ref().is_some_and(|claim| !world.is_alive(nonce_of(&claim.nonce).0));
        self.tell(world, Fact::Peeked { claim, commit: newest_commit(log, config), owner_gone });
    }

    pub(super) fn find(&self, nonce: &str, world: &World) -> Option<usize> {
        let (process, attempt, number) = nonce_of(nonce);
        world.broker.log.iter().position(|record| *record == Record::Claim { process, attempt, number })
    }

    fn resolve(&mut self, nonce: &str, stale: Option<usize>, world: &World, config: &Config) {
        let Some(own) = self.find(nonce, world) else { return };
        let (before, above) = world.broker.log.split_at(own);
        let is_claim = |record: &Record| matches!(record, Record::Claim { .. });
        let resolved = Resolved {
            token: Token(own as i64),
            commit: newest_commit(&before[..stale.unwrap_or(own)], config),
            claim_before: newest_claim(before, config),
            // The search leaves this out: a reader that stops at its own CLAIM must be safe too.
            claim_above: config.is_simulation && above[1..].iter().any(is_claim),
        };
        self.tell(world, Fact::Resolved(resolved));
    }

    fn restore(&mut self, snapshot: Option<SnapshotRef>, world: &World) {
        if let Some(snapshot) = snapshot {
            let stored = world.store.manifests.get(&key(snapshot.epoch, snapshot.token));
            let Some(stored) = stored.filter(|stored| stored.files.iter().all(|file| world.store.files.contains(file)))
            else {
                return self.fail(world, Class::Halt, "the snapshot is gone");
            };
            self.position = stored.position;
            self.base = Some((snapshot.token.0, snapshot.epoch.0));
        } else {
            self.position = 0;
        }
        self.sent = self.position;
        self.cut = self.position;
        self.tell(world, Fact::Restored);
    }

    pub(super) fn write(&mut self, world: &mut World, config: &Config) {
        let Some(mut writing) = self.writing.take() else { return };
        let file = (writing.token.0, writing.epoch.0);
        if !writing.has_files {
            world.store().files.insert(file);
            writing.has_files = true;
            if config.is_simulation {
                self.writing = Some(writing);
                return;
            }
        }
        let files: Vec<File> = [Some(file), self.base].into_iter().flatten().collect();
        let names = files.iter().map(|file| file_name(*file)).collect();
        let stored = Snapshot { position: writing.position, files, noted: false };
        world.store().manifests.insert(key(writing.epoch, writing.token), stored);
        self.base = Some(file);
        let snapshot = SnapshotRef { epoch: writing.epoch, token: writing.token, sha256: String::new() };
        self.tell(world, Fact::Prepared { snapshot, files: names, positions: BTreeMap::new() });
    }

    fn release(&mut self, decision: Decision, world: &mut World, config: &Config) {
        if self.sent < self.position {
            self.send_row(world, config);
        }
        if self.sent < self.position {
            self.todo.push_front(decision);
        } else {
            self.is_holding = false;
        }
    }

    fn exit(&mut self, class: Class, why: String, world: &World) {
        self.ended = Some(class);
        let has_open =
            matches!(world.broker.transaction, Transaction::Open(_)) && world.broker.producer == self.producer;
        self.broken = match class {
            Class::Bug => Some(why),
            Class::Stopped | Class::Ended if has_open && self.producer > 0 => {
                Some("a transaction was left open".to_owned())
            }
            _ => None,
        };
    }
}
