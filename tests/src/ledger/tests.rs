//! The judge judged: rows made by hand, and each fault that it must see.

use super::*;

fn event(partition: i32, ip: &str, time: i64) -> Event {
    Event { partition, ip: ip.to_owned(), time }
}

fn row(ip: &str, start: i64, count: u64) -> Output {
    let value = format!(r#"{{"ip":"{ip}","window_start":{start},"window_end":{},"count":{count}}}"#, start + 5_000);
    Output { key: Some(ip.to_owned()), time: Some(start + 4_999), value }
}

/// Two windows of one key; the first gets one more record after it has fired, and one that is too late.
fn late_events() -> Vec<Event> {
    let times = [1_000, 2_000, 6_000, 6_100, 3_000, 11_200, 4_000];
    times.into_iter().map(|time| event(0, "a", time)).collect()
}

fn clean() -> Vec<Output> {
    vec![row("a", 0, 2), row("a", 0, 3), row("a", 5_000, 2), row("a", 10_000, 1)]
}

fn judge(rows: Vec<Output>) -> Verdict {
    Ledger::in_order(WindowRule::default(), &late_events()).judge(rows)
}

#[test]
fn window_fires_once_its_end_is_passed_again_for_a_late_record_and_never_for_one_too_late() {
    // 6,100 moves the watermark to 5,000: [0, 5000) fires with 2. 3,000 is late: 3. After 11,200 the watermark stands at
    // 10,100, which is past 4,999 + 5,000: 4,000 is too late. 10,100 has also fired [5000, 10000).
    let ledger = Ledger::in_order(WindowRule::default(), &late_events());
    assert_eq!((ledger.rows(), ledger.too_late()), (4, 1));
    ledger.judge(clean()).expect_clean();
}

#[test]
fn watermark_moves_in_ticks() {
    // 6,099 − 1,000 − 1 = 5,098, in ticks 5,000; 6,000 − 1,001 = 4,999 would fire, in ticks 4,900 it does not.
    let times = [1_000, 6_000, 2_000, 6_099, 3_000];
    let events: Vec<Event> = times.into_iter().map(|time| event(0, "a", time)).collect();
    let ledger = Ledger::in_order(WindowRule::default(), &events);
    ledger.judge(vec![row("a", 0, 2), row("a", 0, 3), row("a", 5_000, 2)]).expect_clean();
}

#[test]
fn slowest_partition_holds_the_watermark() {
    let events = [event(0, "a", 1_000), event(0, "a", 9_000), event(0, "a", 2_000), event(1, "b", 9_000)];
    let ledger = Ledger::in_order(WindowRule::default(), &events);
    ledger.judge(vec![row("a", 0, 2), row("a", 5_000, 1), row("b", 5_000, 1)]).expect_clean();
}

#[test]
fn lost_row_is_seen() {
    let mut rows = clean();
    rows.remove(1);
    let verdict = judge(rows);
    assert_eq!(verdict.lost, ["a window 0 count 3"]);
    assert!(verdict.doubled.is_empty() && verdict.reordered.is_empty() && verdict.wrong.is_empty(), "{verdict}");
}

#[test]
fn doubled_row_is_seen() {
    let mut rows = clean();
    rows.push(rows[2].clone());
    let verdict = judge(rows);
    assert_eq!(verdict.doubled, ["a window 5000 count 2"]);
    assert!(verdict.lost.is_empty() && verdict.reordered.is_empty() && verdict.wrong.is_empty(), "{verdict}");
}

#[test]
fn swapped_rows_of_a_key_are_seen() {
    let mut rows = clean();
    rows.swap(0, 1);
    let verdict = judge(rows);
    assert_eq!(verdict.reordered.len(), 1, "{verdict}");
    assert!(verdict.lost.is_empty() && verdict.doubled.is_empty() && verdict.wrong.is_empty(), "{verdict}");
}

#[test]
fn row_that_nothing_explains_is_seen() {
    for stranger in [
        row("a", 0, 4),
        row("a", 15_000, 1),
        row("nobody", 0, 1),
        row("a", 1_000, 1),
        Output { key: Some("b".into()), ..row("a", 0, 2) },
        Output { time: Some(0), ..row("a", 0, 2) },
        Output::from("{"),
    ] {
        let mut rows = clean();
        rows.push(stranger.clone());
        assert_eq!(judge(rows).wrong.len(), 1, "{stranger:?}");
    }
}

#[test]
fn any_order_wants_every_step_up_to_the_total_once() {
    let events: Vec<Event> = (0..5).map(|n| event(n % 2, "a", 1_000 + i64::from(n))).collect();
    let ledger = Ledger::any_order(WindowRule::default(), &events);
    let counts = |counts: &[u64]| ledger.judge(counts.iter().map(|&count| row("a", 0, count)).collect::<Vec<_>>());
    counts(&[5]).expect_clean();
    counts(&[3, 4, 5]).expect_clean();
    assert_eq!(counts(&[3, 5]).lost, ["a window 0 count 4"]);
    assert_eq!(counts(&[3, 4]).lost, ["a window 0 count 5"]);
    assert_eq!(counts(&[]).lost, ["a window 0 count 5"]);
    assert_eq!(counts(&[4, 4, 5]).doubled, ["a window 0 count 4"]);
    assert_eq!(counts(&[4, 3, 5]).reordered.len(), 1);
    assert_eq!(counts(&[5, 6]).wrong, ["never reached: a window 0 count 6"]);
}

#[test]
fn workload_is_the_same_for_the_same_seed() {
    let workload = Workload { late: Some((50, 3_000)), ..Workload::default() };
    assert_eq!(workload.events(), workload.events());
    assert_ne!(workload.events(), Workload { seed: 2, ..workload }.events());
}
