//! What a running pipeline does at this moment, for those who watch it: node by node, and in a line.

use std::sync::Arc;

use weir_core::ids::Name;

use super::manager::View;
use super::pace::{Rate, bottleneck};
use super::service::Handle;
use super::status::{State, Status};
use crate::clock;
use crate::dataflow::NodeMetrics;

/// A subtask of a node, with what it did of late.
#[derive(Debug, Clone)]
pub struct Watched {
    /// What it counts.
    pub node: Arc<NodeMetrics>,
    /// What it did of late; nothing where it is too early to say.
    pub rate: Option<Rate>,
}

/// All of a pipeline.
#[derive(Debug, Clone, Default)]
pub struct Live {
    /// Its nodes, subtask by subtask, in the order of the plan.
    pub nodes: Vec<Watched>,
    /// What everything waits for.
    pub bottleneck: Option<String>,
}

/// A pipeline in a line.
#[derive(Debug, Clone, PartialEq)]
pub struct Pulse {
    /// Records that its sources read, a second.
    pub records_in: f64,
    /// Rows that its sinks took, a second.
    pub records_out: f64,
    /// Records between its sources' positions and the end of what exists.
    pub lag: u64,
    /// Wall clock less the least watermark, milliseconds.
    pub watermark_lag: Option<i64>,
    /// The share of its time that the busiest node works.
    pub busy: f64,
    /// What everything waits for.
    pub bottleneck: Option<String>,
}

impl Status {
    /// What it does at this moment; nothing where it has not run.
    pub fn live(&self) -> Live {
        let now = clock::now();
        let (metrics, rates) = self.look(now);
        let bottleneck = rates.as_ref().and_then(|rates| bottleneck(&metrics, rates));
        let rate = |at: usize| rates.as_ref().map(|rates| rates[at]);
        let nodes = metrics.nodes.iter().enumerate();
        let nodes = nodes.map(|(at, node)| Watched { node: Arc::clone(node), rate: rate(at) }).collect();
        Live { nodes, bottleneck }
    }
}

impl Handle {
    /// What a reader sees of it. What it does at this moment only while it runs.
    pub fn view(&self, name: Name, revision: u64) -> View {
        let mut view = self.status.read(|facts| View {
            name,
            state: facts.state,
            revision,
            last_checkpoint: facts.last_checkpoint.clone(),
            restarts: facts.restarts,
            back_to: None,
            problem: facts.problem.clone(),
            pulse: None,
        });
        if matches!(view.state, State::Running | State::Stopping) {
            view.pulse = self.status.live().pulse(clock::now_millis());
        }
        view
    }
}

impl Live {
    /// The same in a line; nothing where it has not run.
    pub fn pulse(&self, now: i64) -> Option<Pulse> {
        if self.nodes.is_empty() {
            return None;
        }
        let is_sink = |node: &NodeMetrics| !node.is_source && !node.is_operator;
        let rates = || self.nodes.iter().filter_map(|it| Some((&*it.node, it.rate?)));
        // From 0: a sum of nothing is -0 otherwise.
        let sum = |all: &mut dyn Iterator<Item = f64>| all.fold(0.0, |sum, rate| sum + rate);
        let least = self.nodes.iter().filter_map(|it| known(it.node.watermark())).min();
        Some(Pulse {
            records_in: sum(&mut rates().filter(|(node, _)| node.is_source).map(|(_, rate)| rate.records_in)),
            records_out: sum(&mut rates().filter(|(node, _)| is_sink(node)).map(|(_, rate)| rate.records_out)),
            lag: self.nodes.iter().map(|it| it.node.lag.get()).sum(),
            watermark_lag: least.map(|least| now - least),
            busy: rates().map(|(_, rate)| rate.busy).fold(0.0, f64::max),
            bottleneck: self.bottleneck.clone(),
        })
    }
}

/// A watermark that is a time: before the first one and at the end of input it is none.
pub fn known(watermark: i64) -> Option<i64> {
    (watermark > i64::MIN && watermark < i64::MAX).then_some(watermark)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataflow::NodeKind;

    #[test]
    fn rates_of_which_nothing_is_known_yet_are_zero_and_not_minus_zero() {
        let name = Name::new("in").unwrap();
        let node = Arc::new(NodeMetrics::new(name, None, NodeKind::Source, vec![String::new()], Arc::new([])));
        let pulse = Live { nodes: vec![Watched { node, rate: None }], bottleneck: None }.pulse(0).unwrap();
        for rate in [pulse.records_in, pulse.records_out, pulse.busy] {
            assert!(rate == 0.0 && rate.is_sign_positive(), "{pulse:?}");
        }
    }
}
