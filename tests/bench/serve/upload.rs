//! From the first byte of an operator's upload to the first record that has left it, over the answer to the upload and the
//! apply of a pipeline: of a component whose native code nobody has, and of the same bytes under another version when nothing
//! runs them any more.

use std::fs;
use std::path::Path;
use std::time::Duration;

use weir_tests::figures::Figures;
use weir_tests::probe::clock;
use weir_tests::server::{Server, guest};
use weir_tests::wait::wait_for;

/// Longer than the slowest step.
const PATIENCE: Duration = Duration::from_secs(120);
const ROUNDS: u8 = 20;
const COLD_AIM_MS: f64 = 1_500.0;
const CACHED_AIM_MS: f64 = 100.0;

/// Milliseconds since the first byte.
#[derive(Default)]
struct Steps {
    uploaded: Figures,
    applied: Figures,
    out: Figures,
    committed: Figures,
}

pub(crate) fn run() {
    println!(
        "upload: {ROUNDS} rounds; to the first record out of the operator (looked for every 5 ms), and to the first line \
         that a checkpoint every 100 ms has committed to a file; median / worst, ms"
    );
    let example = weir_tests::repository().join("examples/ip-count/target/weir/ip_count.wasm");
    let operators = [("count", guest("count")), ("ip-count", fs::read(example).unwrap())];
    for (operator, component) in operators {
        let dir = tempfile::tempdir().unwrap();
        let server = Server::start(&dir.path().join("data"));
        let (mut cold, mut cached) = (Steps::default(), Steps::default());
        for round in 0..ROUNDS {
            let component = variant(&component, round);
            for (again, steps) in [&mut cold, &mut cached].into_iter().enumerate() {
                measure(&server, (operator, &format!("0.{round}.{again}")), &component, dir.path(), steps);
            }
        }
        println!("  {operator}, {} KiB", component.len() / 1024);
        cold.report("cold", COLD_AIM_MS);
        cached.report("cached", CACHED_AIM_MS);
    }
}

/// The same code in bytes that no other round has: a custom section at the end.
fn variant(component: &[u8], round: u8) -> Vec<u8> {
    [component, &[0, 3, 1, b'r', round]].concat()
}

fn measure(server: &Server, (operator, version): (&str, &str), component: &[u8], dir: &Path, steps: &mut Steps) {
    let name = format!("p-{}", version.replace('.', "-"));
    let out = dir.join(&name);
    let text = pipeline(&name, &format!("{operator}@{version}"), &out);
    let sample = format!("pipeline=\"{name}\",node=\"node\"");
    let begun = clock();
    server.upload(operator, version, component);
    steps.uploaded.add_time(begun.elapsed());
    server.apply(&name, &text);
    steps.applied.add_time(begun.elapsed());
    wait_for(PATIENCE, "a record has left the operator", || {
        let metrics = server.probe.metrics()?;
        metrics.value("weir_records_out_total{", &sample).filter(|records| *records > 0.0)
    });
    steps.out.add_time(begun.elapsed());
    // What lies there under its name is committed.
    wait_for(PATIENCE, "a line is committed", || {
        fs::read_dir(&out).ok()?.flatten().find(|entry| entry.path().is_file())
    });
    steps.committed.add_time(begun.elapsed());
    // Nothing of it is left that the next round could share.
    server.cancel(&name);
    server.send("DELETE", &format!("pipelines/{name}"), "application/json", b"");
}

/// A second of event time from one record to the next: windows of ip-count end from the sixth record on.
fn pipeline(name: &str, operator: &str, out: &Path) -> String {
    let out = out.display();
    format!(
        r#"version = 1
name = "{name}"
[checkpoint]
interval = "100ms"
[sources.requests]
type = "generator"
rate = 10000
template = '{{"ip":"{{{{ip 100}}}}","ts":{{{{time 1700000000000 1000}}}}}}'
event_time = {{ json = "/ts" }}
[nodes.node]
operator = "{operator}"
inputs = ["requests"]
key = {{ json = "/ip" }}
[sinks.out]
type = "file"
inputs = ["node"]
path = "{out}"
"#
    )
}

impl Steps {
    fn report(&self, what: &str, aim: f64) {
        let of = |figures: &Figures| format!("{:.0} / {:.0}", figures.median(), figures.max());
        println!(
            "    {what}: first record {} (aim {aim:.0}); upload answered {}, apply answered {}, committed {}",
            of(&self.out),
            of(&self.uploaded),
            of(&self.applied),
            of(&self.committed)
        );
    }
}
