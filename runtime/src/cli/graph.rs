//! `weir graph FILE`: how a pipeline will run: its nodes with their subtasks, which of them are one chain, and how records
//! are spread between chains. Runs nothing.

use std::path::PathBuf;

use super::{Exit, load};
use crate::pipeline::{Edge, Graph};

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

/// A graph as people and other programs read it.
trait Drawn {
    fn text(&self) -> String;
    fn dot(&self) -> String;
    fn mermaid(&self) -> String;
}

impl Drawn for Graph {
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

/// An edge in words.
trait Said {
    fn says(&self) -> String;
    fn label(&self) -> String;
}

impl Said for Edge {
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
