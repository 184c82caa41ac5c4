//! Small pipelines for tests, by names alone.

use std::path::PathBuf;
use std::time::Duration;

use super::spec::*;
use crate::ids::Name;

pub(super) fn name(text: &str) -> Name {
    Name::new(text).expect("tests use names")
}

/// Generator sources, path operators, file sinks. An input is `node` or `node.port`; `port=node` names the input.
pub(super) fn pipeline(sources: &[&str], nodes: &[(&str, &[&str])], sinks: &[(&str, &[&str])]) -> Pipeline {
    Pipeline {
        state: Backend::default(),
        name: name("sample"),
        checkpoint: Checkpoint::default(),
        restart: Default::default(),
        samples: Samples::default(),
        sources: sources.iter().map(|s| source(s)).collect(),
        nodes: nodes.iter().map(|(n, inputs)| node(n, inputs)).collect(),
        sinks: sinks.iter().map(|(n, inputs)| sink(n, inputs)).collect(),
    }
}

fn source(text: &str) -> Source {
    let generator = GeneratorSource { seed: 0, count: None, rate: None, template: String::new() };
    Source {
        name: name(text),
        kind: SourceKind::Generator(generator),
        event_time: EventTime::Json { pointer: "/ts".into(), unit: Unit::Millis },
        watermark: WatermarkSettings::default(),
        on_error: None,
        record_bytes_max: RECORD_BYTES_MAX,
        parallelism: 1,
    }
}

fn node(text: &str, edges: &[&str]) -> Node {
    Node {
        name: name(text),
        previous_name: None,
        operator: OperatorRef::Path(path("op.wasm")),
        inputs: inputs(&format!("nodes.{text}"), edges),
        on_error: OnError::Fail,
        config: serde_json::Value::Null,
        secrets: Default::default(),
        limits: Limits::default(),
        parallelism: 1,
    }
}

fn sink(text: &str, edges: &[&str]) -> Sink {
    Sink {
        name: name(text),
        kind: SinkKind::File { path: path(text) },
        inputs: inputs(&format!("sinks.{text}"), edges),
        on_error: OnError::Fail,
        record_bytes_max: RECORD_BYTES_MAX,
        parallelism: None,
    }
}

fn path(text: &str) -> FilePath {
    FilePath { written: text.into(), resolved: PathBuf::from(text) }
}

fn inputs(place: &str, edges: &[&str]) -> Vec<Input> {
    let mut inputs: Vec<Input> = Vec::new();
    for (index, text) in edges.iter().enumerate() {
        let (port, text) = text.split_once('=').map_or((None, *text), |(port, rest)| (Some(port.to_string()), rest));
        let (node, output) = text.split_once('.').map_or((text, None), |(n, p)| (n, Some(p.to_string())));
        let edge = Edge { node: node.into(), port: output, exchange: None, path: format!("{place}.inputs[{index}]") };
        match inputs.iter_mut().find(|i| i.port == port) {
            Some(input) => input.from.push(edge),
            None => inputs.push(Input { port, from: vec![edge], key: None }),
        }
    }
    inputs
}

/// A Kafka sink with this time-out of its transaction.
pub(super) fn kafka(seconds: Option<u64>) -> SinkKind {
    SinkKind::Kafka(KafkaSink {
        client: KafkaClient { brokers: "localhost:9092".into(), ..KafkaClient::default() },
        topic: "out".into(),
        transaction_timeout: seconds.map(Duration::from_secs),
        compression: Compression::default(),
    })
}
