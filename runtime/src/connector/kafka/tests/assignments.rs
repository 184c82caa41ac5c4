//! Which reader reads which partition, and what happens as partitions and topics come and go: the enumerator with its
//! readers, against a real broker.

use super::super::selection::owner;
use super::plain::{delete, grow, put};
use super::reads::positions;
use super::*;

const SOON: Duration = Duration::from_millis(20);

/// What looks for a reader, where its waker is heard, and the reader, which goes first.
type Rig = (Option<Arc<Watch>>, Receiver<()>, KafkaSource);

/// All readers of a source.
fn readers(settings: &SourceSettings, restored: Option<&SourcePositions>) -> Result<Vec<Rig>, Error> {
    let mut enumerator = Enumerator::open(settings.clone(), restored)?;
    let reader = |index| {
        let (waker, woken) = waker();
        Ok((enumerator.reader(index, waker)?, woken))
    };
    let readers = (0..settings.readers).map(reader).collect::<Result<Vec<_>, Error>>()?;
    let watch = enumerator.watch()?.map(Arc::new);
    Ok(readers.into_iter().map(|(reader, woken)| (watch.clone(), woken, reader)).collect())
}

fn named(topics: &[&str]) -> SourceSettings {
    let topics = Topics::Named(topics.iter().map(|topic| (*topic).to_owned()).collect());
    SourceSettings { topics, ..source_settings("") }
}

fn discovering(settings: SourceSettings) -> SourceSettings {
    SourceSettings { discovery: Some(SOON), ..settings }
}

fn halted(settings: &SourceSettings, restored: &SourcePositions) -> String {
    match KafkaSource::open(settings, Some(restored), waker().0).err() {
        Some(Error::Halt(said)) => said,
        other => panic!("{other:?}"),
    }
}

/// What all readers of a source have, as the manifest would hold it.
fn merged(readers: &[KafkaSource]) -> SourcePositions {
    let mut all = positions(&readers[0]);
    readers[1..].iter().for_each(|reader| all.splits.extend(positions(reader).splits));
    all
}

#[test]
fn lists_patterns_and_single_partitions_are_spread_over_the_readers_that_own_them() {
    let prefix = unique("spread");
    let (a, b) = (format!("{prefix}-a"), format!("{prefix}-b"));
    create_topic(&cluster(), &a, 3, &[]).expect("a topic");
    create_topic(&cluster(), &b, 2, &[]).expect("a topic");
    let all: Vec<String> =
        [format!("{a}/0"), format!("{a}/1"), format!("{a}/2"), format!("{b}/0"), format!("{b}/1")].into();
    let some = [Partition::new(&a, 0), Partition::new(&a, 2), Partition::new(&b, 1)];
    for (topics, expected) in [
        (Topics::Named(vec![b.clone(), a.clone()]), all.clone()),
        (Topics::Pattern(format!("{prefix}-[ab]")), all),
        (Topics::Partitions(some.clone().into()), some.iter().map(Partition::to_string).collect()),
    ] {
        for readers in [1, 2, 3, 7] {
            let settings = SourceSettings { topics: topics.clone(), readers, ..source_settings("") };
            let mut found = Vec::new();
            for (index, (_, _, reader)) in self::readers(&settings, None).expect("readers").into_iter().enumerate() {
                for split in reader.splits() {
                    assert_eq!(owner(&Partition::parse(&split.split).unwrap(), readers), index as u32);
                    found.push(split.split);
                }
            }
            found.sort();
            assert_eq!(found, expected, "{topics} by {readers}");
        }
    }
}

#[test]
fn what_is_named_and_not_there_is_refused_by_name() {
    let there = topic("there", 2, &[]);
    let refused = |topics| {
        let settings = SourceSettings { topics, ..source_settings("") };
        match KafkaSource::open(&settings, None, waker().0).err() {
            Some(Error::Config(said)) => said,
            other => panic!("{other:?}"),
        }
    };
    let said = refused(Topics::Named(vec![there.clone(), "no-such-topic".into()]));
    assert!(said.contains("source topic `no-such-topic` does not exist") && said.contains("--create"), "{said}");
    let said = refused(Topics::Partitions([Partition::new(&there, 0), Partition::new(&there, 9)].into()));
    assert!(said.contains(&format!("topic `{there}`")) && said.contains("has no partition 9, only 0, 1"), "{said}");
    let said = refused(Topics::Pattern("no-such-topic-.*".into()));
    assert!(said.contains("matches the pattern `no-such-topic-.*`"), "{said}");
}

#[test]
fn partitions_and_topics_that_appear_are_read_from_their_first_record_whatever_start_says() {
    let prefix = unique("appear");
    let old = format!("{prefix}-old");
    create_topic(&cluster(), &old, 1, &[("retention.ms", "-1")]).expect("a topic");
    put(&old, 0, 0..10);
    let topics = Topics::Pattern(format!("{prefix}-.*"));
    let settings = SourceSettings { topics, start: Start::Latest, readers: 3, ..discovering(source_settings("")) };
    let readers = readers(&settings, None).expect("readers").into_iter();
    let (_watches, mut sources): (Vec<_>, Vec<_>) = readers.map(|(watch, _, reader)| (watch, reader)).unzip();
    grow(&old, 3);
    put(&old, 2, 10..20);
    let new = format!("{prefix}-new");
    create_topic(&cluster(), &new, 1, &[("retention.ms", "-1")]).expect("a topic");
    put(&new, 0, 20..30);
    let mut out = Batch::default();
    let poll = |sources: &mut Vec<KafkaSource>, out: &mut Batch| {
        for source in sources {
            // Rows of several readers in one batch: only the values count here.
            source.poll(out).expect("readable");
        }
        out.len()
    };
    wait_for("the new ones", || poll(&mut sources, &mut out) == 20);
    put(&old, 0, 30..35);
    wait_for("what follows in the old one", || poll(&mut sources, &mut out) == 25);
    assert_eq!(sorted(&out), (10..35).collect::<Vec<_>>());
    let mut splits: Vec<_> = merged(&sources).splits.into_iter().map(|split| (split.split, split.position)).collect();
    splits.sort();
    let expected = [(&new, 0, 10), (&old, 0, 15), (&old, 1, 0), (&old, 2, 10)];
    assert_eq!(splits, expected.map(|(topic, number, position)| (format!("{topic}/{number}"), position)));
    // What is still to come of them shows.
    put(&new, 0, 35..36);
    let owner = owner(&Partition::new(&new, 0), 3) as usize;
    let has_more = |source: &KafkaSource| {
        source.splits().iter().any(|split| split.split.starts_with(&new) && split.high_watermark == Some(11))
    };
    wait_for("the end of what exists", || poll(&mut sources, &mut out) == 26 && has_more(&sources[owner]));
}

#[test]
fn whether_a_barrier_comes_before_an_assignment_is_taken_or_behind_it_each_row_is_read_once() {
    let topic = topic("valve", 1, &[]);
    put(&topic, 0, 0..10);
    let settings = SourceSettings { start: Start::Earliest, ..discovering(source_settings(&topic)) };
    let (_watch, woken, mut source) = readers(&settings, None).expect("readers").remove(0);
    let mut read = Batch::default();
    wait_for("the first rows", || {
        source.poll(&mut read).expect("readable");
        read.len() == 10
    });
    while source.poll(&mut read).expect("readable") != Polled::Empty {}
    while woken.try_recv().is_ok() {}
    grow(&topic, 2);
    put(&topic, 1, 10..20);
    // Each look finds it again, so the next wake says that it lies there.
    woken.recv_timeout(PATIENCE).expect("an assignment");
    let before = positions(&source);
    assert_eq!(before.splits.len(), 1, "what the reader has not taken is in no snapshot");
    wait_for("the assignment", || source.poll(&mut read).expect("readable") == Polled::Grown);
    let taken = positions(&source);
    assert_eq!((taken.splits.len(), taken.splits[1].position), (2, 0));
    assert_eq!(read.len(), 10, "and no row of it");
    wait_for("its rows", || {
        source.poll(&mut read).expect("readable");
        read.len() > 10
    });
    let behind = (positions(&source), read.len());
    drop(source);
    for (snapshot, rows) in [(before, 10), (taken, 10), behind] {
        let settings = SourceSettings { until: Some(Until::Latest), start: Start::Latest, ..source_settings(&topic) };
        let mut again = KafkaSource::open(&settings, Some(&snapshot), waker().0).expect("a source");
        let mut all = values(&read)[..rows].to_vec();
        all.extend(values(&drain(&mut again)));
        all.sort_unstable();
        assert_eq!(all, (0..20).collect::<Vec<_>>());
    }
}

#[test]
fn what_was_fetched_and_not_handed_out_when_an_assignment_came_is_read_once_and_in_order() {
    let topic = topic("fetched", 1, &[]);
    put(&topic, 0, 0..5_000);
    let (_watch, _woken, mut source) = readers(&discovering(source_settings(&topic)), None).expect("readers").remove(0);
    let mut read = Batch::default();
    wait_for("some rows", || {
        source.poll(&mut read).expect("readable");
        !read.is_empty()
    });
    assert!(read.len() < 5_000);
    grow(&topic, 2);
    // No poll before the assignment is there: the client's queue is full of rows that nobody has seen.
    wait_for("the assignment", || source.poll(&mut read).expect("readable") == Polled::Grown || read.len() >= 5_000);
    wait_for("all", || {
        source.poll(&mut read).expect("readable");
        read.len() >= 5_000
    });
    assert_eq!(values(&read), (0..5_000).collect::<Vec<_>>());
}

#[test]
fn a_partition_that_is_gone_ends_the_attempt_and_is_named_by_the_next_unless_it_may_be_forgotten() {
    let prefix = unique("gone");
    let (stays, goes) = (format!("{prefix}-stays"), format!("{prefix}-goes"));
    for topic in [&stays, &goes] {
        create_topic(&cluster(), topic, 1, &[("retention.ms", "-1")]).expect("a topic");
        put(topic, 0, 0..5);
    }
    for topics in [Topics::Pattern(format!("{prefix}-.*")), Topics::Named(vec![stays.clone(), goes.clone()])] {
        let settings = discovering(SourceSettings { topics, ..source_settings("") });
        if !admin().topic(&goes).expect("metadata").partitions.is_empty() {
            let (_watch, _woken, mut source) = readers(&settings, None).expect("readers").remove(0);
            let mut read = Batch::default();
            wait_for("the rows", || {
                source.poll(&mut read).expect("readable");
                read.len() == 10
            });
            delete(&goes);
            let mut ended = None;
            wait_for("the end of the attempt", || {
                ended = source.poll(&mut read).err();
                ended.is_some()
            });
            assert!(matches!(ended, Some(Error::Transient(_))), "{ended:?}");
        }
        let at = |topic: &str| SplitPosition {
            split: format!("{topic}/0"),
            position: 5,
            end: None,
            tail: None,
            largest_time: None,
        };
        let splits = vec![at(&stays), at(&goes)];
        let known = SourcePositions { identity: "kafka:whatever".into(), splits, watermark: 0 };
        let said = halted(&settings, &known);
        assert!(said.contains(&format!("`{goes}/0` was read up to offset 5 and does not exist any more")), "{said}");
        assert!(said.contains("removed = \"forget\""), "{said}");
        let forgetting = SourceSettings { removed: Removed::Forget, ..settings };
        let source = KafkaSource::open(&forgetting, Some(&known), waker().0);
        assert_eq!(positions(&source.expect("a source")).splits, [at(&stays)]);
    }
}

#[test]
fn a_topic_may_be_added_to_a_list_and_none_with_positions_taken_out_of_it() {
    let (a, b) = (topic("a", 1, &[]), topic("b", 1, &[]));
    put(&a, 0, 0..5);
    put(&b, 0, 5..10);
    // As it was written before there were lists.
    let mut known = positions(&KafkaSource::open(&named(&[&a]), None, waker().0).expect("a source"));
    assert_eq!(known.identity, format!("kafka:{a}"));
    known.splits[0].position = 5;
    let both = SourceSettings { start: Start::Latest, ..named(&[&a, &b]) };
    let source = KafkaSource::open(&both, Some(&known), waker().0).expect("a source");
    let stand: Vec<_> = source.splits().into_iter().map(|split| (split.split, split.position)).collect();
    assert_eq!(stand, [(format!("{a}/0"), 5), (format!("{b}/0"), 0)], "from its first record");

    let said = halted(&named(&[&b]), &known);
    let asked = format!("`{a}/0` was read up to offset 5, and the source does not ask for it any more: put it back");
    assert!(said.contains(&asked), "{said}");
    let only = SourceSettings { topics: Topics::Partitions([Partition::new(&b, 0)].into()), ..both.clone() };
    assert!(halted(&only, &known).contains(&a));
    let forgetting = SourceSettings { removed: Removed::Forget, ..named(&[&b]) };
    let source = KafkaSource::open(&forgetting, Some(&known), waker().0).expect("a source");
    assert_eq!(source.splits().len(), 1);

    let file = SourcePositions { identity: "file:a".into(), ..known.clone() };
    assert!(halted(&both, &file).contains("its positions are those of file:a"));
    // The end of a read that ends is fixed: what is added to it by hand would never be read.
    known.splits[0].end = Some(5);
    let bounded = SourceSettings { until: Some(Until::Latest), ..both };
    let refused = KafkaSource::open(&bounded, Some(&known), waker().0).err();
    assert!(matches!(&refused, Some(Error::Config(said)) if said.contains(&b)), "{refused:?}");
    grow(&a, 2);
    let bounded = SourceSettings { topics: Topics::Named(vec![a]), ..bounded };
    let mut source = KafkaSource::open(&bounded, Some(&known), waker().0).expect("a source");
    assert_eq!((drain(&mut source).len(), source.splits().len()), (0, 1), "a partition that appeared is no part of it");
}

#[test]
fn a_reader_without_a_partition_goes_on_where_one_may_come_and_ends_where_none_will() {
    let topic = topic("spare", 1, &[]);
    let settings = SourceSettings { readers: 2, ..source_settings(&topic) };
    let spare = 1 - owner(&Partition::new(&topic, 0), 2) as usize;
    let poll = |settings: &SourceSettings| {
        let (_watch, _woken, mut source) = readers(settings, None).expect("readers").remove(spare);
        assert!(source.splits().is_empty());
        source.poll(&mut Batch::default()).expect("readable")
    };
    assert_eq!(poll(&settings), Polled::Empty);
    assert_eq!(poll(&SourceSettings { until: Some(Until::Latest), ..settings }), Polled::Ended);
}
