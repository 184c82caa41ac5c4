//! Makes records from a template, at a rate. Every record is pure in (seed, position), so a replay gives the same.

use std::time::{Duration, Instant};

use weir_core::checkpoint::manifest::SourcePositions;
use weir_core::record::Batch;
use weir_core::template::Template;

use super::{BATCH_BYTES_MAX, Error, Polled, ROWS_MAX, Source, SplitStatus};
use crate::clock;

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
        let due = (since.elapsed().as_secs_f64() * rate) as u64;
        let made = self.position - first;
        (left.min(due.saturating_sub(made)), Duration::from_secs_f64((1.0 / rate).clamp(0.001, 0.1)))
    }
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

    fn splits(&self) -> Vec<SplitStatus> {
        let end = self.count.map(|count| count as i64);
        vec![SplitStatus { split: String::new(), position: self.position as i64, high_watermark: None, end }]
    }

    fn on_committed(&mut self, _: &SourcePositions) {}
}
