//! The judge of ip-count: from what went in it says what must have come out, and compares. It owns a second, plain
//! implementation of the window's rule, and never reads what weir counts about itself.
//!
//! The rule: tumbling windows over event time; a window fires when the watermark has passed its end; each later record
//! of a fired window gives a new row with the higher count at once, up to the lateness; then it is too late.

mod verdict;
mod workload;

pub use verdict::Verdict;
pub(crate) use workload::Random;
pub use workload::Workload;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::Value;

use crate::kafka::Row;
use verdict::Judge;

/// How windows are cut and when they fire, in milliseconds of event time. The default is the example's.
#[derive(Debug, Clone, Copy)]
pub struct WindowRule {
    pub window: i64,
    pub lateness: i64,
    pub out_of_order: i64,
    pub tick: i64,
}

impl Default for WindowRule {
    fn default() -> Self {
        Self { window: 5_000, lateness: 5_000, out_of_order: 1_000, tick: 100 }
    }
}

impl WindowRule {
    fn start(&self, time: i64) -> i64 {
        time.div_euclid(self.window) * self.window
    }

    /// The watermark of a partition whose largest time is this: largest − bound − 1, in ticks.
    fn watermark(&self, largest: i64) -> i64 {
        (largest - self.out_of_order - 1).div_euclid(self.tick) * self.tick
    }

    fn has_fired(&self, start: i64, watermark: i64) -> bool {
        start + self.window - 1 <= watermark
    }

    fn is_too_late(&self, start: i64, watermark: i64) -> bool {
        start + self.window - 1 + self.lateness <= watermark
    }
}

/// One record that went in, as far as the job sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub partition: i32,
    pub ip: String,
    pub time: i64,
}

impl Event {
    /// Reads `ip` and `ts` of an input record.
    pub fn of(row: &Row) -> Self {
        let value: Value = serde_json::from_str(&row.value_text()).expect("input records are JSON");
        let ip = value["ip"].as_str().expect("input records have an ip").to_owned();
        let time = value["ts"].as_i64().expect("input records have a ts");
        Self { partition: row.partition, ip, time }
    }
}

/// A row that came out: of a topic with key and time, of a file only its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    pub key: Option<String>,
    pub time: Option<i64>,
    pub value: String,
}

impl From<&Row> for Output {
    fn from(row: &Row) -> Self {
        Self { key: Some(row.key_text()), time: row.time, value: row.value_text() }
    }
}

impl From<&str> for Output {
    fn from(line: &str) -> Self {
        Self { key: None, time: None, value: line.to_owned() }
    }
}

/// What must come out.
pub struct Ledger {
    rule: WindowRule,
    expected: Expected,
    too_late: u64,
}

/// A row of one IP: the window's start, and the count.
type Counted = (i64, u64);

enum Expected {
    /// Exactly these rows, in this order for each IP.
    Rows(HashMap<String, Vec<Counted>>),
    /// For each window these totals, reached in steps of one from wherever the window first fired.
    Totals(HashMap<String, BTreeMap<i64, u64>>),
}

impl Ledger {
    /// What comes out when the events are read in exactly this order: one partition, or a known interleaving.
    pub fn in_order(rule: WindowRule, events: &[Event]) -> Self {
        let mut counts: HashMap<(&str, i64), u64> = HashMap::new();
        let mut waiting: BTreeSet<(i64, &str)> = BTreeSet::new();
        let mut rows: HashMap<String, Vec<Counted>> = HashMap::new();
        let mut largest: HashMap<i32, i64> = events.iter().map(|event| (event.partition, i64::MIN)).collect();
        let mut watermark = i64::MIN;
        let mut too_late = 0;
        for event in events {
            let start = rule.start(event.time);
            if rule.is_too_late(start, watermark) {
                too_late += 1;
            } else {
                let count = counts.entry((&event.ip, start)).or_default();
                *count += 1;
                if rule.has_fired(start, watermark) {
                    rows.entry(event.ip.clone()).or_default().push((start, *count));
                } else {
                    waiting.insert((start, &event.ip));
                }
            }
            let of_partition = largest.get_mut(&event.partition).expect("every partition was entered");
            *of_partition = (*of_partition).max(event.time);
            // A partition without a record yet holds all back.
            let slowest = *largest.values().min().expect("there is an event");
            if slowest > i64::MIN {
                watermark = watermark.max(rule.watermark(slowest));
            }
            while waiting.first().is_some_and(|(start, _)| rule.has_fired(*start, watermark)) {
                let (start, ip) = waiting.pop_first().expect("it was just seen");
                rows.entry(ip.to_owned()).or_default().push((start, counts[&(ip, start)]));
            }
        }
        // The end of bounded input passes the end of every window.
        for (start, ip) in waiting {
            rows.entry(ip.to_owned()).or_default().push((start, counts[&(ip, start)]));
        }
        Self { rule, expected: Expected::Rows(rows), too_late }
    }

    /// What comes out when partitions are read in any interleaving, each in its own order. Which count a window first
    /// fires with is then open; that each step of one up to its total follows exactly once is not. Panics when some
    /// interleaving could make a record too late, since the totals would be open as well.
    #[track_caller]
    pub fn any_order(rule: WindowRule, events: &[Event]) -> Self {
        let mut totals: HashMap<String, BTreeMap<i64, u64>> = HashMap::new();
        let mut largest: HashMap<i32, i64> = HashMap::new();
        for event in events {
            let start = rule.start(event.time);
            if let Some(&largest) = largest.get(&event.partition) {
                let may_be_late = rule.is_too_late(start, rule.watermark(largest));
                assert!(!may_be_late, "the ledger of any order cannot judge records that may be too late: {event:?}");
            }
            let of_partition = largest.entry(event.partition).or_insert(event.time);
            *of_partition = (*of_partition).max(event.time);
            *totals.entry(event.ip.clone()).or_default().entry(start).or_default() += 1;
        }
        Self { rule, expected: Expected::Totals(totals), too_late: 0 }
    }

    /// How many records are too late, and so in no window.
    pub fn too_late(&self) -> u64 {
        self.too_late
    }

    /// How many rows must come out; of any order, at least how many.
    pub fn rows(&self) -> usize {
        match &self.expected {
            Expected::Rows(rows) => rows.values().map(Vec::len).sum(),
            Expected::Totals(totals) => totals.values().map(BTreeMap::len).sum(),
        }
    }

    /// Judges the committed output, in the order of the sink for each IP.
    pub fn judge(&self, output: impl IntoIterator<Item = impl Into<Output>>) -> Verdict {
        let mut judge = Judge::new(self.rule);
        for row in output {
            judge.enter(&row.into());
        }
        match &self.expected {
            Expected::Rows(rows) => judge.against_rows(rows),
            Expected::Totals(totals) => judge.against_totals(totals),
        }
    }
}

#[cfg(test)]
mod tests;
