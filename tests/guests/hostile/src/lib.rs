//! Does the harm that its configuration names, and passes everything else on.
//!
//! `do`: what (see `harm`); `on`: only for records whose value contains this text (every record where it is not given);
//! `at`: where, `process` (the default), `open`, `timer`, `watermark` or `end`. `on` holds for `process` alone.

use weir_sdk::{
    Config, Context, Descriptor, Due, Failure, KEYS, Metric, Operator, Port, Record, Task, VALUES, ValueState, info,
    warn,
};

const OUT: Port = Port::new(0, "out");
const SIDE: Port = Port::new(1, "side");
const COUNT: ValueState<u64> = ValueState::new(0, "count");
const BLOB: ValueState<Vec<u8>> = ValueState::new(1, "blob");
const PASSED: Metric = Metric::counter(0, "records-passed");
const LENGTH: Metric = Metric::gauge(1, "last_length");

struct Hostile {
    what: String,
    on: String,
    at: String,
    /// The secret `canary`, which it gives away where it can.
    canary: String,
    /// Kept between calls, which an operator must not: a test sees the host throw it away.
    calls: u64,
}

weir_sdk::export!(Hostile);

impl Operator for Hostile {
    fn descriptor() -> Descriptor {
        Descriptor::new("hostile", "0.1.0")
            .input("in", &[KEYS, VALUES])
            .output(OUT)
            .output(SIDE)
            .value_state(COUNT)
            .value_state(BLOB)
            .metric(PASSED)
            .metric(LENGTH)
            .timers()
            .watermarks()
            .end()
    }

    fn open(config: &Config, _: &Task) -> Result<Hostile, Failure> {
        let text = |name, default| config.text(name, default).map(str::to_owned);
        let hostile = Hostile {
            what: text("do", "nothing")?,
            on: text("on", "")?,
            at: text("at", "process")?,
            canary: config.secret("canary").unwrap_or_default(),
            calls: 0,
        };
        if hostile.at == "open" {
            hostile.harm(None)?;
        }
        Ok(hostile)
    }

    fn process(&mut self, record: &Record<'_>, ctx: &mut Context) -> Result<(), Failure> {
        self.calls += 1;
        // Counted before the harm: what a call counts that fails is not counted.
        PASSED.add(1);
        LENGTH.set(record.value().len() as f64);
        let hit = self.at == "process" && contains(record.value(), self.on.as_bytes());
        // Once a call, however many records are in it: all of them together have one limit.
        let hit = hit && (self.what != "toil" || record.slot() == 0);
        if self.at == "timer" {
            ctx.set_timer(record.time(), 0);
        }
        if hit {
            self.harm(Some((record.value(), ctx)))?;
        }
        // A rejected record has left the stream.
        if !(hit && self.what == "reject") {
            ctx.forward(OUT);
        }
        Ok(())
    }

    fn on_timer(&mut self, _: &Due<'_>, ctx: &mut Context) -> Result<(), Failure> {
        if self.at == "timer" { self.harm(Some((b"timer", ctx))) } else { Ok(()) }
    }

    fn on_watermark(&mut self, _: i64, _: &mut Context) -> Result<(), Failure> {
        if self.at == "watermark" { self.harm(None) } else { Ok(()) }
    }

    fn on_end(&mut self, _: &mut Context) -> Result<(), Failure> {
        if self.at == "end" { self.harm(None) } else { Ok(()) }
    }
}

impl Hostile {
    fn harm(&self, call: Option<(&[u8], &mut Context)>) -> Result<(), Failure> {
        match (self.what.as_str(), call) {
            ("nothing", _) => {}
            ("trap", _) => trap(),
            ("panic", Some((value, _))) => panic!("cannot stand {}", String::from_utf8_lossy(value)),
            ("panic", None) => panic!("cannot stand it"),
            ("loop", _) => spin(),
            ("recurse", _) => drop(deeper(1)),
            ("memory", _) => drop(hog()),
            ("toil", _) => toil(),
            ("fail", _) => return Err(Failure::fatal("poison", "fails on purpose")),
            ("retry", _) => return Err(Failure::retry("later", "asks to be called again")),
            ("log", _) => (0..1_000_000).for_each(|line| info!(line = line, "{}", "spam ".repeat(1_000))),
            // A line that forges another, moves the cursor and gives a secret away.
            ("forge", Some((value, _))) => {
                let value = String::from_utf8_lossy(value);
                warn!(value = value, "\u{1b}[2Jseen\n2026-01-01 ERROR forged {}", self.canary);
            }
            // Two hundred and more lines in each call.
            ("chatter", _) => (0..50).for_each(|line| info!(line = line, "chatter")),
            ("betray", _) => return Err(Failure::fatal("betrayal", format_args!("it is {}", self.canary))),
            ("reject", Some((_, ctx))) => ctx.reject("refused", "does not like it"),
            // A gigabyte in rows that each are allowed.
            ("output", Some((_, ctx))) => (0..16_384).for_each(|_| drop(ctx.emit(OUT).value([b'x'; 65_536]))),
            // As many rows as fit, without bytes.
            ("rows", Some((_, ctx))) => (0..10_000_000).for_each(|_| drop(ctx.emit(OUT).value(b""))),
            // One row over `limits.record`.
            ("large-row", Some((_, ctx))) => drop(ctx.emit(OUT).value(vec![b'x'; 2 << 20])),
            ("large-state", Some((_, ctx))) => ctx.value(BLOB).set(vec![b'x'; 2 << 20]),
            // Writes state and rows, then fails: nothing of it may be kept.
            ("half", Some((_, ctx))) => {
                *ctx.value(COUNT).or_default() += 1;
                ctx.emit(SIDE).value("must not be seen");
                trap();
            }
            // Sets the timer again that is firing, for ever.
            ("timer-storm", Some((_, ctx))) => ctx.set_timer(0, 0),
            // What an instance remembers is gone when the host opens another one.
            ("remember", Some((_, ctx))) => drop(ctx.emit(SIDE).value(self.calls.to_string())),
            // What a state remembers is not.
            ("count", Some((_, ctx))) => {
                let count = ctx.value(COUNT).or_default();
                *count += 1;
                let count = count.to_string();
                ctx.emit(SIDE).value(count);
            }
            (other, _) => return Err(Failure::fatal("config", format_args!("no harm `{other}` at `{}`", self.at))),
        }
        Ok(())
    }
}

fn contains(value: &[u8], on: &[u8]) -> bool {
    on.is_empty() || value.windows(on.len()).any(|window| window == on)
}

fn trap() -> ! {
    #[cfg(target_family = "wasm")]
    core::arch::wasm32::unreachable();
    #[cfg(not(target_family = "wasm"))]
    std::process::abort()
}

fn spin() -> ! {
    let mut turns = 0u64;
    loop {
        turns = std::hint::black_box(turns.wrapping_add(1));
    }
}

/// Uses up the stack.
fn deeper(depth: u64) -> u64 {
    let frame = std::hint::black_box([depth; 64]);
    if depth == 0 { 0 } else { frame[depth as usize % 64] + deeper(std::hint::black_box(depth + 1)) }
}

/// Asks for 10 GiB and touches what it gets.
fn hog() -> Vec<Vec<u8>> {
    (0..10_240).map(|_| std::hint::black_box(vec![1u8; 1 << 20])).collect()
}

/// Takes most of what `limits.memory` and `limits.call_timeout` allow unless they are set, and no more.
fn toil() {
    const BYTES: usize = 48 << 20;
    let mut heap = std::hint::black_box(vec![1u8; BYTES]);
    for turn in 0..5_000_000usize {
        let at = turn * 4_097 % BYTES;
        heap[at] = heap[at].wrapping_add(turn as u8);
    }
    std::hint::black_box(heap);
}
