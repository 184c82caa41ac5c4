//! `weir run --from DIR`: a savepoint is all that it takes to go on, wherever it was moved; one that is not whole or not
//! ours is refused by name and nothing is touched; going back is said to be that.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use weir_tests::ip_count::IpCount;
use weir_tests::kafka::{Broker, Isolation, PATIENCE};
use weir_tests::ledger::Workload;
use weir_tests::process::{Exit, Finished, Weir};
use weir_tests::redact::{redact, without_numbers};
use weir_tests::wait::wait_until;

use crate::place::{Place, SOON, copy_folder, guest, reseal};

const ROWS: usize = 12_000;

fn weir(place: &Place, arguments: &[&str]) -> Finished {
    Weir::new(arguments).directory(place.path("")).env("WEIR_LOG", "warn").finish(SOON)
}

/// A pipeline in the middle of its work, stopped with the savepoint `mine/…`.
fn stopped() -> (Place, PathBuf) {
    let place = Place::of_ledger("50ms", ROWS, 4_000);
    let process = place.run().spawn();
    wait_until(SOON, "rows are committed", || place.rows("out").len() > 100);
    let said = weir(&place, &["stop", "kept", "--state", "state", "--savepoint", "--to", "mine"]).expect_success();
    process.wait(SOON).expect_success();
    (place, PathBuf::from(said.stdout.trim_end()))
}

fn from(place: &Place, folder: &Path, more: &[&str]) -> Finished {
    more.iter().fold(place.run().argument("--from").argument(folder), Weir::argument).finish(SOON)
}

/// Every record once, in order per key: the ledger's rows count per key.
#[track_caller]
fn expect_whole(place: &Place) {
    let truth = Place::of_ledger("10m", ROWS, 1_000_000);
    truth.finish().expect_success();
    let sorted = |mut rows: Vec<String>| {
        rows.sort();
        rows
    };
    assert!(sorted(place.rows("out")) == sorted(truth.rows("out")), "{} rows", place.rows("out").len());
}

#[test]
fn moved_savepoint_is_all_that_an_empty_state_folder_needs() {
    let (place, folder) = stopped();
    // Another disk, another name, and nothing left where it was.
    let moved = tempfile::tempdir().unwrap();
    copy_folder(&folder, &moved.path().join("x"));
    fs::remove_dir_all(place.path("mine")).unwrap();
    fs::remove_dir_all(place.path("state")).unwrap();
    let before = place.rows("out").len();
    assert!(before < ROWS);
    // Killed as soon as it has begun: what was imported is what is committed, and the next run needs no `--from`.
    let crash = place.run().argument("--from").argument(moved.path().join("x"));
    crash.crash_at("epoch.advanced", 1).finish(SOON).expect(Exit::KILLED);
    drop(moved);
    place.finish().expect_success();
    expect_whole(&place);
}

#[test]
fn killed_while_it_is_imported_it_is_imported_again() {
    let (place, folder) = stopped();
    fs::remove_dir_all(place.path("state")).unwrap();
    // The claim is the first swap, the rewind the second.
    for (point, nth) in [("manifest.fsynced", 1), ("dir.fsynced", 1), ("current.swapped", 1)] {
        let run = place.run().argument("--from").argument(&folder);
        run.crash_at(point, nth).finish(SOON).expect(Exit::KILLED);
    }
    from(&place, &folder, &[]).expect_success();
    expect_whole(&place);
}

#[test]
fn checkpoint_of_a_state_folder_is_as_good() {
    let (place, _) = stopped();
    let listed = weir(&place, &["checkpoint", "list", "kept", "--state", "state", "--format", "json"]).expect_success();
    let listed: Value = serde_json::from_str(&listed.stdout).unwrap();
    fs::rename(place.path("state"), place.path("old")).unwrap();
    let folder = place.path("old/checkpoints").join(listed[0]["id"].as_str().unwrap());
    from(&place, &folder, &[]).expect_success();
    expect_whole(&place);
}

#[test]
fn going_back_is_refused_and_says_what_it_would_emit_twice_until_it_is_asked_for() {
    let (place, folder) = stopped();
    let rows = place.rows("out").len();
    place.finish().expect_success();
    expect_whole(&place);
    let kept = |place: &Place| {
        let mut content = place.content();
        content.retain(|path, _| !path.starts_with("state/live") && path != Path::new("state/lock"));
        content
    };
    let before = kept(&place);
    let refused = from(&place, &folder, &[]).expect(Exit::Code(6));
    for says in [" is older than the newest commit (", "would be emitted a second time", "--rewind"] {
        assert!(refused.stderr.contains(says), "{refused}");
    }
    assert!(kept(&place) == before, "touched");
    insta::assert_snapshot!("going_back", without_numbers(refused.stderr.trim_end()));
    from(&place, &folder, &["--rewind"]).expect_success();
    assert_eq!(place.rows("out").len(), ROWS + (ROWS - rows), "what came since the savepoint came twice, and no more");
    // The state is that of the savepoint: the second time is as the first.
    let twice = place.rows("out");
    let (first, second) = twice.split_at(ROWS);
    assert!(second == &first[rows..]);
    let shown = weir(&place, &["checkpoint", "list", "kept", "--state", "state"]).expect_success();
    assert!(shown.stdout.contains(" final"), "{shown}");
}

#[test]
fn whatever_is_wrong_with_a_savepoint_is_named_and_nothing_is_made() {
    let (place, folder) = stopped();
    fs::remove_dir_all(place.path("state")).unwrap();
    let content = place.content();
    // Each message once, as it is.
    let (mut messages, home) = (String::new(), place.path(""));
    let mut note = |what: &str, said: &Finished| {
        let id = folder.file_name().unwrap().to_str().unwrap().replace("kept-", "savepoint ");
        let names = [(folder.to_str().unwrap(), "SAVEPOINT"), (home.to_str().unwrap(), "DIR/"), (&id, "savepoint ID")];
        let said = redact(&said.stderr, &names);
        messages += &format!("{what}\n    {}\n", said.trim_end());
    };
    let refused = |place: &Place, folder: &Path, says: &str| {
        let before = place.content();
        let refused = from(place, folder, &[]).expect(Exit::Code(6));
        assert!(refused.stderr.contains(says), "no {says:?} in\n{refused}");
        assert!(place.content() == before, "touched\n{refused}");
        refused
    };
    let mut files: Vec<PathBuf> = vec![folder.join("format"), folder.join("manifest")];
    files.extend(fs::read_dir(folder.join("files")).unwrap().map(|entry| entry.unwrap().path()));
    assert!(files.len() > 2);
    for (nth, path) in files.iter().enumerate() {
        let whole = fs::read(path).unwrap();
        let name = path.file_name().unwrap().to_str().unwrap();
        let is_noted = nth < 3;
        let which = ["format", "manifest", "a file"][nth.min(2)];
        // A bit anywhere.
        let step = (whole.len() / 7).max(1);
        for at in (0..whole.len()).step_by(step).chain([whole.len() - 1]) {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << (at % 8);
            fs::write(path, bytes).unwrap();
            let said = refused(&place, &folder, name);
            if is_noted && at == 0 {
                note(&format!("a flipped bit in {which}"), &said);
            }
        }
        fs::write(path, &whole[..whole.len() / 2]).unwrap();
        refused(&place, &folder, name);
        fs::remove_file(path).unwrap();
        let missing = if name.len() > 60 { "files/" } else { name };
        let said = refused(&place, &folder, &format!("is incomplete: it has no {missing}"));
        if is_noted {
            note(&format!("without {which}"), &said);
        }
        fs::write(path, &whole).unwrap();
    }
    let format = folder.join("format");
    let text = fs::read_to_string(&format).unwrap();
    fs::write(&format, text.replace("\"version\":1", "\"version\":2")).unwrap();
    note("a newer layout", &refused(&place, &folder, "has format 2, this weir reads up to 1"));
    fs::write(&format, &text).unwrap();
    note("no savepoint", &refused(&place, Path::new("out"), "is neither a savepoint nor a checkpoint"));
    fs::create_dir_all(place.path("other/checkpoints")).unwrap();
    place.write("other/lock", "");
    note("a state folder", &refused(&place, Path::new("other"), "is a state folder"));
    fs::remove_dir_all(place.path("other")).unwrap();
    // What only another weir, or another operator, can have written.
    let manifest = fs::read(folder.join("manifest")).unwrap();
    let written = |what: fn(&mut Value), says: &str| {
        reseal(&folder, what);
        let said = refused(&place, &folder, says);
        fs::write(folder.join("manifest"), &manifest).unwrap();
        fs::write(&format, &text).unwrap();
        said
    };
    note("a newer manifest", &written(|it| it["version"] = 2.into(), "has format 2"));
    note("other key groups", &written(|it| it["key_groups"] = 64.into(), "has 64 key groups"));
    let newer = |it: &mut Value| it["nodes"]["ledger"]["states"]["chain"]["version"] = 7.into();
    note("another version of a state", &written(newer, "declares v1 (value), which is older"));
    let other = |it: &mut Value| it["nodes"]["ledger"]["states"]["chain"]["kind"] = "map".into();
    note("another kind of state", &written(other, "has state \"chain\" v1 (map)"));
    from(&place, Path::new("no such"), &[]).expect(Exit::Code(2));
    let pipeline = fs::read_to_string(place.path("p.toml")).unwrap();
    place.pipeline(&pipeline.replace("name = \"kept\"", "name = \"other\""));
    note("another pipeline's", &refused(&place, &folder, "is of pipeline `kept`, not of `other`"));
    place.pipeline(&pipeline);
    assert!(place.content() == content);
    // Parts that came behind it lie in the way: the same rows would come again under the same names.
    let part = place.path("out/part-00000000000000009999.jsonl");
    fs::write(&part, "{}\n").unwrap();
    let said = from(&place, &folder, &[]).expect(Exit::Code(3));
    assert!(said.stderr.contains("part-00000000000000009999.jsonl is newer than "), "{said}");
    insta::assert_snapshot!("refused_savepoints", messages);
    assert!(!place.path("state").exists(), "{said}");
    fs::remove_file(&part).unwrap();
    from(&place, &folder, &[]).expect_success();
    expect_whole(&place);
}

#[test]
fn state_finds_its_node_by_name_and_without_one_it_is_refused_unless_left_out() {
    let (place, folder) = stopped();
    fs::remove_dir_all(place.path("state")).unwrap();
    let pipeline = fs::read_to_string(place.path("p.toml")).unwrap();
    let renamed = pipeline.replace("[nodes.ledger]", "[nodes.other]").replace("[\"ledger\"]", "[\"other\"]");
    place.pipeline(&renamed);
    let before = place.content();
    let refused = from(&place, &folder, &[]).expect(Exit::Code(6));
    for says in ["of node `ledger`", "timers of node `ledger`", "--allow-non-restored"] {
        assert!(refused.stderr.contains(says), "no {says:?} in\n{refused}");
    }
    assert!(place.content() == before);
    let rows = place.rows("out").len();
    // The other node begins with nothing; a kill later what was left out stays so, without asking again.
    let run = place.run().argument("--from").argument(&folder).argument("--allow-non-restored");
    run.crash_at("epoch.advanced", 2).finish(SOON).expect(Exit::KILLED);
    place.finish().expect_success();
    assert_eq!(place.rows("out").len(), ROWS);
    let begins = |rows: &[String]| rows.iter().any(|row| row.contains("\"count\":1,"));
    let all = place.rows("out");
    assert!(begins(&all[..rows]) && begins(&all[rows..]), "its counts begin anew");
    // Put back it would find nothing of its own: the next new state has another id.
    let manifest =
        weir(&place, &["checkpoint", "list", "kept", "--state", "state", "--format", "json"]).expect_success();
    let id = serde_json::from_str::<Value>(&manifest.stdout).unwrap()[0]["id"].as_str().unwrap().to_owned();
    let manifest: Value =
        serde_json::from_slice(&fs::read(place.path(&format!("state/checkpoints/{id}/manifest"))).unwrap()).unwrap();
    let dropped = manifest["dropped"].as_array().unwrap();
    let states = manifest["nodes"]["other"]["states"].as_object().unwrap();
    assert!(!dropped.is_empty() && states.values().all(|state| !dropped.contains(&state["id"])), "{manifest}");
}

#[test]
fn node_without_state_in_the_savepoint_starts_empty() {
    let (place, folder) = stopped();
    fs::remove_dir_all(place.path("state")).unwrap();
    let pipeline = fs::read_to_string(place.path("p.toml")).unwrap();
    place.pipeline(&format!(
        "{pipeline}[nodes.second]\noperator = \"{}\"\ninputs = [\"made\"]\nkey = {{ json = \"/k\" }}\n[sinks.more]\ntype = \
         \"file\"\npath = \"more\"\ninputs = [\"second\"]\n",
        guest("ledger").display()
    ));
    let rows = place.rows("out").len();
    from(&place, &folder, &[]).expect_success();
    assert_eq!((place.rows("out").len(), place.rows("more").len()), (ROWS, ROWS - rows));
}

#[test]
fn on_kafka_a_savepoint_goes_on_without_its_state_folder_and_a_step_back_is_recorded() {
    let broker = Broker::of_this_run();
    // One partition: what fires behind the savepoint fires the second time just so.
    let mut pipeline = IpCount::on(broker, &Workload { records: 1_000_000, partitions: 1, ..Workload::default() });
    pipeline.set("checkpoint.interval", "20ms");
    let (name, state) = (pipeline.name().to_owned(), pipeline.state());
    let process = pipeline.run().spawn();
    let rows = || -> i64 { broker.ends(pipeline.sink(), Isolation::Committed).iter().sum() };
    wait_until(PATIENCE, "rows are committed", || rows() > 0);
    let folder = tempfile::tempdir().unwrap();
    let stop = ["stop", &name, "--state", state.to_str().unwrap(), "--savepoint", "--to"];
    let said = Weir::new(stop).argument(folder.path()).finish(SOON).expect_success();
    process.wait(SOON).expect_success();
    let savepoint = PathBuf::from(said.stdout.trim_end());
    broker.wait_until_no_open_transaction(pipeline.sink(), PATIENCE);
    let before = pipeline.output().len();

    fs::remove_dir_all(&state).unwrap();
    let from = |more: &[&str]| {
        let run = pipeline.run().argument("--from").argument(&savepoint);
        more.iter().fold(run, Weir::argument).finish(SOON)
    };
    // Killed when the rewind is committed, in the middle of it, and behind the first epoch.
    let crash = |point: &str, nth| {
        pipeline.run().argument("--from").argument(&savepoint).crash_at(point, nth).finish(SOON).expect(Exit::KILLED)
    };
    crash("manifest.renamed", 1);
    crash("mark.acked", 1);
    crash("txn.commit_acked", 1);
    let refused = from(&[]).expect(Exit::Code(6));
    assert!(refused.stderr.contains("is older than the newest commit"), "{refused}");
    pipeline.run().finish(SOON).expect_success();
    pipeline.judge().expect_clean();

    let all = pipeline.output().len();
    assert!(before > 0 && before < all, "{before} of {all}");
    from(&[]).expect(Exit::Code(6));
    from(&["--rewind"]).expect_success();
    broker.wait_until_no_open_transaction(pipeline.sink(), PATIENCE);
    assert_eq!(pipeline.output().len(), all + (all - before), "what came since the savepoint came twice, and no more");
}
