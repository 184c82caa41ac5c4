//! A running weir, looked at from outside: its metrics over `--listen`, and what `/proc` says that it has used. For
//! tests and benchmarks; judges nothing.

use std::fs;
use std::time::{Duration, Instant};

use crate::http;
use crate::process::{Process, Weir};
use crate::wait::try_wait_for;

/// See the module.
pub struct Probe {
    /// The process.
    pub process: Process,
    /// Where it listens.
    pub address: String,
}

/// One answer of `/metrics`.
pub struct Metrics(String);

impl Metrics {
    /// The first sample of this name (with what follows of it, as `weir_restarts_total{`) that has the label.
    pub fn value(&self, name: &str, label: &str) -> Option<f64> {
        let line = self.0.lines().find(|line| line.starts_with(name) && line.contains(label))?;
        line.rsplit(' ').next()?.parse().ok()
    }

    /// Records that a node has taken in, all subtasks together.
    pub fn records(&self, node: &str) -> Option<u64> {
        let label = format!("node=\"{node}\"");
        let lines = self.0.lines().filter(|line| line.starts_with("weir_records_in_total{") && line.contains(&label));
        // Every sample is a float there.
        let sum = lines.map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum::<Option<f64>>()?;
        Some(sum as u64).filter(|sum| *sum > 0)
    }

    /// The newest committed epoch.
    pub fn epoch(&self) -> Option<u64> {
        self.value("weir_checkpoint_epoch{", "").map(|epoch| epoch as u64)
    }

    /// Seconds of the newest checkpoint: `pause` or `total`.
    pub fn checkpoint(&self, phase: &str) -> Option<f64> {
        self.value("weir_checkpoint_duration_seconds{", &format!("phase=\"{phase}\""))
    }
}

impl Probe {
    /// Starts it with `--listen`, and waits until it listens.
    pub fn start(weir: Weir) -> Probe {
        let mut process = weir.argument("--listen").argument("127.0.0.1:0").spawn();
        let line = process.wait_for_line(Duration::from_secs(60), "metrics and probes on");
        let address = line.rsplit("http://").next().unwrap_or_default().trim().to_owned();
        Probe { process, address }
    }

    /// `None` between two looks of which the second found it ended.
    pub fn metrics(&self) -> Option<Metrics> {
        let answer = http::try_request(&self.address, "GET", "/metrics", &[], b"").ok()?;
        (answer.status == 200).then(|| Metrics(answer.expect(200).body))
    }

    /// Looks until `wanted` finds what it looks for; panics past the deadline, or if the process ends.
    pub fn wait<T>(&mut self, deadline: Duration, mut wanted: impl FnMut(&Metrics) -> Option<T>) -> T {
        let found = try_wait_for(deadline, || {
            assert!(self.process.try_exit().is_none(), "it ended: {}", self.process.stderr());
            wanted(&self.metrics()?)
        });
        found.unwrap_or_else(|| panic!("not within {deadline:?}: {}", self.process.stderr()))
    }

    /// User and system time so far, of all threads, those that have ended too.
    pub fn cpu(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.process.pid())).unwrap_or_default();
        // The command's name may hold spaces: fields count from the bracket behind it.
        let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
        let ticks = |field: usize| fields.get(field).and_then(|f| f.parse::<u64>().ok()).unwrap_or(0);
        // SAFETY: sysconf takes a plain number and changes nothing.
        let per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) } as f64;
        Duration::from_secs_f64((ticks(11) + ticks(12)) as f64 / per_second)
    }

    /// The most memory that it ever had.
    pub fn resident_max_kib(&self) -> Option<u64> {
        self.status("VmHWM:")
    }

    /// The memory that it has.
    pub fn resident_kib(&self) -> Option<u64> {
        self.status("VmRSS:")
    }

    /// Its threads.
    pub fn threads(&self) -> Option<u64> {
        self.status("Threads:")
    }

    fn status(&self, field: &str) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.pid())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix(field))?;
        line.split_whitespace().next()?.parse().ok()
    }
}

/// Now.
#[allow(clippy::disallowed_methods, reason = "a benchmark measures time")]
pub fn clock() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_of_a_node_are_those_of_all_its_subtasks() {
        let metrics = Metrics(
            "weir_records_in_total{pipeline=\"p\",node=\"a\",subtask=\"0\"} 10000.0\n\
             weir_records_in_total{pipeline=\"p\",node=\"a\",subtask=\"1\"} 2.0\n\
             weir_records_in_total{pipeline=\"p\",node=\"b\"} 0.0\n"
                .to_owned(),
        );
        assert_eq!((metrics.records("a"), metrics.records("b"), metrics.records("c")), (Some(10_002), None, None));
    }
}
