//! Another operator at a node of a running pipeline, and the way back: what comes out is what one version would have given,
//! whatever fails and whatever is killed meanwhile. The ledger keeps hashes over all that it has seen.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use weir_tests::http::Answer;
use weir_tests::ip_count::IpCount;
use weir_tests::kafka::Broker;
use weir_tests::ledger::Workload;
use weir_tests::process::Exit;
use weir_tests::wait::{try_wait_for, wait_until};

use crate::local::{EVEN, Output, each, ledger, truth};
use crate::place::{Place, guest};
use crate::serve::{SOON, Server, WASM};

/// Slow enough that a switch comes in the middle.
const SLOW: &[u64] = &[500, 500];
const JSON: (&str, &str) = ("Content-Type", "application/json");

/// A server over the ledger's pipeline, with all its versions uploaded.
struct Deployed {
    place: Place,
    server: Option<Server>,
}

impl Deployed {
    /// With further lines at the node.
    fn new(more: &str) -> Deployed {
        let place = ledger(SLOW);
        let mut deployed = Deployed { place, server: None };
        deployed.start(None);
        let versions = [("ledger", "1.0.0"), ("ledger2", "2.0.0"), ("ledger2_bare", "2.0.1"), ("ledger2_map", "2.0.2")];
        for (file, version) in versions {
            let path = format!("/api/v1/operators/ledger/versions/{version}");
            deployed.server().send("PUT", &path, &[WASM], &fs::read(guest(file)).unwrap()).expect(201);
        }
        deployed.server().apply("ledger", &deployed.text(more)).expect(201);
        deployed
            .server()
            .wait_for("ledger", "two checkpoints", |view| view["last_checkpoint"]["epoch"].as_u64() >= Some(2));
        deployed
    }

    fn server(&self) -> &Server {
        self.server.as_ref().unwrap()
    }

    fn data(&self) -> PathBuf {
        self.place.path("data")
    }

    /// The server begins anew where it was, to be killed at this point.
    fn start(&mut self, crash: Option<(&str, u32)>) {
        self.server = None;
        self.server = Some(Server::start_as(&self.data(), |weir| match crash {
            Some((point, nth)) => weir.crash_at(point, nth),
            None => weir,
        }));
    }

    /// The pipeline's file as a server takes it.
    fn text(&self, more: &str) -> String {
        let text = fs::read_to_string(self.place.path("p.toml")).unwrap();
        let line = |line: &str| match line.split_once(" = ") {
            Some(("operator", _)) => format!("operator = \"ledger@1.0.0\"\n{more}\n"),
            Some(("path", path)) => format!("path = {:?}\n", self.place.path(path.trim_matches('"'))),
            _ => format!("{line}\n"),
        };
        text.lines().map(line).collect()
    }

    fn upgrade(&self, version: &str) -> Answer {
        let body = json!({"node": "ledger", "operator": format!("ledger@{version}"), "grace": "300ms", "wait": true});
        self.server().send("POST", "/api/v1/pipelines/ledger:upgrade", &[JSON], body.to_string().as_bytes())
    }

    fn rollback(&self) -> Answer {
        self.server().send("POST", "/api/v1/pipelines/ledger:rollback", &[JSON], b"{\"wait\": true}")
    }

    fn operation(&self, answer: &Answer) -> Value {
        let path = answer.json()["operation"].as_str().unwrap().to_owned();
        self.server().send("GET", &path, &[], b"").expect(200).json()
    }

    /// The version that the revision that counts has at its node.
    fn version(&self) -> String {
        let revision =
            self.server().send("GET", "/api/v1/pipelines/ledger/revisions/current", &[], b"").expect(200).json();
        let pins: Vec<&Value> = revision["operators"].as_object().unwrap().values().collect();
        pins[0]["version"].as_str().unwrap().to_owned()
    }

    #[track_caller]
    fn finish(&self, truth: &Output, after: &str) {
        self.server().wait_for_state("ledger", "stopped");
        Output::of(&self.place).expect(truth, after);
    }
}

#[test]
fn an_upgrade_to_what_a_node_has_starts_nothing_and_two_at_once_are_both_done_or_done_already() {
    let truth = truth(EVEN);
    let deployed = Deployed::new("");
    let ask = |action: &str, body: Value| {
        let path = format!("/api/v1/pipelines/ledger:{action}");
        deployed.server().send("POST", &path, &[JSON], body.to_string().as_bytes())
    };
    ask("pause", json!({"wait": true})).expect(200);
    let same = deployed.upgrade("1.0.0").expect(200).json();
    assert_eq!((&same["state"], &same["operation"], &same["trial"]), (&"paused".into(), &Value::Null, &Value::Null));
    // On trial, it is shown as such.
    let upgrade = json!({"node": "ledger", "operator": "ledger@2.0.0", "grace": "60s"});
    let on_trial = ask("upgrade", upgrade).expect(202).json();
    assert_eq!((&on_trial["revision"], &on_trial["trial"]["back_to"]), (&2.into(), &1.into()), "{on_trial}");
    let shown = deployed.server().says(["pipeline", "show", "ledger"]);
    assert!(shown.contains("ing (trial)\n"), "starting or running: {shown}");
    let back = ask("stop", json!({"wait": true})).expect(200).json();
    assert_eq!((&back["state"], &back["trial"]), (&"stopped".into(), &Value::Null), "{back}");
    std::thread::scope(|scope| {
        let both = [(); 2].map(|()| scope.spawn(|| deployed.upgrade("2.0.0").expect(200)));
        both.into_iter().for_each(|answer| drop(answer.join().unwrap()));
    });
    assert_eq!(deployed.version(), "2.0.0");
    deployed.finish(&truth, "two upgrades at once");
}

#[test]
fn the_new_operator_goes_on_with_the_state_of_the_old_one_and_what_does_not_fit_stops_nothing() {
    let truth = truth(EVEN);
    let deployed = Deployed::new("");
    for version in ["2.0.1", "2.0.2"] {
        let refused = deployed.upgrade(version).expect_problem(409, "incompatible-state").json();
        let detail = refused["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains("state \"chain\" v1 (value) of node \"ledger\""), "{detail}");
    }
    let view = deployed.server().get("ledger");
    assert_eq!((&view["state"], &view["revision"], &view["restarts"]), (&json!("running"), &json!(1), &json!(0)));

    let upgraded = deployed.upgrade("2.0.0").expect(200);
    assert_eq!(deployed.operation(&upgraded)["state"], "succeeded");
    assert_eq!(
        (deployed.version(), deployed.server().get("ledger")["revision"].as_u64()),
        ("2.0.0".to_owned(), Some(2))
    );
    // The old one cannot read what the new one has written.
    deployed.rollback().expect_problem(409, "incompatible-state");
    deployed.finish(&truth, "an upgrade");
}

#[test]
fn one_that_traps_on_trial_is_taken_back_by_itself_and_nothing_is_lost_or_doubled() {
    let truth = truth(EVEN);
    let deployed = Deployed::new("config = { migrate = \"panic\" }");
    let upgraded = deployed.upgrade("2.0.0").expect(200);
    let operation = deployed.operation(&upgraded);
    assert_eq!(operation["state"], "failed", "{operation}");
    let problem = operation["problem"].as_str().unwrap();
    assert!(problem.starts_with("revision 2 failed on trial, revision 1 is back: "), "{problem}");
    let view = deployed.server().get("ledger");
    assert_eq!((view["revision"].as_u64(), deployed.version()), (Some(3), "1.0.0".to_owned()), "{view}");
    assert_eq!(view["problem"], operation["problem"], "{view}");
    // The pipeline goes on: nothing of it has failed.
    let log = deployed.server().process.stderr();
    assert!(log.contains("revision 2 does not stand its trial: ") && !log.contains("the pipeline has failed"), "{log}");
    deployed.finish(&truth, "a trial");
}

/// A roll-back is what anybody does who sees a bad trial. Its last checkpoint would have made the migration stay.
#[test]
fn whatever_comes_during_a_trial_throws_it_away_and_the_revision_before_is_back() {
    let truth = truth(EVEN);
    let actions = [("rollback", "running"), ("stop", "stopped"), ("pause", "paused"), ("cancel", "stopped")];
    each(&actions, |(action, state)| {
        let deployed = Deployed::new("");
        let body = json!({"node": "ledger", "operator": "ledger@2.0.0", "grace": "60s"}).to_string();
        let post = |action: &str, body: &str| {
            deployed.server().send("POST", &format!("/api/v1/pipelines/ledger:{action}"), &[JSON], body.as_bytes())
        };
        post("upgrade", &body).expect(202);
        wait_until(SOON, "the new operator has records", || {
            let status = deployed.server().send("GET", "/api/v1/pipelines/ledger/nodes/ledger/status", &[], b"");
            deployed.server().get("ledger")["revision"] == 2
                && status.status == 200
                && status.json()["total"]["records_in"].as_u64() > Some(0)
        });
        post(action, "{\"wait\": true}").expect(200);
        let view = deployed.server().get("ledger");
        assert_eq!((&view["state"], &view["revision"]), (&json!(state), &json!(3)), "{action}: {view}");
        assert_eq!(deployed.version(), "1.0.0", "{action}");
        if *state != "running" {
            post("restart", "{}").expect(202);
        }
        deployed.finish(&truth, action);
    });
}

#[test]
fn killed_at_each_step_of_an_upgrade_it_is_the_old_or_the_new_operator_and_nothing_between() {
    let truth = truth(EVEN);
    // The server that is killed has applied nothing: it has found the pipeline.
    let points = ["revision.written", "audit.noted", "deploy.switched", "trial.begun", "trial.passed"];
    each(&points, |point| {
        let mut deployed = Deployed::new("");
        deployed.start(Some((*point, 1)));
        deployed.server().wait_for_state("ledger", "running");
        upgrade_until_killed(&mut deployed, point);
        deployed.start(None);
        let (before, version) = (["revision.written", "audit.noted"].contains(point), deployed.version());
        assert_eq!(version, if before { "1.0.0" } else { "2.0.0" }, "{point}");
        deployed.finish(&truth, point);
    });
}

#[test]
fn killed_at_each_step_of_a_roll_back_it_is_the_new_operator_or_the_old_one_and_nothing_between() {
    let truth = truth(EVEN);
    // The first ones are those of the upgrade.
    let points = [("revision.written", 2), ("audit.noted", 2), ("trial.taken_back", 1)];
    each(&points, |(point, nth)| {
        let mut deployed = Deployed::new("config = { migrate = \"panic\" }");
        deployed.start(Some((*point, *nth)));
        deployed.server().wait_for_state("ledger", "running");
        upgrade_until_killed(&mut deployed, point);
        deployed.start(None);
        deployed.server().wait_for("ledger", "the old one again", |view| view["revision"] == 3);
        assert_eq!(deployed.version(), "1.0.0", "{point}");
        deployed.finish(&truth, point);
    });
}

#[test]
fn upgraded_under_load_on_kafka_and_killed_meanwhile_nothing_is_lost_or_doubled() {
    let seed = weir_tests::seed();
    let workload = Workload { records: 200_000, per_second: 10_000, late: Some((97, 3_000)), ..Workload::default() };
    let mut pipeline = IpCount::on(Broker::of_this_run(), &workload);
    pipeline.set("checkpoint.interval", "20ms");
    let bytes = fs::read(weir_tests::repository().join("examples/ip-count/target/weir/ip_count.wasm")).unwrap();
    pipeline.set("nodes.count.operator", "ip-count@1.0.0");
    let (dir, name) = (tempfile::tempdir().unwrap(), pipeline.name().to_owned());
    let mut server = Server::start(dir.path());
    for version in ["1.0.0", "1.1.0"] {
        server.send("PUT", &format!("/api/v1/operators/ip-count/versions/{version}"), &[WASM], &bytes).expect(201);
    }
    server.apply(&name, &fs::read_to_string(pipeline.file()).unwrap()).expect(201);
    let mut upgrades = 0;
    for round in 0..10_u64 {
        let version = if round % 2 == 0 { "1.1.0" } else { "1.0.0" };
        let body = json!({"node": "count", "operator": format!("ip-count@{version}"), "grace": "50ms"}).to_string();
        let answer = server.send("POST", &format!("/api/v1/pipelines/{name}:upgrade"), &[JSON], body.as_bytes());
        assert!([200, 202].contains(&answer.status), "{answer:?}");
        upgrades += u32::from(answer.status == 202);
        // From before the old one has stopped to well behind the trial.
        let moment = Duration::from_millis(20 + weir_tests::mix(seed, round) % 700);
        let ended = try_wait_for(moment, || server.process.try_exit());
        assert_eq!(ended, None, "WEIR_TEST_SEED={seed}: {}", server.process.stderr());
        server.process.kill9();
        server = Server::start(dir.path());
    }
    assert!(upgrades >= 5, "{upgrades}");
    server.wait_for_state(&name, "stopped");
    let verdict = pipeline.judge();
    assert!(verdict.is_clean(), "WEIR_TEST_SEED={seed}, {upgrades} upgrades: {verdict}");
}

/// Asks for the upgrade and waits for the kill.
#[track_caller]
fn upgrade_until_killed(deployed: &mut Deployed, point: &str) {
    let server = deployed.server.take().unwrap();
    let bearer = format!("Bearer {}", server.token);
    let body = json!({"node": "ledger", "operator": "ledger@2.0.0", "grace": "300ms", "wait": true}).to_string();
    let headers = [("Authorization", bearer.as_str()), JSON];
    let _ = weir_tests::http::try_request(
        &server.address,
        "POST",
        "/api/v1/pipelines/ledger:upgrade",
        &headers,
        body.as_bytes(),
    );
    let ended = server.process.wait(SOON);
    assert_eq!(ended.exit, Exit::KILLED, "{point}: {ended}");
}
