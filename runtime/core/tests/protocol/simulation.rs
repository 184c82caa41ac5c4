//! Random schedules beyond the bounds of the search: more rows, processes that crash and come back, zombies that sleep and
//! wake, held and doubled EndTxn, lost answers, transaction time-outs, DECLINE, stops, ends, time. After each schedule the
//! world is healed, and the last one or two processes must bring every row out: that the protocol is live is checked too.

use crate::world::{Config, Step, World};

/// What a schedule did, so that a run can show that it tried everything.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Tally {
    pub(crate) steps: u64,
    pub(crate) crashes: u64,
    pub(crate) naps: u64,
    pub(crate) resends: u64,
    pub(crate) late: u64,
    pub(crate) timeouts: u64,
    pub(crate) declines: u64,
    pub(crate) commits: u64,
}

/// SplitMix64: a schedule is its seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn is_one_in(&mut self, many: u64) -> bool {
        self.below(many) == 0
    }
}

/// Steps before a schedule is healed. Consecutive seeds crash everything at consecutive steps, so that every step is hit.
const STEPS: u64 = 160;
const HEALING_STEPS_MAX: u32 = 20_000;

/// Runs one schedule.
pub(crate) fn run(config: &Config, seed: u64, tally: &mut Tally) -> Result<(), String> {
    let mut random = Random(seed);
    let mut config = config.clone();
    config.settings.retain = 1 + random.below(3) as usize;
    config.settings.takeover = random.is_one_in(2);
    let mut world = World::new(&config);
    // A sleeping slot takes no step until then: a process that is stopped, or its whole host.
    let mut asleep = vec![0; config.slots];
    let crash_at = seed % STEPS;
    for at in 0..STEPS {
        if at == crash_at {
            crash_all(&mut world, &config, tally)?;
        }
        if random.is_one_in(25) {
            let slot = random.below(config.slots as u64) as usize;
            asleep[slot] = at + if random.is_one_in(4) { STEPS } else { random.below(60) };
            tally.naps += 1;
        }
        let steps = world.steps(&config);
        let awake = steps.into_iter().filter(|step| slot_of(*step).is_none_or(|slot| asleep[slot] <= at));
        let step = choose(awake.chain([Step::Wait(1), Step::Wait(40), Step::Wait(900)]), &mut random);
        count(step, &world, tally);
        world.apply(step, &config)?;
    }
    heal(&mut world, config, &mut random, tally)
}

/// Nothing fails any more but that EndTxn may still be sent twice, and one or two new processes start: between them they
/// must bring every row out, however they get into each other's way.
fn heal(world: &mut World, mut config: Config, random: &mut Random, tally: &mut Tally) -> Result<(), String> {
    crash_all(world, &config, tally)?;
    config.starts_max = world.started + 1 + random.below(2) as u16;
    config.resends_max = world.resends + random.below(4) as u8;
    config.declines_max = 0;
    // One process may still sleep through what the other does, and wake up.
    let naps: Vec<(u32, usize)> = (0..4).map(|_| (random.below(150) as u32, random.below(2) as usize)).collect();
    for at in 0..HEALING_STEPS_MAX {
        let mut steps = world.steps(&config);
        if steps.is_empty() && world.slots.iter().all(Option::is_none) {
            if !world.is_reset() {
                return judge_end(world, &config, tally);
            }
            // The last process found the end committed and left; then the reset of one that had crashed before it came
            // through. That is an order of the two like any other: whoever runs next starts anew.
            config.starts_max += 1;
            continue;
        }
        let sleeps = |slot| naps.iter().any(|(from, who)| *who == slot && (*from..from + 100).contains(&at));
        steps.retain(|step| is_benign(step) && !slot_of(*step).is_some_and(sleeps));
        let waits = [Step::Wait(1), Step::Wait(90)];
        let step = if steps.is_empty() { Step::Wait(200) } else { choose(steps.into_iter().chain(waits), random) };
        world.apply(step, &config)?;
    }
    Err("the last processes do not come to an end".to_owned())
}

fn is_benign(step: &Step) -> bool {
    let is_malign = matches!(
        step,
        Step::Crash(_) | Step::Stop(_) | Step::Timeout | Step::NoSpace(_) | Step::Deliver(_, false) | Step::Trigger(_)
    );
    !is_malign
}

fn judge_end(world: &World, config: &Config, tally: &mut Tally) -> Result<(), String> {
    tally.commits += world.broker.log.len() as u64;
    if world.broker.sink.len() != usize::from(config.rows) {
        let rows = &world.broker.sink;
        return Err(format!("the last process ended as {:?}, and the sink holds only {rows:?}", world.last_end));
    }
    Ok(())
}

fn crash_all(world: &mut World, config: &Config, tally: &mut Tally) -> Result<(), String> {
    for slot in 0..config.slots {
        if world.slots[slot].is_some() {
            tally.crashes += 1;
            world.apply(Step::Crash(slot), config)?;
        }
    }
    Ok(())
}

fn slot_of(step: Step) -> Option<usize> {
    match step {
        Step::Row(slot)
        | Step::Trigger(slot)
        | Step::Stop(slot)
        | Step::End(slot)
        | Step::Act(slot)
        | Step::ActStale(slot, _)
        | Step::Write(slot)
        | Step::NoSpace(slot)
        | Step::Resend(slot) => Some(slot),
        _ => None,
    }
}

fn weight(step: Step) -> u64 {
    match step {
        Step::Act(_) => 120,
        Step::Row(_) | Step::Write(_) => 80,
        Step::Complete => 60,
        Step::Deliver(_, true) => 50,
        Step::Start(_) => 20,
        Step::Deliver(_, false) | Step::Resend(_) | Step::End(_) | Step::ActStale(..) => 10,
        Step::Trigger(_) | Step::NoSpace(_) | Step::Wait(_) => 8,
        Step::Crash(_) | Step::Timeout => 2,
        Step::Stop(_) => 1,
    }
}

fn choose(steps: impl Iterator<Item = Step>, random: &mut Random) -> Step {
    let steps: Vec<(Step, u64)> = steps.map(|step| (step, weight(step))).collect();
    let mut at = random.below(steps.iter().map(|(_, weight)| weight).sum());
    for (step, weight) in &steps {
        if at < *weight {
            return *step;
        }
        at -= weight;
    }
    Step::Wait(1)
}

fn count(step: Step, world: &World, tally: &mut Tally) {
    tally.steps += 1;
    match step {
        Step::Crash(_) => tally.crashes += 1,
        Step::Resend(_) => tally.resends += 1,
        Step::Timeout => tally.timeouts += 1,
        Step::NoSpace(_) => tally.declines += 1,
        Step::Deliver(index, _) if !world.is_awaited(world.network[index]) => tally.late += 1,
        _ => {}
    }
}
