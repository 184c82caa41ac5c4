//! The pipeline files of the benchmark, in a temporary folder. They are the examples' shape with a topic of this run.

use std::path::PathBuf;

use weir_tests::kafka::Broker;

pub(crate) struct Files {
    pub(crate) source: String,
    pub(crate) counts: String,
    pub(crate) copy: String,
    pub(crate) records: u64,
    brokers: String,
    folder: tempfile::TempDir,
}

impl Files {
    pub(crate) fn new(broker: &Broker, records: u64) -> Files {
        let run = weir_tests::unique("bench");
        Files {
            source: format!("{run}-in"),
            counts: format!("{run}-counts"),
            copy: format!("{run}-copy"),
            records,
            brokers: broker.brokers().to_owned(),
            folder: tempfile::tempdir().unwrap(),
        }
    }

    /// A state folder of a pipeline.
    pub(crate) fn state(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("{name}-state"))
    }

    /// 82 bytes a record, 100,000 addresses, ten microseconds of event time from one to the next.
    pub(crate) fn fill(&self) -> PathBuf {
        let (records, topic) = (self.records, &self.source);
        let template = r#"{"ip":"{{ip 100000}}","ts":{{time 1700000000000 0.01}},"path":"/a/{{int 10 99}}","status":{{pick 200|301|404}},"bytes":{{int 10000 99999}}}"#;
        self.write(
            "fill",
            &format!(
                "[sources.requests]\ntype = \"generator\"\nseed = 7\ncount = {records}\ntemplate = '{template}'\n\
                 event_time = {{ json = \"/ts\" }}\n\n[sinks.topic]\ninputs = [\"requests\"]\n{}",
                self.end(topic)
            ),
        )
    }

    pub(crate) fn ip_count(&self) -> PathBuf {
        let operator = weir_tests::repository().join("examples/ip-count/target/weir/ip_count.wasm");
        self.write(
            "ip-count",
            &format!(
                "{}\n[nodes.count]\noperator = {:?}\ninputs = [\"requests\"]\nkey = {{ json = \"/ip\" }}\n\
                 config = {{ window = \"5s\", lateness = \"5s\" }}\n\n[sinks.counts]\ninputs = [\"count\"]\n{}",
                self.requests("event_time = { json = \"/ts\" }\nwatermark = { out_of_order = \"1s\" }\n"),
                operator.to_str().unwrap(),
                self.end(&self.counts)
            ),
        )
    }

    pub(crate) fn pass_through(&self) -> PathBuf {
        let sink = self.end(&self.copy);
        self.write("pass-through", &format!("{}\n[sinks.copy]\ninputs = [\"requests\"]\n{sink}", self.requests("")))
    }

    fn requests(&self, more: &str) -> String {
        format!("[sources.requests]\nuntil = \"latest\"\n{more}{}", self.end(&self.source))
    }

    fn end(&self, topic: &str) -> String {
        format!("type = \"kafka\"\nbrokers = {:?}\ntopic = {topic:?}\n", self.brokers)
    }

    fn write(&self, name: &str, nodes: &str) -> PathBuf {
        let path = self.folder.path().join(format!("{name}.toml"));
        let pipeline = weir_tests::unique(name);
        let head = format!("version = 1\nname = {pipeline:?}\n\n[checkpoint]\ninterval = \"1s\"\n\n");
        std::fs::write(&path, head + nodes).unwrap();
        path
    }
}
