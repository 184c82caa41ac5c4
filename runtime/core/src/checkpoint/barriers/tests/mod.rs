//! Golden scripts: the cases of Flink's tests of barriers, line by line; and what holds in every order.

mod aligned;
mod counted;
mod random;

use std::fmt::Write;

use super::Barriers;
use crate::checkpoint::alignment::{Action, Alignment, Error};
use crate::checkpoint::counting::Counting;
use crate::ids::Epoch;

/// Runs a script and checks each line: `barrier CHANNEL EPOCH`, `cancel CHANNEL EPOCH`, `end CHANNEL` or `given-up EPOCH`,
/// then `=>` and what is to be done.
fn run(mut barriers: Barriers, script: &str) {
    let mut seen = String::new();
    let mut wanted = String::new();
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (input, output) = line.split_once("=>").expect("a line has an arrow");
        let words: Vec<&str> = input.split_whitespace().collect();
        let number = |index: usize| words[index].parse::<u64>().expect("a number");
        let actions = match words[0] {
            "barrier" => barriers.on_barrier(number(1) as usize, Epoch(number(2))),
            "cancel" => barriers.on_cancel(number(1) as usize, Epoch(number(2))),
            "end" => barriers.on_end(number(1) as usize),
            "given-up" => Ok(barriers.on_given_up(Epoch(number(1)))),
            other => panic!("unknown event {other}"),
        };
        let text: Vec<String> = actions.expect("the script keeps the contract").iter().map(show).collect();
        writeln!(seen, "{} => {}", input.trim(), text.join(", ")).expect("a string takes text");
        writeln!(wanted, "{} => {}", input.trim(), output.trim()).expect("a string takes text");
    }
    assert_eq!(seen, wanted);
}

fn show(action: &Action) -> String {
    match action {
        Action::Block(channel) => format!("block {channel}"),
        Action::Unblock(channel) => format!("unblock {channel}"),
        Action::Complete(epoch) => format!("complete {epoch}"),
        Action::Abort { epoch, .. } => format!("abort {epoch}"),
    }
}

#[test]
fn reading_a_blocked_or_an_ended_channel_is_an_error() {
    let mut aligned = Alignment::new(2);
    aligned.on_barrier(0, Epoch(1)).expect("open");
    assert_eq!(aligned.on_barrier(0, Epoch(2)), Err(Error::ReadWhileBlocked { channel: 0, epoch: Epoch(2) }));
    for mut barriers in [Barriers::Aligned(Alignment::new(2)), Barriers::Counted(Counting::new(2))] {
        barriers.on_end(1).expect("open");
        assert_eq!(barriers.on_cancel(1, Epoch(2)), Err(Error::Ended(1)));
        assert_eq!(barriers.on_end(2), Err(Error::NoSuchChannel(2)));
    }
}
