//! `[restart]`: the strategy and its numbers. A number of another strategy is unknown here.

use std::time::Duration;

use weir_core::restart::Strategy;

use super::field::Field;
use super::{Reader, small};

#[derive(Debug, Clone, Copy)]
enum Kind {
    Exponential,
    FixedDelay,
    FailureRate,
    None,
}

pub(super) fn restart(field: Field<'_>, reader: &mut Reader<'_>) -> Strategy {
    let Some(mut table) = field.table(reader) else { return Strategy::default() };
    let mut kind = Kind::Exponential;
    table.set(reader, "strategy", strategy, &mut kind);
    let (mut delay, mut max_delay, mut multiplier) = (Duration::from_secs(1), Duration::from_secs(300), 2);
    let (mut reset_after, mut attempts) = (Duration::from_secs(3600), 1);
    let (mut failures, mut per) = (1, Duration::from_secs(60));
    let strategy = match kind {
        Kind::Exponential => {
            table.set(reader, "delay", Field::duration, &mut delay);
            table.set(reader, "max_delay", Field::duration, &mut max_delay);
            table.set(reader, "multiplier", at_least_one, &mut multiplier);
            table.set(reader, "reset_after", Field::duration, &mut reset_after);
            Strategy::Exponential { delay, max_delay, multiplier, reset_after }
        }
        Kind::FixedDelay => {
            table.set(reader, "attempts", small, &mut attempts);
            table.set(reader, "delay", Field::duration, &mut delay);
            Strategy::FixedDelay { attempts, delay }
        }
        Kind::FailureRate => {
            table.set(reader, "failures", small, &mut failures);
            table.set(reader, "per", Field::duration, &mut per);
            table.set(reader, "delay", Field::duration, &mut delay);
            Strategy::FailureRate { failures, per, delay }
        }
        Kind::None => Strategy::None,
    };
    table.finish(reader);
    strategy
}

fn strategy(field: &Field<'_>, reader: &mut Reader<'_>) -> Option<Kind> {
    field.choice(
        reader,
        &[
            ("exponential", Some(Kind::Exponential)),
            ("fixed-delay", Some(Kind::FixedDelay)),
            ("failure-rate", Some(Kind::FailureRate)),
            ("none", Some(Kind::None)),
        ],
    )
}

fn at_least_one(field: &Field<'_>, reader: &mut Reader<'_>) -> Option<u32> {
    field.integer(reader, 1..=100).map(|n| n as u32)
}
