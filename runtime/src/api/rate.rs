//! How often one token may ask: a bucket each, so that a loop gone wild at one team is no affair of the others.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use crate::clock;

/// What a bucket gets back in a second.
pub(super) const PER_SECOND: u32 = 100;
/// What a full one holds.
const BURST: f64 = 200.0;

/// See the module. There are no more buckets than tokens, whose number is bounded.
#[derive(Default)]
pub(super) struct Rates(Mutex<HashMap<String, Bucket>>);

struct Bucket {
    left: f64,
    at: Instant,
}

impl Rates {
    /// Takes one from the bucket of a token. Says whether there was one.
    pub(super) fn take(&self, token: &str) -> bool {
        self.take_at(token, clock::now())
    }

    fn take_at(&self, token: &str, now: Instant) -> bool {
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !buckets.contains_key(token) {
            buckets.insert(token.to_owned(), Bucket { left: BURST, at: now });
        }
        let Some(bucket) = buckets.get_mut(token) else { return true };
        let back = now.saturating_duration_since(bucket.at).as_secs_f64() * f64::from(PER_SECOND);
        (bucket.left, bucket.at) = ((bucket.left + back).min(BURST), now);
        let is_there = bucket.left >= 1.0;
        if is_there {
            bucket.left -= 1.0;
        }
        is_there
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_token_that_asks_too_often_waits_and_no_other_does() {
        let (rates, start) = (Rates::default(), clock::now());
        let granted = (0..1000).filter(|_| rates.take_at("wild", start)).count();
        assert_eq!(granted, BURST as usize);
        assert!(rates.take_at("calm", start));
        let later = start + Duration::from_secs(1);
        assert_eq!((0..1000).filter(|_| rates.take_at("wild", later)).count(), PER_SECOND as usize);
    }
}
