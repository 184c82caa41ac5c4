//! Pipeline files of tests, put together table by table. Owns their text; starts nothing and knows no test.

use std::fmt::Write;
use std::path::Path;

/// A pipeline file that is being written. Tables stand in the order in which they are asked for.
#[derive(Debug, Clone)]
pub struct Draft(String);

impl Draft {
    /// `checkpoint` is what stands in `[checkpoint]`.
    pub fn new(name: &str, checkpoint: &str) -> Self {
        Self(format!("version = 1\nname = \"{name}\"\n")).table("checkpoint", checkpoint)
    }

    /// A key of the whole pipeline, as it is written.
    pub fn key(mut self, line: &str) -> Self {
        let tables = self.0.find('[').unwrap_or(self.0.len());
        self.0.insert_str(tables, &format!("{line}\n"));
        self
    }

    /// Any table, by its path and its lines.
    pub fn table(mut self, path: &str, lines: &str) -> Self {
        writeln!(self.0, "[{path}]\n{}", lines.trim_end()).expect("a string takes what is written to it");
        self
    }

    /// A generator of records for the ledger: this many `keys`, a millisecond of event time each, `more` as it is written
    /// (`count`, `rate`).
    pub fn records(self, name: &str, keys: u64, more: &str) -> Self {
        let last = keys - 1;
        let template = format!(
            r#"{{"k":"{name}-{{{{int 0 {last}}}}}","seq":{{{{seq}}}},"val":{{{{int 0 1000}}}},"ts":{{{{time 1700000000000 1 0 0}}}}}}"#
        );
        let lines = format!(
            "type = \"generator\"\nseed = 1\n{more}\ntemplate = '{template}'\nevent_time = {{ json = \"/ts\", unit = \"ms\" }}\n\
             watermark = {{ out_of_order = \"1s\" }}"
        );
        self.table(&format!("sources.{name}"), &lines)
    }

    /// A node: `inputs` as in a file without the brackets, `key` a pointer, `more` further lines.
    pub fn node(self, name: &str, operator: &Path, inputs: &[&str], key: &str, more: &str) -> Self {
        let operator = operator.display();
        let lines = format!("operator = \"{operator}\"\ninputs = {inputs:?}\nkey = {{ json = \"{key}\" }}\n{more}");
        self.table(&format!("nodes.{name}"), &lines)
    }

    /// A sink into the folder of its name.
    pub fn file_sink(self, name: &str, inputs: &[&str]) -> Self {
        self.table(&format!("sinks.{name}"), &format!("type = \"file\"\ninputs = {inputs:?}\npath = \"{name}\""))
    }

    /// A sink into a topic, whose rows are there as soon as they are written: a test looks at open transactions.
    pub fn kafka_sink(self, name: &str, inputs: &[&str], brokers: &str, topic: &str) -> Self {
        let lines = format!(
            "type = \"kafka\"\ninputs = {inputs:?}\nbrokers = \"{brokers}\"\ntopic = \"{topic}\"\noptions = {{ \"linger.ms\" = \
             \"0\" }}"
        );
        self.table(&format!("sinks.{name}"), &lines)
    }

    /// The file.
    pub fn text(&self) -> &str {
        &self.0
    }
}
