//! Makes records from a template, at a rate. Every record is pure in (seed, position), so a replay gives the same; the rate
//! says only when it comes.

use std::time::{Duration, Instant};

use weir_core::checkpoint::manifest::SourcePositions;
use weir_core::record::Batch;
use weir_core::template::Template;

use super::{BATCH_BYTES_MAX, Error, Polled, ROWS_MAX, Source, SplitStatus};
use crate::clock;

/// How long it waits at least where it has a rate: what is due meanwhile comes at once.
const TICK: Duration = Duration::from_millis(10);

/// See the module.
pub struct Generator {
    template: Template,
    seed: u64,
    position: u64,
    count: Option<u64>,
    rate: Option<f64>,
    started: Option<(Instant, u64)>,
    buffer: Vec<u8>,
}

impl Generator {
    /// A generator at its restored position. `rate`: records per second, `None` as fast as they are taken.
    pub fn new(
        template: Template,
        seed: u64,
        count: Option<u64>,
        rate: Option<f64>,
        restored: Option<&SourcePositions>,
    ) -> Generator {
        let position = restored.and_then(|p| p.splits.first()).map_or(0, |split| split.position.max(0) as u64);
        Generator { template, seed, position, count, rate, started: None, buffer: Vec::new() }
    }

    /// How many records may be made now, and how long to wait if none.
    fn allowed(&mut self) -> (u64, Duration) {
        let left = self.count.map_or(u64::MAX, |count| count.saturating_sub(self.position));
        let Some(rate) = self.rate else { return (left, Duration::ZERO) };
        let position = self.position;
        let (since, first) = *self.started.get_or_insert_with(|| (clock::now(), position));
        let (due, wait) = due(rate, since.elapsed(), self.position - first);
        (left.min(due), wait)
    }
}

/// How many records are due after so much time at so many a second, beyond those that were made, and how long it is until the
/// next one is. Counted from the start each time: no wait that was too long makes it slower in the end.
fn due(rate: f64, elapsed: Duration, made: u64) -> (u64, Duration) {
    let due = ((elapsed.as_secs_f64() * rate) as u64).saturating_sub(made);
    let next = Duration::try_from_secs_f64((made + 1) as f64 / rate).unwrap_or(Duration::MAX);
    (due, next.saturating_sub(elapsed).max(TICK))
}

impl Source for Generator {
    fn identity(&self) -> String {
        "generator".to_owned()
    }

    fn poll(&mut self, out: &mut Batch) -> Result<Polled, Error> {
        if self.count.is_some_and(|count| self.position >= count) {
            return Ok(Polled::Ended);
        }
        let (allowed, wait) = self.allowed();
        if allowed == 0 {
            return Ok(Polled::Later(wait));
        }
        for _ in 0..allowed.min(ROWS_MAX as u64) {
            self.buffer.clear();
            self.template.render(self.seed, self.position, &mut self.buffer);
            out.push_origin(0, 0, self.position as i64);
            out.times.push(0);
            out.keys.push(None);
            out.values.push(Some(&self.buffer));
            self.position += 1;
            if out.values.data.len() >= BATCH_BYTES_MAX {
                break;
            }
        }
        Ok(Polled::Rows)
    }

    fn rest(&mut self) -> Option<Duration> {
        let (allowed, wait) = self.allowed();
        // Nothing is left at the end too, which is to be told at once.
        let has_ended = self.count.is_some_and(|count| self.position >= count);
        (allowed == 0 && !has_ended).then_some(wait)
    }

    fn splits(&self) -> Vec<SplitStatus> {
        let end = self.count.map(|count| count as i64);
        vec![SplitStatus { split: String::new(), position: self.position as i64, high_watermark: None, end }]
    }

    fn on_committed(&mut self, _: &SourcePositions) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_exact_over_time_and_nobody_wakes_for_each_record() {
        for (rate, polls_max) in [(1.0, 11), (10.0, 101), (33.0, 331), (1_000.0, 1_000), (250_000.0, 1_000)] {
            let (mut now, mut made, mut polls) = (Duration::ZERO, 0, 0);
            while now < Duration::from_secs(10) {
                let (records, wait) = due(rate, now, made);
                polls += u64::from(records == 0);
                made += records;
                // Who wakes it is late, as the system is.
                now += if records == 0 { wait + Duration::from_micros(137) } else { Duration::ZERO };
                let owed = now.as_secs_f64() * rate;
                assert!(made as f64 <= owed && owed - (made as f64) < 1.0 + rate * 0.011, "{rate}: {made} at {now:?}");
            }
            assert!(polls <= polls_max, "{rate} a second: {polls} waits");
        }
    }
}
