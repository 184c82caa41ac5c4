//! Checkpoints that are slow, fail, or are thrown away, seen from outside: what the pipeline does, and what it says about them.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::thread::available_parallelism;

use serde_json::Value;
use weir_tests::http::request;
use weir_tests::probe::Probe;
use weir_tests::process::{Exit, Finished, Weir};
use weir_tests::wait::{try_wait_for, wait_until};

use crate::place::{Place, SOON, guest};

fn weir(place: &Place, arguments: &[&str]) -> Finished {
    Weir::new(arguments).directory(place.path("")).env("WEIR_LOG", "warn").finish(SOON)
}

/// `weir checkpoint COMMAND kept --state state …`.
fn checkpoint(place: &Place, command: &str, more: &[&str]) -> Finished {
    weir(place, &[&["checkpoint", command, "kept", "--state", "state"], more].concat())
}

/// What is known of the newest checkpoints, newest first.
fn history(place: &Place) -> Vec<Value> {
    let shown = checkpoint(place, "show", &["--format", "json"]);
    if shown.exit != Exit::Code(0) {
        // The run has not made its folder yet.
        return Vec::new();
    }
    serde_json::from_str::<Value>(&shown.stdout).unwrap().as_array().unwrap().clone()
}

fn ids(place: &Place) -> Vec<String> {
    let listed = checkpoint(place, "list", &["--format", "json"]).expect_success().stdout;
    let listed: Value = serde_json::from_str(&listed).unwrap();
    listed.as_array().unwrap().iter().map(|it| it["id"].as_str().unwrap().to_owned()).collect()
}

/// Two inputs of a ledger: `fast`, and `slow`, whose operator stands still at one record, until that is found and left out:
/// for as many instructions as take more than half a second, however busy the machine is. All its keys belong to the second of
/// two subtasks, so the thread of the others is free meanwhile.
fn two_inputs(checkpoint: &str) -> Place {
    let place = Place::new();
    place.pipeline(&format!(
        r#"version = 1
name = "kept"
[checkpoint]
{checkpoint}
[sources.fast]
type = "generator"
seed = 1
count = 12000
rate = 4000
template = '{{"k":"f{{{{int 0 9}}}}","seq":{{{{seq}}}},"val":7,"ts":{{{{time 1700000000000 1 0 0}}}}}}'
event_time = {{ json = "/ts" }}
[sources.slow]
type = "generator"
seed = 2
count = 1500
rate = 2000
template = '{{"k":"s1","seq":{{{{seq}}}},"val":7,"ts":{{{{time 1700000000000 4 0 0}}}}}}'
event_time = {{ json = "/ts" }}
[nodes.drag]
operator = "{}"
inputs = ["slow"]
key = {{ json = "/k" }}
parallelism = 2
on_error = "skip"
config = {{ do = "loop", on = ":500,\"val" }}
limits = {{ call_timeout = "2s" }}
[nodes.ledger]
operator = "{}"
inputs = ["fast", "drag"]
key = {{ json = "/k" }}
[sinks.out]
type = "file"
inputs = ["ledger"]
path = "out"
"#,
        guest("hostile").display(),
        guest("ledger").display()
    ));
    place
}

fn sorted(place: &Place) -> Vec<String> {
    let mut rows = place.rows("out");
    rows.sort();
    rows
}

/// Per key, how many rows there are and the highest count in them.
fn counts(place: &Place) -> BTreeMap<String, (u64, u64)> {
    let mut counts = BTreeMap::new();
    for row in place.rows("out") {
        let row: Value = serde_json::from_str(&row).unwrap();
        let (rows, highest) = counts.entry(row["key"].as_str().unwrap().to_owned()).or_insert((0, 0));
        *rows += 1;
        *highest = row["count"].as_u64().unwrap().max(*highest);
    }
    counts
}

fn longest_alignment(history: &[Value]) -> f64 {
    // Of manifests alone nothing is known of subtasks.
    let parts = history.iter().flat_map(|it| it["subtasks"].as_array().into_iter().flatten());
    parts.map(|part| part["alignment_ms"].as_f64().unwrap()).fold(0.0, f64::max)
}

#[test]
fn at_least_once_waits_for_no_input_loses_nothing_and_counts_some_records_again() {
    let truth = two_inputs("interval = \"100ms\"");
    let process = truth.run().spawn();
    let align = || longest_alignment(&history(&truth)) > 0.0;
    assert!(try_wait_for(SOON, || align().then_some(())).is_some(), "exactly once, the fast input waits");
    process.wait(SOON).expect_success();
    let truth = counts(&truth);

    let place = two_inputs("interval = \"100ms\"\nguarantee = \"at-least-once\"");
    let mut doubled = false;
    // Each kill right behind a commit, so also behind that of the checkpoint which waited for the slow input: its snapshot has
    // rows that the fast one reads again.
    for _ in 0..12 {
        let exit = place.run().crash_at("epoch.advanced", 1).finish(SOON).exit;
        assert!(matches!(exit, Exit::KILLED | Exit::Code(0)), "{exit:?}");
    }
    let mut process = place.run().spawn();
    while process.try_exit().is_none() {
        assert_eq!(longest_alignment(&history(&place)), 0.0);
    }
    process.wait(SOON).expect_success();
    let found = counts(&place);
    assert_eq!(found.keys().collect::<Vec<_>>(), truth.keys().collect::<Vec<_>>());
    for (key, (rows, highest)) in &truth {
        let (found_rows, found_highest) = found[key];
        assert!(found_rows >= *rows && found_highest >= *highest, "{key}: {rows}, {highest}; {:?}", found[key]);
        doubled |= found_highest > *highest;
    }
    // On one core the slow subtask holds up the fast input too.
    assert!(doubled || available_parallelism().unwrap().get() == 1, "the snapshots had nothing that is read again");
}

/// The row "Timeout" of semantics 1.1, and of 1.8 "failed CP shows reason and guilty task": while an operator stands still
/// checkpoints expire; the pipeline is not started again, and the next one that has the time covers them.
#[test]
fn checkpoint_that_expires_names_who_held_it_up_and_a_later_one_covers_it() {
    let truth = two_inputs("interval = \"10m\"");
    truth.finish().expect_success();
    // So many that one of them waits for longer than its time-out, and so few that all of the run are remembered.
    let place = two_inputs("interval = \"300ms\"\ntimeout = \"150ms\"\ntolerable_failures = 1000");
    let process = place.run().spawn();
    // Others may expire behind the last barrier, while the snapshot waits for a busy disk: nobody holds those up.
    let held_up = |it: &Value| {
        let mut waiting = it["waiting"].as_array().into_iter().flatten();
        it["status"] == "failed" && waiting.any(|it| it["chain"] == "ledger > out")
    };
    let failed = || history(&place).into_iter().find(held_up);
    let failed = try_wait_for(SOON, failed).expect("a checkpoint expires while an operator stands still");
    assert_eq!(failed["failure"], "it took longer than checkpoint.timeout");
    // By its id alone: it has no manifest.
    let id = failed["id"].as_str().unwrap().to_owned();
    let shown = checkpoint(&place, "show", &[&id]).expect_success().stdout;
    assert!(shown.contains("is failed") && shown.contains("not passed: ledger > out [0]"), "{shown}");
    assert!(!ids(&place).contains(&id) && !place.path(&format!("state/checkpoints/{id}")).exists());
    let ended = process.wait(SOON).expect_success();
    assert!(ended.stderr.contains("its barrier had not passed ") && !ended.stderr.contains("; restart "), "{ended}");
    assert_eq!(counts(&place), counts(&truth));
    assert!(sorted(&place) == sorted(&truth), "the rows of a run in which nothing expired");
}

#[test]
fn show_says_of_each_checkpoint_and_subtask_what_it_took() {
    let place = Place::of_ledger("50ms", 80_000, 4_000);
    let Probe { mut process, address } = Probe::start(place.run());
    wait_until(SOON, "some are committed", || history(&place).len() > 4);
    let id = checkpoint(&place, "trigger", &[]).expect_success().stdout.trim().to_owned();
    let path = "/api/v1/pipelines/kept/checkpoints";
    let get = |more: &str| request(&address, "GET", &format!("{path}{more}"), &[], b"");
    // The socket and the address say the same.
    let shown = checkpoint(&place, "show", &[&id, "--format", "json"]).expect_success().stdout;
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(get(&format!("/{id}")).expect(200).json(), shown);
    let made = &shown["statistics"];
    assert_eq!((&made["status"], &made["kind"]), (&Value::from("completed"), &Value::from("checkpoint")));
    assert_eq!(shown["bytes"], made["full_bytes"]);
    let time = |it: &Value, key: &str| it[key].as_f64().unwrap_or_else(|| panic!("no {key} in {it:#}"));
    let parts = ["start_delay_ms", "sync_ms", "async_ms", "commit_ms"].map(|key| time(made, key));
    assert!(parts.iter().sum::<f64>() <= time(made, "duration_ms") + 1.0 && parts[2] > 0.0, "{made:#}");
    let subtasks = made["subtasks"].as_array().unwrap();
    let chains: Vec<&str> = subtasks.iter().map(|it| it["chain"].as_str().unwrap()).collect();
    assert_eq!(chains, ["made > ledger > out"]);
    let ledger = &subtasks[0];
    assert!(ledger["new_entries"].as_u64().unwrap() > 0 && ledger["state_bytes"].as_u64().unwrap() > 0, "{ledger:#}");
    assert!(ledger["records"].as_u64().unwrap() > 0 && made["slowest"]["chain"].is_string());
    let own = ["start_delay_ms", "alignment_ms", "async_ms"].map(|key| time(ledger, key));
    assert!(own[2] > 0.0 && own.iter().sum::<f64>() <= time(ledger, "total_ms") + 0.1, "{ledger:#}");
    let text = checkpoint(&place, "show", &[&id]).expect_success().stdout;
    assert!(text.contains(&format!("sync {:.1}, async {:.1}), ", time(ledger, "sync_ms"), own[2])), "{text}");
    let all = get("/history").expect(200).json();
    assert!(all["items"].as_array().unwrap().len() <= 20);
    get("/999-1").expect_problem(404, "unknown-checkpoint");
    get("/x").expect_problem(404, "unknown-checkpoint");
    let metrics = request(&address, "GET", "/metrics", &[], b"").expect(200).body;
    assert!(metrics.contains("weir_checkpoint_duration_seconds{pipeline=\"kept\",phase=\"alignment\"}"), "{metrics}");
    process.kill9();
    process.wait(SOON);
    // What manifests say is still there.
    let newest = ids(&place).remove(0);
    let shown = checkpoint(&place, "show", &[&newest, "--format", "json"]).expect_success().stdout;
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert!(shown["statistics"].is_null() && shown["files"].is_array());
    let table = checkpoint(&place, "show", &[]).expect_success().stdout;
    assert!(table.lines().nth(1).unwrap().starts_with(&newest), "{table}");
}

/// Every file below `checkpoints`.
fn stored(place: &Place) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    place.content().into_iter().filter(|(path, _)| path.starts_with("state/checkpoints")).collect()
}

/// Killed in the middle; so many checkpoints are kept.
fn killed(place: &Place) {
    let text = fs::read_to_string(place.path("p.toml")).unwrap();
    place.pipeline(&text.replace("[checkpoint]\n", "[checkpoint]\nretain = 5\n"));
    place.run().crash_at("epoch.advanced", 7).finish(SOON).expect(Exit::KILLED);
}

#[test]
fn deleting_any_checkpoint_never_hurts_another_and_the_newest_commit_stays() {
    let truth = Place::of_ledger("10m", 6_000, 4_000);
    truth.finish().expect_success();
    let place = Place::of_ledger("30ms", 6_000, 4_000);
    killed(&place);
    let known = ids(&place);
    assert_eq!(known, ["7-1", "6-1", "5-1", "4-1", "3-1", "2-1"]);
    let before = stored(&place);
    for (refused, says) in [
        (&known[0], "checkpoint 7-1 is the newest commit, which the next start restores"),
        (&"9-1".to_owned(), "there is no committed checkpoint 9-1"),
        (&"../x".to_owned(), "there is no checkpoint \"../x\": an id is EPOCH-TOKEN"),
    ] {
        let refused = checkpoint(&place, "rm", &[refused]).expect(Exit::Code(6));
        assert!(refused.stderr.contains(says), "{refused}");
    }
    assert!(stored(&place) == before, "a refusal deletes nothing");
    // From the middle, several at once, the oldest last: each time those that are left are whole.
    for gone in [&["5-1"][..], &["3-1", "6-1"], &["2-1"]] {
        checkpoint(&place, "rm", gone).expect_success();
        let left = ids(&place);
        assert!(gone.iter().all(|id| !left.contains(&(*id).to_owned())));
        for id in &left {
            checkpoint(&place, "verify", &[id]).expect_success();
        }
    }
    assert_eq!(ids(&place), ["7-1", "4-1"]);
    // A file that no manifest names is gone with its last one.
    let named = |id: &str| {
        let manifest = fs::read(place.path(&format!("state/checkpoints/{id}/manifest"))).unwrap();
        let manifest: Value = serde_json::from_slice(&manifest).unwrap();
        let (base, deltas) = (manifest["state"]["base"].clone(), manifest["state"]["deltas"].clone());
        let files = base.as_object().unwrap().values().chain(deltas.as_array().unwrap());
        files.map(|file| file["stored"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let needed = [named("7-1"), named("4-1")].concat();
    for entry in fs::read_dir(place.path("state/checkpoints/files")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(needed.contains(&name), "{name} is of no checkpoint");
    }
    place.finish().expect_success();
    assert!(sorted(&place) == sorted(&truth), "the rows of a run without failure");
}

#[test]
fn running_pipeline_deletes_its_old_checkpoints_itself_and_goes_on() {
    let place = Place::of_ledger("10m", 24_000, 4_000);
    let Probe { mut process, address } = Probe::start(place.run());
    wait_until(SOON, "it runs", || checkpoint(&place, "trigger", &["--detach"]).exit == Exit::Code(0));
    let made: Vec<String> =
        (0..3).map(|_| checkpoint(&place, "trigger", &[]).expect_success().stdout.trim().to_owned()).collect();
    let [oldest, older, newest] = &made[..] else { panic!("three were asked for") };
    let refused = checkpoint(&place, "rm", &[newest, oldest]).expect(Exit::Code(6));
    assert!(refused.stderr.contains("is the newest commit") && refused.stdout.trim() == oldest, "{refused}");
    assert!(!ids(&place).contains(oldest) && !place.path(&format!("state/checkpoints/{oldest}")).exists());
    let token = fs::read_to_string(place.path("state/admin-token")).unwrap();
    let token = format!("Bearer {}", token.trim());
    let delete = |id: &str, token: &[(&str, &str)]| {
        request(&address, "DELETE", &format!("/api/v1/pipelines/kept/checkpoints/{id}"), token, b"")
    };
    delete(older, &[]).expect_problem(401, "unauthorized");
    let with = [("Authorization", token.as_str())];
    delete(older, &with).expect(204);
    delete(older, &with).expect_problem(404, "unknown-checkpoint");
    delete(newest, &with).expect_problem(409, "checkpoint-needed");
    checkpoint(&place, "verify", &[newest]).expect_success();
    // Killed now, the newest is all that it needs.
    process.kill9();
    process.wait(SOON);
    place.finish().expect_success();
    let truth = Place::of_ledger("10m", 24_000, 1_000_000);
    truth.finish().expect_success();
    assert!(sorted(&place) == sorted(&truth), "the rows of a run without failure");
}

/// The ledger is called `new` from here on.
fn rename(place: &Place, previous: Option<&str>) {
    let text = fs::read_to_string(place.path("p.toml")).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with("previous_name"));
    let text: String = lines.map(|line| format!("{line}\n")).collect();
    let text = text.replace("[nodes.ledger]", "[nodes.new]").replace("inputs = [\"ledger\"]", "inputs = [\"new\"]");
    let previous = previous.map(|name| format!("previous_name = \"{name}\"\n")).unwrap_or_default();
    place.pipeline(&text.replace("[nodes.new]\n", &format!("[nodes.new]\n{previous}")));
}

fn nodes_of_newest(place: &Place) -> Vec<String> {
    let newest = ids(place).remove(0);
    let shown = checkpoint(place, "show", &[&newest, "--format", "json"]).expect_success().stdout;
    let shown: Value = serde_json::from_str(&shown).unwrap();
    shown["nodes"].as_object().unwrap().keys().cloned().collect()
}

#[test]
fn renamed_node_takes_its_state_over_and_the_next_manifest_knows_it_by_its_new_name() {
    let truth = Place::of_ledger("10m", 6_000, 4_000);
    truth.finish().expect_success();
    let place = Place::of_ledger("30ms", 6_000, 4_000);
    place.run().crash_at("epoch.advanced", 5).finish(SOON).expect(Exit::KILLED);
    rename(&place, None);
    let refused = place.finish().expect(Exit::Code(6));
    assert!(refused.stderr.contains("of node \"ledger\""), "{refused}");
    let before = stored(&place);
    rename(&place, Some("legder"));
    let refused = place.finish().expect(Exit::Code(6));
    assert!(
        refused.stderr.contains(
            "node `new` has previous_name = \"legder\", and checkpoint 5-1 has no node of that name: it has `ledger`"
        ),
        "{refused}"
    );
    assert!(stored(&place) == before, "nothing was changed");
    rename(&place, Some("ledger"));
    place.run().crash_at("epoch.advanced", 3).finish(SOON).expect(Exit::KILLED);
    assert_eq!(nodes_of_newest(&place), ["new"]);
    // The key may stay, and may go.
    place.run().crash_at("epoch.advanced", 2).finish(SOON).expect(Exit::KILLED);
    rename(&place, None);
    place.finish().expect_success();
    assert!(sorted(&place) == sorted(&truth), "the rows of a run without failure");
}

#[test]
fn renamed_node_finds_its_state_in_a_savepoint() {
    let place = Place::of_ledger("50ms", 12_000, 4_000);
    let process = place.run().spawn();
    wait_until(SOON, "it runs", || checkpoint(&place, "trigger", &["--detach"]).exit == Exit::Code(0));
    let path = weir(&place, &["stop", "kept", "--state", "state", "--savepoint", "--to", "mine"]).expect_success();
    process.wait(SOON).expect_success();
    let from = path.stdout.trim();
    let start = |place: &Place| {
        Weir::run("p.toml", "other").directory(place.path("")).env("WEIR_LOG", "warn").argument("--from").argument(from)
    };
    rename(&place, Some("nobody"));
    for more in [&[][..], &["--allow-non-restored"]] {
        let refused = more.iter().fold(start(&place), Weir::argument).finish(SOON).expect(Exit::Code(6));
        assert!(refused.stderr.contains("previous_name = \"nobody\"") && !place.path("other").exists(), "{refused}");
    }
    rename(&place, Some("ledger"));
    // A file sink's folder belongs to the state folder that it was written with.
    let before = place.rows("out");
    let text = fs::read_to_string(place.path("p.toml")).unwrap();
    place.pipeline(&text.replace("path = \"out\"", "path = \"more\""));
    start(&place).finish(SOON).expect_success();
    let mut rows = [before, place.rows("more")].concat();
    rows.sort();
    let truth = Place::of_ledger("10m", 12_000, 1_000_000);
    truth.finish().expect_success();
    let mut expected = truth.rows("out");
    expected.sort();
    assert!(rows == expected, "the rows of a run without failure");
}

/// An epoch that nobody committed may be tried again, but under another token: no id is ever used twice.
#[test]
fn ids_rise_over_kills_and_none_is_used_twice() {
    let place = Place::of_ledger("30ms", 6_000, 4_000);
    let mut seen: Vec<(u64, i64)> = Vec::new();
    for point in ["manifest.renamed", "current.swapped", "dir.fsynced"] {
        place.run().crash_at(point, 4).finish(SOON).expect(Exit::KILLED);
        let folders = fs::read_dir(place.path("state/checkpoints")).unwrap();
        let id = |name: String| Some((name.split_once('-')?.0.parse().ok()?, name.split_once('-')?.1.parse().ok()?));
        let mut ids: Vec<(u64, i64)> =
            folders.filter_map(|entry| id(entry.unwrap().file_name().into_string().unwrap())).collect();
        ids.retain(|id| !seen.contains(id));
        ids.sort_unstable();
        let newest = seen.iter().max().copied().unwrap_or_default();
        assert!(!ids.is_empty() && ids.iter().all(|id| *id > newest || id.1 > newest.1), "{ids:?} after {seen:?}");
        seen.extend(ids);
    }
    let listed = ids(&place);
    let epochs: Vec<u64> = listed.iter().map(|id| id.split_once('-').unwrap().0.parse().unwrap()).collect();
    assert!(epochs.windows(2).all(|pair| pair[0] > pair[1]), "{listed:?}");
}

#[test]
fn server_deletes_checkpoints_of_pipelines_that_run_and_of_those_that_do_not() {
    let place = Place::new();
    let data = place.path("data");
    let mut server = Weir::new(["serve", "--listen", "127.0.0.1:0", "--data"]).argument(&data).spawn();
    let address = server.wait_for_line(SOON, " serves http://").rsplit_once("http://").unwrap().1.to_owned();
    let token = format!("Bearer {}", fs::read_to_string(data.join("admin-token")).unwrap().trim());
    let ask = |method: &str, path: &str, body: &[u8]| {
        let headers = [("Authorization", token.as_str()), ("Content-Type", "application/toml")];
        request(&address, method, &format!("/api/v1/pipelines/kept{path}"), &headers, body)
    };
    let pipeline = "version = 1\nname = \"kept\"\n[checkpoint]\ninterval = \"10m\"\nretain = 5\n[sources.s]\n\
                    type = \"generator\"\nrate = 100\ntemplate = 'x{{seq}}'\n[sinks.out]\ntype = \"discard\"\ninputs = [\"s\"]\n";
    ask("PUT", "", pipeline.as_bytes()).expect(201);
    wait_until(SOON, "it runs", || ask("GET", "", b"").json()["state"] == "running");
    let made: Vec<String> = (0..3)
        .map(|_| ask("POST", "/checkpoints", b"{}").expect(201).json()["id"].as_str().unwrap().to_owned())
        .collect();
    ask("DELETE", &format!("/checkpoints/{}", made[0]), b"").expect(204);
    ask("POST", ":stop", br#"{"wait": true}"#).expect(200);
    ask("DELETE", &format!("/checkpoints/{}", made[1]), b"").expect(204);
    ask("GET", &format!("/checkpoints/{}", made[1]), b"").expect(200);
    let listed = ask("GET", "/checkpoints", b"").expect(200).json();
    let ids: Vec<&str> = listed["items"].as_array().unwrap().iter().map(|it| it["id"].as_str().unwrap()).collect();
    // Behind what was asked for came the last one of the stop.
    assert!(ids.len() == 2 && ids[1] == made[2], "{ids:?} of {made:?}");
    ask("DELETE", &format!("/checkpoints/{}", ids[0]), b"").expect_problem(409, "checkpoint-needed");
    ask("DELETE", "/checkpoints/77-7", b"").expect_problem(404, "unknown-checkpoint");
}
