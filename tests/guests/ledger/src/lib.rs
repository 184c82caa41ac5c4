//! Shows lost, doubled or reordered work of any part: per key a chain of hashes in a value state, a counter per field in a
//! map state, and timers of event time.
//!
//! In, JSON: `{"seq":5,"val":123, …}`, `seq` dense per key from 0. Out, on `out`, for each record:
//! `{"key":"k","seq":5,"count":6,"sum":741,"h":"…","nth":2}`; `h` = mix(h before, seq, val), `nth` counts the records of
//! this key with the same `val % 8`. On `fired`, once per key and second of event time:
//! `{"key":"k","timer":1999,"count":6}`, with the count that the key had then.

use weir_sdk::{
    Config, Context, Descriptor, Due, Failure, KEYS, MapState, Operator, Port, Record, Task, VALUES, ValueState, json,
};

const OUT: Port = Port::new(0, "out");
const FIRED: Port = Port::new(1, "fired");
/// (count, sum, h)
const CHAIN: ValueState<(u64, i64, u64)> = ValueState::new(0, "chain");
const KINDS: MapState<u64, u64> = MapState::new(1, "kinds");

struct Ledger;

weir_sdk::export!(Ledger);

impl Operator for Ledger {
    fn descriptor() -> Descriptor {
        Descriptor::new("ledger", "0.1.0")
            .input("in", &[KEYS, VALUES])
            .output(OUT)
            .output(FIRED)
            .value_state(CHAIN)
            .map_state(KINDS)
            .timers()
    }

    fn open(_: &Config, _: &Task) -> Result<Ledger, Failure> {
        Ok(Ledger)
    }

    fn process(&mut self, record: &Record<'_>, ctx: &mut Context) -> Result<(), Failure> {
        let (seq, val) = (field(record.value(), "seq")?, field(record.value(), "val")?);
        let chain = ctx.value(CHAIN).or_default();
        *chain = (chain.0 + 1, chain.1.wrapping_add(val), mix(chain.2, seq as u64, val as u64));
        let (count, sum, hash) = *chain;
        let kind = val.rem_euclid(8) as u64;
        let mut kinds = ctx.map(KINDS);
        let nth = kinds.get(&kind).unwrap_or(0) + 1;
        kinds.put(&kind, &nth);
        ctx.set_timer(record.time().div_euclid(1_000).saturating_mul(1_000).saturating_add(999), 0);
        ctx.emit(OUT).key(record.key()).value_with(|out| {
            out.extend_from_slice(b"{\"key\":");
            json::string(out, record.key());
            for (name, value) in [("seq", seq), ("count", count as i64), ("sum", sum)] {
                out.extend_from_slice(format!(",\"{name}\":{value}").as_bytes());
            }
            out.extend_from_slice(format!(",\"h\":\"{hash:016x}\",\"nth\":{nth}}}").as_bytes());
        });
        Ok(())
    }

    fn on_timer(&mut self, timer: &Due<'_>, ctx: &mut Context) -> Result<(), Failure> {
        let count = ctx.value(CHAIN).get().map_or(0, |chain| chain.0);
        ctx.emit(FIRED).key(timer.key()).value_with(|out| {
            out.extend_from_slice(b"{\"key\":");
            json::string(out, timer.key());
            out.extend_from_slice(format!(",\"timer\":{},\"count\":{count}}}", timer.time()).as_bytes());
        });
        Ok(())
    }
}

/// A whole number in a flat JSON object.
fn field(value: &[u8], name: &str) -> Result<i64, Failure> {
    let missing = || Failure::fatal("bad-record", format_args!("no whole number `{name}`"));
    let text = std::str::from_utf8(value).map_err(|_| missing())?;
    let (_, rest) = text.split_once(&format!("\"{name}\":")).ok_or_else(missing)?;
    let rest = rest.trim_start();
    let end = rest.find(|c: char| c != '-' && !c.is_ascii_digit()).unwrap_or(rest.len());
    rest[..end].parse().map_err(|_| missing())
}

/// One link: the finalizer of SplitMix64 over the state and what comes in.
fn mix(hash: u64, seq: u64, val: u64) -> u64 {
    let mut x = hash ^ seq.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ val.rotate_left(32);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
