//! Plans of small graphs.

use super::super::sample::{kafka, name, pipeline};
use super::super::spec::{self, *};
use super::*;

fn ports(inputs: &[&str], outputs: &[&str]) -> Ports {
    let owned = |list: &[&str]| list.iter().map(|s| s.to_string()).collect();
    Ports { inputs: owned(inputs), outputs: owned(outputs) }
}

/// Every operator with one input and the ports `out` and `late`.
fn usual(_: &Name) -> Option<Ports> {
    Some(ports(&["in"], &["out", "late"]))
}

/// Chains as names, and edges as `from.port -> to`.
fn shape(plan: &Plan) -> (Vec<String>, Vec<String>) {
    let name = |id: &VertexId| plan.vertex(*id).name.to_string();
    let chains = plan.chains.iter().map(|c| c.members.iter().map(name).collect::<Vec<_>>().join(" ")).collect();
    let edges = plan.vertices.iter().flat_map(|v| {
        v.channels.iter().map(|c| {
            let output = plan.output(c.from);
            format!("{}.{} -> {}", name(&output.vertex), output.port, v.name)
        })
    });
    (chains, edges.collect())
}

fn errors(pipeline: &Pipeline, ports: &dyn Fn(&Name) -> Option<Ports>) -> Vec<String> {
    let faults = Plan::new(pipeline, ports).expect_err("the pipeline is wrong");
    faults.iter().map(ToString::to_string).collect()
}

#[test]
fn a_line_is_one_chain() {
    let plan = Plan::new(&pipeline(&["src"], &[("count", &["src"])], &[("out", &["count"])]), &usual).expect("plans");
    let (chains, edges) = shape(&plan);
    assert_eq!(chains, ["src count out"]);
    assert_eq!(edges, ["src. -> count", "count.out -> out"]);
    assert_eq!(plan.authority, Authority::Current);
    assert_eq!(plan.vertices[1].outputs.len(), 2, "a port that is not wired is there all the same");
    assert_eq!(plan.find("count"), Some(VertexId(1)));
}

#[test]
fn nodes_stand_behind_what_they_take_from_and_else_in_file_order() {
    let nodes: &[(&str, &[&str])] = &[("last", &["b", "a"]), ("b", &["a"]), ("a", &["y"]), ("c", &["x"])];
    let plan = Plan::new(&pipeline(&["x", "y"], nodes, &[("out", &["last", "c"])]), &usual).expect("plans");
    let order: Vec<&str> = plan.vertices.iter().map(|v| v.name.as_str()).collect();
    assert_eq!(order, ["x", "y", "a", "b", "last", "c", "out"]);
    for (at, vertex) in plan.vertices.iter().enumerate() {
        assert!(vertex.channels.iter().all(|c| plan.output(c.from).vertex.0 < at));
    }
}

#[test]
fn a_vertex_with_several_channels_heads_a_chain() {
    let nodes: &[(&str, &[&str])] = &[("left", &["a"]), ("join", &["l=left", "r=b"]), ("score", &["join"])];
    let declared =
        |n: &Name| Some(if n.as_str() == "join" { ports(&["r", "l"], &["out"]) } else { ports(&["in"], &["out"]) });
    let plan = Plan::new(&pipeline(&["a", "b"], nodes, &[("out", &["score"])]), &declared).expect("plans");
    assert_eq!(shape(&plan).0, ["a left", "b", "join score out"]);
    let join = plan.vertex(plan.find("join").expect("it is there"));
    assert_eq!(join.channels.iter().map(|c| c.input).collect::<Vec<_>>(), [1, 0], "as the operator declares them");
}

#[test]
fn time_and_keys_of_a_source_are_asked_for_once() {
    let mut spec =
        pipeline(&["src"], &[("a", &["src"]), ("b", &["src"]), ("c", &["src"])], &[("out", &["a", "b", "c"])]);
    for (node, pointer) in [(0, "/ip"), (1, "/user"), (2, "/ip")] {
        spec.nodes[node].inputs[0].key = Some(Key::Json(pointer.into()));
    }
    let plan = Plan::new(&spec, &usual).expect("plans");
    assert_eq!(plan.outputs[0].time, Some(("/ts".into(), Unit::Millis)));
    assert_eq!(plan.outputs[0].keys, ["/ip", "/user"]);
    let keys: Vec<KeyFrom> = plan.vertices[1..4].iter().map(|v| v.channels[0].key).collect();
    assert_eq!(keys, [KeyFrom::Extracted(0), KeyFrom::Extracted(1), KeyFrom::Extracted(0)]);
    assert_eq!(plan.outputs[0].consumers, [(VertexId(1), 0), (VertexId(2), 0), (VertexId(3), 0)]);
}

#[test]
fn a_record_is_skipped_only_if_all_its_consumers_say_so() {
    let mut spec = pipeline(&["src"], &[("a", &["src"]), ("b", &["src"])], &[("out", &["a", "b"])]);
    let policy = |spec: &Pipeline| Plan::new(spec, &usual).expect("plans").outputs[0].on_error;
    assert_eq!(policy(&spec), OnError::Fail);
    spec.nodes[0].on_error = OnError::Skip;
    assert_eq!(policy(&spec), OnError::Fail);
    spec.nodes[1].on_error = OnError::Skip;
    assert_eq!(policy(&spec), OnError::Skip);
    spec.sources[0].on_error = Some(OnError::Fail);
    assert_eq!(policy(&spec), OnError::Fail);
}

#[test]
fn the_first_kafka_sink_of_the_file_decides() {
    let mut spec =
        pipeline(&["src"], &[], &[("file", &["src"]), ("first", &["src"]), ("second", &["src"]), ("screen", &["src"])]);
    spec.sinks[1].kind = kafka(None);
    spec.sinks[2].kind = kafka(None);
    spec.sinks[3].kind = SinkKind::Stdout;
    let plan = Plan::new(&spec, &usual).expect("plans");
    assert_eq!(plan.authority, Authority::Kafka(VertexId(2)));
    let roles = plan.vertices.iter().filter_map(|v| match v.kind {
        VertexKind::Sink { role, .. } => Some(role),
        _ => None,
    });
    let expected = [SinkRole::Follower, SinkRole::Transaction, SinkRole::Transaction, SinkRole::Outside];
    assert_eq!(roles.collect::<Vec<_>>(), expected);
    assert_eq!(plan.warnings.len(), 1, "stdout says that it stands outside");
}

#[test]
fn rejects_are_a_port_of_the_host() {
    let spec =
        pipeline(&["src"], &[("a", &["src"])], &[("out", &["a"]), ("bad", &["a.rejects"]), ("late", &["a.late"])]);
    let plan = Plan::new(&spec, &usual).expect("plans");
    let node = plan.vertex(VertexId(1));
    let rejects = plan.output(node.rejects.expect("it is wired"));
    assert_eq!((rejects.port.as_str(), rejects.consumers.len()), ("rejects", 1));
    assert_eq!(node.outputs.iter().map(|o| plan.output(*o).port.as_str()).collect::<Vec<_>>(), ["out", "late"]);
}

#[test]
fn ports_that_do_not_exist_are_refused() {
    let spec = pipeline(&["src"], &[("a", &["src"])], &[("out", &["a.lat", "a.dead-letter"])]);
    assert_eq!(
        errors(&spec, &usual),
        [
            "sinks.out.inputs[0]: the operator of `a` has no output `lat` (did you mean `late`? Its ports: out, late, rejects)",
            "sinks.out.inputs[1]: the port `dead-letter` comes later (until then on_error is \"fail\" or \"skip\")",
        ]
    );
    let spec = pipeline(&["src"], &[("a", &["lef=src"])], &[("out", &["a"])]);
    let two = |_: &Name| Some(ports(&["left", "right"], &["out", "rejects"]));
    assert_eq!(
        errors(&spec, &two),
        [
            "nodes.a.operator: the operator declares the output `rejects`, a name that is the host's (rename it in the operator)",
            "nodes.a.inputs: nothing flows into the operator's input `left` (its inputs: { left = …, right = … })",
            "nodes.a.inputs.lef: the operator has no input `lef` (did you mean `left`? Its inputs: left, right)",
        ]
    );
    let unnamed = pipeline(&["src"], &[("a", &["src"])], &[("out", &["a"])]);
    let none = |_: &Name| Some(ports(&["in"], &[]));
    assert_eq!(errors(&unnamed, &none), ["sinks.out.inputs[0]: the operator of `a` has no output"]);
    let message =
        "nodes.a.inputs: the operator has several inputs: left, right (name them: inputs = { left = …, right = … })";
    assert!(errors(&unnamed, &two).contains(&message.to_string()));
}

#[test]
fn a_component_that_was_not_looked_at_may_have_any_port() {
    let spec = pipeline(&["src"], &[("a", &["l=src"])], &[("out", &["a"]), ("side", &["a.anything"])]);
    let plan = Plan::new(&spec, &|_| None).expect("plans");
    assert_eq!(shape(&plan).1, ["src. -> a", "a. -> out", "a.anything -> side"]);
    assert_eq!(plan.vertex(VertexId(1)).name, name("a"));
}

#[test]
fn a_wrong_pipeline_is_not_planned() {
    let ring = pipeline(&["src"], &[("a", &["b"]), ("b", &["a"])], &[("out", &["a", "src"])]);
    assert!(Plan::new(&ring, &usual).is_err());
}

/// Edges as `from -> to: exchange`, and chains with their parallelism.
fn spread(spec: &Pipeline) -> (Vec<String>, Vec<String>) {
    let plan = Plan::new(spec, &usual).expect("plans");
    let name = |id: VertexId| plan.vertex(id).name.to_string();
    let edges = plan.vertices.iter().flat_map(|v| {
        v.channels
            .iter()
            .map(|c| format!("{} -> {}: {}", name(plan.output(c.from).vertex), v.name, c.exchange.as_str()))
    });
    let chains = plan.chains.iter().map(|c| {
        let members: Vec<String> = c.members.iter().map(|m| name(*m)).collect();
        format!("{} x{}", members.join(" "), plan.vertex(c.members[0]).parallelism)
    });
    (edges.collect(), chains.collect())
}

/// `src -> count -> out`, with Kafka at both ends.
fn line(source: u32, node: u32, sink: Option<u32>) -> Pipeline {
    let mut spec = pipeline(&["src"], &[("count", &["src"])], &[("out", &["count"])]);
    spec.sources[0].kind = SourceKind::Kafka(KafkaSource::default());
    spec.sinks[0].kind = kafka(None);
    (spec.sources[0].parallelism, spec.nodes[0].parallelism, spec.sinks[0].parallelism) = (source, node, sink);
    spec
}

#[test]
fn a_keyed_edge_between_more_than_single_subtasks_is_spread_by_key_and_cuts_the_chain() {
    let mut spec = line(1, 4, None);
    spec.nodes[0].inputs[0].key = Some(Key::Json("/ip".into()));
    let (edges, chains) = spread(&spec);
    assert_eq!(edges, ["src -> count: by key", "count -> out: forward"]);
    assert_eq!(chains, ["src x1", "count out x4"], "a sink has the parallelism of what it takes from");
    spec.sources[0].parallelism = 4;
    assert_eq!(spread(&spec).0[0], "src -> count: by key");
    (spec.sources[0].parallelism, spec.nodes[0].parallelism) = (1, 1);
    assert_eq!(spread(&spec).1, ["src count out x1"]);
}

#[test]
fn an_edge_without_a_key_is_forward_at_equal_parallelism_else_rebalance() {
    assert_eq!(spread(&line(3, 3, None)).1, ["src count out x3"]);
    assert_eq!(spread(&line(1, 3, None)).0, ["src -> count: rebalance", "count -> out: forward"]);
    assert_eq!(spread(&line(3, 3, Some(1))).0, ["src -> count: forward", "count -> out: rebalance"]);
    let mut spec = line(2, 2, None);
    spec.nodes[0].inputs[0].from[0].exchange = Some(spec::Exchange::Broadcast);
    assert_eq!(spread(&spec).0[0], "src -> count: broadcast");
}

#[test]
fn a_spread_that_cannot_be_is_refused() {
    let mut forward = line(1, 2, None);
    forward.nodes[0].inputs[0].from[0].exchange = Some(spec::Exchange::Forward);
    let mut keyed = line(2, 2, None);
    keyed.nodes[0].inputs[0].from[0].exchange = Some(spec::Exchange::Rebalance);
    keyed.nodes[0].inputs[0].key = Some(Key::Record);
    let mut alone = pipeline(&["src"], &[], &[("out", &["src"])]);
    alone.sources[0].parallelism = 2;
    alone.sinks[0].parallelism = Some(2);
    let refused: Vec<String> =
        [forward, keyed, line(4, 4, Some(2)), alone].iter().flat_map(|spec| errors(spec, &usual)).collect();
    insta::assert_snapshot!(refused.join("\n"));
}
