//! Golden scripts: fact by fact, what a domain decides. The searches over all orders are in `tests/`.

use std::collections::BTreeMap;
use std::time::Duration;

use super::*;
use crate::checkpoint::commit::{Claim, VERSION};
use crate::checkpoint::manifest::{CommitKind, SnapshotRef};

mod failures;
mod owners;
mod removal;
mod reset;
mod rewind;

/// A domain, the time, and what it was told.
struct Script {
    domain: Domain,
    now: Duration,
}

fn settings() -> Settings {
    Settings {
        ids: vec!["id.a".to_owned()],
        lineage: "ours".to_owned(),
        process: "p1".to_owned(),
        interval: Some(Duration::from_secs(1)),
        ..Settings::default()
    }
}

fn claim(nonce: &str) -> Claim {
    Claim {
        v: VERSION,
        nonce: nonce.to_owned(),
        lineage: "ours".to_owned(),
        txn_ids: vec!["id.a".to_owned()],
        host: "elsewhere".to_owned(),
        boot_id: String::new(),
        pid: 7,
        started_at: 0,
        build: String::new(),
    }
}

fn snapshot(epoch: u64, token: i64) -> SnapshotRef {
    SnapshotRef { epoch: Epoch(epoch), token: Token(token), sha256: String::new() }
}

fn commit(kind: CommitKind, epoch: u64, token: i64) -> Commit {
    Commit {
        v: VERSION,
        kind,
        lineage: "ours".to_owned(),
        epoch: Epoch(epoch),
        token: Token(token),
        snapshot: (kind != CommitKind::Reset).then(|| snapshot(epoch, token)),
        positions: BTreeMap::new(),
        at: 0,
    }
}

fn checkpoint(epoch: u64, token: i64) -> Commit {
    commit(CommitKind::Checkpoint, epoch, token)
}

fn stored(epoch: u64, token: i64, files: &[&str]) -> Stored {
    let files = files.iter().map(|file| (*file).to_owned()).collect();
    Stored { epoch: Epoch(epoch), token: Token(token), files, noted: false, pinned: false }
}

fn fast() -> Outcome {
    Outcome::Committed { may_have_resent: false }
}

fn slow() -> Outcome {
    Outcome::Committed { may_have_resent: true }
}

fn resolved(token: i64, commit: Option<Commit>) -> Fact {
    Fact::Resolved(Resolved { token: Token(token), commit, claim_before: None, claim_above: false })
}

fn resolved_after(token: i64, before: &str, commit: Option<Commit>) -> Fact {
    let claim_before = Some((Token(token - 1), claim(before)));
    Fact::Resolved(Resolved { token: Token(token), commit, claim_before, claim_above: false })
}

fn peeked(claim: Option<Claim>, commit: Option<Commit>) -> Fact {
    Fact::Peeked { claim, commit, owner_gone: false }
}

fn passed(epoch: u64) -> Fact {
    Fact::BarrierPassed { sink: 0, epoch: Epoch(epoch) }
}

fn flushed(epoch: u64) -> Fact {
    Fact::Flushed { epoch: Epoch(epoch) }
}

fn prepared(epoch: u64, token: i64, files: &[&str]) -> Fact {
    let files = files.iter().map(|file| (*file).to_owned()).collect();
    Fact::Prepared { snapshot: snapshot(epoch, token), files, positions: BTreeMap::new() }
}

fn no_space(epoch: u64) -> Fact {
    Fact::NoSpace { epoch: Epoch(epoch), why: "disk full".to_owned() }
}

fn failed(class: Class) -> Fact {
    Fact::Failed(Failure { class, why: "it broke".to_owned() })
}

impl Script {
    fn new(settings: Settings) -> Script {
        Script { domain: Domain::new(settings), now: Duration::ZERO }
    }

    /// A domain that restored `commit` and runs with token 10.
    fn running(settings: Settings, commit: Option<Commit>) -> Script {
        let mut script = Script::new(settings);
        let inventory = Inventory {
            manifests: commit.iter().map(|commit| stored(commit.epoch.0, commit.token.0, &[])).collect(),
            ..Inventory::default()
        };
        for fact in [Fact::Booted, peeked(None, None), Fact::Fenced, Fact::Claimed(fast()), resolved(10, commit)] {
            script.on(fact);
        }
        for fact in [Fact::Listed(inventory), Fact::Restored, Fact::Begun] {
            script.on(fact);
        }
        assert_eq!(script.domain.phase(), Phase::Run);
        script
    }

    fn on(&mut self, fact: Fact) -> String {
        self.domain.on(self.now, fact).iter().map(show).collect::<Vec<_>>().join(", ")
    }

    /// Waits for the time at which the domain wants to be called.
    fn tick(&mut self) -> String {
        self.now = self.domain.wakeup().expect("the domain waits for a time");
        self.on(Fact::Tick)
    }

    /// Checks a whole script.
    fn check(&mut self, lines: &[(Fact, &str)]) {
        for (index, (fact, wanted)) in lines.iter().enumerate() {
            assert_eq!(self.on(fact.clone()), *wanted, "line {index}: {fact:?}");
        }
    }

    /// Takes the checkpoint of `epoch` up to its COMMIT.
    fn commit(&mut self, epoch: u64, files: &[&str]) {
        assert!(self.tick().contains(&format!("inject {epoch}")));
        self.check(&[
            (passed(epoch), &format!("write {epoch}-10, flush {epoch}")),
            (flushed(epoch), ""),
            (prepared(epoch, 10, files), &format!("mark {epoch}-10")),
            (Fact::Marked, &format!("commit {epoch}")),
        ]);
    }
}

fn show(decision: &Decision) -> String {
    match decision {
        Decision::Peek => "peek".to_owned(),
        Decision::Wait { host, until, again: false, .. } => format!("wait for {host} until {until:?}"),
        Decision::Wait { host, until, again: true, .. } => format!("wait on for {host} until {until:?}"),
        Decision::Fence { ids } => format!("fence {}", ids.join("+")),
        Decision::Claim(claim) => format!("claim {}", claim.nonce),
        Decision::Resolve { nonce } => format!("resolve {nonce}"),
        Decision::List => "list".to_owned(),
        Decision::Restore { snapshot } => {
            format!("restore {}", snapshot.as_ref().map_or("nothing".to_owned(), SnapshotRef::id))
        }
        Decision::Import { epoch, token } => format!("import {epoch}-{token}"),
        Decision::Begin { epoch } => format!("begin {epoch}"),
        Decision::Run { epoch } => format!("run {epoch}"),
        Decision::InjectBarrier { epoch, kind, last } => {
            format!("inject {epoch}{}{}", show_kind(*kind), if *last { " last" } else { "" })
        }
        Decision::Cancel { epoch, .. } => format!("cancel {epoch}"),
        Decision::Flush { epoch } => format!("flush {epoch}"),
        Decision::WriteSnapshot { epoch, token, .. } => format!("write {epoch}-{token}"),
        Decision::Mark(commit) => format!("mark {}-{}{}", commit.epoch, commit.token, show_kind(commit.kind)),
        Decision::Commit { epoch } => format!("commit {epoch}"),
        Decision::Publish { snapshot } => format!("publish {}", snapshot.id()),
        Decision::NoteCommitted { snapshot } => format!("note {}", snapshot.id()),
        Decision::HoldRows { epoch } => format!("hold {epoch}"),
        Decision::Release { epoch } => format!("release {epoch}"),
        Decision::PublishLag { epoch, .. } => format!("lag {epoch}"),
        Decision::Retire(Retire { manifests, files }) => {
            let manifests = manifests.iter().map(|(epoch, token)| format!("{epoch}-{token}"));
            format!("retire [{}]", manifests.chain(files.iter().cloned()).collect::<Vec<_>>().join(" "))
        }
        Decision::Exit { class, .. } => format!("exit {class:?}"),
    }
}

fn show_kind(kind: CommitKind) -> &'static str {
    match kind {
        CommitKind::Checkpoint => "",
        CommitKind::Savepoint => " savepoint",
        CommitKind::Final => " final",
        CommitKind::Rewind => " rewind",
        CommitKind::Reset => " reset",
    }
}

#[test]
fn a_first_run_goes_from_boot_to_its_second_epoch() {
    let mut script = Script::new(settings());
    script.check(&[
        (Fact::Booted, "peek"),
        (peeked(None, None), "fence id.a"),
        (Fact::Fenced, "claim p1.0.1"),
        (Fact::Claimed(fast()), "resolve p1.0.1"),
        (resolved(0, None), "list"),
        (Fact::Listed(Inventory::default()), "restore nothing"),
        (Fact::Restored, "begin 1"),
        (Fact::Begun, "run 1"),
        (Fact::Tick, ""),
    ]);
    assert_eq!(script.tick(), "inject 1");
    assert_eq!(script.now, Duration::from_secs(1));
    script.check(&[
        (passed(1), "write 1-0, flush 1"),
        (prepared(1, 0, &["0-a"]), ""),
        (flushed(1), "mark 1-0"),
        (Fact::Marked, "commit 1"),
        (Fact::Committed(fast()), "publish 1-0, note 1-0, begin 2"),
        (Fact::Begun, "release 1, lag 1"),
    ]);
    assert_eq!(script.domain.token(), Some(Token(0)));
    assert_eq!(script.domain.epoch(), Some(Epoch(2)));
    assert_eq!(script.tick(), "inject 2");
}

#[test]
fn restore_takes_the_snapshot_that_the_newest_commit_names() {
    let mut script = Script::new(settings());
    let inventory = Inventory {
        manifests: vec![
            stored(4, 3, &["3-a"]),
            stored(5, 3, &["3-a", "3-b"]),
            stored(6, 3, &["3-a", "3-c"]),
            stored(6, 8, &["8-d"]),
        ],
        files: ["3-a", "3-b", "3-c", "8-d", "9-e", "x"].map(String::from).to_vec(),
        unfinished: vec![(Epoch(6), Token(9))],
    };
    script.check(&[
        (Fact::Booted, "peek"),
        (peeked(None, None), "fence id.a"),
        (Fact::Fenced, "claim p1.0.1"),
        (Fact::Claimed(fast()), "resolve p1.0.1"),
        (resolved_after(10, "p0.0.1", Some(checkpoint(5, 3))), "list"),
        (Fact::Listed(inventory), "restore 5-3"),
        // Not before: of a store that is refused nothing goes.
        (Fact::Restored, "retire [6-3 6-8 6-9 3-c 8-d 9-e], begin 6"),
        (Fact::Begun, "run 6"),
    ]);
}

#[test]
fn every_sink_must_have_passed_the_barrier() {
    let mut script = Script::running(Settings { sinks: 2, ..settings() }, None);
    assert_eq!(script.tick(), "inject 1");
    script.check(&[
        (Fact::BarrierPassed { sink: 1, epoch: Epoch(1) }, ""),
        (Fact::BarrierPassed { sink: 1, epoch: Epoch(1) }, ""),
        (Fact::BarrierPassed { sink: 0, epoch: Epoch(1) }, "write 1-10, flush 1"),
    ]);
}

#[test]
fn the_newest_three_snapshots_are_kept_and_what_they_share_stays() {
    let mut script = Script::running(settings(), None);
    for (epoch, files, done) in [
        (1, vec!["10-a"], "release 1, lag 1"),
        (2, vec!["10-a", "10-b"], "release 2, lag 2"),
        (3, vec!["10-a", "10-b", "10-c"], "release 3, lag 3"),
        (4, vec!["10-a", "10-d"], "release 4, lag 4, retire [1-10]"),
        (5, vec!["10-e"], "release 5, lag 5, retire [2-10]"),
        (6, vec!["10-e", "10-f"], "release 6, lag 6, retire [3-10 10-b 10-c]"),
        (7, vec!["10-g"], "release 7, lag 7, retire [4-10 10-a 10-d]"),
    ] {
        script.commit(epoch, &files);
        let next = epoch + 1;
        let begun = format!("publish {epoch}-10, note {epoch}-10, begin {next}");
        script.check(&[(Fact::Committed(fast()), &begun), (Fact::Begun, done)]);
    }
}

#[test]
fn a_stop_takes_a_last_checkpoint_and_leaves_no_transaction_open() {
    let mut script = Script::running(settings(), None);
    script.check(&[
        (Fact::Stop, "inject 1 last"),
        (passed(1), "write 1-10, flush 1"),
        (flushed(1), ""),
        (prepared(1, 10, &[]), "mark 1-10"),
        (Fact::Marked, "commit 1"),
        (Fact::Committed(slow()), "publish 1-10, note 1-10, lag 1, exit Stopped"),
        (Fact::Tick, ""),
    ]);
}

#[test]
fn a_stop_during_a_checkpoint_commits_also_what_was_read_since_its_barrier() {
    let mut script = Script::running(settings(), None);
    assert_eq!(script.tick(), "inject 1");
    script.check(&[
        (passed(1), "write 1-10, flush 1"),
        (Fact::Stop, ""),
        (flushed(1), ""),
        (prepared(1, 10, &[]), "mark 1-10"),
        (Fact::Marked, "commit 1"),
        (Fact::Committed(fast()), "publish 1-10, note 1-10, begin 2"),
        (Fact::Begun, "release 1, lag 1, inject 2 last"),
    ]);
}

#[test]
fn a_stop_with_a_savepoint_ends_with_it_and_commits_nothing_behind_it() {
    let mut script = Script::running(settings(), None);
    script.check(&[
        (Fact::StopWithSavepoint, "inject 1 savepoint last"),
        (passed(1), "write 1-10, flush 1"),
        (flushed(1), ""),
        (prepared(1, 10, &[]), "mark 1-10 savepoint"),
        (Fact::Marked, "commit 1"),
        (Fact::Committed(fast()), "publish 1-10, note 1-10, lag 1, exit Stopped"),
    ]);
    // During a checkpoint it comes behind that.
    let mut script = Script::running(settings(), None);
    assert_eq!(script.tick(), "inject 1");
    script.check(&[
        (Fact::StopWithSavepoint, ""),
        (passed(1), "write 1-10, flush 1"),
        (flushed(1), ""),
        (prepared(1, 10, &[]), "mark 1-10"),
        (Fact::Marked, "commit 1"),
        (Fact::Committed(fast()), "publish 1-10, note 1-10, begin 2"),
        (Fact::Begun, "release 1, lag 1, inject 2 savepoint last"),
    ]);
}

#[test]
fn the_end_of_bounded_input_is_a_final_commit() {
    let mut script = Script::running(settings(), None);
    script.check(&[
        (Fact::InputEnded, "inject 1 final last"),
        (passed(1), "write 1-10, flush 1"),
        (flushed(1), ""),
        (prepared(1, 10, &[]), "mark 1-10 final"),
        (Fact::Marked, "commit 1"),
        (Fact::Committed(fast()), "publish 1-10, note 1-10, lag 1, exit Ended"),
    ]);
}

#[test]
fn a_stop_before_anything_runs_just_leaves() {
    let mut script = Script::new(settings());
    script.check(&[(Fact::Booted, "peek"), (Fact::Stop, "exit Stopped")]);
    let mut script = Script::new(settings());
    script.check(&[
        (Fact::Booted, "peek"),
        (peeked(None, None), "fence id.a"),
        (Fact::Fenced, "claim p1.0.1"),
        (Fact::Stop, ""),
        (Fact::Claimed(slow()), "exit Stopped"),
    ]);
}

#[test]
fn a_savepoint_asked_for_during_a_checkpoint_is_not_lost() {
    let mut script = Script::running(settings(), None);
    assert_eq!(script.tick(), "inject 1");
    assert_eq!(script.on(Fact::Requested { savepoint: true }), "");
    script.check(&[
        (passed(1), "write 1-10, flush 1"),
        (flushed(1), ""),
        (prepared(1, 10, &[]), "mark 1-10"),
        (Fact::Marked, "commit 1"),
        (Fact::Committed(fast()), "publish 1-10, note 1-10, begin 2"),
        (Fact::Begun, "release 1, lag 1, inject 2 savepoint"),
    ]);
}
