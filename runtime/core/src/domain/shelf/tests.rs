//! What must hold for every list of deletions, whatever the store holds.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::Shelf;
use crate::checkpoint::manifest::SnapshotRef;
use crate::domain::{Inventory, Settings, Stored};
use crate::ids::{Epoch, Token};

const OURS: Token = Token(10);

fn stored() -> impl Strategy<Value = Stored> {
    (1..8_u64, 0..14_i64, prop::collection::vec((0..14_i64, 0..6_u8), 0..4), prop::bool::weighted(0.1)).prop_map(
        |(epoch, token, files, pinned)| Stored {
            epoch: Epoch(epoch),
            token: Token(token),
            files: files.into_iter().map(|(token, number)| format!("{token}-{number}")).collect(),
            noted: false,
            pinned,
        },
    )
}

fn inventory() -> impl Strategy<Value = Inventory> {
    let files = prop::collection::btree_set((0..14_i64, 0..6_u8), 0..20);
    (prop::collection::vec(stored(), 1..10), files).prop_map(|(mut manifests, loose)| {
        manifests.sort_by_key(|stored| (stored.epoch, stored.token));
        manifests.dedup_by_key(|stored| (stored.epoch, stored.token));
        let mut files: BTreeSet<String> = manifests.iter().flat_map(|stored| stored.files.clone()).collect();
        files.extend(loose.into_iter().map(|(token, number)| format!("{token}-{number}")));
        files.insert("somebody's notes.txt".to_owned());
        Inventory { manifests, files: files.into_iter().collect(), unfinished: vec![(Epoch(9), Token(3))] }
    })
}

proptest! {
    /// The committed snapshot stays with all its files; so do pinned ones; nothing with a token at or above ours, and nothing
    /// that is not ours, is touched; and what is kept is complete.
    #[test]
    fn a_sweep_leaves_whole_what_it_keeps((inventory, pick) in (inventory(), any::<prop::sample::Index>()), retain in 0..4_usize) {
        let committed = &inventory.manifests[pick.index(inventory.manifests.len())];
        let named = SnapshotRef { epoch: committed.epoch, token: committed.token, sha256: String::new() };
        let settings = Settings { retain, ..Settings::default() };
        let (_, retire) = Shelf::stock(inventory.clone(), Some(&named), OURS, &settings);
        let gone: BTreeSet<_> = retire.manifests.iter().copied().collect();
        let lost: BTreeSet<_> = retire.files.iter().collect();
        prop_assert!(!gone.contains(&(committed.epoch, committed.token)));
        prop_assert!(gone.iter().all(|(_, token)| *token < OURS));
        prop_assert!(!lost.iter().any(|name| name.contains("notes")));
        for stored in &inventory.manifests {
            if stored.pinned {
                prop_assert!(!gone.contains(&(stored.epoch, stored.token)));
            }
            let is_kept = !gone.contains(&(stored.epoch, stored.token)) && stored.token < OURS;
            prop_assert!(!is_kept || stored.files.iter().all(|file| !lost.contains(file)), "{stored:?}");
        }
    }

    /// The same after commits: what the newest `retain` snapshots list is never on the list.
    #[test]
    fn retiring_leaves_whole_what_it_keeps(commits in prop::collection::vec(prop::collection::btree_set(0..9_u8, 0..5), 1..12), retain in 1..4_usize) {
        let mut shelf = Shelf::default();
        let mut kept: Vec<Vec<String>> = Vec::new();
        let mut deleted = BTreeSet::new();
        for (index, files) in commits.into_iter().enumerate() {
            let snapshot = SnapshotRef { epoch: Epoch(index as u64 + 1), token: OURS, sha256: String::new() };
            let files: Vec<String> = files.into_iter().map(|file| format!("10-{file}")).filter(|file| !deleted.contains(file)).collect();
            kept.push(files.clone());
            let retire = shelf.commit(&snapshot, files, retain);
            let first = kept.len().saturating_sub(retain);
            prop_assert_eq!(retire.manifests.len(), usize::from(first > 0));
            for file in retire.files {
                prop_assert!(!kept[first..].iter().flatten().any(|listed| *listed == file));
                prop_assert!(deleted.insert(file));
            }
        }
    }
}
