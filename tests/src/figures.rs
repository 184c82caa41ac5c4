//! What many measurements of one thing come to: order statistics, and nothing that assumes a distribution.

use std::time::Duration;

/// Measurements, in any unit.
#[derive(Debug, Clone, Default)]
pub struct Figures(Vec<f64>);

impl Figures {
    /// One more.
    pub fn add(&mut self, figure: f64) {
        self.0.push(figure);
    }

    /// One more, in milliseconds.
    pub fn add_time(&mut self, time: Duration) {
        self.add(time.as_secs_f64() * 1e3);
    }

    /// All of another's too.
    pub fn merge(&mut self, other: Figures) {
        self.0.extend(other.0);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The least figure that this share of all does not exceed: 0.5 is the median, 1.0 the largest. Not a number where there
    /// is none.
    pub fn quantile(&self, share: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let rank = (sorted.len() as f64 * share).ceil() as usize;
        sorted.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
    }

    /// The middle one.
    pub fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    /// The largest.
    pub fn max(&self) -> f64 {
        self.quantile(1.0)
    }

    /// The smallest.
    pub fn min(&self) -> f64 {
        self.quantile(0.0)
    }
}

impl FromIterator<f64> for Figures {
    fn from_iter<I: IntoIterator<Item = f64>>(figures: I) -> Figures {
        Figures(figures.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_one_of_the_figures_and_counts_from_the_smallest() {
        let figures: Figures = (1..=200).rev().map(f64::from).collect();
        let of = |share| figures.quantile(share);
        assert_eq!((of(0.0), of(0.5), of(0.99), of(0.999), of(1.0)), (1.0, 100.0, 198.0, 200.0, 200.0));
        assert!(Figures::default().median().is_nan());
    }
}
