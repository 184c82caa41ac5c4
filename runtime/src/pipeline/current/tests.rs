//! Claims and commits over a real file, and what is made of one that is lost or damaged.

use std::collections::BTreeMap;
use std::fs;

use tempfile::{TempDir, tempdir};
use weir_core::checkpoint::manifest::{CommitKind, SnapshotRef};
use weir_core::ids::{Epoch, Name};

use super::*;

fn claim(nonce: &str) -> Claim {
    Claim {
        v: 1,
        nonce: nonce.into(),
        lineage: "l".into(),
        txn_ids: Vec::new(),
        host: "h".into(),
        boot_id: "b".into(),
        pid: 1,
        started_at: 0,
        build: "0".into(),
    }
}

fn commit(epoch: u64, token: Token) -> Commit {
    Commit {
        v: 1,
        kind: CommitKind::Checkpoint,
        lineage: "l".into(),
        epoch: Epoch(epoch),
        token,
        snapshot: Some(SnapshotRef { epoch: Epoch(epoch), token, sha256: "00".into() }),
        positions: BTreeMap::new(),
        at: 0,
    }
}

fn folder() -> (TempDir, Folder) {
    let dir = tempdir().unwrap();
    let folder = Folder::open(dir.path(), &Name::new("a").unwrap()).unwrap();
    (dir, folder)
}

fn over(folder: &Folder, is_reset: bool) -> Current {
    Current::new(folder, &SnapshotStore::local(folder.path()), is_reset)
}

fn start(folder: &Folder, nonce: &str) -> (Current, Resolved) {
    let mut current = over(folder, false);
    current.fence(&[]).unwrap();
    assert!(matches!(current.claim(&claim(nonce)), Outcome::Committed { may_have_resent: false }));
    let resolved = current.resolve(nonce).unwrap();
    (current, resolved)
}

#[test]
fn every_claim_gets_the_next_token_and_sees_the_newest_commit() {
    let (_dir, folder) = folder();
    let (mut first, resolved) = start(&folder, "n1");
    assert_eq!((resolved.token, resolved.commit, resolved.claim_before), (Token(1), None, None));
    first.begin().unwrap();
    first.mark(&commit(1, Token(1))).unwrap();
    assert_eq!(first.peek().unwrap().commit, None, "marked is not committed");
    assert!(matches!(first.commit(), Outcome::Committed { .. }));
    let (_, resolved) = start(&folder, "n2");
    assert_eq!((resolved.token, resolved.commit), (Token(2), Some(commit(1, Token(1)))));
    assert_eq!(resolved.claim_before, Some((Token(1), claim("n1"))));
}

#[test]
fn an_older_attempt_cannot_commit_behind_a_newer_claim() {
    let (_dir, folder) = folder();
    let (mut old, _) = start(&folder, "old");
    old.mark(&commit(1, Token(1))).unwrap();
    let (mut new, _) = start(&folder, "new");
    assert!(matches!(old.commit(), Outcome::Unknown(_)));
    assert!(matches!(old.resolve("old"), Err(Error::Fenced(_))));
    assert_eq!(new.peek().unwrap().commit, None);
    new.mark(&commit(1, Token(2))).unwrap();
    assert!(matches!(new.commit(), Outcome::Committed { .. }));
}

#[test]
fn a_changed_byte_or_a_newer_format_stops_everything() {
    let (_dir, folder) = folder();
    let (mut current, _) = start(&folder, "n");
    current.mark(&commit(7, Token(1))).unwrap();
    current.commit();
    let good = fs::read(folder.current()).unwrap();
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1;
        fs::write(folder.current(), &bad).unwrap();
        assert!(matches!(over(&folder, false).peek(), Err(Error::Halt(_))), "byte {at}");
    }
    fs::write(folder.current(), "{\"version\":2}\n").unwrap();
    let error = over(&folder, false).fence(&[]).unwrap_err().to_string();
    assert!(error.contains("has format 2"), "{error}");
}

#[test]
fn nothing_is_committed_that_was_not_marked_under_the_own_token() {
    let (_dir, folder) = folder();
    let (mut current, _) = start(&folder, "n");
    assert!(matches!(current.commit(), Outcome::Unknown(_)));
    assert!(current.mark(&commit(1, Token(9))).is_err());
    assert!(matches!(current.commit(), Outcome::Unknown(_)));
}

#[test]
fn a_lost_file_is_told_from_a_first_start_by_what_it_must_have_named() {
    let (_dir, folder) = folder();
    drop(start(&folder, "n1"));
    let claimed = fs::read(folder.current()).unwrap();
    // Not even a whole snapshot: a file that an attempt with token 7 had begun.
    fs::write(folder.files().join("7-tmp-1"), "").unwrap();
    fs::remove_file(folder.current()).unwrap();
    for _ in 0..3 {
        let error = over(&folder, false).peek().unwrap_err().to_string();
        assert!(error.contains("CURRENT is missing") && error.contains("--from empty --rewind"), "{error}");
        assert!(matches!(over(&folder, false).fence(&[]), Err(Error::Halt(_))));
        assert!(!folder.current().exists());
    }
    // Claimed and never committed: a first start that died early.
    fs::write(folder.current(), claimed).unwrap();
    assert_eq!(over(&folder, false).peek().unwrap().commit, None);
    fs::remove_file(folder.current()).unwrap();
    let mut reset = over(&folder, true);
    reset.fence(&[]).unwrap();
    assert!(matches!(reset.claim(&claim("n2")), Outcome::Committed { .. }));
    assert_eq!(reset.resolve("n2").unwrap().token, Token(8), "above everything that is there");
}

#[test]
fn the_bytes_are_pinned() {
    let record = Record { version: 1, token: Token(3), claim: None, commit: None };
    let text = String::from_utf8(encode(&record).unwrap()).unwrap();
    assert_eq!(
        text,
        r#"{"version":1,"token":3,"claim":null,"commit":null,"check":"2b9b30802a28823e"}"#.to_owned() + "\n"
    );
}
