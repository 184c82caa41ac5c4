//! What the working set costs per record, without guest and Kafka: `.ci/cargo bench --workspace --bench state`.
//! Prints nanoseconds per record in short windows, the tenth best of a hundred, so that other work counts little.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a benchmark measures time, and ends at the first surprise"
)]

use std::hint::black_box;
use std::time::Instant;

use weir::state::{DueTimers, KeyedState, Kind, StateSpec};
use weir_core::ids::Epoch;
use weir_core::key_group::hash;
use weir_core::record::Column;

const ROUNDS: usize = 7;
const RECORDS: usize = 1_000_000;
/// Records timed at once: well below a slice of the scheduler.
const WINDOW: usize = 8_000;

struct Input {
    batches: Vec<(Vec<u64>, Column)>,
}

/// Keys as in ip-count, at random.
fn input(keys: u64, batch: usize) -> Input {
    let mut seed = 7u64;
    let mut next = || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    let mut one = || {
        let k = next() % keys;
        format!("10.{}.{}.{}", k >> 16, k >> 8 & 255, k & 255)
    };
    let mut make = || {
        let names: Vec<String> = (0..batch).map(|_| one()).collect();
        (names.iter().map(|n| hash(n.as_bytes())).collect(), names.iter().map(|n| Some(n.as_bytes())).collect())
    };
    Input { batches: (0..RECORDS / batch).map(|_| make()).collect() }
}

fn state() -> KeyedState {
    KeyedState::new(vec![StateSpec { name: "count".into(), kind: Kind::Value, version: 1, id: 1 }], 2)
}

/// Nanoseconds per record in the windows that were disturbed least (the tenth of them), after one round to warm up.
fn best(input: &Input, mut call: impl FnMut(&[u64], &Column)) -> f64 {
    let per_window = (WINDOW / input.batches[0].0.len()).max(1);
    let mut times = Vec::new();
    for round in 0..=ROUNDS {
        for window in input.batches.chunks_exact(per_window) {
            let start = Instant::now();
            window.iter().for_each(|(hashes, keys)| call(hashes, keys));
            if round > 0 {
                let records = per_window * window[0].0.len();
                times.push(start.elapsed().as_nanos() as f64 / records as f64);
            }
        }
    }
    times.sort_by(f64::total_cmp);
    times[times.len() / 10]
}

fn read_and_write(state: &mut KeyedState, hashes: &[u64], keys: &Column, timer: Option<i64>) {
    state.begin_call(hashes, keys);
    for ord in 0..state.distinct() {
        let mut value = [0u8; 24];
        if let Some(old) = state.value_get(0, ord) {
            value[..8].copy_from_slice(&old[..8]);
        }
        let count =
            u64::from_le_bytes([value[0], value[1], value[2], value[3], value[4], value[5], value[6], value[7]]);
        value[..8].copy_from_slice(&(count + 1).to_le_bytes());
        state.value_put(0, ord, Some(black_box(&value)));
        if let Some(at) = timer {
            state.timer_set(ord, at, 0);
        }
    }
    state.commit_call();
}

fn main() {
    println!("{:>9} {:>6} {:>10} {:>10} {:>10} {:>10}", "keys", "batch", "look-up", "get+put", "+ timer", "stateless");
    for keys in [1_000, 100_000, 1_000_000] {
        for batch in [1, 16, 256, 1_000] {
            let input = input(keys, batch);
            let mut s = state();
            let get_put = best(&input, |h, k| read_and_write(&mut s, h, k, None));
            let look_up = best(&input, |h, k| {
                s.begin_call(h, k);
                black_box(s.ordinals());
                s.commit_call();
            });
            let with_timer = best(&input, |h, k| read_and_write(&mut s, h, k, Some(5_000)));
            let mut none = state();
            let stateless = best(&input, |h, k| {
                none.begin_call(h, k);
                none.commit_call();
            });
            println!("{keys:>9} {batch:>6} {look_up:>10.1} {get_put:>10.1} {with_timer:>10.1} {stateless:>10.1}");
        }
    }
    windows(100_000);
}

/// One epoch of ip-count at the end of a window: every key fires, is cleared, and is sealed.
fn windows(keys: u64) {
    let input = input(keys, 1_000);
    let mut s = state();
    let (mut seal, mut fire, mut fired) = (f64::MAX, f64::MAX, 0);
    for round in 0..ROUNDS as i64 {
        input.batches.iter().for_each(|(h, k)| read_and_write(&mut s, h, k, Some(round * 5_000)));
        let start = Instant::now();
        s.close_generation(Epoch(round as u64));
        s.copy_generation(|| false);
        let sealed = s.take_generation();
        seal = seal.min(start.elapsed().as_nanos() as f64 / sealed.len() as f64);
        let (mut due, start) = (DueTimers::default(), Instant::now());
        fired = 0;
        while s.due(round * 5_000, 1_000, &mut due) {
            s.begin_due(&due, 0..due.len());
            for ord in 0..s.distinct() {
                black_box(s.value_get(0, ord));
                s.value_put(0, ord, None);
            }
            s.commit_call();
            fired += due.len();
        }
        fire = fire.min(start.elapsed().as_nanos() as f64 / fired as f64);
    }
    println!("sealing: {seal:.1} ns an entry; firing and clearing: {fire:.1} ns a timer ({fired} of them)");
}
