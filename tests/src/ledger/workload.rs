//! Input for ip-count, made from a seed: the same seed gives the same records, so a failure can be run again.

use super::Event;
use crate::kafka::Record;

/// What goes in. Times rise by `1000 / per_second` milliseconds a record over all partitions, less a jitter.
#[derive(Debug, Clone, Copy)]
pub struct Workload {
    pub seed: u64,
    pub records: u64,
    pub keys: u64,
    pub partitions: i32,
    /// Records per second of event time.
    pub per_second: u64,
    /// Records are out of order by up to this many milliseconds.
    pub jitter: i64,
    /// Every so many records one is this much older: `(every, milliseconds)`.
    pub late: Option<(u64, i64)>,
    /// Event time of the first record.
    pub begin: i64,
}

impl Default for Workload {
    /// 20,000 records of 50 keys over 20 s of event time in two partitions, none of them late.
    fn default() -> Self {
        Self {
            seed: 1,
            records: 20_000,
            keys: 50,
            partitions: 2,
            per_second: 1_000,
            jitter: 500,
            late: None,
            begin: 1_700_000_000_000,
        }
    }
}

impl Workload {
    /// The events, in the order in which they are produced. A key stays in its partition.
    pub fn events(&self) -> Vec<Event> {
        let mut random = Random::new(self.seed);
        let event = |n: u64| {
            let key = random.below(self.keys);
            let mut time = self.begin + (n * 1_000 / self.per_second) as i64;
            time -= random.below(self.jitter as u64 + 1) as i64;
            if let Some((every, late)) = self.late
                && n % every == every - 1
            {
                time -= late;
            }
            let ip = format!("10.{}.{}.{}", key >> 16 & 255, key >> 8 & 255, key & 255);
            Event { partition: (key % self.partitions as u64) as i32, ip, time }
        };
        (0..self.records).map(event).collect()
    }

    /// The records of these events, as `Broker::produce` takes them.
    pub fn records(events: &[Event]) -> impl Iterator<Item = Record> {
        events.iter().zip(0u64..).map(|(event, n)| {
            Record::new(Self::line(event, n)).key(event.ip.clone()).partition(event.partition).time(event.time)
        })
    }

    /// The JSON of the `n`th event, without a line end.
    pub fn line(event: &Event, n: u64) -> String {
        let Event { ip, time, .. } = event;
        format!(r#"{{"ip":"{ip}","ts":{time},"path":"/a/{}","status":200,"bytes":{}}}"#, n % 100, n % 10_000)
    }
}

/// SplitMix64: small, and the same everywhere.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }
}
