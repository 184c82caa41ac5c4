//! Graphs made by chance, with diamonds, several sources and sinks and any parallelism, killed at points of the protocol:
//! what they write is what the same graph writes with single subtasks and without a kill.

use std::fmt::Write;

use weir_tests::process::Exit;

use crate::local::{is_at_start, points};
use crate::place::{Place, SOON, guest};

/// Graphs that one run tries.
const GRAPHS: u64 = 6;
/// Numbers from a seed.
struct Dice {
    seed: u64,
    thrown: u64,
}

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.thrown += 1;
        (weir_tests::mix(self.seed, self.thrown) % n as u64) as usize
    }
}

/// A node of the graph.
struct Node {
    name: String,
    inputs: Vec<String>,
    /// Counts in windows per key; else passes on.
    counts: bool,
    keyed: bool,
    parallelism: usize,
}

struct Graph {
    sources: usize,
    nodes: Vec<Node>,
}

impl Graph {
    /// One to three sources and two to nine nodes behind them. A window-count is an end: what it emits is no input.
    fn of(seed: u64) -> Self {
        let mut dice = Dice { seed, thrown: 0 };
        let sources = 1 + dice.below(3);
        let mut open: Vec<String> = (0..sources).map(|i| format!("s{i}")).collect();
        let mut nodes = Vec::new();
        for i in 0..2 + dice.below(8) {
            let mut inputs: Vec<String> =
                (0..1 + dice.below(3)).map(|_| open[dice.below(open.len())].clone()).collect();
            inputs.sort();
            inputs.dedup();
            let counts = dice.below(3) == 0;
            let name = format!("n{i}");
            if !counts {
                open.push(name.clone());
            }
            let (keyed, parallelism) = (counts || dice.below(2) == 0, 1 + dice.below(4));
            nodes.push(Node { name, inputs, counts, keyed, parallelism });
        }
        Self { sources, nodes }
    }

    /// The pipeline file; each node has a file sink of its own.
    fn file(&self, single: bool) -> String {
        let mut text = "version = 1\nname = \"graph\"\n[checkpoint]\ninterval = \"30ms\"\nretain = 1\n".to_owned();
        for source in 0..self.sources {
            // Rows differ, so that each can be told from all others; times rise, so that nothing is late.
            write!(
                text,
                r#"[sources.s{source}]
type = "generator"
seed = {source}
count = {}
rate = {}
template = '{{"ip":"{{{{ip 40}}}}","ts":{{{{time 1700000000000 4 0 0}}}},"row":"{source}-{{{{seq}}}}"}}'
event_time = {{ json = "/ts" }}
watermark = {{ out_of_order = "1s" }}
"#,
                1_500 + 700 * source,
                3_000 + 2_000 * source
            )
            .unwrap();
        }
        for node in &self.nodes {
            let Node { name, inputs, counts, keyed, parallelism } = node;
            let operator = if *counts {
                weir_tests::repository().join("examples/ip-count/target/weir/ip_count.wasm")
            } else {
                guest("identity")
            };
            let parallelism = if single { 1 } else { *parallelism };
            let key = if *keyed { "key = { json = \"/ip\" }\n" } else { "" };
            write!(
                text,
                "[nodes.{name}]\noperator = \"{}\"\ninputs = {inputs:?}\nparallelism = {parallelism}\n{key}[sinks.{name}-out]\n\
                 type = \"file\"\ninputs = [\"{name}\"]\npath = \"{name}\"\n",
                operator.display()
            )
            .unwrap();
        }
        text
    }

    /// What each node has written, in no order: between the branches of a diamond there is none.
    fn output(&self, place: &Place) -> Vec<Vec<String>> {
        let rows = |node: &Node| {
            let mut rows = place.rows(&node.name);
            rows.sort();
            rows
        };
        self.nodes.iter().map(rows).collect()
    }
}

#[test]
fn any_graph_with_any_parallelism_killed_anywhere_writes_what_single_subtasks_write() {
    let base = weir_tests::seed();
    let points: Vec<&str> = points().filter(|point| !is_at_start(point)).collect();
    for seed in base..base + GRAPHS {
        let graph = Graph::of(seed);
        let truth = Place::new();
        truth.pipeline(&graph.file(true));
        truth.finish().expect_success();
        let expected = graph.output(&truth);
        assert!(expected.iter().any(|rows| rows.len() > 50), "seed {seed}: the graph writes something");

        let place = Place::new();
        place.pipeline(&graph.file(false));
        let mut dice = Dice { seed, thrown: 1_000 };
        let mut kills = Vec::new();
        for _ in 0..3 {
            let (point, nth) = (points[dice.below(points.len())], 1 + dice.below(6) as u32);
            let exit = place.run().crash_at(point, nth).finish(SOON).exit;
            assert!(matches!(exit, Exit::KILLED | Exit::Code(0)), "WEIR_TEST_SEED={seed}: {point}:{nth}: {exit:?}");
            kills.push((point, nth, exit));
        }
        place.finish().expect_success();
        for (node, (found, expected)) in graph.nodes.iter().zip(graph.output(&place).iter().zip(&expected)) {
            let file = graph.file(false);
            assert!(
                found == expected,
                "WEIR_TEST_SEED={seed}: `{}` wrote {} rows, not {}, after {kills:?}\n{file}",
                node.name,
                found.len(),
                expected.len()
            );
        }
    }
}
