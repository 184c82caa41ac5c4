//! The pipelines that stand beside the good ones: a generator into a guest that does one kind of harm to every record, as
//! often as its host lets it. Each record is skipped, so it never ends.

use std::time::Duration;

use weir_tests::server::Server;
use weir_tests::wait::wait_for;

/// Longer than a busy machine needs for the first record.
const PATIENCE: Duration = Duration::from_secs(60);

/// A kind of neighbour.
pub(crate) struct Bad {
    /// Of the kind, and of its pipeline.
    pub(crate) name: &'static str,
    operator: &'static str,
    config: &'static str,
    /// Records a second; more than it can take, or none for as many as it takes.
    rate: Option<u32>,
    /// What its calls end with, if they do.
    ends_with: Option<&'static str>,
}

/// A loop lasts for `call_timeout`: at a hundred records a second it never rests, and a batch is not so large that finding its bad
/// records takes minutes when it is to stop.
pub(crate) const BAD: [Bad; 4] = [
    Bad { name: "busy", operator: "count", config: "", rate: None, ends_with: None },
    Bad { name: "loop", operator: "hostile", config: r#"do = "loop""#, rate: Some(100), ends_with: Some("timeout") },
    Bad { name: "toil", operator: "hostile", config: r#"do = "toil""#, rate: Some(100), ends_with: None },
    Bad { name: "trap", operator: "hostile", config: r#"do = "trap""#, rate: None, ends_with: Some("trap") },
];

impl Bad {
    pub(crate) fn start(&self, server: &Server) {
        server.apply(self.name, &self.text());
    }

    /// What it has done so far. Panics where it did nothing: then nothing was measured.
    pub(crate) fn did(&self, server: &Server) -> String {
        let metrics = wait_for(PATIENCE, "the server answers", || server.probe.metrics());
        let node = format!("pipeline=\"{}\",node=\"bad\"", self.name);
        let value = |name: &str, label: &str| metrics.value(name, label).unwrap_or_default();
        let calls = value("weir_guest_calls_total{", &node);
        let seconds = value("weir_guest_call_duration_seconds_total{", &node);
        let memory = value("weir_guest_memory_bytes{", &node);
        let failed = |reason| value("weir_guest_traps_total{", &format!("{node},reason=\"{reason}\""));
        let reasons = ["retry", "failure", "trap", "timeout", "memory", "output"];
        for reason in reasons {
            assert_eq!(failed(reason) > 0.0, self.ends_with == Some(reason), "{}: calls end with {reason}", self.name);
        }
        assert!(calls > 0.0, "{} did nothing", self.name);
        let failed: f64 = reasons.into_iter().map(failed).sum();
        format!(
            "it made {calls} calls of {:.2} ms in the last round, {failed} of which failed, and had {:.0} MiB",
            seconds / calls * 1e3,
            memory / f64::from(1 << 20)
        )
    }

    fn text(&self) -> String {
        let Bad { name, operator, config, .. } = self;
        let rate = self.rate.map_or(String::new(), |rate| format!("rate = {rate}\n"));
        let config = if config.is_empty() { String::new() } else { format!("config = {{ {config} }}\n") };
        format!(
            r#"version = 1
name = "{name}"
[sources.numbers]
type = "generator"
{rate}template = '{{"k":"{{{{int 1 1000}}}}"}}'
[nodes.bad]
operator = "{operator}@0.1.0"
inputs = ["numbers"]
key = {{ json = "/k" }}
on_error = "skip"
{config}[sinks.none]
type = "discard"
inputs = ["bad"]
"#
        )
    }
}
