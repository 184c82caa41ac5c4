//! The bounded exhaustive search: breadth first over every order of steps, each state judged, each visited once (states are
//! told apart by a 128-bit fingerprint). The protocol itself must be clean; every weakened variant must be found.

use std::collections::{HashSet, VecDeque};
use std::hash::Hash;
use std::sync::Arc;

use crate::fingerprint::Fingerprint;
use crate::world::{Config, Step, World};

/// What a search found.
pub(crate) struct Found {
    /// States seen.
    pub(crate) states: usize,
    /// The first state that breaks a rule, and how it came about.
    pub(crate) violation: Option<(String, Vec<Step>)>,
}

struct Trace {
    step: Step,
    before: Option<Arc<Trace>>,
}

/// Searches until a rule breaks, nothing is left, or `states_max` states were seen.
pub(crate) fn search(config: &Config, states_max: usize) -> Found {
    let first = World::new(config);
    let mut seen = HashSet::from([fingerprint(&first)]);
    let mut queue: VecDeque<(World, Option<Arc<Trace>>)> = VecDeque::from([(first, None)]);
    while let Some((world, trace)) = queue.pop_front() {
        for step in world.steps(config) {
            let mut next = world.clone();
            let verdict = next.apply(step, config);
            if verdict.is_ok() && !seen.insert(fingerprint(&next)) {
                continue;
            }
            let trace = Some(Arc::new(Trace { step, before: trace.clone() }));
            if let Err(why) = verdict {
                return Found { states: seen.len(), violation: Some((why, unroll(trace))) };
            }
            queue.push_back((next, trace));
        }
        assert!(seen.len() <= states_max, "the bounds are too wide: more than {states_max} states");
    }
    Found { states: seen.len(), violation: None }
}

fn unroll(trace: Option<Arc<Trace>>) -> Vec<Step> {
    let mut steps: Vec<Step> =
        std::iter::successors(trace.as_deref(), |trace| trace.before.as_deref()).map(|trace| trace.step).collect();
    steps.reverse();
    steps
}

fn fingerprint(world: &World) -> u128 {
    let mut fingerprint = Fingerprint::default();
    world.hash(&mut fingerprint);
    fingerprint.both()
}
