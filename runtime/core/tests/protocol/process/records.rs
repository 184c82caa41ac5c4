//! The records of the model as those of the protocol, and back. Owns the translation only.

use std::collections::BTreeMap;

use weir_core::checkpoint::commit::{Claim, Commit, VERSION};
use weir_core::checkpoint::manifest::{CommitKind, SnapshotRef};
use weir_core::domain::{Inventory, Stored};
use weir_core::ids::{Epoch, Token};

use crate::broker::Record;
use crate::world::{Config, World, file_name};

pub(super) fn nonce_of(nonce: &str) -> (u16, u16, u16) {
    let mut numbers = nonce.split('.').map(|number| number.parse().expect("a nonce of the model"));
    let mut next = || numbers.next().expect("a nonce has three numbers");
    (next(), next(), next())
}

pub(super) fn newest_claim(log: &[Record], config: &Config) -> Option<(Token, Claim)> {
    log.iter().enumerate().rev().find_map(|(offset, record)| match record {
        Record::Claim { process, attempt, number } => {
            let claim = Claim {
                v: VERSION,
                nonce: format!("{process}.{attempt}.{number}"),
                lineage: config.settings.lineage.clone(),
                txn_ids: Vec::new(),
                host: String::new(),
                boot_id: String::new(),
                pid: 0,
                started_at: 0,
                build: String::new(),
            };
            Some((Token(offset as i64), claim))
        }
        Record::Commit { .. } => None,
    })
}

pub(super) fn newest_commit(log: &[Record], config: &Config) -> Option<Commit> {
    log.iter().rev().find_map(|record| match record {
        Record::Commit { kind, epoch, token, named } => {
            let (kind, epoch, token) = (*kind, Epoch(*epoch), Token(*token));
            let snapshot = SnapshotRef { epoch, token: Token(*named), sha256: String::new() };
            Some(Commit {
                v: VERSION,
                kind,
                lineage: config.settings.lineage.clone(),
                epoch,
                token,
                snapshot: (kind != CommitKind::Reset).then_some(snapshot),
                positions: BTreeMap::new(),
                at: 0,
            })
        }
        Record::Claim { .. } => None,
    })
}

pub(super) fn inventory(world: &World) -> Inventory {
    let manifests = world.store.manifests.iter().map(|((epoch, token), snapshot)| Stored {
        epoch: Epoch(*epoch),
        token: Token(*token),
        files: snapshot.files.iter().map(|file| file_name(*file)).collect(),
        noted: snapshot.noted,
        pinned: false,
    });
    let files = world.store.files.iter().map(|file| file_name(*file)).collect();
    Inventory { manifests: manifests.collect(), files, unfinished: Vec::new() }
}
