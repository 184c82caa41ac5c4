//! Kafka sources in the pipeline file: what can be written about what is read, and what is said about what cannot.

use std::time::Duration;

use weir_core::graph::spec::{KafkaSource, Otherwise, Partition, Removed, SourceKind, Start, Topics, Until};

use super::tests::{ENDS, toml};
use super::*;

fn kafka_source(keys: &str) -> Result<KafkaSource, Diagnostics> {
    let loaded = toml(&format!("{ENDS}[sources.k]\ntype = \"kafka\"\n{keys}\n"))?;
    match &loaded.spec.sources[1].kind {
        SourceKind::Kafka(kafka) => Ok(kafka.clone()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_kafka_source_reads_topics_partitions_or_what_a_pattern_matches() {
    let topics = |keys: &str| kafka_source(keys).unwrap_or_else(|e| panic!("{e}")).topics;
    assert_eq!(topics("topic = \"a\""), Topics::Named(vec!["a".into()]));
    assert_eq!(topics("topics = [\"b\", \"a.1\"]"), Topics::Named(vec!["b".into(), "a.1".into()]));
    assert_eq!(topics("pattern = 'a\\.\\d+'"), Topics::Pattern("a\\.\\d+".into()));
    let partitions = [Partition::new("a", 0), Partition::new("b.c", 12)];
    assert_eq!(topics("partitions = [\"b.c/12\", \"a/0\"]"), Topics::Partitions(partitions.into()));
}

#[test]
fn a_kafka_source_begins_and_ends_where_it_is_told() {
    let read = |keys: &str| kafka_source(&format!("topic = \"t\"\n{keys}")).unwrap_or_else(|e| panic!("{e}"));
    let offsets = |n: i64| [(Partition::new("t", 0), n)].into();
    for (written, start) in [
        ("\"earliest\"", Start::Earliest),
        ("\"latest\"", Start::Latest),
        ("{ timestamp = 1700000000000 }", Start::Timestamp(1_700_000_000_000)),
        ("{ group = \"g\" }", Start::Group { group: "g".into(), otherwise: Otherwise::Fail }),
        ("{ group = \"g\", otherwise = \"latest\" }", Start::Group { group: "g".into(), otherwise: Otherwise::Latest }),
        (
            "{ offsets = { \"t/0\" = 42 }, otherwise = \"earliest\" }",
            Start::Offsets { offsets: offsets(42), otherwise: Otherwise::Earliest },
        ),
    ] {
        assert_eq!(read(&format!("start = {written}")).start, start);
    }
    for (written, until) in [
        ("\"latest\"", Until::Latest),
        ("{ timestamp = 7 }", Until::Timestamp(7)),
        ("{ offsets = { \"t/0\" = 7 } }", Until::Offsets(offsets(7))),
    ] {
        let source = read(&format!("until = {written}"));
        assert_eq!((source.until, source.discovery), (Some(until), None), "what ends looks for nothing new");
    }
    let discovery = |keys: &str| read(keys).discovery;
    assert_eq!(discovery(""), Some(Duration::from_secs(300)));
    assert_eq!(discovery("discovery = \"2s\""), Some(Duration::from_secs(2)));
    assert_eq!(discovery("discovery = \"0s\""), None);
    assert_eq!(discovery("discovery = \"never\""), None);
    assert_eq!((read("").removed, read("removed = \"forget\"").removed), (Removed::Fail, Removed::Forget));
}

#[test]
fn what_a_kafka_source_cannot_read_is_shown_where_it_stands() {
    let cases = [
        "",
        "topic = \"a\"\ntopics = [\"b\"]",
        "pattern = \"a\"\npartitions = [\"a/0\"]",
        "topics = []",
        "topics = \"a\"",
        "topics = [\"a\", \"b c\"]",
        "topics = [\"a\", \"b\", \"a\"]",
        "pattern = \"orders-(eu|us\"",
        "pattern = \"*\"",
        "partitions = [\"a/0\", \"a:1\"]",
        "partitions = [0, 3]",
        "topic = \"t\"\nstart = \"group\"",
        "topic = \"t\"\nstart = \"erliest\"",
        "topic = \"t\"\nstart = { timestamp = 1, group = \"g\" }",
        "topic = \"t\"\nstart = { timestamp = -1 }",
        "topic = \"t\"\nstart = { timestamp = 1, otherwise = \"latest\" }",
        "topic = \"t\"\nstart = { group = \"\" }",
        "topic = \"t\"\nstart = { offsets = {} }",
        "topic = \"t\"\nstart = { offsets = { \"u/0\" = 1 } }",
        "topic = \"t\"\nstart = { offsets = { \"t/0\" = -1 } }",
        "topic = \"t\"\nstart = { offset = { \"t/0\" = 1 } }",
        "topic = \"t\"\nuntil = {}",
        "topic = \"t\"\nuntil = \"now\"",
        "topic = \"t\"\nuntil = { offsets = { \"t-0\" = 1 } }",
        "topic = \"t\"\nstart = { timestamp = 7 }\nuntil = { timestamp = 6 }",
        "topic = \"t\"\nstart = { offsets = { \"t/0\" = 7 } }\nuntil = { offsets = { \"t/0\" = 6 } }",
        "topic = \"t\"\nuntil = \"latest\"\ndiscovery = \"1m\"",
        "topic = \"t\"\ndiscovery = 5",
        "topic = \"t\"\nremoved = \"ignore\"",
    ];
    let all: Vec<String> = cases.iter().map(|keys| kafka_source(keys).expect_err(keys).to_string()).collect();
    insta::assert_snapshot!(all.join("\n"));
    let shown = |keys: &str| kafka_source(keys).expect_err(keys).render(Style::Plain);
    insta::assert_snapshot!(shown("pattern = \"orders-(eu|us\""));
    insta::assert_snapshot!(shown("topic = \"a\"\ntopics = [\"b\"]"));
}
