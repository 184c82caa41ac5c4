//! An operator's next version over the state of the one before: what comes out is what one version would have given, whatever
//! is killed meanwhile; and where it cannot be, it is refused with both sides and what can be done, and nothing is touched.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use weir_tests::process::{Exit, Finished, Weir};
use weir_tests::wait::wait_until;

use crate::local::{EVEN, Output, each, ledger, truth};
use crate::parallel::spread;
use crate::place::{Place, SOON, guest, reseal};
use crate::spill::{MEMORY_PER_KEY, digest, many_keys};

/// From the next start on the node runs this operator of `tests/guests`, with this configuration.
fn swap(place: &Place, operator: &str, config: &str) {
    let text = fs::read_to_string(place.path("p.toml")).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with("config"));
    let line = |line: &str| match line.starts_with("operator = ") {
        true => format!("operator = \"{}\"\n{config}\n", guest(operator).display()),
        false => format!("{line}\n"),
    };
    place.pipeline(&lines.map(line).collect::<String>());
}

fn kill(place: &Place, point: &str, nth: u32) -> Finished {
    place.run().env("WEIR_LOG", "weir=info").crash_at(point, nth).finish(SOON).expect(Exit::KILLED)
}

/// The ledger in its first version, killed in the middle of its work.
fn begun() -> Place {
    let place = ledger(EVEN);
    kill(&place, "epoch.advanced", 5);
    place
}

/// The versions of the ledger's states in the newest checkpoint.
fn versions(place: &Place) -> (u64, u64) {
    let list = Weir::new(["checkpoint", "list", "ledger", "--state", "state", "--format", "json"]);
    let listed = list.directory(place.path("")).finish(SOON).expect_success().stdout;
    let id = serde_json::from_str::<Value>(&listed).unwrap()[0]["id"].as_str().unwrap().to_owned();
    let manifest = fs::read(place.path(&format!("state/checkpoints/{id}/manifest"))).unwrap();
    let states = &serde_json::from_slice::<Value>(&manifest).unwrap()["nodes"]["ledger"]["states"];
    (states["chain"]["version"].as_u64().unwrap(), states["kinds"]["version"].as_u64().unwrap())
}

/// All that is kept: not the number of the process that holds the lock, nor what each start builds anew.
fn kept(place: &Place) -> Vec<(PathBuf, Option<Vec<u8>>)> {
    let content = place.content().into_iter();
    content.filter(|(path, _)| path != Path::new("state/lock") && !path.starts_with("state/live")).collect()
}

#[track_caller]
fn expect_refused(place: &Place, run: Weir) -> String {
    let before = kept(place);
    let refused = run.finish(SOON).expect(Exit::Code(6));
    assert!(kept(place) == before, "touched\n{refused}");
    refused.stderr.trim_end().to_owned()
}

const MIGRATES: &str = "is migrated from v1 to v";

#[test]
fn next_version_goes_on_where_the_one_before_was_killed_whatever_the_parallelism() {
    let truth = truth(EVEN);
    each(&[(1, 1), (1, 3), (3, 1), (4, 3)], |(before, after)| {
        let place = ledger(EVEN);
        spread(&place, *before);
        kill(&place, "epoch.advanced", 5);
        assert_eq!(versions(&place), (1, 1));
        swap(&place, "ledger2", "");
        spread(&place, *after);
        let said = kill(&place, "epoch.advanced", 1);
        assert_eq!(said.stderr.matches(MIGRATES).count(), 2, "{said}");
        assert_eq!(versions(&place), (2, 3));
        // What is migrated once stays so; and there is no way back but to what was before.
        let said = kill(&place, "epoch.advanced", 2);
        assert!(!said.stderr.contains(MIGRATES), "{said}");
        swap(&place, "ledger", "");
        let refused = expect_refused(&place, place.run());
        assert!(
            refused.contains(
                "has state \"chain\" v2 (value) of node \"ledger\"; ledger@0.1.0 declares v1 (value), which is older"
            ),
            "{refused}"
        );
        swap(&place, "ledger2", "");
        spread(&place, *before);
        place.finish().expect_success();
        Output::of(&place).expect(&truth, &format!("{before} to {after} subtasks"));
    });
}

#[test]
fn killed_at_any_moment_of_the_migration_and_of_the_checkpoint_behind_it_nothing_is_lost_doubled_or_reordered() {
    let truth = truth(EVEN);
    // The first swap is that of the claim.
    let points = [
        ("restore.files_linked", 1),
        ("restore.db_opened", 1),
        ("migrate.written", 1),
        ("state.sealed", 1),
        ("state.written", 1),
        ("manifest.fsynced", 1),
        ("manifest.renamed", 1),
        ("dir.fsynced", 1),
        ("current.swapped", 2),
        ("sink.part_renamed", 1),
        ("epoch.advanced", 1),
        ("gc.first_unlink", 1),
        ("gc.done", 2),
    ];
    let cases: Vec<_> = points.iter().flat_map(|point| [1, 3].map(|parallelism| (*point, parallelism))).collect();
    each(&cases, |((point, nth), parallelism)| {
        let place = begun();
        swap(&place, "ledger2", "");
        spread(&place, *parallelism);
        for _ in 0..2 {
            kill(&place, point, *nth);
        }
        spread(&place, 4 - parallelism);
        place.finish().expect_success();
        Output::of(&place).expect(&truth, &format!("{point}:{nth}, {parallelism} subtasks"));
    });
}

#[test]
fn until_the_next_version_has_committed_the_one_before_goes_on_as_if_nothing_had_happened() {
    let truth = truth(EVEN);
    each(
        &[("restore.db_opened", 1), ("migrate.written", 1), ("manifest.renamed", 1), ("current.swapped", 1)],
        |(point, nth)| {
            let place = begun();
            swap(&place, "ledger2", "");
            kill(&place, point, *nth);
            swap(&place, "ledger", "");
            place.finish().expect_success();
            Output::of(&place).expect(&truth, point);
        },
    );
}

#[test]
fn state_that_is_not_in_memory_is_migrated_with_the_rest() {
    const KEYS: u64 = 40_000;
    let patience = Duration::from_secs(140);
    let truth = many_keys(KEYS, "memory");
    truth.run().finish(patience).expect_success();
    let place = many_keys(KEYS, "rocksdb");
    let memory = format!("{}B", KEYS * MEMORY_PER_KEY);
    let run = |point, nth| {
        let run = place.run().env("WEIR_LOG", "weir=info").argument("--state-memory").argument(&memory);
        run.crash_at(point, nth).finish(patience).expect(Exit::KILLED).stderr
    };
    let evicts = "what is not in use is evicted";
    assert!(run("epoch.advanced", 6).contains(evicts), "the memory was enough: the test shows nothing");
    swap(&place, "ledger2", "");
    run("migrate.written", 1);
    let said = run("epoch.advanced", 4);
    let number = |line: &str, behind: &str| -> u64 {
        line.split_once(behind).unwrap().0.rsplit(' ').next().unwrap().parse().unwrap()
    };
    let all: u64 = said.lines().filter(|line| line.contains(MIGRATES)).map(|line| number(line, " values, ")).sum();
    let in_memory =
        number(said.lines().find(|line| line.contains("restored checkpoint")).unwrap(), " entries of state");
    assert!(all > KEYS / 2 && in_memory < all / 2, "{in_memory} of {all} fit into memory\n{said}");
    let said = run("gc.first_unlink", 2);
    assert!(!said.contains(MIGRATES), "{said}");
    let last = place.run().argument("--state-memory").argument(&memory);
    last.finish(patience).expect_success();
    assert_eq!(digest(&place), digest(&truth), "rows and digest of records, and of timers");
}

#[test]
fn version_that_does_not_fit_is_refused_with_both_sides_and_what_can_be_done() {
    let place = begun();
    let mut said = String::new();
    for operator in ["ledger2_bare", "ledger2_map"] {
        swap(&place, operator, "");
        // A supervisor that starts it again and again does not wear the refusal down.
        expect_refused(&place, place.run());
        said += &format!("{operator}\n    {}\n", expect_refused(&place, place.run()));
    }
    insta::assert_snapshot!(said);
    swap(&place, "ledger2", "");
    place.finish().expect_success();
    Output::of(&place).expect(&truth(EVEN), "two refusals");
}

/// The ledger in its first version, stopped in the middle of its work; a key, and how many records its chain counts.
fn begun_and_stopped() -> (Place, String, u64) {
    let place = ledger(EVEN);
    let mut process = place.run().spawn();
    wait_until(SOON, "rows are committed", || place.rows("chain").len() > 300);
    process.terminate();
    process.wait(SOON).expect_success();
    let row: Value = serde_json::from_str(place.rows("chain").last().unwrap()).unwrap();
    (place, row["key"].as_str().unwrap().to_owned(), row["count"].as_u64().unwrap())
}

#[test]
fn migration_that_fails_names_the_value_and_what_the_operator_said_and_gives_up_the_third_time() {
    let truth = truth(EVEN);
    let harms = [
        ("fail", "(unreadable): this chain is not to be had"),
        ("panic", "no way to migrate"),
        ("loop", "(call-timeout)"),
    ];
    each(&harms, |(harm, says)| {
        let (place, _, on) = begun_and_stopped();
        swap(&place, "ledger2", &format!("config = {{ migrate = \"{harm}\", on = {on} }}"));
        let text = fs::read_to_string(place.path("p.toml")).unwrap();
        place.pipeline(&format!("{text}[restart]\nstrategy = \"fixed-delay\"\nattempts = 9\ndelay = \"10ms\"\n"));
        let failed = place.finish().expect(Exit::Code(1));
        let names = "pipeline `ledger`, node `ledger`: migrating state \"chain\" from v1 to v2 failed ";
        for says in ["the same failure came three times: ", names, says, ", key \""] {
            assert!(failed.stderr.contains(says), "{harm}: no {says:?} in\n{failed}");
        }
        assert_eq!(versions(&place), (1, 1));
        swap(&place, "ledger", "");
        place.finish().expect_success();
        Output::of(&place).expect(&truth, harm);
    });
}

#[test]
fn value_that_is_migrated_to_nothing_is_gone() {
    let (place, key, on) = begun_and_stopped();
    let before = place.rows("chain").len();
    swap(&place, "ledger2", &format!("config = {{ migrate = \"forget\", on = {on} }}"));
    place.finish().expect_success();
    let rows = place.rows("chain");
    let counts = |key: &str| -> Vec<u64> {
        let rows = rows[before..].iter().map(|row| serde_json::from_str::<Value>(row).unwrap());
        rows.filter(|row| row["key"] == key).map(|row| row["count"].as_u64().unwrap()).collect()
    };
    assert_eq!(counts(&key)[0], 1, "{key} counts from the beginning");
    let begin = rows[before..].iter().filter(|row| row.contains("\"count\":1,")).count();
    // Another key may have had as many records.
    assert!(begin < 10 && rows.len() == 4_000, "{begin} of 20 keys begin anew, {} rows", rows.len());
}

/// A pipeline in its first version, stopped with a savepoint.
fn stopped() -> (Place, PathBuf) {
    let place = Place::of_ledger("50ms", ROWS, 4_000);
    let process = place.run().spawn();
    wait_until(SOON, "rows are committed", || place.rows("out").len() > 100);
    let stop = Weir::new(["stop", "kept", "--state", "state", "--savepoint", "--to", "mine"]);
    let said = stop.directory(place.path("")).finish(SOON).expect_success();
    process.wait(SOON).expect_success();
    fs::remove_dir_all(place.path("state")).unwrap();
    (place, PathBuf::from(said.stdout.trim_end()))
}

const ROWS: usize = 8_000;

#[test]
fn savepoint_of_the_version_before_is_migrated_and_one_that_does_not_fit_makes_nothing() {
    let (place, savepoint) = stopped();
    let from = || place.run().argument("--from").argument(&savepoint);
    let mut said = String::new();
    for operator in ["ledger2_bare", "ledger2_map"] {
        swap(&place, operator, "");
        said += &format!("{}\n", expect_refused(&place, from()));
    }
    let (folder, id) = (savepoint.to_str().unwrap(), savepoint.file_name().unwrap().to_str().unwrap());
    let id = id.strip_prefix("kept-").unwrap();
    insta::assert_snapshot!(said.replace(folder, "SAVEPOINT").replace(id, "ID"));
    assert!(!place.path("state").exists());
    swap(&place, "ledger2", "");
    // Before and behind the commit of the import, in the migration, and in the first checkpoint behind it.
    from().crash_at("dir.fsynced", 1).finish(SOON).expect(Exit::KILLED);
    from().crash_at("current.swapped", 2).finish(SOON).expect(Exit::KILLED);
    place.run().crash_at("migrate.written", 1).finish(SOON).expect(Exit::KILLED);
    place.run().crash_at("manifest.renamed", 1).finish(SOON).expect(Exit::KILLED);
    place.finish().expect_success();
    let truth = Place::of_ledger("10m", ROWS, 1_000_000);
    truth.finish().expect_success();
    let sorted = |mut rows: Vec<String>| {
        rows.sort();
        rows
    };
    assert!(sorted(place.rows("out")) == sorted(truth.rows("out")), "{} rows", place.rows("out").len());
}

/// Without the SDK, since no operator of the SDK's can return another number of values than it was given.
#[test]
fn operator_that_returns_fewer_values_than_it_was_given_is_told_so() {
    let (place, savepoint) = stopped();
    swap(&place, "raw", "");
    let written_by = |version: u32| {
        reseal(&savepoint, |manifest| {
            let states = &mut manifest["nodes"]["ledger"]["states"];
            let chain = ["chain", "raw"].iter().find_map(|name| states.get(name)).unwrap().clone();
            *states = serde_json::json!({ "raw": chain });
            states["raw"]["version"] = version.into();
        });
        let run = place.run().argument("--from").argument(&savepoint).argument("--allow-non-restored");
        let text = fs::read_to_string(place.path("p.toml")).unwrap();
        place.pipeline(&format!("{text}[restart]\nstrategy = \"none\"\n"));
        run
    };
    let failed = written_by(0).finish(SOON).expect(Exit::Code(1));
    let says = "migrating state \"raw\" from v0 to v2 failed (migrate): 0 values came back for 1, key \"made-";
    assert!(failed.stderr.contains(says), "{failed}");
}
