//! What a guest that does harm costs the other pipelines of a `weir serve`: the latency of well-behaved ones, Kafka to Kafka,
//! in turn without it and beside it.
//!
//! `.ci/bench neighbours [kind…]`; kinds are busy (no harm, but all of a core), loop, toil and trap, all where none is
//! named. Ratios of one round after the other count: broker, server and bench share the machine's cores.
#![allow(clippy::unwrap_used, reason = "a benchmark ends at the first surprise")]

mod bad;
mod good;

use std::time::Duration;

use weir_tests::figures::Figures;
use weir_tests::kafka::Broker;
use weir_tests::server::{Server, guest};

use bad::{BAD, Bad};
use good::Good;

/// Pairs: without, then beside.
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(8);
const AIM: f64 = 2.0;

fn main() {
    let named: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&dir.path().join("data"));
    for name in ["identity", "count", "hostile"] {
        server.upload(name, "0.1.0", &guest(name));
    }
    let mut good = Good::start(&server, Broker::of_this_run());
    println!(
        "neighbours: {}; {ROUNDS} rounds of {ROUND:?} without and beside each bad one, in turn; latency in ms",
        good.what()
    );
    // What is compiled, connected and allocated once.
    good.latencies(ROUND);
    for bad in BAD.iter().filter(|bad| named.is_empty() || named.iter().any(|name| name == bad.name)) {
        report(&server, &mut good, bad);
    }
}

fn report(server: &Server, good: &mut Good<'_>, bad: &Bad) {
    let (mut without, mut beside) = (Vec::new(), Vec::new());
    let mut did = String::new();
    for _ in 0..ROUNDS {
        without.push(good.latencies(ROUND));
        // From its first moment on: that it is found out is part of what it costs.
        bad.start(server);
        beside.push(good.latencies(ROUND));
        did = bad.did(server);
        server.cancel(bad.name);
    }
    let ratios: Figures = without.iter().zip(&beside).map(|(without, beside)| p99(beside) / p99(without)).collect();
    let of = |rounds: &[Figures]| {
        let median = |figure: fn(&Figures) -> f64| rounds.iter().map(figure).collect::<Figures>().median();
        format!("{:.1} / {:.1} / {:.1}", median(Figures::median), median(p99), median(Figures::max))
    };
    println!(
        "  {}: p99 × {:.2} ({:.2} to {:.2}), aim {AIM:.0}; median / p99 / longest of the middle round {} beside it, {} \
         without; {did}",
        bad.name,
        ratios.median(),
        ratios.min(),
        ratios.max(),
        of(&beside),
        of(&without)
    );
}

fn p99(latencies: &Figures) -> f64 {
    latencies.quantile(0.99)
}
