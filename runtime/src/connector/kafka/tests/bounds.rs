//! Where reading begins and ends: each form of `start` and `until`, what is refused, and what a restore makes of them.

use super::plain::{at, commit_group, put};
use super::reads::{fill, fill_partition, positions};
use super::*;

/// A topic of one partition that holds the offsets 2 to 9.
fn ten() -> String {
    let topic = topic("ten", 1, &[]);
    put(&topic, 0, 0..10);
    delete_records(&topic, 0, 2);
    topic
}

fn of(topic: &str, offset: i64) -> BTreeMap<Partition, i64> {
    [(Partition::new(topic, 0), offset)].into()
}

/// Where a first start begins and ends in partition 0, or why it does not.
fn first(topic: &str, start: Start, until: Option<Until>) -> Result<(i64, Option<i64>), String> {
    let settings = SourceSettings { start, until, ..source_settings(topic) };
    match KafkaSource::open(&settings, None, waker().0) {
        Ok(source) => Ok((source.splits()[0].position, source.splits()[0].end)),
        Err(Error::Config(said)) => Err(said),
        Err(other) => panic!("{other:?}"),
    }
}

#[track_caller]
fn refused(result: Result<(i64, Option<i64>), String>, part: &str) {
    let said = result.expect_err("a refusal");
    assert!(said.contains(part), "{said}");
}

#[test]
fn a_first_start_begins_at_the_offset_that_is_named_and_says_so_where_there_is_none() {
    let topic = ten();
    let begin = |offset, otherwise| {
        first(&topic, Start::Offsets { offsets: of(&topic, offset), otherwise }, None).map(|(position, _)| position)
    };
    for offset in [2, 5, 10] {
        assert_eq!(begin(offset, Otherwise::Fail), Ok(offset));
    }
    assert_eq!(begin(1, Otherwise::Earliest), Ok(2));
    assert_eq!(begin(11, Otherwise::Latest), Ok(10));
    for offset in [1, 11] {
        let said = begin(offset, Otherwise::Fail).expect_err("a refusal");
        assert!(said.contains(&format!("offset {offset} of `{topic}/0`, which holds 2 to 10")), "{said}");
    }
    let elsewhere = Start::Offsets { offsets: [(Partition::new(&topic, 7), 1)].into(), otherwise: Otherwise::Earliest };
    refused(first(&topic, elsewhere, None), "which does not exist");
}

#[test]
fn a_first_start_goes_on_where_a_group_stands() {
    let (topic, group) = (ten(), unique("group"));
    let begin =
        |otherwise| first(&topic, Start::Group { group: group.clone(), otherwise }, None).map(|(position, _)| position);
    let said = begin(Otherwise::Fail).expect_err("a refusal");
    assert!(said.contains(&format!("the group `{group}` says nothing of `{topic}/0`")), "{said}");
    assert_eq!(begin(Otherwise::Earliest), Ok(2));
    assert_eq!(begin(Otherwise::Latest), Ok(10));
    commit_group(&group, &topic, 7);
    assert_eq!(begin(Otherwise::Fail), Ok(7));
    commit_group(&group, &topic, 1);
    assert_eq!(begin(Otherwise::Latest), Ok(10), "retention has removed where it stood");
    assert!(begin(Otherwise::Fail).is_err());
}

#[test]
fn a_first_start_finds_the_first_record_at_a_time_and_refuses_a_time_to_come() {
    let topic = ten();
    let begin = |time| first(&topic, Start::Timestamp(time), None).map(|(position, _)| position);
    assert_eq!(begin(at(4)), Ok(4));
    assert_eq!(begin(at(0)), Ok(2));
    assert_eq!(begin(at(10)), Ok(10), "no record is that late");
    let tomorrow = crate::clock::now_millis() + 86_400_000;
    refused(first(&topic, Start::Timestamp(tomorrow), None), "`start` is at ");
    refused(first(&topic, Start::Earliest, Some(Until::Timestamp(tomorrow))), "`until` is at ");
}

#[test]
fn an_end_before_the_start_and_one_that_is_missing_are_refused() {
    let topic = ten();
    let until = |offset| Some(Until::Offsets(of(&topic, offset)));
    assert_eq!(first(&topic, Start::Earliest, until(2)), Ok((2, Some(2))));
    refused(first(&topic, Start::Earliest, until(1)), "would begin at offset 2 and end before 1");
    refused(first(&topic, Start::Latest, Some(Until::Timestamp(at(5)))), "would begin at offset 10 and end before 5");
    assert_eq!(first(&topic, Start::Earliest, Some(Until::Timestamp(at(5)))), Ok((2, Some(5))));
    assert_eq!(first(&topic, Start::Latest, Some(Until::Latest)), Ok((10, Some(10))));
    let two = self::topic("two", 2, &[]);
    refused(first(&two, Start::Earliest, Some(Until::Offsets(of(&two, 5)))), &format!("says nothing of `{two}/1`"));
}

#[test]
fn a_read_stops_exactly_at_its_offset_also_where_no_record_has_it() {
    // Rows at 0 to 9, 11 to 20 and 22 to 31, each ten followed by a control record.
    let topic = topic("exact", 1, &[]);
    fill(&topic, 3);
    for (end, rows) in [(0, 0), (5, 5), (10, 10), (11, 10), (12, 11), (32, 30), (33, 30)] {
        let settings = SourceSettings { until: Some(Until::Offsets(of(&topic, end))), ..source_settings(&topic) };
        let mut source = KafkaSource::open(&settings, None, waker().0).expect("a source");
        assert_eq!(values(&drain(&mut source)), (0..rows).collect::<Vec<_>>(), "{end}");
        assert_eq!(source.splits()[0].position, end);
    }
    // Further than there is anything: it waits for it.
    let settings = SourceSettings { until: Some(Until::Offsets(of(&topic, 36))), ..source_settings(&topic) };
    let mut source = KafkaSource::open(&settings, None, waker().0).expect("a source");
    let mut out = Batch::default();
    wait_for("all that is there", || {
        assert_ne!(source.poll(&mut out).expect("readable"), Polled::Ended);
        out.len() == 30 && source.splits()[0].position == 33
    });
    fill(&topic, 1);
    assert_eq!(drain(&mut source).len(), 3);
    assert_eq!(source.splits()[0].position, 36);
}

#[test]
fn a_partition_that_ends_is_told_once_right_behind_its_last_row_and_again_by_who_is_restored_there() {
    let topic = topic("ends", 4, &[]);
    // Behind the ends stand rows that are not read, a control record, nothing yet; and one of them is empty.
    put(&topic, 0, 0..8);
    fill_partition(&topic, 1);
    put(&topic, 2, 0..10);
    let until = [5, 11, 100, 0].into_iter().enumerate().map(|(n, end)| (Partition::new(&topic, n as i32), end));
    let settings = SourceSettings { until: Some(Until::Offsets(until.collect())), ..source_settings(&topic) };
    let open =
        |restored: Option<&SourcePositions>| KafkaSource::open(&settings, restored, waker().0).expect("a source");
    let mut source = open(None);
    let (mut out, mut told, mut last) = (Batch::default(), Vec::new(), Vec::new());
    wait_for("three ends and all rows", || {
        match source.poll(&mut out).expect("readable") {
            Polled::SplitEnded(split) => told.push((split, rows_of(&out, split), last.clone())),
            Polled::Rows => last = out.origins.last().map(|run| run.split as usize).into_iter().collect(),
            _ => {}
        }
        told.len() == 3 && out.len() == 25
    });
    told.sort_unstable();
    // Of what stands behind a control record only the next fetch says so: others may come first.
    told[1].2 = vec![1];
    let wanted = [(0, 5, vec![0]), (1, 10, vec![1]), (3, 0, vec![])];
    assert_eq!(told, wanted, "split, its rows, and whose row was the last");
    assert_eq!(source.poll(&mut out).expect("readable"), Polled::Empty, "once each");

    let mut again = open(Some(&positions(&source)));
    let mut out = Batch::default();
    let told: Vec<Polled> = (0..3).map(|_| again.poll(&mut out).expect("readable")).collect();
    assert_eq!(told, [0, 1, 3].map(Polled::SplitEnded));
    put(&topic, 2, 10..20);
    wait_for("the other one to go on", || again.poll(&mut out).expect("readable") == Polled::Rows);
}

fn rows_of(batch: &Batch, split: usize) -> usize {
    batch.origins.iter().filter(|run| run.split as usize == split).map(|run| run.count as usize).sum()
}

#[test]
fn a_read_ends_within_rows_that_were_aborted() {
    let topic = topic("aborted", 1, &[]);
    fill(&topic, 1);
    let domain = domain("aborted", &[&topic]);
    let mut attempt = start(&domain, "n1");
    attempt.authority.begin().expect("begun");
    write(&mut sink(&attempt, &topic), &rows(0..10));
    attempt.authority.flush().expect("acknowledged");
    // Fenced, and so aborted: the offsets 11 to 20, and 21 for the marker, are nobody's.
    start(&domain, "n2");
    wait_for("the abort", || list_transactions(&domain).expect("a listing").held.is_empty());
    let settings = SourceSettings { until: Some(Until::Offsets(of(&topic, 15))), ..source_settings(&topic) };
    let read = || {
        let mut source = KafkaSource::open(&settings, None, waker().0).expect("a source");
        (drain(&mut source).len(), source.splits()[0].position)
    };
    assert_eq!(read(), (10, 15), "nothing follows");
    fill(&topic, 1);
    assert_eq!(read(), (10, 15), "rows follow");
}

#[test]
fn a_restore_goes_on_where_it_stood_whatever_start_says_by_then() {
    let topic = ten();
    let mut known = positions(&KafkaSource::open(&source_settings(&topic), None, waker().0).expect("a source"));
    known.splits[0].position = 6;
    let tomorrow = crate::clock::now_millis() + 86_400_000;
    for start in [
        Start::Latest,
        Start::Timestamp(tomorrow),
        Start::Offsets { offsets: of(&topic, 99), otherwise: Otherwise::Fail },
        Start::Group { group: unique("nobody"), otherwise: Otherwise::Fail },
    ] {
        let settings = SourceSettings { start, ..source_settings(&topic) };
        let source = KafkaSource::open(&settings, Some(&known), waker().0).expect("a source");
        assert_eq!(source.splits()[0].position, 6);
    }
}

#[test]
fn an_end_stays_where_the_first_commit_fixed_it_and_may_be_written_or_taken_out_later() {
    let topic = ten();
    let open = |until, restored: Option<&SourcePositions>| {
        let settings = SourceSettings { until, ..source_settings(&topic) };
        KafkaSource::open(&settings, restored, waker().0).expect("a source")
    };
    let fixed = positions(&open(Some(Until::Latest), None));
    put(&topic, 0, 10..20);
    for until in [Until::Latest, Until::Timestamp(at(15)), Until::Offsets(of(&topic, 17))] {
        assert_eq!(open(Some(until), Some(&fixed)).splits()[0].end, Some(10));
    }
    let unbounded = positions(&open(None, Some(&fixed)));
    assert_eq!(unbounded.splits[0].end, None);
    let mut later = open(Some(Until::Latest), Some(&unbounded));
    assert_eq!(values(&drain(&mut later)), (2..20).collect::<Vec<_>>());
    let behind =
        SourcePositions { splits: vec![SplitPosition { position: 18, ..unbounded.splits[0].clone() }], ..unbounded };
    let mut past = open(Some(Until::Offsets(of(&topic, 17))), Some(&behind));
    assert_eq!((drain(&mut past).len(), past.splits()[0].position), (0, 18));
}
