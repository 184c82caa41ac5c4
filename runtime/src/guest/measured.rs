//! Metrics of an operator's own. What a call counts waits until the call has returned well; then whoever exports it sees it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::descriptor::MetricDecl;

/// What kind of metric an operator declared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the three kinds of the contract")]
pub enum Kind {
    Counter,
    Gauge,
    /// Taken and not kept.
    Histogram,
}

impl Kind {
    /// As the contract writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        }
    }

    fn parse(text: &str) -> Kind {
        match text {
            "counter" => Kind::Counter,
            "gauge" => Kind::Gauge,
            _ => Kind::Histogram,
        }
    }
}

/// One metric of a node, as of the last call that returned well. Read by whoever exports it, written by the node's thread.
#[derive(Debug)]
pub struct Measured {
    /// As the operator declared it.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    bits: AtomicU64,
}

impl Measured {
    /// All metrics that an operator declares, at zero.
    pub fn of(declared: &[MetricDecl]) -> Arc<[Measured]> {
        let zero = |m: &MetricDecl| Measured {
            name: m.name.clone(),
            kind: Kind::parse(&m.kind),
            bits: AtomicU64::new(0.0_f64.to_bits()),
        };
        declared.iter().map(zero).collect()
    }

    /// The value.
    pub fn value(&self) -> f64 {
        f64::from_bits(self.bits.load(Ordering::Relaxed))
    }
}

/// What the running call does to the metrics.
pub(super) struct Measuring {
    all: Arc<[Measured]>,
    changes: Vec<Change>,
    changed: bool,
}

#[derive(Clone, Copy)]
enum Change {
    Add(f64),
    Set(f64),
}

impl Measuring {
    pub(super) fn new(all: Arc<[Measured]>) -> Measuring {
        Measuring { changes: vec![Change::Add(0.0); all.len()], all, changed: false }
    }

    pub(super) fn kind(&self, index: usize) -> Option<Kind> {
        self.all.get(index).map(|metric| metric.kind)
    }

    pub(super) fn add(&mut self, index: usize, delta: f64) {
        self.changed = true;
        match &mut self.changes[index] {
            Change::Add(by) => *by += delta,
            Change::Set(to) => *to += delta,
        }
    }

    pub(super) fn set(&mut self, index: usize, value: f64) {
        self.changed = true;
        self.changes[index] = Change::Set(value);
    }

    /// The call returned well.
    pub(super) fn commit(&mut self) {
        if !self.changed {
            return;
        }
        for (metric, change) in self.all.iter().zip(&self.changes) {
            let value = match change {
                Change::Add(by) => metric.value() + by,
                Change::Set(to) => *to,
            };
            metric.bits.store(value.to_bits(), Ordering::Relaxed);
        }
        self.discard();
    }

    /// The call failed.
    pub(super) fn discard(&mut self) {
        if self.changed {
            self.changes.fill(Change::Add(0.0));
            self.changed = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_failed_call_counted_is_not_counted() {
        let declared =
            |name: &str, kind: &str| MetricDecl { name: name.into(), kind: kind.into(), options: Vec::new() };
        let all = Measured::of(&[declared("seen", "counter"), declared("depth", "gauge")]);
        let values = || [all[0].value(), all[1].value()];
        let mut measuring = Measuring::new(Arc::clone(&all));
        measuring.add(0, 2.0);
        measuring.set(1, 7.0);
        measuring.add(1, 1.0);
        assert_eq!(values(), [0.0, 0.0], "the call still runs");
        measuring.commit();
        assert_eq!(values(), [2.0, 8.0]);
        measuring.add(0, 100.0);
        measuring.set(1, 100.0);
        measuring.discard();
        measuring.add(0, 1.0);
        measuring.commit();
        assert_eq!(values(), [3.0, 8.0]);
    }
}
