//! Rows on their way in: positions, ends, lag, retention, waking.

use super::*;

/// Fills a topic in `epochs` transactions of 10 rows each.
pub(super) fn fill(topic: &str, epochs: u64) {
    fill_with(topic, (0..epochs).map(|epoch| rows(epoch * 10..epoch * 10 + 10)));
}

/// Ten rows in a partition, and a control record behind them.
pub(super) fn fill_partition(topic: &str, partition: u32) {
    let mut rows = rows(0..10);
    rows.partitions = vec![partition; 10];
    fill_with(topic, [rows]);
}

fn fill_with(topic: &str, epochs: impl IntoIterator<Item = Batch>) {
    let domain = domain("fill", &[topic]);
    let mut attempt = start(&domain, "n");
    let mut sink = sink(&attempt, topic);
    for (epoch, rows) in (1..).zip(epochs) {
        attempt.authority.begin().expect("begun");
        write(&mut sink, &rows);
        attempt.authority.flush().expect("acknowledged");
        attempt.authority.mark(&commit(epoch, attempt.token)).expect("marked");
        committed(attempt.authority.commit());
    }
    wait_for("the commit markers", || list_transactions(&domain).expect("a listing").held.is_empty());
}

#[test]
fn a_bounded_read_ends_behind_the_control_record_that_ends_the_partition() {
    let topic = topic("bounded", 1, &[]);
    fill(&topic, 3);
    let settings = SourceSettings { until: Some(Until::Latest), ..source_settings(&topic) };
    let mut source = KafkaSource::open(&settings, None, waker().0).expect("a source");
    // Rows after the end was fixed are not part of it.
    fill(&topic, 1);
    assert_eq!(values(&drain(&mut source)), (0..30).collect::<Vec<_>>());
    let split = &source.splits()[0];
    // 30 rows and 3 control records.
    assert_eq!((split.position, split.end), (33, Some(33)));
    assert_eq!(split.split, format!("{topic}/0"));
}

#[test]
fn a_bounded_read_of_an_empty_topic_ends_at_once() {
    let topic = topic("empty", 3, &[]);
    assert_eq!(read_all(&topic).len(), 0);
}

#[test]
fn reading_goes_on_exactly_where_the_snapshot_stood() {
    let topic = topic("restore", 1, &[]);
    fill(&topic, 4);
    let settings = SourceSettings { until: Some(Until::Latest), ..source_settings(&topic) };
    let mut source = KafkaSource::open(&settings, None, waker().0).expect("a source");
    let mut before = Batch::default();
    wait_for("rows", || {
        source.poll(&mut before).expect("readable");
        !before.is_empty()
    });
    let positions = positions(&source);
    assert!(positions.splits[0].position > 0);
    source.on_committed(&positions);
    drop(source);
    let mut again = KafkaSource::open(&settings, Some(&positions), waker().0).expect("a source");
    let after = drain(&mut again);
    let all: Vec<u64> = values(&before).into_iter().chain(values(&after)).collect();
    assert_eq!(all, (0..40).collect::<Vec<_>>());
}

#[test]
fn reading_begins_where_the_settings_say_and_new_partitions_from_their_first_record() {
    let topic = topic("start", 2, &[]);
    let mut rows = rows(0..20);
    rows.partitions = (0..20).map(|i| i % 2).collect();
    fill_with(&topic, [rows]);

    let stand = |start, until| {
        let settings = SourceSettings { start, until, ..source_settings(&topic) };
        let source = KafkaSource::open(&settings, None, waker().0).expect("a source");
        source.splits().iter().map(|s| (s.position, s.end)).collect::<Vec<_>>()
    };
    // Ten rows and a control record in each partition.
    assert_eq!(stand(Start::Earliest, None), [(0, None); 2]);
    assert_eq!(stand(Start::Latest, Some(Until::Latest)), [(11, Some(11)); 2]);
    let at = |i: i64| 1_700_000_000_000 + i;
    assert_eq!(stand(Start::Timestamp(at(5)), Some(Until::Timestamp(at(9)))), [(3, Some(5)), (2, Some(4))]);

    let split = SplitPosition { split: format!("{topic}/1"), position: 8, end: None, tail: None, largest_time: None };
    let known = SourcePositions { identity: format!("kafka:{topic}"), splits: vec![split], watermark: 0 };
    let settings = SourceSettings { start: Start::Latest, ..source_settings(&topic) };
    let mut source = KafkaSource::open(&settings, Some(&known), waker().0).expect("a source");
    let found: Vec<_> = source.splits().into_iter().map(|s| (s.split, s.position)).collect();
    assert_eq!(found, [(format!("{topic}/1"), 8), (format!("{topic}/0"), 0)]);
    let mut out = Batch::default();
    wait_for("the rows", || {
        source.poll(&mut out).expect("readable");
        out.len() == 12
    });
    // Origins name splits by their index in this order, partitions by their number.
    assert!(out.origins.iter().all(|run| (run.split, run.partition) == (0, 1) || (run.split, run.partition) == (1, 0)));
}

#[test]
fn committed_positions_show_as_lag_of_the_group_and_are_never_read() {
    let topic = topic("group", 1, &[]);
    fill(&topic, 1);
    let mut settings = source_settings(&topic);
    settings.pipeline = unique("group");
    let mut source = KafkaSource::open(&settings, None, waker().0).expect("a source");
    let positions = SourcePositions { splits: vec![split_at(&topic, 7)], ..positions(&source) };
    source.on_committed(&positions);
    let group = format!("weir-{}", settings.pipeline);
    let client =
        Client::new(Role::Consumer, &cluster(), &properties::consumer(&cluster(), &group, 1)).expect("a client");
    let list = PartitionList::new([(topic.as_str(), 0, 0)]);
    wait_for("the group's offset", || {
        // SAFETY: the list lives for the call.
        unsafe { sys::rd_kafka_committed(client.native(), list.native(), 5_000) };
        list.get(0).0 == 7
    });
    let source = KafkaSource::open(&settings, None, waker().0).expect("a source");
    assert_eq!(source.splits()[0].position, 0);
}

fn split_at(topic: &str, position: i64) -> SplitPosition {
    SplitPosition { split: format!("{topic}/0"), position, end: None, tail: None, largest_time: None }
}

pub(super) fn positions(source: &KafkaSource) -> SourcePositions {
    let split = |s: crate::connector::SplitStatus| SplitPosition {
        split: s.split,
        position: s.position,
        end: s.end,
        tail: None,
        largest_time: None,
    };
    let splits = source.splits().into_iter().map(split).collect();
    SourcePositions { identity: source.identity(), splits, watermark: 0 }
}

#[test]
fn offsets_that_retention_has_removed_stop_the_pipeline_with_both_offsets() {
    let topic = topic("retention", 1, &[]);
    fill(&topic, 3);
    let at = |position| SourcePositions {
        identity: format!("kafka:{topic}"),
        splits: vec![SplitPosition {
            split: format!("{topic}/0"),
            position,
            end: None,
            tail: None,
            largest_time: None,
        }],
        watermark: 0,
    };
    let refusal = |position| {
        let opened = KafkaSource::open(&source_settings(&topic), Some(&at(position)), waker().0);
        match opened.err() {
            Some(Error::Halt(said)) => said,
            other => panic!("{other:?}"),
        }
    };
    delete_records(&topic, 0, 20);
    let said = refusal(5);
    assert!(said.contains("from offset 5") && said.contains("up to offset 20"), "{said}");
    let said = refusal(500);
    assert!(said.contains("from offset 500") && said.contains("ends at offset 33"), "{said}");

    // While running: what is not fetched yet disappears under the reader.
    let mut settings = source_settings(&topic);
    settings.cluster.options.insert("queued.min.messages".into(), "1".into());
    settings.cluster.options.insert("max.partition.fetch.bytes".into(), "1024".into());
    let busy = self::topic("retention-running", 1, &[]);
    settings.topics = Topics::Named(vec![busy.clone()]);
    fill(&busy, 200);
    let mut source = KafkaSource::open(&settings, None, waker().0).expect("a source");
    let mut out = Batch::default();
    wait_for("a first row", || {
        source.poll(&mut out).expect("readable");
        !out.is_empty()
    });
    delete_records(&busy, 0, 2_150);
    let begun = crate::clock::now();
    let error = loop {
        assert!(begun.elapsed() < PATIENCE, "read {} rows and no error", out.len());
        match source.poll(&mut out) {
            Ok(_) => std::thread::park_timeout(Duration::from_millis(1)),
            Err(error) => break error,
        }
    };
    assert!(matches!(&error, Error::Halt(said) if said.contains("up to offset 2150")), "{error}");
    let read = values(&out);
    assert_eq!(read, (0..read.len() as u64).collect::<Vec<_>>());
}

#[test]
fn a_source_that_was_empty_wakes_its_shard() {
    let topic = topic("wake", 1, &[]);
    let (waker, woken) = waker();
    let mut source = KafkaSource::open(&source_settings(&topic), None, waker).expect("a source");
    let mut out = Batch::default();
    wait_for("the end of the partition", || {
        source.poll(&mut out).expect("readable") == Polled::Empty && source.splits()[0].high_watermark == Some(0)
    });
    // A poll behind each wake, as the shard does it: an event that stays in the queue keeps the next one from waking.
    while woken.try_recv().is_ok() {
        source.poll(&mut out).expect("readable");
    }
    fill(&topic, 1);
    woken.recv_timeout(PATIENCE).expect("woken");
    wait_for("the rows", || {
        source.poll(&mut out).expect("readable");
        out.len() == 10
    });
    wait_for("the position behind the control record", || {
        source.poll(&mut out).expect("readable");
        source.splits()[0].position == 11
    });
    // The position at an end is where the next record will be, neither before it nor behind it: librdkafka's own count
    // goes one too far there.
    let positions = positions(&source);
    fill(&topic, 1);
    let settings = SourceSettings { until: Some(Until::Latest), ..source_settings(&topic) };
    let mut again = KafkaSource::open(&settings, Some(&positions), self::waker().0).expect("a source");
    let mut next = Batch::default();
    wait_for("the next row", || {
        again.poll(&mut next).expect("readable");
        next.len() == 10
    });
    assert_eq!((values(&next), next.origin(0)), ((0..10).collect(), Some((0, 11))));
}

#[test]
fn many_partitions_are_read_whole_and_in_order_within_each() {
    let topic = topic("many", 8, &[]);
    let domain = domain("many", &[&topic]);
    let mut attempt = start(&domain, "n1");
    let mut sink = sink(&attempt, &topic);
    attempt.authority.begin().expect("begun");
    let mut rows = rows(0..20_000);
    rows.partitions = (0..20_000).map(|i| i % 8).collect();
    write(&mut sink, &rows);
    attempt.authority.flush().expect("acknowledged");
    attempt.authority.mark(&commit(1, attempt.token)).expect("marked");
    committed(attempt.authority.commit());
    wait_for("the commit markers", || list_transactions(&domain).expect("a listing").held.is_empty());
    let back = read_all(&topic);
    let firsts: Vec<_> =
        (0..8).map(|p| back.origins.iter().find(|r| r.partition == p).map(|r| r.first_offset)).collect();
    assert_eq!((back.len(), firsts), (20_000, vec![Some(0); 8]));
    let numbers = values(&back);
    let mut next = [0i64; 8];
    for (slot, number) in numbers.iter().enumerate() {
        let (partition, offset) = back.origin(slot).expect("an origin");
        assert_eq!((partition as u64, offset), (number % 8, next[partition as usize]));
        next[partition as usize] += 1;
    }
}
