//! Whole files, good and bad. What a bad one prints is pinned in `snapshots/`.

use std::path::Path;

use weir_core::graph::spec::{KafkaClient, OperatorRef, SinkKind, SourceKind, Storage};

use super::*;

const GOOD: &str = r#"version = 1
name = "ip-count"
[checkpoint]
interval = "1s"
guarantee = "exactly-once"
[sources.requests]
type = "kafka"
brokers = "${env:KAFKA_BROKERS:-localhost:9092}"
topic = "ip_count_source"
start = "earliest"
event_time = { json = "/ts", unit = "ms" }
watermark = { out_of_order = "1s", idle_after = "10s" }
[nodes.count]
operator = "target/weir/ip_count.wasm"
inputs = ["requests"]
key = { json = "/ip" }
on_error = "fail"
config = { window = "5s", lateness = "5s" }
limits = { memory = "64MiB", call_timeout = "100ms" }
[sinks.counts]
type = "kafka"
inputs = ["count"]
brokers = "${env:KAFKA_BROKERS:-localhost:9092}"
topic = "ip_count_sink"
transaction = { timeout = "2m" }
"#;

/// A source and a sink around what a test adds.
pub(super) const ENDS: &str = "version = 1\nname = \"p\"\n[defaults.kafka]\nbrokers = \"b:9092\"\n[sources.in]\ntype = \"generator\"\ntemplate = \"x\"\n[sinks.out]\ntype = \"discard\"\ninputs = [\"in\"]\n";

fn files(path: &Path) -> io::Result<String> {
    match path.to_str() {
        Some("/pipelines/secret") | Some("/run/secret") => Ok("hunter2\n".to_string()),
        _ => Err(io::Error::from(io::ErrorKind::NotFound)),
    }
}

fn variable(name: &str) -> Option<String> {
    match name {
        "BROKERS" => Some("kafka:9092".to_string()),
        "EMPTY" => Some(String::new()),
        _ => None,
    }
}

fn read(text: &str, format: Format, base: Option<&Path>) -> Result<Loaded, Diagnostics> {
    parse(text, "kafka.toml", format, &Environment { variable: &variable, file: Some(&files), base, secrets: None })
}

pub(super) fn toml(text: &str) -> Result<Loaded, Diagnostics> {
    read(text, Format::Toml, Some(Path::new("/pipelines")))
}

fn good(text: &str) -> Loaded {
    toml(text).unwrap_or_else(|e| panic!("{}", e.render(Style::Plain)))
}

/// What is printed about a bad file.
fn bad(text: &str) -> String {
    toml(text).expect_err("the file is wrong").render(Style::Plain)
}

/// One line a problem.
fn lines(text: &str) -> Vec<String> {
    toml(text).expect_err("the file is wrong").to_string().lines().map(str::to_string).collect()
}

#[test]
fn the_example_of_the_documentation_is_read() {
    let loaded = good(GOOD);
    insta::assert_debug_snapshot!(loaded.spec);
    assert!(loaded.warnings.is_empty());
    assert_eq!(loaded.source_text(), GOOD);
}

#[test]
fn every_key_that_there_is_can_be_written() {
    let text = r#"
version = 1
name = "all"
[limits]
record = "2MiB"
[checkpoint]
interval = "10s"
guarantee = "exactly-once"
timeout = "90s"
min_pause = "500ms"
tolerable_failures = 0
retain = 1
on_cancel = "delete"
margin = "5s"
[restart]
strategy = "exponential"
delay = "2s"
max_delay = "1m"
multiplier = 3
reset_after = "10m"
[defaults.kafka]
brokers = "a:9092, b:9093"
security = { protocol = "sasl_ssl", mechanism = "SCRAM-SHA-512", username = "me", password = "${file:secret}", ca = "ca.pem", cert = "c.pem", key = "k.pem" }
options = { linger.ms = 20, "socket.keepalive.enable" = true }
[sources.orders]
type = "kafka"
topic = "orders"
start = "latest"
until = "latest"
on_error = "skip"
options = { "fetch.min.bytes" = "1" }
[sources.lines]
type = "file"
path = "in.jsonl"
event_time = { json = "", unit = "ns" }
watermark = { idle_after = "never", tick = "1ms" }
limits = { record = "1KiB" }
[sources.made]
type = "generator"
seed = 7
count = 50000
rate = 1000
template = '{"ts":{{time 1700000000000 10}},"ip":"10.0.0.{{zipf 50}}"}'
[nodes.match]
previous_name = "joined"
operator = "interval-join@2"
inputs = { left = "orders", right = [{ from = "lines", exchange = "forward" }, "made"] }
key = { left = { json = "/id" }, right = { kafka = "key" } }
on_error = "skip"
secrets = { api = "${env:EMPTY}" }
[nodes.match.config]
within = "15m"
nested = { list = [1, 2.5, true] }
[nodes.score]
operator = "/opt/score.wasm"
parallelism = 4
capabilities = []
inputs = ["match", "match.unmatched"]
key = { json = "/customer" }
[sinks.settled]
type = "kafka"
topic = "settled"
inputs = ["score"]
compression = "zstd"
brokers = "${env:BROKERS}"
security = {}
[sinks.files]
type = "file"
path = "out/files"
inputs = ["score.late"]
on_error = "skip"
[sinks.screen]
type = "stdout"
inputs = ["score.rejects"]
[sinks.nowhere]
type = "discard"
inputs = ["match.rest"]
"#;
    let loaded = good(text);
    insta::assert_debug_snapshot!(loaded.spec);
    insta::assert_snapshot!(loaded.warnings.render(Style::Plain));
}

#[test]
fn secrets_come_from_files_and_do_not_print() {
    let text = format!(
        "{ENDS}[sinks.k]\ntype = \"kafka\"\ntopic = \"t\"\ninputs = [\"in\"]\nsecurity = {{ protocol = \"sasl_ssl\", mechanism = \"PLAIN\", username = \"u\", password = \"${{file:secret}}\" }}\n"
    );
    let loaded = good(&text);
    let SinkKind::Kafka(sink) = &loaded.spec.sinks[1].kind else { panic!("it is a Kafka sink") };
    let password = sink.client.security.password.as_ref().expect("it has one");
    assert_eq!(password.reveal(), "hunter2", "without the line's end");
    assert!(!format!("{loaded:?}").contains("hunter2"));
}

#[test]
fn references_are_replaced_inside_strings_only() {
    let topic = |value: &str| {
        let text = format!("{ENDS}[sources.k]\ntype = \"kafka\"\ntopic = {value}\n");
        match &good(&text).spec.sources[1].kind {
            SourceKind::Kafka(kafka) => kafka.topics.to_string(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(topic("\"a${env:NOPE:-b}c${env:NOPE:-}\""), "abc");
    let config = good(&format!(
        "{ENDS}[nodes.n]\noperator = \"./n\"\ninputs = [\"in\"]\nconfig = {{ a = \"$${{env:X}} ${{env:BROKERS}}\" }}\n"
    ));
    assert_eq!(config.spec.nodes[0].config["a"], "${env:X} kafka:9092");
}

#[test]
fn an_unknown_key_shows_what_is_allowed() {
    insta::assert_snapshot!(bad(&GOOD.replace("interval =", "intervall =")));
}

#[test]
fn a_wrong_type_shows_what_to_write() {
    insta::assert_snapshot!(bad(&GOOD.replace("interval = \"1s\"", "interval = 5")));
}

#[test]
fn an_unknown_node_shows_which_there_are() {
    insta::assert_snapshot!(bad(&GOOD.replace("[\"requests\"]", "[\"request\"]")));
}

#[test]
fn a_cycle_is_shown() {
    let cycle = "[nodes.again]\noperator = \"a@1\"\ninputs = [\"count\"]\n[sinks.counts]";
    insta::assert_snapshot!(bad(&GOOD
        .replace("[\"requests\"]", "[\"requests\", \"again\"]")
        .replace("[sinks.counts]", cycle)));
}

#[test]
fn two_nodes_of_one_name_are_shown() {
    insta::assert_snapshot!(bad(&GOOD.replace("[sinks.counts]", "[sinks.count]")));
    insta::assert_snapshot!(bad(&GOOD.replace("[sinks.counts]", "[nodes.count]\n[sinks.counts]")));
}

#[test]
fn a_missing_variable_is_shown_where_it_is_used() {
    insta::assert_snapshot!(bad(&GOOD
        .replace("localhost:9092}\"\ntopic = \"ip_count_sink", "}\"\ntopic = \"ip_count_sink")
        .replace("\"${env:KAFKA_BROKERS:-}\"", "\"a:1,${env:NOPE}\"")));
}

#[test]
fn contradicting_times_show_both_numbers() {
    insta::assert_snapshot!(bad(&GOOD.replace("2m", "20s")));
    let pause = "[checkpoint]\nmin_pause = \"2s\"\n";
    insta::assert_snapshot!(bad(&GOOD.replace("[checkpoint]\n", pause)));
}

#[test]
fn a_previous_name_that_is_there_is_shown() {
    let renamed = |name| format!("[nodes.count]\nprevious_name = \"{name}\"\n");
    insta::assert_snapshot!(bad(&GOOD.replace("[nodes.count]\n", &renamed("requests"))));
    assert!(bad(&GOOD.replace("[nodes.count]\n", &renamed("Old"))).contains("is not a name"));
    let node = good(&GOOD.replace("[nodes.count]\n", &renamed("old"))).spec.nodes.remove(0);
    assert_eq!(node.previous_name.map(|name| name.to_string()).as_deref(), Some("old"));
}

#[test]
fn everything_is_reported_at_once_in_file_order() {
    let text = GOOD
        .replace("version = 1", "version = 2")
        .replace("\"exactly-once\"", "\"exactly\"")
        .replace("\"earliest\"", "\"earlyest\"")
        .replace("\"ms\"", "\"minutes\"")
        .replace("[nodes.count]", "[nodes.Count]")
        .replace("64MiB", "64")
        .replace("\"fail\"", "\"dead-letter\"")
        .replace("type = \"kafka\"\ninputs", "type = \"kafak\"\ninputs");
    insta::assert_snapshot!(bad(&text));
}

#[test]
fn syntax_errors_are_shown_with_a_caret() {
    insta::assert_snapshot!(bad("version = 1\nname = \"a\n[sources.x\ntype = \"stdin\"\n"));
}

#[test]
fn a_terminal_gets_colours() {
    let rendered = toml(&GOOD.replace("interval =", "intervall =")).expect_err("wrong").render(Style::Fancy);
    assert!(rendered.contains("\u{1b}[") && rendered.contains("kafka.toml:4"), "{rendered}");
    assert_eq!(Style::of(true, None), Style::Fancy);
    assert_eq!(Style::of(true, Some("1")), Style::Plain);
    assert_eq!(Style::of(false, None), Style::Plain);
}

#[test]
fn programs_get_a_list() {
    let error = toml(&GOOD.replace("interval =", "intervall =")).expect_err("wrong");
    insta::assert_snapshot!(error.render(Style::Json));
    assert!(error.to_string().starts_with("kafka.toml:4: unknown key `intervall` in [checkpoint]"));
}

#[test]
fn a_restart_strategy_takes_its_own_numbers_and_no_others() {
    use std::time::Duration;

    use weir_core::restart::Strategy;
    let read = |restart: &str| toml(&format!("{ENDS}[restart]\n{restart}\n")).map(|loaded| loaded.spec.restart);
    let is = |restart, strategy| assert_eq!(read(restart).unwrap_or_else(|e| panic!("{e}")), strategy);
    let seconds = Duration::from_secs;
    is("", Strategy::default());
    is("strategy = \"none\"", Strategy::None);
    is("strategy = \"fixed-delay\"", Strategy::FixedDelay { attempts: 1, delay: seconds(1) });
    is(
        "strategy = \"fixed-delay\"\nattempts = 3\ndelay = \"10s\"",
        Strategy::FixedDelay { attempts: 3, delay: seconds(10) },
    );
    is(
        "strategy = \"failure-rate\"\nfailures = 2",
        Strategy::FailureRate { failures: 2, per: seconds(60), delay: seconds(1) },
    );
    let refused = |restart| read(restart).expect_err("wrong").to_string();
    assert!(refused("attempts = 3").contains("unknown key `attempts` in [restart]"), "{}", refused("attempts = 3"));
    assert!(refused("strategy = \"fixed\"").contains("fixed-delay"));
    assert!(refused("multiplier = 0").contains("multiplier"));
}

#[test]
fn checkpoints_in_memory_need_the_guarantee_that_they_can_give() {
    let ends =
        "[sources.in]\ntype = \"generator\"\ntemplate = \"x\"\n[sinks.out]\ntype = \"discard\"\ninputs = [\"in\"]\n";
    let file = |checkpoint: &str| format!("version = 1\nname = \"p\"\n[checkpoint]\n{checkpoint}\n{ends}");
    assert_eq!(good(&file("storage = \"local\"")).spec.checkpoint.storage, Storage::Local);
    let memory = good(&file("storage = \"memory\"\nguarantee = \"none\"")).spec.checkpoint;
    assert_eq!(memory.storage, Storage::Memory);
    let refused = ["storage = \"memory\"", "storage = \"memory\"\nguarantee = \"at-least-once\"", "storage = \"disk\""];
    insta::assert_snapshot!(refused.map(|checkpoint| bad(&file(checkpoint))).join("\n"));
}

#[test]
fn what_comes_later_says_so() {
    let later = [
        "[checkpoint]\nstorage = \"/mnt\"\n",
        "[checkpoint]\nstorage = \"s3://bucket/weir\"\n",
        "[[tests]]\nname = \"t\"\n",
        "[nodes.n]\noperator = \"o@1\"\ninputs = [\"in\"]\ncapabilities = [\"random\"]\n",
        "[nodes.n]\noperator = \"o@1\"\ninputs = [\"in\"]\non_error = \"dead-letter\"\n",
    ];
    let all: Vec<String> = later.iter().flat_map(|l| lines(&format!("{ENDS}{l}"))).collect();
    insta::assert_snapshot!(all.join("\n"));
}

#[test]
fn a_wrong_value_has_the_caret_and_not_its_key() {
    let node = format!("{ENDS}[nodes.n]\noperator = \"o@1\"\ninputs = [\"in\"]\n");
    for (line, column) in [("parallelism = 129", 15), ("capabilities = [\"x\"]", 16), ("key = { json = \"ip\" }", 16)] {
        let Err(refused) = toml(&format!("{node}{line}\n")) else { panic!("{line}") };
        assert_eq!(refused.entries()[0].column, Some(column), "{line}");
    }
}

#[test]
fn each_value_is_checked_where_it_stands() {
    let node = "[nodes.n]\noperator = \"o@1\"\ninputs = [\"in\"]\n";
    let kafka = "[sources.k]\ntype = \"kafka\"\ntopic = \"t\"\n";
    let cases = [
        format!("{ENDS}[nodes.n]\ninputs = [\"in\"]\n"),
        format!("{ENDS}[nodes.n]\noperator = \"ip-count\"\ninputs = [\"in\"]\n"),
        format!("{ENDS}[nodes.n]\noperator = \"ip-count@one\"\ninputs = [\"in\"]\n"),
        format!("{ENDS}[nodes.n]\noperator = 7\ninputs = \"in\"\n"),
        format!("{ENDS}{node}key = \"/ip\"\n"),
        format!("{ENDS}{node}key = {{ json = \"ip\" }}\n"),
        format!("{ENDS}{node}key = {{}}\n"),
        format!("{ENDS}{node}key = {{ left = {{ json = \"/ip\" }} }}\n"),
        format!("{ENDS}{node}config = \"x\"\n"),
        format!("{ENDS}{node}config = {{ since = 2026-01-01, list = [{{ most = inf }}, 1.5], \"a b\" = nan }}\n"),
        format!("{ENDS}{node}limits = {{ memory = \"513MiB\" }}\n"),
        format!("{ENDS}{node}limits = {{ memory = \"1KiB\", call_timeout = \"5s\", record = \"1TiB\" }}\n"),
        format!("{ENDS}{kafka}event_time = {{ json = \"/ts\", kafka = \"timestamp\" }}\n"),
        format!("{ENDS}{kafka}watermark = {{ tick = \"0s\" }}\n"),
        format!("{ENDS}{kafka}options = {{ \"linger.mss\" = 1 }}\n"),
        format!("{ENDS}{kafka}options = {{ \"isolation.level\" = \"read_uncommitted\" }}\n"),
        format!("{ENDS}{kafka}options = {{ transactional.id = \"x\" }}\n"),
        format!("{ENDS}{kafka}options = {{ \"sasl.password\" = \"x\" }}\n"),
        format!("{ENDS}{kafka}brokers = \"localhost\"\n"),
        format!("{ENDS}{kafka}compression = \"lz4\"\n"),
        format!("{ENDS}{kafka}security = {{ protocol = \"sasl_ssl\", username = \"u\" }}\n"),
        format!("{ENDS}[sources.k]\ntype = \"kafka\"\ntopic = \"a b\"\n"),
        format!("{ENDS}[sources.g]\ntype = \"generator\"\ntemplate = 'a {{{{tme 1 2}}}}'\nrate = 0\n"),
        format!("{ENDS}[sources.g]\ntype = \"generator\"\ntemplate = \"x\"\nwatermark = {{ out_of_order = \"1s\" }}\n"),
        format!("{ENDS}[sources.f]\ntype = \"file\"\npath = \"${{file:nope}}\"\n"),
        format!("{ENDS}[sources.f]\ntype = \"file\"\npath = \"${{nope}}\"\n"),
        format!("{ENDS}[sources.f]\ntype = \"file\"\npath = \"${{env:X\"\n"),
        format!("{ENDS}[sources.s]\ntype = \"stdin\"\n"),
        format!("{ENDS}[sinks.t]\ntype = \"file\"\ninputs = []\n"),
        "version = 1\n".to_string(),
        "sources = 1\nversion = 99999999999999999999\n".to_string(),
    ];
    let all: Vec<String> = cases.iter().map(|text| lines(text).join("\n")).collect();
    insta::assert_snapshot!(all.join("\n\n"));
}

#[test]
fn json_is_the_same_pipeline() {
    let tree: toml::Value = toml::from_str(GOOD).expect("it is TOML");
    let json = serde_json::to_string(&tree).expect("it is JSON too");
    let base = Path::new("/pipelines");
    let loaded = read(&json, Format::Json, Some(base)).unwrap_or_else(|e| panic!("{}", e.render(Style::Plain)));
    assert_eq!(loaded.spec, good(GOOD).spec);
}

#[test]
fn errors_in_json_carry_the_path() {
    let json = r#"{"version":1,"name":"p","sources":{"in":{"type":"stdin","topic":"t"}},"nodes":{},"sinks":{"out":{"type":"stdout","inputs":["inn",7]}}}"#;
    let error = read(json, Format::Json, None).expect_err("wrong");
    insta::assert_snapshot!(error.render(Style::Plain));
    insta::assert_snapshot!(error);
    for (text, line) in [
        ("{\n\"a\": 1,\n}", ":3: "),
        ("{\"a\":1,\"a\":2}", "stands twice"),
        ("[1]", "a pipeline is a table"),
        ("", "EOF"),
    ] {
        let message = read(text, Format::Json, None).expect_err("wrong").to_string();
        assert!(message.contains(line), "{text}: {message}");
    }
}

#[test]
fn a_pipeline_without_a_folder_has_no_relative_paths() {
    let error = read(GOOD, Format::Toml, None).expect_err("the operator is a relative path").to_string();
    assert!(error.starts_with("kafka.toml:14: the path \"target/weir/ip_count.wasm\" is relative"), "{error}");
    let absolute = GOOD.replace("target/weir", "/opt");
    let loaded = read(&absolute, Format::Toml, None).unwrap_or_else(|e| panic!("{e}"));
    let OperatorRef::Path(path) = &loaded.spec.nodes[0].operator else { panic!("it is a path") };
    assert_eq!(path.resolved, Path::new("/opt/ip_count.wasm"));
}

#[test]
fn later_checks_point_at_their_place() {
    let loaded = good(GOOD);
    let place = |path: &str| loaded.error_at(path, "m", None).to_string();
    assert_eq!(place("nodes.count.operator"), "kafka.toml:14: m");
    assert_eq!(place("nodes.count.inputs[0]"), "kafka.toml:15: m");
    assert_eq!(place("sinks.counts.transaction.timeout"), "kafka.toml:25: m");
    assert_eq!(place("sinks.counts.compression"), "kafka.toml:20: m", "a key that is not there: its table");
    assert_eq!(place("nowhere"), "kafka.toml: m");
    assert_eq!(loaded.config_error("count", "/lateness", "m").to_string(), "kafka.toml:18: m");
    insta::assert_snapshot!(
        loaded.config_error("count", "/lateness", "\"5s\" is not of type \"integer\"").render(Style::Plain)
    );
}

#[test]
fn a_default_of_the_cluster_is_for_all_ends() {
    let text = format!("{ENDS}[sinks.k]\ntype = \"kafka\"\ntopic = \"t\"\ninputs = [\"in\"]\n");
    let loaded = good(&text);
    let SinkKind::Kafka(sink) = &loaded.spec.sinks[1].kind else { panic!("it is a Kafka sink") };
    assert_eq!(sink.client, KafkaClient { brokers: "b:9092".into(), ..KafkaClient::default() });
    let without = text.replace("[defaults.kafka]\nbrokers = \"b:9092\"\n", "");
    assert!(lines(&without)[0].starts_with("kafka.toml:9: `brokers` is missing in [sinks.k]"), "{:?}", lines(&without));
}

#[test]
fn files_are_loaded_with_their_folder() {
    let folder = std::env::temp_dir().join(format!("weir-settings-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a temporary folder");
    let path = folder.join("p.toml");
    fs::write(&path, GOOD).expect("writes");
    let loaded = load(&path, &variable).unwrap_or_else(|e| panic!("{e}"));
    let OperatorRef::Path(operator) = &loaded.spec.nodes[0].operator else { panic!("it is a path") };
    assert_eq!(operator.resolved, folder.join("target/weir/ip_count.wasm"));
    fs::write(&path, b"\xff").expect("writes");
    for (path, message) in [
        (path.clone(), "is not UTF-8 text"),
        (folder.clone(), "is a folder"),
        (folder.join("nope.toml"), "does not exist"),
    ] {
        let error = load(&path, &variable).expect_err("it cannot be read").to_string();
        assert!(error.contains(message), "{error}");
    }
    fs::remove_dir_all(&folder).expect("removes what it made");
}

#[test]
fn of_a_text_that_is_wrong_everywhere_the_first_hundred_faults_are_told() {
    // With a quarter of a megabyte each took seconds to minutes, or gigabytes.
    let size = 256 << 10;
    let source = |i: usize| format!("[sources.{}{i:04}]\ntype = \"stdin\"\n", "a".repeat(59));
    let sources: String = (0..1_000).map(source).collect();
    let edges = |name: &str| {
        let list = format!("\"{name}\",").repeat((size - sources.len()) / (name.len() + 3));
        format!("version = 1\nname = \"p\"\n{sources}[sinks.o]\ntype = \"discard\"\ninputs = [{list}]\n")
    };
    let ports: String = (0..9_000).map(|i| format!("i{i} = \"in\",")).collect();
    let keys: String = (0..5_000).map(|i| format!("{i} = {{ json = \"\" }},")).collect();
    let numbered = |begin: &str, end: &str| -> String {
        (0..).map(|i| format!("{begin}{i}{end}\n")).take(size / (begin.len() + end.len() + 6)).collect()
    };
    for (what, text) in [
        ("syntax", "=\n".repeat(size / 2)),
        ("tables twice", "[a]\n".repeat(size / 4)),
        ("unknown keys", numbered("x", " = 1")),
        ("references", format!("x = [{}]", "\"${a}\",".repeat(size / 7))),
        ("edges to names that are nearly there", edges(&"b".repeat(63))),
        ("many edges to nowhere", edges("b")),
        ("keys of no port", format!("{ENDS}[nodes.n]\noperator = \"x@1\"\ninputs = {{{ports}}}\nkey = {{{keys}}}\n")),
    ] {
        let refused = toml(&text).expect_err(what);
        let problems = refused.problems();
        assert_eq!(problems.len(), 101, "{what}");
        assert_eq!(problems[100].message(), "there is more than these 100", "{what}");
        assert!(refused.render(Style::Json).len() < 64 * size, "{what}");
    }
}
