//! Numbers 1 to N in which k has a weight of 1/k: a few keys are hot and most are rare, as with real traffic.

use std::sync::Arc;

/// Shared, since copies of a template draw from the same table.
#[derive(Debug, Clone)]
pub(super) struct Zipf {
    /// `ends[k]` is the probability of at most k + 1, as a fraction of 2⁶⁴.
    ends: Arc<[u64]>,
}

impl Zipf {
    /// Only divisions and sums in a fixed order: IEEE 754 gives them bit for bit on every machine, which `powf` does not.
    pub(super) fn new(n: u32) -> Zipf {
        let total: f64 = (1..=n).map(|k| 1.0 / f64::from(k)).sum();
        let mut sum = 0.0;
        let ends = (1..=n).map(|k| {
            sum += 1.0 / f64::from(k);
            // A float past the end becomes the largest integer.
            (sum / total * 18_446_744_073_709_551_616.0) as u64
        });
        Zipf { ends: ends.collect() }
    }

    /// The number that these bits stand for.
    #[inline]
    pub(super) fn pick(&self, bits: u64) -> u32 {
        let below = self.ends.partition_point(|end| *end <= bits);
        below.min(self.ends.len() - 1) as u32 + 1
    }
}
