//! Two processes that want to be the same pipeline on one Kafka: the second hears who is there and for how long, or takes
//! over and the first leaves; a pipeline that changed what decides is not taken for another one that lost its history.

use std::fs;
use std::path::PathBuf;

use weir_tests::draft::Draft;
use weir_tests::kafka::{Broker, Isolation, PATIENCE};
use weir_tests::process::{Exit, Finished, Process, Weir};
use weir_tests::redact::{redact, without_numbers};
use weir_tests::wait::wait_until;

use crate::place::{Place, SOON, copy_folder};

/// Numbers without end into a topic.
struct Counting {
    broker: &'static Broker,
    name: String,
    topic: String,
    place: Place,
}

fn counting() -> Counting {
    let broker = Broker::of_this_run();
    let (name, topic) = (weir_tests::unique("one"), broker.topic("one", 1));
    let place = Place::over(&numbers(&name).kafka_sink("out", &["made"], broker.brokers(), &topic));
    Counting { broker, name, topic, place }
}

fn numbers(name: &str) -> Draft {
    let made = "type = \"generator\"\nrate = 500\ntemplate = \"{{seq}}\"";
    Draft::new(name, "interval = \"100ms\"").table("sources.made", made)
}

impl Counting {
    fn started(&self) -> Process {
        let process = self.place.run().spawn();
        self.wait_for_more();
        process
    }

    fn rows(&self) -> usize {
        self.broker.ends(&self.topic, Isolation::Committed)[0] as usize
    }

    fn wait_for_more(&self) {
        let before = self.rows();
        wait_until(PATIENCE, "rows are committed", || self.rows() > before);
    }

    fn run(&self, state: &str) -> Weir {
        Weir::run("p.toml", state).directory(self.place.path("")).env("WEIR_LOG", "warn")
    }

    /// Every number that was made, once and in its order.
    #[track_caller]
    fn expect_whole(&self) {
        self.broker.wait_until_no_open_transaction(&self.topic, PATIENCE);
        let rows = self.broker.read(&self.topic, Isolation::Committed);
        let numbers: Vec<usize> = rows.iter().map(|row| row.value_text().parse().unwrap()).collect();
        assert!(numbers == (0..numbers.len()).collect::<Vec<_>>(), "{} rows", numbers.len());
    }

    /// The words of a refusal, without what differs from run to run.
    fn said(&self, finished: &Finished, first: u32) -> String {
        let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
        let pid = format!("pid {first}");
        let names = [(host.trim(), "HOST"), (&pid, "pid PID"), (&self.name, "NAME")];
        let last = finished.stderr.lines().last().unwrap_or_default();
        without_numbers(&redact(last, &names))
    }
}

#[test]
fn second_one_of_a_name_is_refused_with_host_and_age_of_the_first() {
    let it = counting();
    let mut first = it.started();
    let pid = first.pid();
    // Another pipeline, or the same one with an empty folder.
    let refused = it.run("other").finish(SOON).expect(Exit::Code(7));
    insta::assert_snapshot!("another_state_folder", it.said(&refused, pid));
    // With a history of its own it would stand in the way of a savepoint of this one.
    assert!(!it.place.path("other").exists(), "what a refused start has made is taken back");
    let waits =
        refused.stderr.lines().any(|line| line.contains(&format!("process {pid} on ")) && line.contains(" ago"));
    assert!(waits, "{refused}");
    // The same one on another host: its folder was copied.
    copy_folder(&it.place.path("state"), &it.place.path("copy"));
    let refused = it.run("copy").finish(SOON).expect(Exit::Code(7));
    insta::assert_snapshot!("a_copy_of_the_state_folder", it.said(&refused, pid));
    // Neither has disturbed the first.
    it.wait_for_more();
    assert!(!first.stderr().contains("; restart "), "{}", first.stderr());
    first.terminate();
    first.wait(SOON).expect_success();
    let refused = it.run("other").finish(SOON).expect(Exit::Code(6));
    insta::assert_snapshot!("state_folder_of_another", it.said(&refused, pid));
    assert!(!it.place.path("other").exists(), "here too");
    it.expect_whole();
}

#[test]
fn whoever_takes_over_goes_on_and_the_first_stops_as_deposed() {
    let it = counting();
    let first = it.started();
    let pid = first.pid();
    // Nobody copies a folder in an instant: the first stands still meanwhile.
    let mut first = first;
    first.freeze();
    copy_folder(&it.place.path("state"), &it.place.path("copy"));
    let mut second = it.run("copy").argument("--takeover").spawn();
    it.wait_for_more();
    first.thaw();
    let deposed = first.wait(SOON).expect(Exit::Code(7));
    insta::assert_snapshot!("deposed", it.said(&deposed, pid).replace(&format!("pid {}", second.pid()), "pid SECOND"));
    it.wait_for_more();
    second.terminate();
    second.wait(SOON).expect_success();
    it.expect_whole();
}

#[test]
fn changed_authority_is_named_and_a_savepoint_is_the_way() {
    let it = counting();
    let file = numbers(&it.name).file_sink("out", &["made"]);
    let kafka = numbers(&it.name).kafka_sink("out", &["made"], it.broker.brokers(), &it.topic);
    let mut states = (0..).map(|n| format!("state-{n}"));
    let mut state = states.next().unwrap();
    let mut from: Option<PathBuf> = None;
    // From files into Kafka, and back.
    for (at, (here, there)) in [(&file, &kafka), (&kafka, &file)].into_iter().enumerate() {
        it.place.pipeline(here.text());
        let mut run = it.run(&state);
        if let Some(from) = &from {
            run = run.argument("--from").argument(from);
        }
        let process = run.spawn();
        let folder = it.place.path(&state);
        wait_until(SOON, "it is committed", || {
            let checkpoints = fs::read_dir(folder.join("checkpoints")).into_iter().flatten().flatten();
            checkpoints.into_iter().any(|entry| entry.path().join("committed").is_file())
                && folder.join("control.sock").exists()
        });
        let stop = ["stop", &it.name, "--state", &state, "--savepoint", "--to", "mine"];
        let said = Weir::new(stop).directory(it.place.path("")).finish(SOON).expect_success().stdout;
        process.wait(SOON).expect_success();
        from = Some(PathBuf::from(said.trim_end()));

        it.place.pipeline(there.text());
        let kept = |place: &Place| {
            let mut content = place.content();
            content
                .retain(|path, _| !path.ends_with("lock") && !path.components().any(|part| part.as_os_str() == "live"));
            content
        };
        let before = kept(&it.place);
        let refused = it.run(&state).finish(SOON).expect(Exit::Code(6));
        insta::assert_snapshot!(format!("changed_authority_{at}"), it.said(&refused, 0));
        assert!(kept(&it.place) == before, "touched\n{refused}");
        // As the message says: on an empty folder.
        state = states.next().unwrap();
    }
    // And once more for the last change.
    let mut last = it.run(&state).argument("--from").argument(from.unwrap()).spawn();
    wait_until(SOON, "it is committed", || it.place.path(&state).join("published").exists());
    last.terminate();
    last.wait(SOON).expect_success();
    // What came out is one sequence, in the folder and in the topic by turns.
    let mut numbers: Vec<usize> = it.place.rows("out").iter().map(|row| row.parse().unwrap()).collect();
    it.broker.wait_until_no_open_transaction(&it.topic, PATIENCE);
    numbers.extend(
        it.broker.read(&it.topic, Isolation::Committed).iter().map(|row| row.value_text().parse::<usize>().unwrap()),
    );
    numbers.sort_unstable();
    assert!(numbers == (0..numbers.len()).collect::<Vec<_>>(), "{} rows", numbers.len());
}
