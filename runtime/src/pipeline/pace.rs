//! How fast a pipeline is, and what its nodes do with their time: differences of counters over the last seconds, and the node that
//! everything waits for. Looks when somebody asks and now and then beside; counts nothing itself.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::dataflow::{Metrics, NodeMetrics};

/// Rates are those of about this time.
const WINDOW: Duration = Duration::from_secs(10);
/// Two looks are at least so far apart.
const APART: Duration = Duration::from_secs(1);
/// Below that a difference says nothing.
const WINDOW_MIN: Duration = Duration::from_millis(100);
/// A chain whose thread has less than this left is what everything waits for.
const FULL: f64 = 0.9;
/// A node that waits for room longer than this is held up by what is behind it.
const HELD_UP: f64 = 0.5;

/// What was seen so far of the running attempt.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// The attempt's own: another one begins anew.
    metrics: Option<Arc<Metrics>>,
    looks: VecDeque<(Instant, Vec<Counts>)>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    records_in: u64,
    records_out: u64,
    busy: u64,
    backpressured: u64,
    idle: u64,
}

/// What one subtask of a node did of late.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Rate {
    /// Records taken in, a second.
    pub records_in: f64,
    /// Records sent on, a second, all ports together.
    pub records_out: f64,
    /// Shares of its time, together 1.
    pub busy: f64,
    /// See `busy`.
    pub backpressured: f64,
    /// See `busy`.
    pub idle: f64,
}

impl Counts {
    fn of(node: &NodeMetrics) -> Counts {
        Counts {
            records_in: node.records_in.get(),
            records_out: node.records_out.iter().map(|port| port.get()).sum(),
            busy: node.time.busy.get(),
            backpressured: node.time.backpressured.get(),
            idle: node.time.idle.get(),
        }
    }

    fn since(&self, before: &Counts, seconds: f64) -> Rate {
        let per_second = |now: u64, before: u64| now.saturating_sub(before) as f64 / seconds;
        let [busy, backpressured, idle] =
            [(self.busy, before.busy), (self.backpressured, before.backpressured), (self.idle, before.idle)]
                .map(|(now, before)| now.saturating_sub(before) as f64);
        let all = busy + backpressured + idle;
        let share = |part: f64| if all > 0.0 { part / all } else { 0.0 };
        Rate {
            records_in: per_second(self.records_in, before.records_in),
            records_out: per_second(self.records_out, before.records_out),
            busy: share(busy),
            backpressured: share(backpressured),
            idle: share(idle),
        }
    }
}

impl Pace {
    /// Remembers where the counters stand, unless that was done a moment ago.
    pub(super) fn look(&mut self, metrics: &Arc<Metrics>, now: Instant) {
        if !self.metrics.as_ref().is_some_and(|known| Arc::ptr_eq(known, metrics)) {
            *self = Pace { metrics: Some(Arc::clone(metrics)), looks: VecDeque::new() };
        }
        if self.looks.back().is_some_and(|(at, _)| now.saturating_duration_since(*at) < APART) {
            return;
        }
        self.looks.push_back((now, metrics.nodes.iter().map(|node| Counts::of(node)).collect()));
        // The oldest one stays until the next is old enough to stand for it.
        while self.looks.get(1).is_some_and(|(at, _)| now.saturating_duration_since(*at) >= WINDOW) {
            self.looks.pop_front();
        }
    }

    /// What each node of the metrics did since the oldest look. `None`: it is too early to say.
    pub(super) fn rates(&self, metrics: &Metrics, now: Instant) -> Option<Vec<Rate>> {
        let (at, before) = self.looks.front()?;
        let passed = now.saturating_duration_since(*at);
        if passed < WINDOW_MIN || before.len() != metrics.nodes.len() {
            return None;
        }
        let seconds = passed.as_secs_f64();
        Some(metrics.nodes.iter().zip(before).map(|(node, before)| Counts::of(node).since(before, seconds)).collect())
    }
}

/// Names what everything waits for, if there is such a thing: "count (busy 97 %)".
pub(super) fn bottleneck(metrics: &Metrics, rates: &[Rate]) -> Option<String> {
    let nodes = || metrics.nodes.iter().zip(rates);
    // Nodes of one chain share a thread: what counts is what is left of it.
    let mut chains: BTreeMap<(usize, Option<u32>), (f64, &NodeMetrics, f64)> = BTreeMap::new();
    for (node, rate) in nodes() {
        let (all, busiest, most) = chains.entry((node.chain, node.subtask)).or_insert((0.0, node, 0.0));
        *all += rate.busy;
        if rate.busy > *most {
            (*busiest, *most) = (node, rate.busy);
        }
    }
    let fullest = chains.values().filter(|(all, ..)| *all >= FULL).max_by(|a, b| a.0.total_cmp(&b.0));
    if let Some((all, node, busy)) = fullest {
        let beside = if all - busy < 0.05 { String::new() } else { format!(", its chain {}", percent(*all)) };
        return Some(format!("{} (busy {}{beside})", node.name, percent(*busy)));
    }
    let mut waiting = nodes().filter(|(_, rate)| rate.backpressured >= HELD_UP);
    waiting.next()?;
    let sinks: Vec<&str> =
        metrics.nodes.iter().filter(|n| !n.is_source && !n.is_operator).map(|n| n.name.as_str()).collect();
    match sinks[..] {
        [first, ref more @ ..] if more.iter().all(|sink| *sink == first) => {
            Some(format!("{first} (it takes rows more slowly than they come)"))
        }
        _ => Some("a sink takes rows more slowly than they come".to_owned()),
    }
}

fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

#[cfg(test)]
mod tests {
    use weir_core::ids::Name;

    use super::*;
    use crate::clock;
    use crate::dataflow::NodeKind;

    fn metrics(nodes: &[(&str, NodeKind, usize)]) -> Arc<Metrics> {
        let node = |(name, kind, chain): &(&str, NodeKind, usize)| {
            let name = Name::new(*name).unwrap();
            Arc::new(NodeMetrics::new(name, None, *kind, vec![String::new()], Arc::new([])).in_chain(*chain))
        };
        Arc::new(Metrics { nodes: nodes.iter().map(node).collect() })
    }

    fn rate(busy: f64, backpressured: f64) -> Rate {
        Rate { busy, backpressured, idle: 1.0 - busy - backpressured, ..Rate::default() }
    }

    #[test]
    fn rates_are_those_of_the_last_ten_seconds_and_of_this_attempt() {
        let metrics = metrics(&[("in", NodeKind::Source, 0)]);
        let (mut pace, start) = (Pace::default(), clock::now());
        for second in 0..60 {
            pace.look(&metrics, start + Duration::from_secs(second));
            // It has become faster.
            metrics.nodes[0].records_in.add(if second < 40 { 1 } else { 100 });
            metrics.nodes[0].time.busy.add(250_000_000);
            metrics.nodes[0].time.idle.add(750_000_000);
        }
        let rates = pace.rates(&metrics, start + Duration::from_secs(60)).unwrap();
        assert!((rates[0].records_in - 100.0).abs() < 1.0, "{rates:?}");
        assert!((rates[0].busy - 0.25).abs() < 1e-9 && (rates[0].idle - 0.75).abs() < 1e-9, "{rates:?}");
        let next = self::metrics(&[("in", NodeKind::Source, 0)]);
        pace.look(&next, start + Duration::from_secs(60));
        assert_eq!(pace.rates(&next, start + Duration::from_secs(60)), None, "nothing is known of it yet");
    }

    #[test]
    fn the_busiest_node_of_a_full_chain_is_named_and_nothing_where_there_is_room() {
        let nodes = [("in", NodeKind::Source, 0), ("count", NodeKind::Operator, 0), ("out", NodeKind::Sink, 1)];
        let metrics = metrics(&nodes);
        let named = |rates: [Rate; 3]| bottleneck(&metrics, &rates);
        assert_eq!(named([rate(0.2, 0.0), rate(0.5, 0.0), rate(0.3, 0.0)]), None);
        assert_eq!(named([rate(0.02, 0.0), rate(0.97, 0.0), rate(0.3, 0.0)]).unwrap(), "count (busy 97 %)");
        assert_eq!(
            named([rate(0.4, 0.0), rate(0.55, 0.0), rate(0.3, 0.0)]).unwrap(),
            "count (busy 55 %, its chain 95 %)"
        );
        assert_eq!(
            named([rate(0.1, 0.8), rate(0.1, 0.8), rate(0.1, 0.8)]).unwrap(),
            "out (it takes rows more slowly than they come)"
        );
    }
}
