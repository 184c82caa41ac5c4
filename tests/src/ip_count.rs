//! The example on Kafka, ready to be killed: topics of its own with known input, its pipeline file, its state folder, and
//! the judgement of what came out. The file is the example's own `kafka.toml` with other names in it, so that what is
//! proved here is what the README tells people to run.

use std::path::PathBuf;
use std::time::Duration;

use toml::{Table, Value};

use crate::kafka::{Broker, Isolation, PATIENCE, Row};
use crate::ledger::{Event, Ledger, Verdict, WindowRule, Workload};
use crate::process::Weir;
use crate::proxy::{Client, Proxy};

/// One pipeline and all that belongs to it. Dropping it removes its folder; its topics stay with the broker.
pub struct IpCount<'b> {
    broker: &'b Broker,
    folder: tempfile::TempDir,
    name: String,
    source: String,
    sink: String,
    file: Table,
    events: Vec<Event>,
}

impl<'b> IpCount<'b> {
    /// Fills a source topic with the workload. The pipeline reads to what is there at its first start, and ends.
    #[track_caller]
    pub fn on(broker: &'b Broker, workload: &Workload) -> Self {
        let source = broker.topic("ip-count-source", workload.partitions);
        let events = workload.events();
        broker.produce(&source, Workload::records(&events));
        Self { events, ..Self::over(broker, &source) }
    }

    /// Over a topic that is there already; what is in it is known to the caller.
    #[track_caller]
    pub fn over(broker: &'b Broker, source: &str) -> Self {
        let name = crate::unique("ip-count");
        let sink = format!("{name}-sink");
        broker.create_topic(&sink, 2, &[]);

        let example = crate::repository().join("examples/ip-count");
        let text = std::fs::read_to_string(example.join("kafka.toml")).expect("the example has a kafka.toml");
        let operator = example.join("target/weir/ip_count.wasm");
        assert!(
            operator.is_file(),
            "no {}; `make test` builds it, or `weir build examples/ip-count`",
            operator.display()
        );
        let file: Table = toml::from_str(&text).expect("the example's file is TOML");
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (source, events) = (source.to_owned(), Vec::new());
        let mut this = Self { broker, folder, name: name.clone(), source, sink, file, events };
        this.set("name", name);
        this.set("nodes.count.operator", operator.to_str().expect("the repository's path is UTF-8"));
        this.set("sources.requests.until", "latest");
        for (end, topic) in [("sources.requests", this.source.clone()), ("sinks.counts", this.sink.clone())] {
            this.set(&format!("{end}.brokers"), broker.brokers());
            this.set(&format!("{end}.topic"), topic);
        }
        this
    }

    /// Changes one value of the pipeline file: `set("checkpoint.interval", "100ms")`.
    pub fn set(&mut self, path: &str, value: impl Into<Value>) {
        let mut folders: Vec<&str> = path.split('.').collect();
        let last = folders.pop().expect("a split has a part");
        let mut table = &mut self.file;
        for folder in folders {
            let entry = table.entry(folder).or_insert_with(|| Value::Table(Table::new()));
            table = entry.as_table_mut().expect("a table of the pipeline file");
        }
        table.insert(last.to_owned(), value.into());
        std::fs::write(self.file(), self.file.to_string()).expect("the folder is ours");
    }

    /// From the next start on the sink, and with it the commit protocol, goes through the proxy.
    pub fn sink_through(&mut self, proxy: &Proxy) -> Client {
        let client = proxy.client(&self.name);
        self.set("sinks.counts.brokers", proxy.address());
        self.set("sinks.counts.options", Table::from_iter([("client.id".to_owned(), Value::from(client.id()))]));
        client
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn source(&self) -> &str {
        &self.source
    }

    pub fn sink(&self) -> &str {
        &self.sink
    }

    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// The pipeline file.
    pub fn file(&self) -> PathBuf {
        self.folder.path().join("pipeline.toml")
    }

    /// The state folder.
    pub fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// `weir run` of the file on the state folder.
    pub fn run(&self) -> Weir {
        Weir::run(self.file(), self.state())
    }

    /// Runs it to its end without a crash.
    #[track_caller]
    pub fn finish(&self, deadline: Duration) {
        self.run().finish(deadline).expect_success();
    }

    /// Every committed row.
    #[track_caller]
    pub fn output(&self) -> Vec<Row> {
        self.broker.read(&self.sink, Isolation::Committed)
    }

    /// What the committed output is worth, whichever way the partitions were read. Only after the pipeline has ended.
    #[track_caller]
    pub fn judge(&self) -> Verdict {
        self.broker.wait_until_no_open_transaction(&self.sink, PATIENCE);
        Ledger::any_order(WindowRule::default(), &self.events).judge(&self.output())
    }
}
