//! Intervals and time-outs that contradict each other. Each message carries both numbers.

use std::time::Duration;

use super::super::fault::Fault;
use super::super::spec::{Pipeline, SinkKind};
use crate::restart::Strategy;

/// Limits that must hold together.
pub(super) fn fit(pipeline: &Pipeline, faults: &mut Vec<Fault>) {
    checkpoint(pipeline, faults);
    restart(pipeline, faults);
    transactions(pipeline, faults);
    watermarks(pipeline, faults);
}

fn checkpoint(pipeline: &Pipeline, faults: &mut Vec<Fault>) {
    let checkpoint = &pipeline.checkpoint;
    let mut positive = |value: Duration, key: &str| {
        if value.is_zero() {
            let message = format!("`{key}` must be longer than zero");
            let help = "a checkpoint needs time; \"1s\" is the default interval, \"60s\" the default time-out";
            faults.push(Fault::error("weir::config::zero", format!("checkpoint.{key}"), message).help(help));
        }
    };
    positive(checkpoint.interval, "interval");
    positive(checkpoint.timeout, "timeout");
    if checkpoint.min_pause > checkpoint.interval {
        let message = format!(
            "`min_pause` of {} is over `interval` of {}: no checkpoint would come at its interval",
            text(checkpoint.min_pause),
            text(checkpoint.interval)
        );
        let help = format!(
            "write interval = \"{0}\" or more, or min_pause = \"{1}\" or less",
            text(checkpoint.min_pause),
            text(checkpoint.interval)
        );
        faults.push(Fault::error("weir::config::min_pause", "checkpoint.min_pause", message).help(help));
    }
    if checkpoint.retain == 0 {
        let fault = Fault::error("weir::config::zero", "checkpoint.retain", "at least one snapshot must be kept");
        faults.push(fault.help("write retain = 1 or more; the default is 3"));
    }
}

/// The first wait is within the longest one, where waits grow.
fn restart(pipeline: &Pipeline, faults: &mut Vec<Fault>) {
    let Strategy::Exponential { delay, max_delay, .. } = pipeline.restart else { return };
    if delay > max_delay {
        let (delay, max_delay) = (text(delay), text(max_delay));
        let message =
            format!("`delay` of {delay} is over `max_delay` of {max_delay}: the first wait would be the longest");
        let help = format!("write delay = \"{max_delay}\" or less, or max_delay = \"{delay}\" or more");
        faults.push(Fault::error("weir::config::max_delay", "restart.max_delay", message).help(help));
    }
}

/// Rule V1: an epoch's transaction is open for an interval, then for the checkpoint; the margin covers the commit.
fn transactions(pipeline: &Pipeline, faults: &mut Vec<Fault>) {
    let checkpoint = &pipeline.checkpoint;
    for sink in &pipeline.sinks {
        let SinkKind::Kafka(kafka) = &sink.kind else { continue };
        let timeout = pipeline.transaction_timeout(kafka);
        let needed = checkpoint.longest_transaction();
        if needed > timeout {
            let message = format!(
                "the transaction times out after {}, but an epoch may need {}: interval {} + checkpoint timeout {} + {}",
                text(timeout),
                text(needed),
                text(checkpoint.interval),
                text(checkpoint.timeout),
                text(checkpoint.margin),
            );
            let help =
                format!("write transaction = {{ timeout = \"{}\" }} or more, or shorten the checkpoint", text(needed));
            let path = format!("sinks.{}.transaction.timeout", sink.name);
            faults.push(Fault::error("weir::config::transaction_timeout", path, message).help(help));
        }
        // Rule V3: what librdkafka would refuse when the producer is made.
        for (option, slack) in [("message.timeout.ms", 0), ("socket.timeout.ms", 100)] {
            let millis = kafka.client.options.get(option).and_then(|text| text.parse::<u64>().ok());
            if let Some(millis) = millis.filter(|ms| u128::from(*ms) > timeout.as_millis() + slack) {
                let message =
                    format!("{option} of {millis} is more than the transaction's time-out of {}", text(timeout));
                let path = format!("sinks.{}.options.{option}", sink.name);
                let fault = Fault::error("weir::config::transaction_timeout", path, message);
                faults.push(fault.help(format!("write at most {}", timeout.as_millis())));
            }
        }
        if timeout > Duration::from_millis(i32::MAX as u64) {
            let message =
                format!("a transaction time-out of {} is more than Kafka can express (24 days)", text(timeout));
            let path = format!("sinks.{}.transaction.timeout", sink.name);
            faults.push(Fault::error("weir::config::transaction_timeout", path, message));
        }
    }
}

fn watermarks(pipeline: &Pipeline, faults: &mut Vec<Fault>) {
    for source in &pipeline.sources {
        let tick = source.watermark.tick;
        if tick.is_zero() || tick.subsec_nanos() % 1_000_000 != 0 {
            let message = format!("a tick of {} is not a whole number of milliseconds above zero", text(tick));
            let path = format!("sources.{}.watermark.tick", source.name);
            let fault = Fault::error("weir::config::tick", path, message);
            faults.push(fault.help("the default is \"100ms\", the least \"1ms\""));
        }
        if source.watermark.idle_after == Some(Duration::ZERO) {
            let path = format!("sources.{}.watermark.idle_after", source.name);
            let fault = Fault::error("weir::config::zero", path, "`idle_after` must be longer than zero");
            faults.push(fault.help("write \"never\" to switch it off; the default is \"10s\""));
        }
    }
}

/// A duration as it is written in the file.
fn text(duration: Duration) -> String {
    let millis = duration.as_millis();
    match (duration.subsec_nanos() % 1_000_000, millis % 1_000) {
        (0, 0) => format!("{}s", millis / 1_000),
        (0, _) => format!("{millis}ms"),
        _ => format!("{}us", duration.as_micros()),
    }
}
