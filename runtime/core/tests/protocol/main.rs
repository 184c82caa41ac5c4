//! The protocol under search: the real `Domain` in every process, a model of broker and store around it
//! (`docs/exactly-once.md`). Two drivers: `explorer` takes every order of steps within bounds, `simulation`
//! takes random ones beyond them. The protocol must be clean, and every variant with a rule switched off must be found.
//!
//! `WEIR_SEED` and `WEIR_SCHEDULES` choose the schedules of the simulation. `cargo test … -- --ignored` searches further.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test may end at the first surprise, and say how long it took"
)]

mod broker;
mod explorer;
mod fingerprint;
mod process;
mod simulation;
mod world;

use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use explorer::search;
use simulation::Tally;
use weir_core::domain::{Rules, Settings};
use world::Config;

/// Bounds of the search: two processes, three rows in cuts of one or two, up to two copies of EndTxn, one DECLINE.
fn bounds() -> Config {
    let settings =
        Settings { takeover: true, interval: None, transaction_timeout: None, retain: 1, ..Settings::default() };
    Config {
        rows: 3,
        cut_max: 2,
        held_max: 0,
        claims_max: 2,
        resends_max: 1,
        declines_max: 1,
        slots: 2,
        starts_max: 2,
        is_pointer: false,
        deletes: true,
        stale_resolve: false,
        is_simulation: false,
        resets: false,
        settings,
    }
}

fn without(rules: Rules, mut config: Config) -> Config {
    config.settings.rules = rules;
    config
}

fn is_clean(config: &Config) {
    let started = Instant::now();
    let found = search(config, 12_000_000);
    eprintln!("{} states in {:.1?}", found.states, started.elapsed());
    if let Some((why, steps)) = found.violation {
        panic!("{why}, after {steps:#?}");
    }
}

/// The rule is needed: without it the search finds a state that breaks in this way.
fn breaks(config: &Config, how: &str) {
    let started = Instant::now();
    let found = search(config, 12_000_000);
    let (why, steps) = found.violation.expect("the search must find what the missing rule breaks");
    eprintln!("{} states in {:.1?}: {why}, after {} steps", found.states, started.elapsed(), steps.len());
    assert!(why.contains(how), "{why}");
}

#[test]
fn the_protocol_is_clean_in_every_order() {
    is_clean(&Config { claims_max: 3, resends_max: 2, ..bounds() });
}

/// Enough to claim an id again, slowly, and once more.
#[test]
fn the_protocol_is_clean_with_slow_claims_in_a_row() {
    is_clean(&Config { rows: 2, claims_max: 3, resends_max: 2, declines_max: 0, ..bounds() });
}

#[test]
fn the_protocol_is_clean_with_rows_held_behind_the_barrier() {
    is_clean(&Config { held_max: 1, ..bounds() });
}

#[test]
fn the_protocol_is_clean_on_a_pointer() {
    is_clean(&Config { is_pointer: true, held_max: 1, ..bounds() });
}

#[test]
fn with_names_of_epochs_only_and_everything_else_discarded_a_committed_snapshot_is_lost() {
    let rules = Rules { token_names: false, positive_list: false, ..Rules::default() };
    breaks(&without(rules, bounds()), "is gone");
}

#[test]
fn with_everything_else_discarded_a_committed_snapshot_is_lost() {
    breaks(&without(Rules { positive_list: false, ..Rules::default() }, bounds()), "is gone");
}

#[test]
fn with_names_of_epochs_only_a_zombie_overwrites_a_committed_snapshot() {
    let rules = Rules { token_names: false, ..Rules::default() };
    breaks(&without(rules, bounds()), "the snapshot of the newest commit holds");
}

#[test]
fn with_the_marker_read_before_fencing_rows_are_written_twice() {
    let rules = Rules { resolve_after_fence: false, ..Rules::default() };
    breaks(&without(rules, Config { deletes: false, ..bounds() }), "the sink holds [0, 0");
}

#[test]
fn with_a_stale_marker_rows_are_written_twice() {
    breaks(&Config { stale_resolve: true, deletes: false, ..bounds() }, "the sink holds [0, 0");
}

#[test]
fn with_an_id_used_again_after_a_slow_commit_half_an_epoch_is_committed() {
    breaks(&without(Rules { reclaim: false, ..Rules::default() }, bounds()), "the snapshot of the newest commit holds");
}

#[test]
fn with_an_id_used_again_after_a_slow_claim_half_an_epoch_is_committed() {
    let rules = Rules { refence_slow_claim: false, ..Rules::default() };
    breaks(&without(rules, bounds()), "the snapshot of the newest commit holds");
}

#[test]
fn with_an_id_fenced_but_not_claimed_the_old_owner_steals_it_from_its_successor() {
    let rules = Rules { claim_after_fence: false, ..Rules::default() };
    breaks(&without(rules, Config { deletes: false, ..bounds() }), "the sink holds [0, 1, 1");
}

/// Not in the page's table: a foreign CLAIM below a slow CLAIM of ours is overlooked if only the CLAIM right below the last
/// one is looked at. We go on with a token below the stranger's, and its sweep takes our files for orphans.
#[test]
fn with_slow_claims_not_verified_one_by_one_a_sweep_takes_a_committed_snapshot() {
    let rules = Rules { verify_each_claim: false, ..Rules::default() };
    let bounds = Config { rows: 2, claims_max: 3, resends_max: 2, declines_max: 0, ..bounds() };
    breaks(&without(rules, bounds), "is gone");
}

#[test]
#[ignore = "minutes"]
fn the_protocol_is_clean_with_three_processes() {
    is_clean(&Config { slots: 3, starts_max: 3, claims_max: 2, declines_max: 0, ..bounds() });
}

#[test]
#[ignore = "minutes"]
fn the_protocol_is_clean_with_more_of_everything() {
    is_clean(&Config { claims_max: 4, resends_max: 3, declines_max: 2, held_max: 1, ..bounds() });
}

fn simulated() -> Config {
    let settings = Settings {
        interval: Some(Duration::from_millis(200)),
        checkpoint_timeout: Duration::from_secs(2),
        transaction_timeout: Some(Duration::from_secs(10)),
        transaction_margin: Duration::from_secs(3),
        ..Settings::default()
    };
    Config {
        rows: 8,
        cut_max: 8,
        held_max: 2,
        claims_max: u16::MAX,
        resends_max: 20,
        declines_max: 3,
        slots: 3,
        starts_max: 12,
        is_simulation: true,
        settings,
        ..bounds()
    }
}

fn from_env(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

fn schedules(config: &Config, count: u64) {
    let seed = from_env("WEIR_SEED").unwrap_or_else(|| RandomState::new().hash_one(0));
    let count = from_env("WEIR_SCHEDULES").unwrap_or(count);
    let started = Instant::now();
    let mut tally = Tally::default();
    eprintln!("WEIR_SEED={seed} WEIR_SCHEDULES={count}");
    for index in 0..count {
        let seed = seed.wrapping_add(index);
        if let Err(why) = simulation::run(config, seed, &mut tally) {
            panic!("{why}; to see it again: WEIR_SEED={seed} WEIR_SCHEDULES=1");
        }
    }
    eprintln!("{count} schedules in {:.1?}: {tally:?}", started.elapsed());
}

#[test]
fn random_schedules_lose_nothing_and_double_nothing() {
    schedules(&simulated(), 20_000);
}

#[test]
fn random_schedules_on_a_pointer_lose_nothing_and_double_nothing() {
    schedules(&Config { is_pointer: true, ..simulated() }, 5_000);
}

#[test]
fn random_schedules_with_resets_never_name_a_snapshot_that_is_gone() {
    schedules(&Config { resets: true, ..simulated() }, 5_000);
}

/// The schedules are not harmless: they too find what breaks without a rule (the rarest two only the search finds).
#[test]
fn random_schedules_find_what_breaks_without_a_rule() {
    let rules = Rules::default();
    for config in [
        without(Rules { token_names: false, positive_list: false, ..rules }, simulated()),
        without(Rules { positive_list: false, ..rules }, simulated()),
        without(Rules { token_names: false, ..rules }, simulated()),
        without(Rules { resolve_after_fence: false, ..rules }, Config { deletes: false, ..simulated() }),
        Config { stale_resolve: true, deletes: false, ..simulated() },
        without(Rules { reclaim: false, ..rules }, simulated()),
        without(Rules { refence_slow_claim: false, ..rules }, simulated()),
    ] {
        let mut tally = Tally::default();
        let found = (0..20_000).find_map(|seed| simulation::run(&config, seed, &mut tally).err());
        assert!(found.is_some(), "{:?}", config.rules());
    }
}
