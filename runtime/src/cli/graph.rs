//! `weir graph FILE`: how a pipeline will run: its nodes with their subtasks, which of them are one chain, and how records
//! are spread between chains. Runs nothing.

use std::path::PathBuf;

use serde::Serialize;
use weir_core::graph::plan::{Exchange, KeyFrom, Plan, VertexKind};

use super::{Exit, load};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The pipeline file
    file: PathBuf,
    /// How to print it: for people, for Graphviz, for Mermaid, for programs
    #[arg(long, value_enum, default_value = "text")]
    format: Form,
    /// Where operators that are named `name@version` are found: the --data folder of `weir serve`, or its registry
    #[arg(long, value_name = "DIR")]
    registry: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Form {
    Text,
    Dot,
    Mermaid,
    Json,
}

/// A pipeline as it runs.
#[derive(Debug, Serialize)]
struct Graph {
    pipeline: String,
    nodes: Vec<Node>,
    edges: Vec<Edge>,
    chains: Vec<Chain>,
}

#[derive(Debug, Serialize)]
struct Node {
    name: String,
    kind: &'static str,
    subtasks: u32,
    /// Index in `chains`.
    chain: usize,
}

#[derive(Debug, Serialize)]
struct Edge {
    from: String,
    /// Empty for a source's.
    port: String,
    to: String,
    exchange: &'static str,
    /// What the records are keyed by, where they are: a JSON pointer, or `key` for the record's own.
    key: Option<String>,
    /// It does not leave its chain: no queue, no copy.
    chained: bool,
}

/// Nodes that run as one, once for each subtask.
#[derive(Debug, Serialize)]
struct Chain {
    nodes: Vec<String>,
    subtasks: u32,
}

pub(super) fn run(arguments: &Arguments) -> Exit {
    let checked = match load::load(&arguments.file, arguments.registry.as_deref()) {
        Ok(checked) => checked,
        Err(exit) => return exit,
    };
    let graph = Graph::of(checked.pipeline.name.as_str(), &checked.plan);
    match arguments.format {
        Form::Text => print!("{}", graph.text()),
        Form::Dot => print!("{}", graph.dot()),
        Form::Mermaid => print!("{}", graph.mermaid()),
        Form::Json => {
            println!("{}", serde_json::to_string_pretty(&graph).expect("a graph is strings, numbers and lists"));
        }
    }
    Exit::Ok
}

impl Graph {
    fn of(pipeline: &str, plan: &Plan) -> Graph {
        let node = |vertex: &weir_core::graph::plan::Vertex| Node {
            name: vertex.name.to_string(),
            kind: match vertex.kind {
                VertexKind::Source { .. } => "source",
                VertexKind::Node { .. } => "operator",
                VertexKind::Sink { .. } => "sink",
            },
            subtasks: vertex.parallelism,
            chain: vertex.chain.0,
        };
        let mut edges = Vec::new();
        for vertex in &plan.vertices {
            for channel in &vertex.channels {
                let output = plan.output(channel.from);
                let from = plan.vertex(output.vertex);
                edges.push(Edge {
                    from: from.name.to_string(),
                    port: output.port.clone(),
                    to: vertex.name.to_string(),
                    exchange: match channel.exchange {
                        Exchange::ByKey => "key",
                        other => other.as_str(),
                    },
                    key: match channel.key {
                        KeyFrom::Nothing => None,
                        KeyFrom::Record => Some("key".to_owned()),
                        KeyFrom::Extracted(index) => Some(output.keys[index].clone()),
                    },
                    chained: from.chain == vertex.chain,
                });
            }
        }
        let chains = plan.chains.iter().map(|chain| Chain {
            nodes: chain.members.iter().map(|id| plan.vertex(*id).name.to_string()).collect(),
            subtasks: plan.vertex(chain.members[0]).parallelism,
        });
        Graph {
            pipeline: pipeline.to_owned(),
            nodes: plan.vertices.iter().map(node).collect(),
            edges,
            chains: chains.collect(),
        }
    }

    fn text(&self) -> String {
        let mut text = format!("{}\n", self.pipeline);
        for (index, chain) in self.chains.iter().enumerate() {
            let plural = if chain.subtasks == 1 { "subtask" } else { "subtasks" };
            text += &format!("chain {}  {} {plural}: {}\n", index + 1, chain.subtasks, chain.nodes.join(" > "));
            let enters = |edge: &&Edge| !edge.chained && chain.nodes.first() == Some(&edge.to);
            for edge in self.edges.iter().filter(enters) {
                text += &format!("         from {}\n", edge.says());
            }
        }
        text
    }

    fn dot(&self) -> String {
        let mut text = format!("digraph \"{}\" {{\n  rankdir=LR;\n", self.pipeline);
        for (index, chain) in self.chains.iter().enumerate() {
            text += &format!("  subgraph cluster_{index} {{ label=\"x{}\";", chain.subtasks);
            for name in &chain.nodes {
                text += &format!(" \"{name}\";");
            }
            text += " }\n";
        }
        for edge in &self.edges {
            text += &format!("  \"{}\" -> \"{}\" [label=\"{}\"];\n", edge.from, edge.to, edge.label());
        }
        text + "}\n"
    }

    fn mermaid(&self) -> String {
        let mut text = "flowchart LR\n".to_owned();
        for (index, chain) in self.chains.iter().enumerate() {
            text += &format!("  subgraph c{index}[\"x{}\"]\n", chain.subtasks);
            for name in &chain.nodes {
                text += &format!("    {name}\n");
            }
            text += "  end\n";
        }
        for edge in &self.edges {
            text += &format!("  {} -->|\"{}\"| {}\n", edge.from, edge.label(), edge.to);
        }
        text
    }
}

impl Edge {
    fn says(&self) -> String {
        let from = if self.port.is_empty() { self.from.clone() } else { format!("{}.{}", self.from, self.port) };
        format!("{from}, {}", self.label())
    }

    fn label(&self) -> String {
        match (self.exchange, &self.key) {
            ("key", Some(key)) if key == "key" => "by the record's key".to_owned(),
            ("key", Some(key)) => format!("by key {key}"),
            (exchange, _) => exchange.to_owned(),
        }
    }
}
