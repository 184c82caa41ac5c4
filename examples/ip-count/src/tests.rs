//! The rules of ip-count, natively: windows, lateness, the port late, replays.

use weir_sdk::Domain;
use weir_sdk::testing::{TestHost, TestRow, record};

use super::*;

fn host(config: &str) -> TestHost<IpCount> {
    // The host may throw the instance away between two calls, so it does.
    TestHost::open(config).expect("the configuration is good").forgetful()
}

fn push(host: &mut TestHost<IpCount>, records: &[(&str, i64)]) {
    let records: Vec<_> = records.iter().map(|(ip, time)| record(*time).key(ip).value(format!("at {time}"))).collect();
    host.push(&records).expect("counting does not fail");
}

/// (ip, window_start, count) of the rows.
fn counts(rows: &[TestRow]) -> Vec<(String, i64, u64)> {
    let field = |row: &TestRow, name: &str| {
        let text = row.text();
        let at = text.find(&format!("\"{name}\":")).expect("the field is there") + name.len() + 3;
        text[at..].split([',', '}']).next().expect("something follows").to_owned()
    };
    let number = |row: &TestRow, name: &str| field(row, name).parse::<i64>().expect("a number");
    let count = |row: &TestRow| (row.key_text().to_owned(), number(row, "window_start"), number(row, "count") as u64);
    rows.iter().map(count).collect()
}

#[test]
fn a_window_fires_once_when_the_watermark_reaches_its_end() {
    let mut host = host("{}");
    push(
        &mut host,
        &[("a", 1_700_000_000_000), ("b", 1_700_000_004_999), ("a", 1_700_000_001_234), ("a", 1_700_000_005_000)],
    );
    host.watermark(1_700_000_004_998).unwrap();
    assert_eq!(host.take("out"), []);
    host.watermark(1_700_000_004_999).unwrap();
    let rows = host.take("out");
    let value = r#"{"ip":"a","window_start":1700000000000,"window_end":1700000005000,"count":2}"#;
    assert_eq!((rows[0].key_text(), rows[0].text(), rows[0].time), ("a", value, 1_700_000_004_999));
    assert_eq!(counts(&rows), [("a".into(), 1_700_000_000_000, 2), ("b".into(), 1_700_000_000_000, 1)]);
    host.end().unwrap();
    assert_eq!(counts(&host.take("out")), [("a".into(), 1_700_000_005_000, 1)]);
    assert_eq!((host.state_len(), host.timers(Domain::Event).len()), (0, 0), "nothing is left behind");
}

#[test]
fn a_late_record_within_the_lateness_fires_again_at_once_with_the_higher_count() {
    let mut host = host("{}");
    push(&mut host, &[("a", 0), ("a", 1)]);
    host.watermark(4_999).unwrap();
    host.take("out");
    push(&mut host, &[("a", 2), ("b", 3), ("a", 4)]);
    let expected = [("a".into(), 0, 3), ("b".into(), 0, 1), ("a".into(), 0, 4)];
    assert_eq!(counts(&host.take("out")), expected, "b's window opens late");
    host.watermark(9_998).unwrap();
    push(&mut host, &[("a", 0)]);
    assert_eq!(counts(&host.take("out")), [("a".into(), 0, 5)]);
    assert_eq!(host.take("late"), []);
}

#[test]
fn a_record_beyond_the_lateness_goes_to_the_late_port_as_it_came() {
    let mut host = host("{}");
    push(&mut host, &[("a", 0)]);
    host.watermark(9_999).unwrap();
    assert_eq!(host.state_len(), 0, "the state goes when a record would be too late");
    host.take("out");
    push(&mut host, &[("a", 4_999), ("a", 5_000)]);
    let late = host.take("late");
    assert_eq!((late[0].text(), late[0].key_text(), late[0].time, late.len()), ("at 4999", "a", 4_999, 1));
    assert_eq!(counts(&host.take("out")), [("a".into(), 5_000, 1)]);
}

#[test]
fn without_lateness_a_window_goes_when_it_fires() {
    let mut host = host(r#"{"lateness": "0s"}"#);
    push(&mut host, &[("a", 0), ("a", 5_000)]);
    host.watermark(4_999).unwrap();
    push(&mut host, &[("a", 4_999)]);
    assert_eq!((host.take("out").len(), host.take("late").len(), host.timers(Domain::Event).len()), (1, 1, 1));
    host.end().unwrap();
    assert_eq!((host.take("out").len(), host.state_len()), (1, 0));
}

#[test]
fn a_lateness_of_several_windows_keeps_them_all_open() {
    let mut host = host(r#"{"window": "1s", "lateness": "3s"}"#);
    push(&mut host, &[("a", 0), ("a", 1_000), ("a", 2_000), ("a", 3_000)]);
    host.watermark(3_998).unwrap();
    assert_eq!(counts(&host.take("out")), [("a".into(), 0, 1), ("a".into(), 1_000, 1), ("a".into(), 2_000, 1)]);
    push(&mut host, &[("a", 999), ("a", 2_500)]);
    assert_eq!(counts(&host.take("out")), [("a".into(), 0, 2), ("a".into(), 2_000, 2)]);
    for watermark in [3_999, 4_999, 5_999] {
        host.watermark(watermark).unwrap();
        push(&mut host, &[("a", watermark - 3_000)]);
        assert_eq!(host.take("late").len(), 1, "too late at {watermark}");
    }
    host.end().unwrap();
    assert_eq!((host.state_len(), host.timers(Domain::Event).len()), (0, 0));
}

#[test]
fn windows_before_1970_and_at_the_ends_of_time_are_windows() {
    let mut host = host("{}");
    push(&mut host, &[("a", -1), ("a", -5_000), ("b", i64::MAX), ("b", i64::MIN)]);
    host.end().unwrap();
    let found = counts(&host.take("out"));
    assert!(found.contains(&("a".into(), -5_000, 2)), "{found:?}");
    assert_eq!((found.len(), host.take("late").len(), host.state_len()), (3, 0, 0));
}

#[test]
fn an_ip_with_odd_bytes_is_escaped() {
    let mut host = host("{}");
    host.push(&[record(0).key(b"a\"\\\n\x01\xff\xc3\xa9")]).unwrap();
    host.end().unwrap();
    let rows = host.take("out");
    assert!(rows[0].text().starts_with("{\"ip\":\"a\\\"\\\\\\n\\u0001\u{fffd}é\","), "{}", rows[0].text());
    assert_eq!(rows[0].key.as_deref(), Some(&b"a\"\\\n\x01\xff\xc3\xa9"[..]));
}

#[test]
fn a_window_of_nothing_and_a_misspelt_duration_are_refused() {
    for (config, message) in [
        (r#"{"window": "0s"}"#, "`window` must be longer than nothing"),
        (r#"{"window": "5 parsecs"}"#, "`window` must be a duration such as"),
        (r#"{"lateness": 5}"#, "`lateness` must be a duration such as"),
    ] {
        let failure = TestHost::<IpCount>::open(config).err().expect("refused");
        assert!(failure.message().starts_with(message), "{failure}");
    }
}
