//! What Kafka sources read: partitions that appear while a pipeline runs and is killed, sources that end beside sources
//! that do not, and starts that are refused because of what they ask for.

use std::collections::{BTreeMap, BTreeSet};

use weir_tests::draft::Draft;
use weir_tests::kafka::{Broker, Isolation, PATIENCE, Record, Row};
use weir_tests::process::{Exit, Process, Weir};
use weir_tests::wait::try_wait_for;

use crate::place::{Place, SOON, guest};

/// A pipeline that copies what its Kafka sources read to a topic of its own.
struct Copy {
    place: Place,
    broker: &'static Broker,
    name: String,
    sink: String,
    /// Rows that are in the sources, by source partition in order.
    expected: BTreeMap<String, Vec<String>>,
}

impl Copy {
    fn new() -> Copy {
        let broker = Broker::of_this_run();
        let (name, sink) = (weir_tests::unique("copy"), broker.topic("copy-sink", 1));
        Copy { place: Place::new(), broker, name, sink, expected: BTreeMap::new() }
    }

    /// A topic with this ending to the name of the pipeline, whose times are not deleted.
    fn topic(&self, ending: &str, partitions: i32) -> String {
        let topic = format!("{}-{ending}", self.name);
        self.broker.create_topic(&topic, partitions, &[("retention.ms", "-1")]);
        topic
    }

    /// The sources as they are written below `[sources.…]`.
    fn sources(&self, sources: &[(&str, &str)]) {
        let Copy { name, sink, broker, .. } = self;
        let names: Vec<String> = sources.iter().map(|(name, _)| format!("\"{name}\"")).collect();
        let tables: String =
            sources.iter().map(|(name, keys)| format!("[sources.{name}]\ntype = \"kafka\"\n{keys}\n")).collect();
        self.place.pipeline(&format!(
            "version = 1\nname = \"{name}\"\n[checkpoint]\ninterval = \"50ms\"\n[defaults.kafka]\nbrokers = \"{}\"\n\
             {tables}[sinks.out]\ntype = \"kafka\"\ntopic = \"{sink}\"\ninputs = [{}]\n",
            broker.brokers(),
            names.join(", ")
        ));
    }

    /// Appends so many rows to a partition.
    fn put(&mut self, topic: &str, partition: i32, rows: usize) {
        let split = format!("{topic}/{partition}");
        let known = self.expected.entry(split.clone()).or_default();
        let new: Vec<String> = (known.len()..known.len() + rows).map(|n| format!("{split}@{n}")).collect();
        let records = new.iter().map(|value| Record::new(value.as_str()).key(split.as_str()).partition(partition));
        self.broker.produce(topic, records);
        known.extend(new);
    }

    fn run(&self) -> Weir {
        self.place.run().env("WEIR_LOG", "info")
    }

    /// Waits until so many rows are committed.
    #[track_caller]
    fn wait_for_rows(&self, process: &mut Process, rows: usize) {
        let mut reader = self.broker.reader(&self.sink, Isolation::Committed);
        let met =
            try_wait_for(SOON, || (reader.read_to_end().len() >= rows || process.try_exit().is_some()).then_some(()));
        let has = reader.rows().len();
        assert!(met.is_some() && has >= rows, "{has} of {rows} rows, {:?}: {}", process.try_exit(), process.stderr());
    }

    #[track_caller]
    fn stop(&self, mut process: Process) {
        process.terminate();
        process.wait(SOON).expect_success();
    }

    /// Every row of the sources is in the sink once, in its partition's order.
    #[track_caller]
    fn expect_exactly_once(&self) {
        self.broker.wait_until_no_open_transaction(&self.sink, PATIENCE);
        let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for row in self.broker.read(&self.sink, Isolation::Committed) {
            found.entry(Row::key_text(&row)).or_default().push(row.value_text());
        }
        for (split, expected) in &self.expected {
            assert_eq!(found.get(split), Some(expected).filter(|rows| !rows.is_empty()), "{split}");
        }
    }

    fn rows(&self) -> usize {
        self.expected.values().map(Vec::len).sum()
    }
}

#[test]
fn partitions_that_appear_around_checkpoints_that_are_killed_are_read_exactly_once() {
    let mut copy = Copy::new();
    let topic = copy.topic("grows", 1);
    copy.put(&topic, 0, 100);
    // Each of these may find the new partition known to no reader, to the reader alone, or to the snapshot.
    let points = [
        "barrier.injected",
        "snapshot.files_fsynced",
        "manifest.tmp_written",
        "manifest.renamed",
        "mark.acked",
        "txn.commit_sent",
        "txn.commit_acked",
        "epoch.advanced",
        "txn.first_row",
    ];
    for (round, point) in points.into_iter().enumerate() {
        // Partitions change their reader as well.
        let keys = format!("topic = \"{topic}\"\ndiscovery = \"20ms\"\nparallelism = {}", 1 + round % 3);
        copy.sources(&[("in", &keys)]);
        let mut process = copy.run().crash_at(point, 2 + round as u32 * 5 % 9).spawn();
        let new = round as i32 + 1;
        copy.broker.grow_topic(&topic, new + 1);
        // Rows from before it is found, and from behind that, until the process is killed.
        copy.put(&topic, new, 50);
        let killed = try_wait_for(SOON, || {
            copy.put(&topic, 0, 1);
            copy.put(&topic, new, 1);
            process.try_exit()
        });
        assert_eq!(killed, Some(Exit::KILLED), "{point}: {}", process.stderr());
    }
    let mut process = copy.run().spawn();
    copy.wait_for_rows(&mut process, copy.rows());
    copy.stop(process);
    copy.expect_exactly_once();
}

#[test]
fn a_topic_that_comes_to_match_a_pattern_is_read_from_its_first_record_though_reading_began_at_the_end() {
    let mut copy = Copy::new();
    let old = copy.topic("in-old", 1);
    copy.broker.produce(&old, [Record::new("from before the first start").key("before")]);
    copy.sources(&[("in", &format!("pattern = '{}-in-\\w+'\nstart = \"latest\"\ndiscovery = \"20ms\"", copy.name))]);
    let mut process = copy.run().env("WEIR_LOG", "info,weir::pipeline=debug").spawn();
    // From then on a first discovery has been.
    process.wait_for_line(SOON, "committed epoch=");
    let new = copy.topic("in-new", 2);
    copy.put(&new, 0, 20);
    copy.put(&new, 1, 20);
    copy.wait_for_rows(&mut process, 40);
    copy.put(&old, 0, 20);
    copy.wait_for_rows(&mut process, 60);
    copy.stop(process);
    // What appears while nothing runs is found at the next start.
    let newest = copy.topic("in-newest", 1);
    copy.put(&newest, 0, 20);
    let mut process = copy.run().spawn();
    copy.wait_for_rows(&mut process, 80);
    copy.stop(process);
    assert_eq!(copy.broker.read(&copy.sink, Isolation::Committed).len(), 80, "and not what was there before");
    copy.expected.remove(&format!("{old}/0"));
    copy.expect_exactly_once();
}

#[test]
fn a_source_that_has_ended_stays_ended_and_checkpoints_go_on_for_one_that_has_not() {
    let mut copy = Copy::new();
    let (ends, goes_on) = (copy.topic("ends", 3), copy.topic("goes-on", 2));
    for partition in 0..2 {
        copy.put(&ends, partition, 30);
    }
    copy.put(&goes_on, 0, 10);
    // The third partition of one is empty, and the other has more readers than partitions.
    let bounded = format!("topic = \"{ends}\"\nuntil = \"latest\"\nparallelism = 2");
    let unbounded = format!("topic = \"{goes_on}\"\nparallelism = 3");
    copy.sources(&[("ends", &bounded), ("goes-on", &unbounded)]);
    let mut process = copy.run().spawn();
    copy.wait_for_rows(&mut process, 70);
    for round in 0..3 {
        copy.put(&goes_on, round % 2, 20);
        copy.wait_for_rows(&mut process, 70 + 20 * (round as usize + 1));
    }
    process.kill_and_wait();
    // Behind the end that the first commit fixed.
    copy.broker.produce(&ends, [Record::new("too late").key("late").partition(0)]);
    copy.put(&goes_on, 1, 20);
    let mut process = copy.run().spawn();
    copy.wait_for_rows(&mut process, copy.rows());
    copy.put(&goes_on, 0, 20);
    copy.wait_for_rows(&mut process, copy.rows());
    copy.stop(process);
    assert_eq!(copy.broker.read(&copy.sink, Isolation::Committed).len(), copy.rows(), "nothing of what came too late");
    copy.expect_exactly_once();
}

/// Until then a partition at its end held the watermark back for as long as others went on, where nothing is ever idle.
#[test]
fn timers_fire_past_a_partition_that_has_ended_and_past_one_that_is_restored_at_its_end() {
    let copy = Copy::new();
    let topic = copy.topic("ends", 2);
    let source = format!(
        "type = \"kafka\"\ntopic = \"{topic}\"\nbrokers = \"{}\"\nevent_time = {{ json = \"/ts\", unit = \"ms\" }}\n\
         watermark = {{ idle_after = \"never\", tick = \"1ms\" }}\n\
         until = {{ offsets = {{ \"{topic}/0\" = 5, \"{topic}/1\" = 60 }} }}",
        copy.broker.brokers()
    );
    let draft = Draft::new(&copy.name, "interval = \"50ms\"").table("sources.made", &source);
    let draft = draft.node("ledger", &guest("ledger"), &["made"], "/k", "");
    copy.place.pipeline(draft.kafka_sink("out", &["ledger.fired"], copy.broker.brokers(), &copy.sink).text());
    // A record each second of event time, so a timer each.
    let put = |partition: i32, seqs: std::ops::Range<u64>| {
        let record = |seq| {
            let ts = 1_700_000_000_000 + seq * 1_000;
            Record::new(format!(r#"{{"k":"k{partition}","seq":{seq},"val":1,"ts":{ts}}}"#)).partition(partition)
        };
        copy.broker.produce(&topic, seqs.map(record));
    };
    put(0, 0..5);
    put(1, 0..20);
    let mut process = copy.run().spawn();
    // All but the last one: the watermark stands right before that.
    copy.wait_for_rows(&mut process, 5 + 19);
    process.kill_and_wait();
    put(1, 20..40);
    let mut process = copy.run().spawn();
    copy.wait_for_rows(&mut process, 5 + 39);
    put(1, 40..60);
    process.wait(SOON).expect_success();
    let rows = copy.broker.read(&copy.sink, Isolation::Committed).iter().map(Row::value_text).collect::<Vec<_>>();
    assert_eq!((rows.len(), rows.iter().collect::<BTreeSet<_>>().len()), (65, 65), "each once: {rows:?}");
}

#[test]
fn a_source_that_is_gone_or_not_asked_for_any_more_is_named_and_may_be_forgotten() {
    let mut copy = Copy::new();
    let (stays, goes) = (copy.topic("stays", 1), copy.topic("goes", 1));
    copy.put(&stays, 0, 10);
    copy.put(&goes, 0, 10);
    let both = format!("topics = [\"{stays}\", \"{goes}\"]\ndiscovery = \"20ms\"");
    copy.sources(&[("in", &both)]);
    let mut process = copy.run().spawn();
    copy.wait_for_rows(&mut process, 20);
    copy.stop(process);

    copy.sources(&[("in", &format!("topic = \"{stays}\""))]);
    let refused = copy.run().finish(SOON).expect(Exit::Code(6)).stderr;
    let asked =
        format!("`in`: partition `{goes}/0` was read up to offset 10, and the source does not ask for it any more");
    assert!(refused.contains(&asked), "{refused}");

    copy.sources(&[("in", &both)]);
    let process = copy.run().spawn();
    copy.broker.delete_topic(&goes);
    // While it runs the attempt ends, and its restart says what is gone.
    let gone = process.wait(SOON).expect(Exit::Code(6)).stderr;
    assert!(
        gone.contains(&format!("partition `{goes}/0` was read up to offset 10 and does not exist any more")),
        "{gone}"
    );

    copy.sources(&[("in", &format!("{both}\nremoved = \"forget\""))]);
    let mut process = copy.run().spawn();
    copy.put(&stays, 0, 10);
    copy.wait_for_rows(&mut process, 30);
    copy.stop(process);
    copy.expect_exactly_once();
}

#[test]
fn a_first_start_that_asks_for_what_is_not_there_is_refused_and_makes_nothing() {
    let copy = Copy::new();
    let topic = copy.topic("in", 2);
    copy.broker.produce(&topic, (0..20).map(|n| Record::new(n.to_string()).partition(n % 2)));
    let topic_key = format!("topic = \"{topic}\"");
    for (keys, says) in [
        (format!("topics = [\"{topic}\", \"{topic}-no\"]"), format!("`in`: source topic `{topic}-no` does not exist")),
        (format!("pattern = \"{topic}-.+\""), format!("matches the pattern `{topic}-.+`")),
        (format!("partitions = [\"{topic}/0\", \"{topic}/2\"]"), "has no partition 2, only 0, 1".to_owned()),
        (
            format!("{topic_key}\nstart = {{ offsets = {{ \"{topic}/0\" = 5 }} }}"),
            format!("`start.offsets` says nothing of `{topic}/1`"),
        ),
        (
            format!("{topic_key}\nstart = {{ offsets = {{ \"{topic}/0\" = 5, \"{topic}/1\" = 11 }} }}"),
            format!("says offset 11 of `{topic}/1`, which holds 0 to 10"),
        ),
        (format!("{topic_key}\nstart = {{ group = \"nobody\" }}"), "the group `nobody` says nothing of".to_owned()),
        (format!("{topic_key}\nstart = {{ timestamp = 99999999999999 }}"), "which is still to come".to_owned()),
        (format!("{topic_key}\nuntil = {{ timestamp = 99999999999999 }}"), "which is still to come".to_owned()),
        (
            format!("{topic_key}\nstart = \"latest\"\nuntil = {{ timestamp = 1000 }}"),
            "would begin at offset 10 and end before 0".to_owned(),
        ),
    ] {
        copy.sources(&[("in", &keys)]);
        let refused = copy.run().finish(SOON).expect(Exit::Code(3)).stderr;
        assert!(refused.contains(&says), "{keys}: {refused}");
        let left: Vec<_> = copy.place.content().into_keys().collect();
        assert_eq!(left, ["p.toml"].map(std::path::PathBuf::from), "the pipeline file is all there is");
    }
    assert!(!copy.broker.has_topic(&format!("__weir.{}.commits", copy.name)), "nothing was made");
}
