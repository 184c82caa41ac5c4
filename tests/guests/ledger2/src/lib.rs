//! `ledger` in its next version: the same rows from other bytes of state. The chain is JSON now and has what it had before as
//! text, the kinds are compact. `config = { migrate = "fail" | "panic" | "loop", on = N }` does harm to the chain
//! that counts N records, or to each where N is 0, `{ migrate = "forget", on = N }` removes it.
//!
//! Built three times: as it is; with the feature `bare`, without `migrate`; with the feature `map`, with the chain as a map.

use weir_sdk::{
    Config, Context, Descriptor, Due, Failure, Json, KEYS, MapState, Operator, Port, Record, Task, VALUES, ValueState,
    json,
};

const OUT: Port = Port::new(0, "out");
const FIRED: Port = Port::new(1, "fired");
/// count, sum, h as text
type Chain = Json<(u64, i64, String)>;
/// Version 1: (count, sum, h).
const CHAIN: ValueState<Chain> = ValueState::new(1, "chain").version(2);
/// Version 1: u64.
const KINDS: MapState<u64, Kind> = MapState::new(0, "kinds").version(3);

struct Kind {
    nth: u64,
}

weir_sdk::compact!(Kind { nth });

struct Ledger {
    harm: String,
    on: u64,
}

weir_sdk::export!(Ledger);

impl Operator for Ledger {
    fn descriptor() -> Descriptor {
        let descriptor = Descriptor::new("ledger", "2.0.0").input("in", &[KEYS, VALUES]).output(OUT).output(FIRED);
        let descriptor = descriptor.map_state(KINDS);
        if cfg!(feature = "map") {
            return descriptor.map_state(MapState::<u64, u64>::new(1, "chain").version(2)).timers().migrates();
        }
        let descriptor = descriptor.value_state(CHAIN).timers();
        if cfg!(feature = "bare") { descriptor } else { descriptor.migrates() }
    }

    fn open(config: &Config, _: &Task) -> Result<Ledger, Failure> {
        Ok(Ledger { harm: config.text("migrate", "none")?.to_owned(), on: config.integer("on", 0)? as u64 })
    }

    fn process(&mut self, record: &Record<'_>, ctx: &mut Context) -> Result<(), Failure> {
        let (seq, val) = (field(record.value(), "seq")?, field(record.value(), "val")?);
        let Json((count, sum, hash)) = ctx.value(CHAIN).get().cloned().unwrap_or_else(empty);
        let hash = u64::from_str_radix(&hash, 16).map_err(|e| Failure::fatal("state", e))?;
        let (count, sum, hash) = (count + 1, sum.wrapping_add(val), mix(hash, seq as u64, val as u64));
        ctx.value(CHAIN).set(Json((count, sum, format!("{hash:016x}"))));
        let kind = val.rem_euclid(8) as u64;
        let mut kinds = ctx.map(KINDS);
        let nth = kinds.get(&kind).map_or(0, |kind| kind.nth) + 1;
        kinds.put(&kind, &Kind { nth });
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
        let count = ctx.value(CHAIN).get().map_or(0, |chain| chain.0.0);
        ctx.emit(FIRED).key(timer.key()).value_with(|out| {
            out.extend_from_slice(b"{\"key\":");
            json::string(out, timer.key());
            out.extend_from_slice(format!(",\"timer\":{},\"count\":{count}}}", timer.time()).as_bytes());
        });
        Ok(())
    }

    fn migrate(&mut self, state: u32, from_version: u32, value: &[u8]) -> Result<Option<Vec<u8>>, Failure> {
        if CHAIN.is(state) && from_version == 1 {
            let (harm, mut failure) = (self.harm.as_str(), None);
            let migrated = CHAIN.rewrite(value, |(count, sum, hash): (u64, i64, u64)| {
                if self.on == count || self.on == 0 {
                    match harm {
                        "fail" => failure = Some(Failure::fatal("unreadable", "this chain is not to be had")),
                        "panic" => panic!("no way to migrate {count}"),
                        "loop" => loop {
                            std::hint::black_box(count);
                        },
                        "forget" => return None,
                        _ => {}
                    }
                }
                Some(Json((count, sum, format!("{hash:016x}"))))
            })?;
            return failure.map_or(Ok(migrated), Err);
        }
        if KINDS.is(state) && from_version == 1 {
            return KINDS.rewrite(value, |nth: u64| Some(Kind { nth }));
        }
        Err(Failure::no_migration(state, from_version))
    }
}

fn empty() -> Chain {
    Json((0, 0, "0".to_owned()))
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

/// As in `ledger`.
fn mix(hash: u64, seq: u64, val: u64) -> u64 {
    let mut x = hash ^ seq.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ val.rotate_left(32);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
