//! `[restart]`: how often a pipeline is started again after a failure, and what its end says then.

use weir_tests::process::Exit;

use crate::place::Place;

/// A record that fails each attempt, and a strategy.
fn failing(restart: &str) -> Place {
    let place = Place::new();
    place.write("in.jsonl", "{\"ts\":1}\n{\"ts\":2}\nno JSON\n");
    place.pipeline(&format!(
        "version = 1\nname = \"failing\"\n{restart}\n[sources.lines]\ntype = \"file\"\npath = \"in.jsonl\"\nevent_time = {{ \
         json = \"/ts\" }}\n[sinks.out]\ntype = \"file\"\ninputs = [\"lines\"]\npath = \"out\"\n"
    ));
    place
}

#[track_caller]
fn check(restart: &str, restarts: usize, says: &str) {
    let finished = failing(restart).finish().expect(Exit::Code(1));
    assert_eq!(finished.stderr.matches("; restart ").count(), restarts, "{finished}");
    assert!(finished.stderr.contains(says), "no {says:?} in\n{finished}");
    assert!(finished.stderr.contains("in.jsonl"), "the failure itself is still named\n{finished}");
}

#[test]
fn strategy_says_how_often_a_failed_pipeline_is_started_again() {
    check("[restart]\nstrategy = \"none\"", 0, "not restarted: restart.strategy is \"none\"");
    let fixed = "[restart]\nstrategy = \"fixed-delay\"\nattempts = 1\ndelay = \"10ms\"";
    check(fixed, 1, "not restarted: 1 restart(s) are all that restart.attempts allows");
    let rate = "[restart]\nstrategy = \"failure-rate\"\nfailures = 1\ndelay = \"10ms\"";
    check(rate, 1, "not restarted: more than 1 failure(s) within 60s");
    // The same failure a third time opens the circuit, whatever the strategy would bear.
    let fixed = "[restart]\nstrategy = \"fixed-delay\"\nattempts = 9\ndelay = \"10ms\"";
    check(fixed, 2, "the same failure came three times");
}
