//! Golden scripts of `--from empty --rewind` and of deletion: the COMMIT that names nothing comes before any file goes.

use super::*;

fn listed() -> Fact {
    Fact::Listed(Inventory {
        manifests: vec![stored(4, 3, &["3-a"]), stored(5, 3, &["3-a", "3-b"])],
        files: vec!["3-a".to_owned(), "3-b".to_owned()],
        unfinished: Vec::new(),
    })
}

fn up_to_list(start: Start) -> Script {
    let mut script = Script::new(Settings { start, ..settings() });
    script.check(&[
        (Fact::Booted, "peek"),
        (Fact::Peeked { claim: None, commit: Some(checkpoint(5, 3)), owner_gone: true }, "fence id.a"),
        (Fact::Fenced, "claim p1.0.1"),
        (Fact::Claimed(fast()), "resolve p1.0.1"),
        (resolved(10, Some(checkpoint(5, 3))), "list"),
    ]);
    script
}

#[test]
fn starting_empty_with_rewind_commits_a_reset_first() {
    let mut script = up_to_list(Start::Empty { rewind: true });
    script.check(&[
        (listed(), "begin 6"),
        (Fact::Begun, "mark 6-10 reset"),
        (Fact::Marked, "commit 6"),
        (Fact::Committed(fast()), "retire [4-3 5-3 3-a 3-b], restore nothing"),
        (Fact::Restored, "begin 7"),
    ]);
    assert!(!script.domain.has_run());
    assert_eq!(script.on(Fact::Begun), "run 7");
    assert!(script.domain.has_run());
}

#[test]
fn a_suspicious_reset_is_followed_by_a_new_claim() {
    let mut script = up_to_list(Start::Empty { rewind: true });
    script.check(&[
        (listed(), "begin 6"),
        (Fact::Begun, "mark 6-10 reset"),
        (Fact::Marked, "commit 6"),
        (Fact::Committed(slow()), "retire [4-3 5-3 3-a 3-b], fence id.a"),
        (Fact::Fenced, "claim p1.0.2"),
        (Fact::Claimed(fast()), "resolve p1.0.2"),
        (resolved_after(12, "p1.0.1", Some(commit(CommitKind::Reset, 6, 10))), "restore nothing"),
        (Fact::Restored, "begin 7"),
    ]);
}

#[test]
fn deletion_commits_a_reset_and_ends() {
    let mut script = up_to_list(Start::Delete);
    script.check(&[
        (listed(), "begin 6"),
        (Fact::Begun, "mark 6-10 reset"),
        (Fact::Marked, "commit 6"),
        (Fact::Committed(fast()), "retire [4-3 5-3 3-a 3-b], exit Stopped"),
    ]);
}

#[test]
fn starting_empty_without_rewind_is_refused_where_there_is_state() {
    let mut script = Script::new(Settings { start: Start::Empty { rewind: false }, ..settings() });
    script.check(&[(Fact::Booted, "peek"), (peeked(None, Some(checkpoint(5, 3))), "exit Halt")]);
}

#[test]
fn after_a_reset_the_pipeline_starts_empty_and_epochs_go_on() {
    let mut script = Script::new(settings());
    let reset = || Some(commit(CommitKind::Reset, 6, 3));
    script.check(&[
        (Fact::Booted, "peek"),
        (Fact::Peeked { claim: Some(claim("p0.0.1")), commit: reset(), owner_gone: true }, "fence id.a"),
        (Fact::Fenced, "claim p1.0.1"),
        (Fact::Claimed(fast()), "resolve p1.0.1"),
        (resolved(10, reset()), "list"),
        (listed(), "restore nothing"),
        (Fact::Restored, "retire [4-3 5-3 3-a 3-b], begin 7"),
    ]);
}

#[test]
fn a_pipeline_that_has_ended_can_be_run_anew_with_rewind() {
    let mut script = Script::new(Settings { start: Start::Empty { rewind: true }, ..settings() });
    let ended = commit(CommitKind::Final, 5, 3);
    script.check(&[
        (Fact::Booted, "peek"),
        (Fact::Peeked { claim: None, commit: Some(ended), owner_gone: true }, "fence id.a"),
    ]);
}
