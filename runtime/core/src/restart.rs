//! Whether a pipeline is started again after a failure that may pass, and when. Owns the strategies with their exact
//! meanings; which failures may pass is decided by their class (`crate::domain::Class`). Time is passed in.

use std::collections::VecDeque;
use std::time::Duration;

/// `[restart]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strategy {
    /// Again and again, ever later.
    Exponential {
        /// The first wait.
        delay: Duration,
        /// The longest one.
        max_delay: Duration,
        /// What each wait is longer than the one before.
        multiplier: u32,
        /// After so long without a failure the waits begin anew.
        reset_after: Duration,
    },
    /// So many times, always after the same wait.
    FixedDelay {
        /// Restarts in all; they are never counted anew.
        attempts: u32,
        /// The wait.
        delay: Duration,
    },
    /// As long as failures are rare.
    FailureRate {
        /// Failures that are borne...
        failures: u32,
        /// ... within this time.
        per: Duration,
        /// The wait.
        delay: Duration,
    },
    /// Never.
    None,
}

impl Default for Strategy {
    fn default() -> Strategy {
        Strategy::Exponential {
            delay: Duration::from_secs(1),
            max_delay: Duration::from_secs(300),
            multiplier: 2,
            reset_after: Duration::from_secs(3600),
        }
    }
}

/// What is done about a failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Start again after this wait; the caller adds its jitter.
    After(Duration),
    /// Do not: this is why.
    GiveUp(String),
}

/// The failures of one pipeline so far.
#[derive(Debug, Clone)]
pub struct Restarts {
    strategy: Strategy,
    count: u32,
    last: Option<Duration>,
    wait: Duration,
    recent: VecDeque<Duration>,
}

impl Restarts {
    /// None so far.
    pub fn new(strategy: Strategy) -> Restarts {
        Restarts { strategy, count: 0, last: None, wait: Duration::ZERO, recent: VecDeque::new() }
    }

    /// A failure at a time (monotonic, from any start).
    pub fn on_failure(&mut self, now: Duration) -> Verdict {
        let since = self.last.replace(now).map(|last| now.saturating_sub(last));
        match self.strategy {
            Strategy::None => Verdict::GiveUp("not restarted: restart.strategy is \"none\"".to_owned()),
            Strategy::FixedDelay { attempts, .. } if self.count >= attempts => {
                Verdict::GiveUp(format!("not restarted: {attempts} restart(s) are all that restart.attempts allows"))
            }
            Strategy::FixedDelay { delay, .. } => {
                self.count += 1;
                Verdict::After(delay)
            }
            Strategy::FailureRate { failures, per, delay } => {
                self.recent.push_back(now);
                self.recent.retain(|at| now.saturating_sub(*at) < per);
                match self.recent.len() > failures as usize {
                    true => Verdict::GiveUp(format!(
                        "not restarted: more than {failures} failure(s) within {per:?} (restart.failures, restart.per)"
                    )),
                    false => Verdict::After(delay),
                }
            }
            Strategy::Exponential { delay, max_delay, multiplier, reset_after } => {
                // The wait is no quiet time: nothing ran then.
                let is_quiet = since.is_none_or(|since| since >= reset_after.saturating_add(self.wait));
                self.wait = if is_quiet { delay } else { self.wait.saturating_mul(multiplier) }.min(max_delay);
                Verdict::After(self.wait)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    /// The waits after failures at these times; the end is where it gives up.
    fn waits(strategy: Strategy, failures: &[u64]) -> Vec<u64> {
        let mut restarts = Restarts::new(strategy);
        let mut waits = Vec::new();
        for at in failures {
            match restarts.on_failure(seconds(*at)) {
                Verdict::After(wait) => waits.push(wait.as_secs()),
                Verdict::GiveUp(_) => break,
            }
        }
        waits
    }

    #[test]
    fn exponential_waits_double_up_to_the_longest_and_begin_anew_after_a_quiet_time() {
        let failures: Vec<u64> = (0..11).map(|n| n * 400).collect();
        assert_eq!(waits(Strategy::default(), &failures), [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        // An hour and the wait before; a second less is not quiet.
        assert_eq!(waits(Strategy::default(), &[0, 3600, 3600 + 3602, 3600 + 3602 + 3600]), [1, 2, 1, 2]);
    }

    #[test]
    fn fixed_delay_restarts_exactly_so_often_however_long_it_ran_between() {
        let strategy = Strategy::FixedDelay { attempts: 3, delay: seconds(10) };
        assert_eq!(waits(strategy, &[0, 1, 1_000_000, 2_000_000]), [10, 10, 10]);
    }

    #[test]
    fn failure_rate_gives_up_on_one_failure_too_many_within_the_time() {
        let strategy = Strategy::FailureRate { failures: 2, per: seconds(60), delay: seconds(1) };
        assert_eq!(waits(strategy, &[0, 30, 59]), [1, 1]);
        assert_eq!(waits(strategy, &[0, 30, 60, 90, 120]), [1; 5]);
    }

    #[test]
    fn none_never_restarts() {
        assert_eq!(waits(Strategy::None, &[0]), [] as [u64; 0]);
    }
}
