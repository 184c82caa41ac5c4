//! The numbers of running pipelines in Prometheus' text form. Names follow its rules: one prefix, base units, no unbounded
//! label, never a user's key.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};
use weir_core::ids::Name;

use crate::clock;
use crate::pipeline::{Facts, Handle, Measured, MetricKind, NodeMetrics, Reason, State};

/// All metrics of these pipelines. A pipeline that could not be started has a state and nothing else.
pub fn encode(pipelines: &[(Name, Handle)], states: Vec<(Name, State)>) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Pipelines(pipelines.to_vec(), states)));
    let mut out = String::new();
    text::encode(&mut out, &registry)?;
    Ok(out)
}

struct Pipelines(Vec<(Name, Handle)>, Vec<(Name, State)>);

impl fmt::Debug for Pipelines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

type Labels = Vec<(&'static str, String)>;

/// One family: what it is called, what it says, and its samples.
struct Family {
    name: Cow<'static, str>,
    help: &'static str,
    unit: Option<Unit>,
    kind: MetricType,
    samples: Vec<(Labels, f64)>,
}

impl Family {
    fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut family = encoder.encode_descriptor(&self.name, self.help, self.unit.as_ref(), self.kind)?;
        for (labels, value) in &self.samples {
            let metric = family.encode_family(labels)?;
            match self.kind {
                MetricType::Counter => ConstCounter::new(*value).encode(metric)?,
                _ => ConstGauge::new(*value).encode(metric)?,
            }
        }
        Ok(())
    }
}

impl Collector for Pipelines {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut families = families();
        for (name, handle) in &self.0 {
            handle.status.read(|facts| collect(&mut families, name.as_str(), facts));
        }
        for (name, state) in &self.1 {
            let labels = vec![("pipeline", name.to_string()), ("state", state.as_str().to_owned())];
            families.pipeline_state.samples.push((labels, 1.0));
        }
        families.build_info.samples.push((vec![("version", env!("CARGO_PKG_VERSION").to_owned())], 1.0));
        families.each(|family| family.encode(&mut encoder))
    }
}

macro_rules! families {
    ($($field:ident: $kind:ident $unit:expr, $help:literal;)*) => {
        struct Families {
            $($field: Family,)*
            /// What operators count by themselves, by name and kind.
            user: BTreeMap<(String, &'static str), Family>,
        }
        fn families() -> Families {
            Families { $($field: Family {
                name: concat!("weir_", stringify!($field)).into(),
                help: $help,
                unit: $unit,
                kind: MetricType::$kind,
                samples: Vec::new(),
            },)* user: BTreeMap::new() }
        }
        impl Families {
            fn each(&self, mut visit: impl FnMut(&Family) -> fmt::Result) -> fmt::Result {
                $(visit(&self.$field)?;)*
                self.user.values().try_for_each(visit)
            }
        }
    };
}

families! {
    build_info: Gauge None, "The version of this weir";
    records_in: Counter None, "Records that a node took in";
    records_out: Counter None, "Records that left a node by a port";
    records_skipped: Counter None, "Records dropped by on_error = skip";
    late_records: Counter None, "Records beyond the allowed lateness, on the port late";
    source_lag_records: Gauge None, "Records between a source's position and the end of what exists";
    node_time: Counter Some(Unit::Seconds), "Time of a node by kind";
    guest_calls: Counter None, "Calls of a guest";
    guest_call_duration: Counter Some(Unit::Seconds), "Time in calls of a guest, imports included";
    guest_traps: Counter None, "Calls of a guest that failed, by reason";
    state_bytes: Gauge None, "Bytes of a node's working set";
    state_evicted: Counter None, "Keys that left a node's working set for the disk";
    state_missed: Counter None, "Keys that were looked up on disk";
    guest_memory_bytes: Gauge None, "Linear memory of a node's guest";
    guest_log_lines: Counter None, "Log lines of a node's guests that were kept";
    guest_log_lines_dropped: Counter None, "Log lines of a node's guests that came too fast";
    timers_pending: Gauge None, "Timers that wait";
    watermark_lag: Gauge Some(Unit::Seconds), "Wall clock less the node's watermark";
    checkpoints: Counter None, "Checkpoints by outcome";
    checkpoint_duration: Gauge Some(Unit::Seconds), "The newest checkpoint, by phase";
    checkpoint_size_bytes: Gauge None, "Bytes written for the newest checkpoint";
    checkpoint_last_success_timestamp: Gauge Some(Unit::Seconds), "When the newest checkpoint was committed";
    checkpoint_epoch: Gauge None, "The epoch of the newest checkpoint";
    checkpoint_interval: Gauge Some(Unit::Seconds), "The time between two checkpoints that was asked for";
    restarts: Counter None, "Attempts after the first";
    pipeline_state: Gauge None, "1 for the state that a pipeline is in";
}

fn collect(families: &mut Families, pipeline: &str, facts: &Facts) {
    let of = |more: Labels| [vec![("pipeline", pipeline.to_owned())], more].concat();
    families.restarts.samples.push((of(vec![("domain", "0".to_owned())]), facts.restarts as f64));
    for (outcome, count) in [("committed", facts.committed), ("declined", facts.declined)] {
        families.checkpoints.samples.push((of(vec![("outcome", outcome.to_owned())]), count as f64));
    }
    families.checkpoint_interval.samples.push((of(Vec::new()), facts.interval.as_secs_f64()));
    if let Some(newest) = &facts.last_checkpoint {
        for (phase, time) in [("total", newest.duration), ("pause", newest.pause), ("alignment", newest.alignment)] {
            families.checkpoint_duration.samples.push((of(vec![("phase", phase.to_owned())]), time.as_secs_f64()));
        }
        families.checkpoint_size_bytes.samples.push((of(Vec::new()), newest.bytes as f64));
        families.checkpoint_last_success_timestamp.samples.push((of(Vec::new()), newest.completed_at as f64 / 1000.0));
        families.checkpoint_epoch.samples.push((of(Vec::new()), newest.epoch.0 as f64));
    }
    for node in &facts.metrics.nodes {
        let mut labels = vec![("node", node.name.to_string())];
        labels.extend(node.subtask.map(|subtask| ("subtask", subtask.to_string())));
        collect_node(families, &|more| of([labels.clone(), more].concat()), node);
    }
}

fn collect_node(families: &mut Families, of: &dyn Fn(Labels) -> Labels, node: &NodeMetrics) {
    let plain = |family: &mut Family, value: f64| family.samples.push((of(Vec::new()), value));
    plain(&mut families.records_in, node.records_in.get() as f64);
    plain(&mut families.records_skipped, node.skipped.get() as f64);
    for (port, count) in node.ports.iter().zip(&node.records_out) {
        families.records_out.samples.push((of(vec![("port", port.clone())]), count.get() as f64));
    }
    let time = &node.time;
    for (kind, nanos) in [("busy", &time.busy), ("backpressured", &time.backpressured), ("idle", &time.idle)] {
        families.node_time.samples.push((of(vec![("kind", kind.to_owned())]), nanos.get() as f64 / 1e9));
    }
    if node.is_source {
        plain(&mut families.source_lag_records, node.lag.get() as f64);
    }
    if node.is_operator {
        plain(&mut families.late_records, node.late.get() as f64);
        plain(&mut families.guest_calls, node.calls.get() as f64);
        plain(&mut families.guest_call_duration, node.call_nanos.get() as f64 / 1e9);
        plain(&mut families.state_bytes, node.state_bytes.get() as f64);
        plain(&mut families.state_evicted, node.state_evicted.get() as f64);
        plain(&mut families.state_missed, node.state_missed.get() as f64);
        plain(&mut families.timers_pending, node.timers.get() as f64);
        plain(&mut families.guest_memory_bytes, node.guest_memory.get() as f64);
        plain(&mut families.guest_log_lines, node.logs.written() as f64);
        plain(&mut families.guest_log_lines_dropped, node.logs.dropped() as f64);
        for reason in Reason::ALL {
            families
                .guest_traps
                .samples
                .push((of(vec![("reason", reason.label().to_owned())]), node.traps[reason as usize].get() as f64));
        }
    }
    for metric in node.measured.iter() {
        if let Some(family) = user_family(&mut families.user, metric) {
            plain(family, metric.value());
        }
    }
    let watermark = node.watermark();
    if watermark > i64::MIN && watermark < i64::MAX {
        plain(&mut families.watermark_lag, (clock::now_millis() - watermark) as f64 / 1000.0);
    }
}

/// The family of an operator's own metric. Its name is from a guest, and was checked at load: only a dash is none of
/// Prometheus' characters.
fn user_family<'a>(
    families: &'a mut BTreeMap<(String, &'static str), Family>,
    metric: &Measured,
) -> Option<&'a mut Family> {
    let name = metric.name.replace('-', "_");
    let (kind, name) = match metric.kind {
        // The encoder adds the ending of counters.
        MetricKind::Counter => (MetricType::Counter, name.strip_suffix("_total").unwrap_or(&name)),
        MetricKind::Gauge => (MetricType::Gauge, &name[..]),
        MetricKind::Histogram => return None,
    };
    let family = || Family {
        name: format!("weir_user_{name}").into(),
        help: "Counted by an operator itself",
        unit: None,
        kind,
        samples: Vec::new(),
    };
    Some(families.entry((name.to_owned(), metric.kind.as_str())).or_insert_with(family))
}
