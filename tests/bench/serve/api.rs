//! How long requests to the API take, each on a connection of its own, four at a time: with pipelines that have little to do,
//! and with one more for each core that runs as fast as it can.

use std::thread;
use std::time::Duration;

use weir_tests::figures::Figures;
use weir_tests::probe::clock;
use weir_tests::server::{Server, guest};
use weir_tests::wait::wait_for;

/// Longer than the slowest step.
const PATIENCE: Duration = Duration::from_secs(120);
const QUIET: usize = 20;
const CLIENTS: usize = 4;
/// Of each kind, by each client.
const REQUESTS: usize = 500;
const AIM_MS: f64 = 50.0;

/// A kind of request, and how it is sent.
type Kind = (&'static str, fn(&Server));

const KINDS: [Kind; 5] = [
    ("list of pipelines", |server| drop(server.get("pipelines"))),
    ("one pipeline", |server| drop(server.get("pipelines/quiet-0"))),
    ("node status", |server| drop(server.get("pipelines/quiet-0/nodes/count/status"))),
    ("dry run", |server| {
        let text = pipeline("quiet-0", "rate = 11");
        server.send("PUT", "pipelines/quiet-0?dry_run=true", "application/toml", text.as_bytes());
    }),
    ("/metrics", |server| drop(server.probe.metrics().unwrap())),
];

pub(crate) fn run() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&dir.path().join("data"));
    server.upload("count", "0.1.0", &guest("count"));
    for n in 0..QUIET {
        start(&server, &format!("quiet-{n}"), "rate = 10");
    }
    println!(
        "api: {} requests of each kind, {CLIENTS} at a time, {QUIET} pipelines of 10 records a second; ms",
        CLIENTS * REQUESTS
    );
    let cores = thread::available_parallelism().unwrap().get();
    let (alone, _) = ask(&server);
    (0..cores).for_each(|n| start(&server, &format!("load-{n}"), ""));
    let (loaded, records) = ask(&server);
    println!(
        "  loaded: beside {cores} pipelines without a rate, {:.2} M records a second of theirs meanwhile",
        records / 1e6
    );
    for ((kind, _), (alone, loaded)) in KINDS.iter().zip(alone.iter().zip(&loaded)) {
        let of = |figures: &Figures| {
            format!("{:.1} / {:.1} / {:.1}", figures.median(), figures.quantile(0.99), figures.max())
        };
        println!(
            "    {kind}: median / p99 / longest {} loaded (aim p99 {AIM_MS:.0}), {} unloaded",
            of(loaded),
            of(alone)
        );
    }
}

fn start(server: &Server, name: &str, rate: &str) {
    server.apply(name, &pipeline(name, rate));
    server.wait_for(name, "it has a checkpoint", |view| {
        view["state"] == "running" && view["last_checkpoint"].is_object()
    });
}

/// The figures of each kind, and how many records a second the loading pipelines took in meanwhile.
fn ask(server: &Server) -> (Vec<Figures>, f64) {
    let (begun, before) = (clock(), taken_in(server));
    let client = || {
        let mut figures = vec![Figures::default(); KINDS.len()];
        for _ in 0..REQUESTS {
            for ((_, send), figures) in KINDS.iter().zip(&mut figures) {
                let begun = clock();
                send(server);
                figures.add_time(begun.elapsed());
            }
        }
        figures
    };
    let mut all = vec![Figures::default(); KINDS.len()];
    thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(client)).collect();
        for client in clients {
            all.iter_mut().zip(client.join().unwrap()).for_each(|(all, own)| all.merge(own));
        }
    });
    let records = taken_in(server) - before;
    (all, records / begun.elapsed().as_secs_f64())
}

fn taken_in(server: &Server) -> f64 {
    let metrics = wait_for(PATIENCE, "the server answers", || server.probe.metrics());
    let of = |n| metrics.value("weir_records_in_total{", &format!("pipeline=\"load-{n}\",node=\"count\""));
    (0..).map_while(of).sum()
}

fn pipeline(name: &str, rate: &str) -> String {
    format!(
        r#"version = 1
name = "{name}"
[sources.numbers]
type = "generator"
{rate}
template = '{{"k":"{{{{int 1 100000}}}}"}}'
[nodes.count]
operator = "count@0.1.0"
inputs = ["numbers"]
key = {{ json = "/k" }}
[sinks.none]
type = "discard"
inputs = ["count"]
"#
    )
}
