//! What a record costs at the boundary between host and guest, in nanoseconds per record of `Instance::process`: columns
//! in, the host's look-up of keys, the guest, its state and its output.
//!
//! `.ci/bench boundary`, or one scenario at one size, for a profiler: `.ci/bench boundary keys 256`.
//!
//! Records of 10 bytes of key and 76 of JSON, each scenario at batches of 1, 16, 256 and 1,000. The figure is the tenth
//! best of a hundred short windows, so that other work on the machine counts little.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a benchmark measures time, and ends at the first surprise"
)]

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::time::Instant;

use weir::guest::{Engine, Instance, Keyed, Limits, Measured, Operator, Settings, component};
use weir::state::{DueTimers, KeyedState, Kind, StateSpec};
use weir_core::ids::Name;
use weir_core::key_group::hash;
use weir_core::record::Batch;

const BATCHES: [usize; 4] = [1, 16, 256, 1_000];
/// Records in a scenario's input; it is run over until there are enough windows.
const RECORDS: usize = 1_000_000;
/// Records that are timed at once: a few hundred microseconds, well below a slice of the scheduler.
const WINDOW: usize = 16_000;
const WINDOWS: usize = 400;
/// Event time moves as in the benchmark of the whole job: 100,000 records a second.
const RECORDS_PER_TICK: usize = 10_000;
const TICK: i64 = 100;

fn main() {
    let engine = Engine::new(8).unwrap();
    let guest = |name: &str| {
        let core = format!("tests/guests/target/wasm32-unknown-unknown/release/{name}.wasm");
        load(&engine, &component::componentize(&read(&core)).unwrap())
    };
    let (identity, count) = (guest("identity"), guest("count"));
    let ip_count = load(&engine, &read("examples/ip-count/target/weir/ip_count.wasm"));
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let word = arguments.first().map_or("", String::as_str);
    let only: Option<usize> = arguments.get(1).map(|batch| batch.parse().unwrap());
    let sizes: Vec<usize> = only.map_or(BATCHES.to_vec(), |batch| vec![batch]);
    let head: Vec<String> = sizes.iter().map(|size| format!("{size:7}")).collect();
    println!("{:<58} {}", "ns/record at batches of", head.join(" "));
    let scenarios = [
        ("nothing asked, slots forwarded", &identity, None),
        ("all columns, u64 per key, slots forwarded; 1,000 keys", &count, Some(1_000)),
        ("the same; 100,000 keys", &count, Some(100_000)),
        ("ip-count with its timers and rows; 100,000 keys", &ip_count, Some(100_000)),
    ];
    for (what, operator, keys) in scenarios.iter().filter(|scenario| scenario.0.contains(word)) {
        let figures = sizes.iter().map(|size| format!("{:7.1}", measure(operator, *keys, *size)));
        println!("{what:<58} {}", figures.collect::<Vec<_>>().join(" "));
    }
}

fn read(path: &str) -> Vec<u8> {
    let path = weir_tests::repository().join(Path::new(path));
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}; .ci/guests builds it", path.display()))
}

fn load(engine: &Engine, component: &[u8]) -> Operator {
    Operator::load(engine, component).unwrap()
}

/// Nanoseconds per record.
fn measure(operator: &Operator, keys: Option<u64>, batch: usize) -> f64 {
    let mut input = input(keys, batch);
    let mut subtask = Subtask::start(operator);
    let per_window = WINDOW / batch;
    // The whole input once: every key is in the state, every buffer has its size.
    input.iter_mut().for_each(|call| subtask.process(call));
    let mut times = Vec::new();
    while times.len() < WINDOWS {
        for calls in input.chunks_exact_mut(per_window) {
            let start = Instant::now();
            calls.iter_mut().for_each(|call| subtask.process(call));
            times.push(start.elapsed().as_nanos() as f64 / (per_window * batch) as f64);
        }
    }
    times.sort_by(f64::total_cmp);
    times[times.len() / 10]
}

type Call = (Batch, Option<Keyed>);

fn input(keys: Option<u64>, batch: usize) -> Vec<Call> {
    let mut nth = 0;
    let mut one = |_| {
        let (mut rows, mut keyed) = (Batch::default(), Keyed::default());
        for _ in 0..batch {
            nth += 1;
            let key = weir_tests::mix(7, nth) % keys.unwrap_or(1_000);
            let key = format!("10.1{:02}.{:03}", key / 1_000, key % 1_000);
            let value = format!(r#"{{"ip":"{key}","ts":1700000000123,"path":"/a/17","status":200,"bytes":53219}}"#);
            rows.times.push(0);
            rows.keys.push(Some(key.as_bytes()));
            rows.values.push(Some(value.as_bytes()));
            keyed.hashes.push(hash(key.as_bytes()));
            keyed.keys.push(Some(key.as_bytes()));
        }
        (rows, keys.map(|_| keyed))
    };
    (0..RECORDS / batch).map(&mut one).collect()
}

/// An instance, driven as the data path drives it.
struct Subtask {
    instance: Instance,
    due: DueTimers,
    has_timers: bool,
    records: usize,
    watermark: i64,
}

impl Subtask {
    fn start(operator: &Operator) -> Subtask {
        let states = operator.descriptor().states.iter().zip(1..);
        let specs: Vec<StateSpec> = states
            .map(|(state, id)| StateSpec { name: state.name.clone(), kind: Kind::Value, version: 1, id })
            .collect();
        let timers_id = specs.len() as u16 + 1;
        let name = |name: &str| Name::new(name).unwrap();
        let settings = Settings {
            logs: Default::default(),
            pipeline: name("bench"),
            node: name("node"),
            subtask: weir::guest::Subtask::ONLY,
            config: "{}".to_owned(),
            secrets: HashMap::new(),
            limits: Limits::default(),
            measured: Measured::of(&operator.descriptor().metrics),
        };
        let instance = Instance::start(operator, settings, KeyedState::new(specs, timers_id)).unwrap();
        let has_timers = instance.descriptor().calls("timers");
        Subtask { instance, due: DueTimers::default(), has_timers, records: 0, watermark: -1 }
    }

    fn process(&mut self, (batch, keyed): &mut Call) {
        if self.has_timers {
            batch.times.fill(self.watermark + 1_000);
        }
        self.instance.process(0, batch, keyed.as_mut(), self.watermark, 0).unwrap();
        self.records += batch.len();
        while self.has_timers && self.records >= RECORDS_PER_TICK {
            self.records -= RECORDS_PER_TICK;
            self.watermark += TICK;
            while self.instance.state().due(self.watermark, 1_000, &mut self.due) {
                self.instance.on_timers(&self.due, 0..self.due.times.len(), self.watermark, 0).unwrap();
            }
        }
    }
}
