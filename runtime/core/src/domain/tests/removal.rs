//! Removing a checkpoint on request: never the newest commit, never a file that another one needs.

use super::*;

fn removed(script: &mut Script, epoch: u64) -> Result<String, Kept> {
    script.domain.remove(Epoch(epoch), Token(10)).map(|retire| show(&Decision::Retire(retire)))
}

/// Three are kept: 1 has a, 2 has a and b, 3 has b and c.
fn three() -> Script {
    let mut script = Script::running(settings(), None);
    for (epoch, files) in [(1, ["10-a", "10-a"]), (2, ["10-a", "10-b"]), (3, ["10-b", "10-c"])] {
        script.commit(epoch, &files);
        script.on(Fact::Committed(fast()));
        script.on(Fact::Begun);
    }
    script
}

#[test]
fn an_older_checkpoint_goes_and_the_files_of_the_others_stay() {
    let mut script = three();
    assert_eq!(removed(&mut script, 2).as_deref(), Ok("retire [2-10]"));
    assert_eq!(removed(&mut script, 2), Err(Kept::Unknown));
    assert_eq!(removed(&mut script, 1).as_deref(), Ok("retire [1-10 10-a]"));
    assert_eq!(removed(&mut script, 9), Err(Kept::Unknown));
}

#[test]
fn the_newest_commit_stays_until_there_is_a_newer_one() {
    let mut script = three();
    assert_eq!(removed(&mut script, 3), Err(Kept::Newest));
    // While 4 commits, 3 is still what a start would find.
    script.commit(4, &["10-c"]);
    assert_eq!(removed(&mut script, 3), Err(Kept::Newest));
    script.on(Fact::Committed(fast()));
    assert_eq!(removed(&mut script, 3).as_deref(), Ok("retire [3-10]"), "c is of 4, b of 2");
}

#[test]
fn files_of_a_snapshot_that_is_not_committed_yet_stay() {
    let mut script = three();
    assert_eq!(script.tick(), "inject 4");
    script.check(&[(passed(4), "write 4-10, flush 4"), (prepared(4, 10, &["10-a"]), "")]);
    assert_eq!(removed(&mut script, 2).as_deref(), Ok("retire [2-10]"));
    assert_eq!(removed(&mut script, 1).as_deref(), Ok("retire [1-10]"));
}

#[test]
fn before_the_store_is_known_nothing_goes() {
    let mut script = Script::new(settings());
    assert_eq!(removed(&mut script, 1), Err(Kept::NotYet));
}
