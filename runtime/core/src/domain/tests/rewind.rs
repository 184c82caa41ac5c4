//! Golden scripts of `--from DIR`: a savepoint becomes the newest commit before anything is restored or deleted.

use super::*;

fn from(epoch: u64, token: i64, rewind: bool) -> Start {
    Start::Savepoint { epoch: Epoch(epoch), token: Token(token), is_ours: true, rewind }
}

fn listed() -> Fact {
    Fact::Listed(Inventory {
        manifests: vec![stored(4, 3, &["3-a"]), stored(5, 3, &["3-a", "3-b"])],
        files: vec!["3-a".to_owned(), "3-b".to_owned()],
        unfinished: Vec::new(),
    })
}

fn up_to_list(start: Start, commit: Option<Commit>) -> Script {
    let mut script = Script::new(Settings { start, ..settings() });
    script.check(&[
        (Fact::Booted, "peek"),
        (Fact::Peeked { claim: None, commit: commit.clone(), owner_gone: true }, "fence id.a"),
        (Fact::Fenced, "claim p1.0.1"),
        (Fact::Claimed(fast()), "resolve p1.0.1"),
        (resolved(10, commit), "list"),
    ]);
    script
}

#[test]
fn on_an_empty_state_folder_it_is_committed_and_then_restored() {
    let mut script = up_to_list(from(7, 2, false), None);
    script.check(&[
        (Fact::Listed(Inventory::default()), "import 8-10"),
        (prepared(8, 10, &["10-x"]), "begin 8"),
        (Fact::Begun, "mark 8-10 rewind"),
        (Fact::Marked, "commit 8"),
        (Fact::Committed(fast()), "restore 8-10"),
        (Fact::Restored, "begin 9"),
        (Fact::Begun, "run 9"),
    ]);
}

/// The state folder is gone, the commit topic is not.
#[test]
fn what_the_newest_commit_names_may_be_gone_where_the_savepoint_is_as_new() {
    let mut script = up_to_list(from(5, 3, false), Some(checkpoint(5, 3)));
    script.check(&[(Fact::Listed(Inventory::default()), "import 6-10")]);
}

/// The commit topic lost what the store knows of: that is no reason to emit rows a second time unasked.
#[test]
fn a_commit_that_was_lost_is_not_gone_behind_unasked() {
    let noted = |start| {
        let mut script = up_to_list(start, Some(checkpoint(5, 3)));
        let newer = Stored { noted: true, ..stored(6, 3, &[]) };
        script.on(Fact::Listed(Inventory { manifests: vec![newer], ..Inventory::default() }))
    };
    assert_eq!(noted(from(5, 3, false)), "exit Halt");
    assert_eq!(noted(from(5, 3, true)), "import 6-10");
}

#[test]
fn going_back_is_recorded_and_what_was_committed_before_stays_on_the_shelf() {
    let mut script = up_to_list(from(4, 3, true), Some(checkpoint(5, 3)));
    script.check(&[
        (listed(), "import 6-10"),
        (prepared(6, 10, &["10-x"]), "begin 6"),
        (Fact::Begun, "mark 6-10 rewind"),
        (Fact::Marked, "commit 6"),
        (Fact::Committed(slow()), "fence id.a"),
        (Fact::Fenced, "claim p1.0.2"),
        (Fact::Claimed(fast()), "resolve p1.0.2"),
        (resolved_after(12, "p1.0.1", Some(commit(CommitKind::Rewind, 6, 10))), "restore 6-10"),
        (Fact::Restored, "begin 7"),
    ]);
}

#[test]
fn without_rewind_an_older_one_is_refused_before_anything_is_claimed() {
    for (start, commit, refused) in [
        (from(4, 3, false), checkpoint(5, 3), true),
        (from(5, 2, false), checkpoint(5, 3), true),
        (from(5, 3, false), checkpoint(5, 3), false),
        (from(6, 3, false), checkpoint(5, 3), false),
        (from(4, 3, true), checkpoint(5, 3), false),
        // What a reset forgot is not emitted twice by going back to it: its user has asked for an empty start since.
        (from(4, 3, false), commit(CommitKind::Reset, 5, 3), false),
        (Start::Savepoint { epoch: Epoch(9), token: Token(9), is_ours: false, rewind: false }, checkpoint(5, 3), true),
    ] {
        let mut script = Script::new(Settings { start, ..settings() });
        let then = if refused { "exit Halt" } else { "fence id.a" };
        script.check(&[
            (Fact::Booted, "peek"),
            (Fact::Peeked { claim: None, commit: Some(commit), owner_gone: true }, then),
        ]);
    }
}

#[test]
fn a_stop_while_it_is_copied_just_leaves() {
    let mut script = up_to_list(from(7, 2, false), None);
    script.check(&[(Fact::Listed(Inventory::default()), "import 8-10"), (Fact::Stop, "exit Stopped")]);
}
