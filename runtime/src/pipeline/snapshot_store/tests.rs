//! Snapshots in both stores, and what can be done to files in a real folder. State files are made up: here only their names
//! and bytes count.

use std::collections::BTreeMap;

use std::fs;

use tempfile::{TempDir, tempdir};
use weir_core::checkpoint::manifest::{CommitKind, FileRef, StateFiles};
use weir_core::ids::Name;

use super::*;
use crate::state::list_dir;
use crate::storage::Memory;

struct Fixture {
    dir: TempDir,
    store: SnapshotStore,
}

/// In a folder.
fn fixture() -> Fixture {
    let dir = tempdir().unwrap();
    fs::create_dir(dir.path().join("files")).unwrap();
    Fixture { store: SnapshotStore::new(Arc::new(Local::new(dir.path())), dir.path()), dir }
}

/// Runs a test over each store.
fn check(test: impl Fn(Fixture)) {
    test(fixture());
    let dir = tempdir().unwrap();
    let memory = Memory::new(dir.path()).unwrap();
    test(Fixture { store: SnapshotStore::new(Arc::new(memory), dir.path()), dir });
}

impl Fixture {
    /// Stores a state file of that content.
    fn file(&self, token: i64, content: &str) -> FileRef {
        let sha256 = hex::sha256(content.as_bytes());
        let file = FileRef { stored: format!("{token}-{sha256}"), bytes: content.len() as u64, sha256 };
        let staged = self.store.storage.staging().join("staged");
        fs::write(&staged, content).unwrap();
        self.store.storage.adopt(&staged, &stored_name(&file)).unwrap();
        file
    }

    fn path(&self, file: &FileRef) -> PathBuf {
        self.dir.path().join("files").join(&file.stored)
    }

    fn has(&self, file: &FileRef) -> bool {
        self.store.storage.length(&stored_name(file)).unwrap().is_some()
    }

    fn prepare(&self, epoch: u64, token: i64, deltas: &[&FileRef]) -> (Manifest, SnapshotRef) {
        let manifest = manifest(epoch, token, deltas);
        let prepared = self.store.prepare(&manifest).unwrap();
        (manifest, prepared.snapshot().clone())
    }

    fn listed(&self) -> Vec<String> {
        self.store.list().unwrap().iter().map(|l| l.snapshot.id()).collect()
    }
}

fn manifest(epoch: u64, token: i64, deltas: &[&FileRef]) -> Manifest {
    let deltas = deltas.iter().map(|f| (*f).clone()).collect();
    Manifest {
        version: VERSION,
        pipeline: Name::new("a").unwrap(),
        lineage: "l".into(),
        epoch: Epoch(epoch),
        token: Token(token),
        kind: CommitKind::Checkpoint,
        created_at: 0,
        key_groups: 128,
        sources: BTreeMap::new(),
        nodes: BTreeMap::new(),
        state: StateFiles { base: BTreeMap::new(), deltas },
        dropped: Default::default(),
        parts: Vec::new(),
    }
}

fn refused<T: std::fmt::Debug>(result: Result<T, Error>, expected: &str) {
    let error = result.unwrap_err().to_string();
    assert!(error.contains(expected), "{error}");
}

#[test]
fn a_prepared_snapshot_is_loaded_as_it_was() {
    check(|f| {
        let delta = f.file(3, "delta");
        let (manifest, snapshot) = f.prepare(7, 3, &[&delta]);
        assert_eq!(snapshot.id(), "7-3");
        let loaded = f.store.load(&snapshot).unwrap();
        assert_eq!(loaded.manifest, manifest);
        assert_eq!(loaded.files.files(), &manifest.state);
        let left = f.store.storage.list("7-3").unwrap();
        assert_eq!(left.len(), 1, "nothing temporary stays: {left:?}");
    });
}

#[test]
fn a_manifest_is_not_written_before_all_its_files_are_there() {
    check(|f| {
        let delta = f.file(3, "delta");
        f.store.storage.delete(&stored_name(&delta)).unwrap();
        refused(f.store.prepare(&manifest(7, 3, &[&delta])), &delta.stored);
        f.store.storage.put(&stored_name(&delta), b"del").unwrap();
        refused(f.store.prepare(&manifest(7, 3, &[&delta])), &delta.stored);
        assert!(f.store.storage.list("7-3").unwrap().is_empty() && f.store.folders().unwrap().is_empty());
    });
}

#[test]
fn one_epoch_of_one_attempt_is_prepared_once() {
    check(|f| {
        f.prepare(7, 3, &[]);
        assert!(matches!(f.store.prepare(&manifest(7, 3, &[])), Err(Error::Fatal { .. })));
    });
}

#[test]
fn damage_is_refused_by_name_and_nothing_is_touched() {
    let f = fixture();
    let delta = f.file(3, "delta");
    let (_, snapshot) = f.prepare(7, 3, &[&delta]);
    let path = f.dir.path().join("7-3/manifest");
    let good = fs::read_to_string(&path).unwrap();

    fs::write(&path, good.replace("\"epoch\": 7", "\"epoch\": 8")).unwrap();
    refused(f.store.load(&snapshot), "7-3/manifest is damaged: its sha256 is");
    fs::remove_file(&path).unwrap();
    refused(f.store.load(&snapshot), "7-3/manifest is missing");
    fs::write(&path, &good).unwrap();

    fs::write(f.path(&delta), "dolta").unwrap();
    refused(f.store.load(&snapshot), &format!("{} is damaged", delta.stored));
    fs::remove_file(f.path(&delta)).unwrap();
    refused(f.store.load(&snapshot), &format!("{} is missing", delta.stored));
    assert_eq!(fs::read_to_string(&path).unwrap(), good);
}

#[test]
fn a_newer_format_is_refused_as_such() {
    check(|f| {
        let (mut manifest, _) = f.prepare(7, 3, &[]);
        manifest.version = VERSION + 1;
        let mut newer = serde_json::to_value(&manifest).unwrap();
        newer["state"] = "another shape".into();
        let bytes = newer.to_string();
        f.store.storage.put("7-3/manifest", bytes.as_bytes()).unwrap();
        let snapshot = SnapshotRef { epoch: Epoch(7), token: Token(3), sha256: hex::sha256(bytes.as_bytes()) };
        refused(f.store.load(&snapshot), "has format 2, this weir reads up to 1");
        assert!(matches!(f.store.list().unwrap()[0].manifest, Err(Error::Newer { .. })));
    });
}

#[test]
fn a_manifest_under_another_name_is_refused() {
    let f = fixture();
    let (_, snapshot) = f.prepare(7, 3, &[]);
    fs::rename(f.dir.path().join("7-3"), f.dir.path().join("8-3")).unwrap();
    refused(f.store.load(&SnapshotRef { epoch: Epoch(8), ..snapshot }), "it is the manifest of 7-3");
}

#[test]
fn the_list_is_newest_first_and_knows_what_was_seen_to_be_committed() {
    check(|f| {
        for (epoch, token) in [(9, 1), (10, 1), (10, 2), (2, 1)] {
            f.prepare(epoch, token, &[]);
        }
        let (_, committed) = f.prepare(11, 2, &[]);
        f.store.mark_committed(&committed).unwrap();
        // One without a manifest is none.
        f.store.storage.put_new("12-2/manifest", b"{}").unwrap();
        f.store.storage.put("12-2/committed", b"").unwrap();
        f.store.storage.delete("12-2/manifest").unwrap();
        assert_eq!(f.listed(), ["11-2", "10-2", "10-1", "9-1", "2-1"]);
        let marks: Vec<bool> = f.store.list().unwrap().iter().map(|l| l.committed).collect();
        assert_eq!(marks, [true, false, false, false, false]);
    });
}

#[test]
fn what_is_listed_is_removed_but_for_what_the_database_names() {
    check(|f| {
        let [a, b, c, d] = ["a", "b", "c", "d"].map(|content| f.file(1, content));
        f.prepare(1, 1, &[&a, &b, &c]);
        let (_, kept) = f.prepare(2, 1, &[&b, &d]);
        // A start that died over its manifest.
        f.store.storage.put_new("7-1/manifest.tmp", b"{").unwrap();
        let in_use = StateFiles { base: BTreeMap::from([("000009.sst".into(), c.clone())]), deltas: Vec::new() };
        let manifests = [(Epoch(1), Token(1)), (Epoch(7), Token(1))];
        let files = [a.stored.clone(), c.stored.clone()];
        // Once more, as after a crash in the middle: nothing is left to do, and nothing fails.
        for _ in 0..2 {
            f.store.remove(&manifests, &files, Some(&in_use)).unwrap();
            assert_eq!([&a, &b, &c, &d].map(|file| f.has(file)), [false, true, true, true]);
            assert_eq!(f.listed(), ["2-1"]);
            assert_eq!(f.store.folders().unwrap(), [(Epoch(2), Token(1))]);
        }
        f.store.load(&kept).unwrap();
        f.store.remove(&[], &files, None).unwrap();
        assert!(!f.has(&c));
    });
}

#[test]
fn what_lies_in_the_store_is_listed_for_deletion_and_what_is_not_ours_is_not() {
    check(|f| {
        let [a, orphan] = [f.file(1, "a"), f.file(4, "an orphan")];
        let (_, snapshot) = f.prepare(3, 1, &[&a]);
        f.store.mark_committed(&snapshot).unwrap();
        f.store.storage.put_new("5-2/manifest.tmp", b"{").unwrap();
        f.store.storage.put_new("notes/manifest", b"mine").unwrap();
        let inventory = f.store.inventory().unwrap();
        let manifests: Vec<_> = inventory.manifests.iter().map(|it| (it.epoch, it.token, it.noted)).collect();
        assert_eq!(manifests, [(Epoch(3), Token(1), true)]);
        assert_eq!(inventory.unfinished, [(Epoch(5), Token(2))]);
        assert_eq!(inventory.files, [a.stored, orphan.stored]);
        assert_eq!(f.store.newest_token().unwrap(), Some(Token(4)));
    });
}

#[test]
fn what_a_user_put_into_a_snapshots_folder_stays() {
    let f = fixture();
    f.prepare(1, 1, &[]);
    let notes = f.dir.path().join("1-1/notes.txt");
    fs::write(&notes, "mine").unwrap();
    f.store.remove(&[(Epoch(1), Token(1))], &[], None).unwrap();
    assert!(notes.exists() && f.listed().is_empty());
}

#[test]
fn temporary_files_of_dead_attempts_go_and_nothing_else() {
    let f = fixture();
    let orphan = f.file(1, "an orphan is the protocol's to list");
    let files = f.dir.path().join("files");
    for name in ["2-tmp-1", "3-tmp-1", "4-tmp-1", "notes.txt", "1-short"] {
        fs::write(files.join(name), "").unwrap();
    }
    f.store.remove_temporary(Token(3)).unwrap();
    let mut left = vec![orphan.stored.as_str(), "1-short", "3-tmp-1", "4-tmp-1", "notes.txt"];
    left.sort_unstable();
    assert_eq!(list_dir(&files).unwrap(), left);
}
