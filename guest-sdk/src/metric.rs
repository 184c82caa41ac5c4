//! Metrics of an operator, by declaration.

use crate::host;

/// A metric with its place in the descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    pub(crate) index: u32,
    pub(crate) name: &'static str,
    pub(crate) kind: &'static str,
}

impl Metric {
    /// Counts up.
    pub const fn counter(index: u32, name: &'static str) -> Metric {
        Metric { index, name, kind: "counter" }
    }

    /// Has a current value.
    pub const fn gauge(index: u32, name: &'static str) -> Metric {
        Metric { index, name, kind: "gauge" }
    }

    /// Gathers observations.
    pub const fn histogram(index: u32, name: &'static str) -> Metric {
        Metric { index, name, kind: "histogram" }
    }

    /// Adds to a counter.
    pub fn add(self, delta: u64) {
        host::metric_add(self.index, delta);
    }

    /// Sets a gauge.
    pub fn set(self, value: f64) {
        host::metric_set(self.index, value);
    }

    /// Adds an observation to a histogram.
    pub fn observe(self, value: f64) {
        host::metric_observe(self.index, value);
    }
}
