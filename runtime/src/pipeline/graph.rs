//! A pipeline's graph as it runs: nodes with their subtasks, which of them are one chain, and how records are spread between
//! chains. For the API and for `weir graph`; draws nothing.

use serde::Serialize;
use weir_core::graph::plan::{Exchange, KeyFrom, Plan, Vertex, VertexKind};

/// A pipeline as it runs.
#[derive(Debug, Serialize)]
pub struct Graph {
    pub pipeline: String,
    pub nodes: Vec<Node>,
    pub edges: Vec<Edge>,
    pub chains: Vec<Chain>,
}

#[derive(Debug, Serialize)]
pub struct Node {
    pub name: String,
    pub kind: &'static str,
    pub subtasks: u32,
    /// Index in `chains`.
    pub chain: usize,
}

#[derive(Debug, Serialize)]
pub struct Edge {
    pub from: String,
    /// Empty for a source's.
    pub port: String,
    pub to: String,
    pub exchange: &'static str,
    /// What the records are keyed by, where they are: a JSON pointer, or `key` for the record's own.
    pub key: Option<String>,
    /// It does not leave its chain: no queue, no copy.
    pub chained: bool,
}

/// Nodes that run as one, once for each subtask.
#[derive(Debug, Serialize)]
pub struct Chain {
    pub nodes: Vec<String>,
    pub subtasks: u32,
}

impl Graph {
    /// Of a plan.
    pub fn of(pipeline: &str, plan: &Plan) -> Graph {
        let node = |vertex: &Vertex| Node {
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
}
