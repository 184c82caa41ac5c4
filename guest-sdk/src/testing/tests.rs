//! The test host behaves as the real one: ordinals, overlays, timers, ports.

#![allow(clippy::unwrap_used, reason = "a test may")]

use super::*;
use crate::{Context, Due, Json, KEYS, Metric, Port, Record, VALUES};

const MAIN: Port = Port::new(0, "main");
const SIDE: Port = Port::new(1, "side");
const COUNT: ValueState<u64> = ValueState::new(0, "count");
const WORDS: MapState<String, Vec<u8>> = MapState::new(1, "words");
const LAST: ValueState<Json<Vec<String>>> = ValueState::new(2, "last");
const SEEN: Metric = Metric::counter(0, "seen");

/// Does what the value says, so that each test reads as a list of commands.
struct Probe {
    calls: u32,
}

impl Operator for Probe {
    fn descriptor() -> Descriptor {
        Descriptor::new("probe", "0.1.0")
            .input("in", &[KEYS, VALUES])
            .input("times", &[])
            .output(MAIN)
            .output(SIDE)
            .value_state(COUNT)
            .map_state(WORDS)
            .value_state(LAST)
            .metric(SEEN)
            .timers()
            .processing_timers()
            .watermarks()
            .end()
    }

    fn open(config: &Config, _: &Task) -> Result<Probe, Failure> {
        match config.text("open", "well")? {
            "well" => Ok(Probe { calls: 0 }),
            other => Err(Failure::fatal("config", other)),
        }
    }

    fn process(&mut self, record: &Record<'_>, ctx: &mut Context) -> Result<(), Failure> {
        self.calls += 1;
        SEEN.add(1);
        if record.input() == 1 {
            ctx.emit(MAIN).value(record.value());
            return Ok(());
        }
        let text = std::str::from_utf8(record.value()).expect("tests write UTF-8");
        let (command, rest) = text.split_once(' ').unwrap_or((text, ""));
        match command {
            "count" => {
                let count = ctx.value(COUNT).or_default();
                *count += 1;
                let text = count.to_string();
                ctx.emit(MAIN).value(text);
            }
            "clear" => ctx.value(COUNT).clear(),
            "put" => {
                let mut words = ctx.map(WORDS);
                let length = words.get(&rest.to_owned()).map_or(0, |word| word.len());
                words.put(&rest.to_owned(), &vec![b'x'; length + 1]);
            }
            "remove" => ctx.map(WORDS).remove(&rest.to_owned()),
            "last" => ctx.value(LAST).or_default().0.push(rest.to_owned()),
            "forward" => ctx.forward(MAIN),
            "time" => drop(ctx.emit(MAIN).time(rest.parse().expect("a time"))),
            "row" => drop(ctx.emit(MAIN).value(rest)),
            "key" => drop(ctx.emit(MAIN).key(rest)),
            "null" => drop(ctx.emit(SIDE).null_key().null_value().no_headers().partition(3)),
            "header" => drop(ctx.emit(SIDE).header("a", Some(b"1")).header("b", None)),
            "headers" => {
                let names = record.headers().map(|(name, value)| format!("{name}={value:?}")).collect::<Vec<_>>();
                ctx.emit(SIDE).value(names.join(","));
            }
            "origin" => drop(ctx.emit(SIDE).value(format!("{:?}", record.origin()))),
            "timer" => ctx.set_timer(rest.parse().expect("a time"), 7),
            "untimer" => ctx.unset_timer(rest.parse().expect("a time"), 7),
            "alarm" => ctx.set_processing_timer(rest.parse().expect("a time"), 8),
            "reject" => ctx.reject("bad", rest),
            "fail" => return Err(Failure::fatal("poison", rest)),
            "calls" => drop(ctx.emit(SIDE).value(self.calls.to_string())),
            "log" => crate::warn!(slot = record.slot(), "said {rest}"),
            other => panic!("no command {other}"),
        }
        Ok(())
    }

    fn on_timer(&mut self, timer: &Due<'_>, ctx: &mut Context) -> Result<(), Failure> {
        if timer.tag() == 9 {
            return Err(Failure::retry("later", "not now"));
        }
        let at = format!("{:?} {} {}", timer.domain(), timer.time(), ctx.watermark());
        ctx.emit(MAIN).value(at);
        Ok(())
    }

    fn on_watermark(&mut self, at: i64, ctx: &mut Context) -> Result<(), Failure> {
        ctx.emit(SIDE).time(at).null_key().value("watermark");
        Ok(())
    }

    fn on_end(&mut self, ctx: &mut Context) -> Result<(), Failure> {
        ctx.emit(SIDE).time(0).null_key().value("end");
        Ok(())
    }
}

fn probe() -> TestHost<Probe> {
    TestHost::open("{}").expect("the probe opens")
}

fn push(host: &mut TestHost<Probe>, commands: &[(&str, &str)]) -> Result<(), Failure> {
    let records: Vec<_> = commands.iter().map(|(key, command)| record(1_000).key(key).value(command)).collect();
    host.push(&records)
}

fn texts(rows: Vec<TestRow>) -> Vec<String> {
    rows.iter().map(|row| format!("{} {}", row.key_text(), row.text())).collect()
}

#[test]
fn two_records_of_one_key_see_each_others_writes_and_calls_see_those_of_earlier_calls() {
    let mut host = probe().forgetful();
    push(&mut host, &[("a", "count"), ("b", "count"), ("a", "count")]).unwrap();
    push(&mut host, &[("b", "count"), ("a", "clear"), ("a", "count")]).unwrap();
    assert_eq!(texts(host.take("main")), ["a 1", "b 1", "a 2", "b 2", "a 1"]);
    assert_eq!((host.value(COUNT, "a"), host.value(COUNT, "b")), (Some(1), Some(2)));
}

#[test]
fn a_cleared_value_is_gone_and_its_memory_does_not_come_back_in_another_key() {
    let mut host = probe();
    push(&mut host, &[("a", "last x"), ("a", "last y")]).unwrap();
    push(&mut host, &[("b", "last z")]).unwrap();
    assert_eq!(host.value(LAST, "b"), Some(Json(vec!["z".into()])));
    assert_eq!(host.value(LAST, "a"), Some(Json(vec!["x".into(), "y".into()])));
    push(&mut host, &[("a", "count"), ("a", "clear")]).unwrap();
    assert_eq!(host.value(COUNT, "a"), None);
}

#[test]
fn map_entries_are_kept_by_key_and_field() {
    let mut host = probe().forgetful();
    push(&mut host, &[("a", "put x"), ("b", "put x"), ("a", "put x"), ("a", "put y"), ("b", "remove x")]).unwrap();
    assert_eq!(host.map(WORDS, "a"), [("x".to_owned(), b"xx".to_vec()), ("y".to_owned(), b"x".to_vec())]);
    assert_eq!(host.map(WORDS, "b"), []);
    push(&mut host, &[("a", "put x")]).unwrap();
    assert_eq!(host.map(WORDS, "a")[0].1, b"xxx");
}

#[test]
fn a_call_that_fails_leaves_nothing_and_blames_the_record() {
    let mut host = probe();
    push(&mut host, &[("a", "count"), ("a", "timer 5000")]).unwrap();
    let failure =
        push(&mut host, &[("a", "count"), ("a", "untimer 5000"), ("b", "put x"), ("b", "fail now"), ("a", "count")]);
    assert_eq!(failure, Err(Failure { slot: Some(3), ..Failure::fatal("poison", "now") }));
    assert_eq!((host.value(COUNT, "a"), host.state_len()), (Some(1), 1));
    assert_eq!(host.timers(Domain::Event), [(5_000, b"a".to_vec(), 7)]);
    assert_eq!(host.take("main").len(), 1);
    push(&mut host, &[("c", "count")]).unwrap();
    assert_eq!(texts(host.take("main")), ["c 1"], "what the failed call had begun does not come with the next one");
}

#[test]
fn rows_and_forwarded_records_of_a_port_keep_their_order() {
    let mut host = probe();
    let commands = ["row 1", "forward", "row 2", "key k", "time 7", "forward", "forward", "row 3"];
    push(&mut host, &commands.map(|command| ("a", command))).unwrap();
    let found = texts(host.take("main"));
    assert_eq!(found, ["a 1", "a forward", "a 2", "k key k", "a time 7", "a forward", "a forward", "a 3"]);
}

#[test]
fn what_a_row_does_not_give_it_inherits_from_the_record() {
    let mut host = probe();
    host.push(&[record(5).key("k").value("time 9").header("h", Some(b"v")), record(6).value("key x")]).unwrap();
    let rows = host.take("main");
    assert_eq!((rows[0].time, rows[0].key_text(), rows[0].text()), (9, "k", "time 9"));
    assert!(rows[0].headers().eq([("h", Some(&b"v"[..]))]));
    assert_eq!((rows[1].time, rows[1].key_text()), (6, "x"));
}

#[test]
fn null_and_empty_stay_different_on_the_way_out() {
    let mut host = probe();
    push(&mut host, &[("a", "null"), ("a", "header"), ("a", "row ")]).unwrap();
    let rows = host.take("side");
    assert_eq!((&rows[0].key, &rows[0].value, rows[0].partition), (&None, &None, Some(3)));
    assert!(rows[1].headers().eq([("a", Some(&b"1"[..])), ("b", None)]));
    assert_eq!(host.take("main")[0].value, Some(Vec::new()));
}

#[test]
fn headers_and_origins_come_when_they_are_wanted() {
    let mut host = probe();
    let plain = record(1).key("a");
    host.push(&[plain.clone().value("headers").header("x", None).header("y", Some(b"")), plain.value("headers")])
        .unwrap();
    let rows = host.take("side");
    assert_eq!((rows[0].text(), rows[1].text()), ("x=None,y=Some([])", ""));
    host.push(&[record(1).value("origin").origin(2, 41)]).unwrap();
    assert_eq!(host.take("side")[0].text(), "Some((2, 41))");
}

#[test]
fn timers_fire_in_order_of_time_once_and_never_right_after_the_call() {
    let mut host = probe();
    push(&mut host, &[("a", "timer 3000"), ("b", "timer 2000"), ("a", "timer 1000"), ("a", "timer 3000")]).unwrap();
    push(&mut host, &[("b", "timer 9000"), ("b", "untimer 9000")]).unwrap();
    assert_eq!(host.take("main").len(), 0);
    host.watermark(2_999).unwrap();
    assert_eq!(texts(host.take("main")), ["a Event 1000 2999", "b Event 2000 2999"]);
    push(&mut host, &[("c", "timer 5")]).unwrap();
    assert_eq!(host.take("main").len(), 0, "a time that has passed waits for the next watermark");
    host.end().unwrap();
    assert_eq!(texts(host.take("main")).len(), 2);
    let side: Vec<_> = host.take("side").iter().map(|row| row.text().to_owned()).collect();
    assert_eq!(side, ["watermark", "watermark", "end"]);
}

#[test]
fn processing_timers_follow_the_clock_of_the_host() {
    let mut host = probe();
    push(&mut host, &[("a", "alarm 50")]).unwrap();
    host.end().unwrap();
    assert_eq!(host.take("main").len(), 0);
    host.now(50).unwrap();
    assert_eq!(texts(host.take("main")), [format!("a Processing 50 {}", i64::MAX)]);
}

#[test]
fn a_rejected_record_is_reported_with_its_reason() {
    let mut host = probe();
    push(&mut host, &[("a", "count"), ("a", "reject too odd")]).unwrap();
    assert_eq!(host.take_rejected(), [Rejected { slot: 1, code: "bad".into(), message: "too odd".into() }]);
}

#[test]
fn log_lines_carry_their_fields() {
    let mut host = probe();
    push(&mut host, &[("a", "log hello")]).unwrap();
    assert_eq!(host.take_log(), ["warn said hello slot=0"]);
    assert_eq!(host.metric(SEEN), 1.0);
}

#[test]
#[should_panic(expected = "this column was not asked for")]
fn a_column_that_was_not_asked_for_says_so() {
    let _ = probe().push_to(1, &[record(1).value("x")]);
}

#[test]
#[should_panic(expected = "a row outside `process` has no value to inherit")]
fn a_row_of_a_timer_needs_a_value() {
    struct Mute;
    impl Operator for Mute {
        fn descriptor() -> Descriptor {
            Descriptor::new("mute", "0.1.0").input("in", &[]).output(MAIN).timers()
        }

        fn open(_: &Config, _: &Task) -> Result<Mute, Failure> {
            Ok(Mute)
        }

        fn process(&mut self, _: &Record<'_>, ctx: &mut Context) -> Result<(), Failure> {
            ctx.set_timer(1, 0);
            Ok(())
        }

        fn on_timer(&mut self, _: &Due<'_>, ctx: &mut Context) -> Result<(), Failure> {
            drop(ctx.emit(MAIN));
            Ok(())
        }
    }
    let mut host = TestHost::<Mute>::open("").expect("it opens");
    host.push(&[record(0).key("a")]).expect("it sets a timer");
    let _ = host.end();
}

#[test]
fn a_configuration_that_the_operator_refuses_is_an_answer() {
    let failure = TestHost::<Probe>::open(r#"{"open": "badly"}"#).err();
    assert_eq!(failure, Some(Failure::fatal("config", "badly")));
    let failure = TestHost::<Probe>::open(r#"{"open": 1}"#).err().expect("a number is no text");
    assert_eq!(failure.message(), "`open` must be a string, found a number");
}

#[test]
fn instance_fields_live_between_calls_only_until_the_host_opens_another() {
    let mut host = probe();
    push(&mut host, &[("a", "count")]).unwrap();
    push(&mut host, &[("a", "calls")]).unwrap();
    host.reopen().unwrap();
    push(&mut host, &[("a", "calls")]).unwrap();
    let calls: Vec<_> = host.take("side").iter().map(|row| row.text().to_owned()).collect();
    assert_eq!(calls, ["2", "1"]);
}

mod upgrade {
    use super::*;

    const NEW_COUNT: ValueState<(u64, String)> = ValueState::new(1, "count").version(3);
    const NEW_WORDS: MapState<String, u64> = MapState::new(0, "words").version(2);

    /// What comes after `Probe`: other places, other types, and no `last`.
    struct Next;

    impl Operator for Next {
        fn descriptor() -> Descriptor {
            let descriptor = Descriptor::new("probe", "0.2.0").input("in", &[KEYS, VALUES]).output(MAIN);
            descriptor.map_state(NEW_WORDS).value_state(NEW_COUNT).timers().migrates()
        }

        fn open(_: &Config, _: &Task) -> Result<Next, Failure> {
            Ok(Next)
        }

        fn process(&mut self, _: &Record<'_>, _: &mut Context) -> Result<(), Failure> {
            Ok(())
        }

        fn migrate(&mut self, state: u32, from_version: u32, value: &[u8]) -> Result<Option<Vec<u8>>, Failure> {
            if NEW_COUNT.is(state) && from_version == 1 {
                return NEW_COUNT.rewrite(value, |count: u64| (count < 3).then(|| (count, "was".to_owned())));
            }
            if NEW_WORDS.is(state) {
                return NEW_WORDS.rewrite(value, |word: Vec<u8>| Some(word.len() as u64));
            }
            Err(Failure::no_migration(state, from_version))
        }
    }

    /// Declares what `Probe` wrote as another kind, or as newer without a way.
    struct Unfit;

    impl Operator for Unfit {
        fn descriptor() -> Descriptor {
            Descriptor::new("probe", "0.2.0").value_state(COUNT.version(2))
        }

        fn open(_: &Config, _: &Task) -> Result<Unfit, Failure> {
            Ok(Unfit)
        }

        fn process(&mut self, _: &Record<'_>, _: &mut Context) -> Result<(), Failure> {
            Ok(())
        }
    }

    #[test]
    fn state_of_an_older_version_goes_through_migrate_and_keeps_its_keys_and_fields() {
        let mut host = TestHost::<Probe>::open("{}").unwrap();
        let record = |key: &str, value: &str| record(0).key(key).value(value);
        host.push(&[record("a", "count"), record("b", "count"), record("b", "count"), record("b", "count")]).unwrap();
        host.push(&[record("a", "put x ten")]).unwrap();
        let words: Vec<(String, Vec<u8>)> = host.map(WORDS, "a");
        let timers = host.timers(Domain::Event);
        let host = host.upgrade::<Next>("{}").unwrap();
        assert_eq!(host.value(NEW_COUNT, "a"), Some((1, "was".to_owned())));
        assert_eq!(host.value(NEW_COUNT, "b"), None, "it was removed");
        let expected: Vec<(String, u64)> = words.into_iter().map(|(word, value)| (word, value.len() as u64)).collect();
        assert_eq!(host.map(NEW_WORDS, "a"), expected);
        assert_eq!(host.timers(Domain::Event), timers);
    }

    #[test]
    fn state_that_does_not_fit_is_refused_as_the_host_refuses_it() {
        let mut host = TestHost::<Probe>::open("{}").unwrap();
        host.push(&[record(0).key("a").value("count")]).unwrap();
        let refused = host.upgrade::<Unfit>("{}").err().unwrap();
        assert_eq!(refused.message(), "state `count` is v1 (value); probe@0.2.0 declares v2 (value) and no migration");
    }
}
