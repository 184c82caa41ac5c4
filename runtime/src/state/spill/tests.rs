//! A working set under a budget that a fraction of its keys fills, over a real database: whatever was evicted, a call sees
//! what a model says.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use tempfile::{TempDir, tempdir};
use weir_core::checkpoint::manifest::StateFiles;
use weir_core::ids::Token;
use weir_core::key_group::hash;

use super::*;
use crate::state::tests::seal_at;
use crate::state::{Database, DueTimers, Restoring, StateSpec, verify};
use crate::storage::{Local, Storage};

const BUDGET: usize = 256 << 10;

/// What a key should have: its value, its fields, its timer.
type Model = BTreeMap<u32, (Vec<u8>, BTreeSet<u8>, Option<i64>)>;

struct Small {
    dir: TempDir,
    state: KeyedState,
    database: Option<Database>,
    files: StateFiles,
    epoch: Epoch,
    token: Token,
    model: Model,
}

fn state(live: &Arc<Live>, budget: &Arc<Budget>) -> KeyedState {
    let spec = |name: &str, kind, id| StateSpec { name: name.into(), kind, version: 1, id };
    let mut state = KeyedState::new(vec![spec("last", Kind::Value, 0), spec("seen", Kind::Map, 1)], 2);
    state.keep_within(budget, Some(Arc::clone(live)));
    state
}

fn storage(dir: &std::path::Path) -> Arc<dyn Storage> {
    Arc::new(Local::new(dir))
}

impl Small {
    fn start() -> Small {
        let (dir, live) = (tempdir().unwrap(), Arc::default());
        let at = |name: &str| dir.path().join(name);
        let database = Database::create(storage(dir.path()), &at("live"), Token(1), Arc::clone(&live)).unwrap();
        Small {
            state: state(&live, &Budget::new(BUDGET)),
            dir,
            database: Some(database),
            files: StateFiles::default(),
            epoch: Epoch(0),
            token: Token(1),
            model: Model::new(),
        }
    }

    /// One call over `keys`, which all must be as the model says, and then are written.
    fn call(&mut self, keys: &[u32], write: &[u8]) {
        let bytes: Vec<[u8; 4]> = keys.iter().map(|key| key.to_be_bytes()).collect();
        let hashes: Vec<u64> = bytes.iter().map(|key| hash(key)).collect();
        let column: Column = bytes.iter().map(|key| Some(&key[..])).collect();
        self.state.admit(&hashes, &column).unwrap();
        self.state.begin_call(&hashes, &column);
        for ord in 0..self.state.distinct() {
            let key = u32::from_be_bytes(self.state.key(ord).try_into().unwrap());
            let known = self.model.get(&key);
            assert_eq!(self.state.value_get(0, ord), known.map(|known| &known.0[..]), "key {key}");
            let mut fields = BTreeSet::new();
            self.state.map_scan(1, ord, &[], None, &mut |field, _| fields.insert(field[0]));
            assert_eq!(fields, known.map(|known| known.1.clone()).unwrap_or_default(), "key {key}");
            match write.split_first() {
                None => {
                    self.model.remove(&key);
                    self.state.value_put(0, ord, None);
                    self.state.map_remove_range(1, ord, &[], None);
                    (0..4).for_each(|time| self.state.timer_unset(ord, time, 0));
                }
                Some((field, _)) => {
                    let known = self.model.entry(key).or_default();
                    self.state.value_put(0, ord, Some(write));
                    known.0 = write.to_vec();
                    self.state.map_put(1, ord, &[*field], Some(b"x"));
                    known.1.insert(*field);
                    if key.is_multiple_of(50) && known.2.is_none() {
                        known.2 = Some(i64::from(key % 4));
                        self.state.timer_set(ord, i64::from(key % 4), 0);
                    }
                }
            }
        }
        self.state.commit_call();
    }

    /// A barrier, the write behind it, and what the snapshot thread does behind the commit.
    fn checkpoint(&mut self) {
        self.epoch = self.epoch.next();
        let sealed = seal_at(&mut self.state, self.epoch);
        let database = self.database.as_mut().unwrap();
        self.files = database.write(self.epoch, vec![sealed]).unwrap();
        database.sync().unwrap();
        database.settle().unwrap();
    }

    fn restart(&mut self) {
        self.checkpoint();
        self.token = Token(self.token.0 + 1);
        let live = Arc::default();
        let at = |name: &str| self.dir.path().join(name);
        self.database = None;
        self.state = state(&live, &Budget::new(BUDGET));
        let verified = verify(&*storage(self.dir.path()), &self.files).unwrap();
        let into = Restoring { nodes: &mut [&mut self.state], stray: &|id| Err(id.to_string()), migrate: None };
        let restored = (self.epoch, &verified);
        self.database =
            Some(Database::restore(storage(self.dir.path()), &at("live"), self.token, live, restored, into).unwrap());
        assert_eq!(self.state.timers_pending(), self.model.values().filter(|known| known.2.is_some()).count());
    }

    /// Every key of the model once, in batches.
    fn read_all(&mut self) {
        let all = self.model.clone();
        for keys in all.keys().copied().collect::<Vec<u32>>().chunks(100) {
            let value = all[&keys[0]].0.clone();
            self.call(keys, &if value.is_empty() { vec![1] } else { value });
        }
    }
}

#[test]
fn what_a_small_budget_evicts_comes_back_and_after_a_restart_too() {
    let mut small = Small::start();
    for round in 0..6u8 {
        for from in (0..5_000).step_by(500) {
            small.call(&(from..from + 500).collect::<Vec<u32>>(), &[round + 1, from as u8]);
        }
        small.checkpoint();
        assert!(small.state.generations.is_copied());
    }
    small.read_all();
    let spilled = small.state.spilled();
    assert!(spilled.evicted > 5_000 && spilled.missed > 5_000, "{spilled:?}");
    // What is dirty has to stay; once it is written, some calls later all is within the budget.
    small.checkpoint();
    (0..10).for_each(|key| small.call(&[key], &[1]));
    assert!(small.state.bytes_used() < BUDGET * 5 / 4, "{}", small.state.bytes_used());
    small.restart();
    assert!(small.state.keys() < 4_000, "{} keys fit", small.state.keys());
    small.read_all();
    let mut due = DueTimers::default();
    assert!(small.state.due(10, 1_000, &mut due), "timers are where they were");
    assert_eq!(due.len(), 100);
}

#[test]
fn state_that_may_not_leave_memory_says_so_when_it_outgrows_it() {
    let mut small = Small::start();
    small.state.keep_within(&Budget::new(BUDGET), None);
    let full = (0..100u32).find_map(|batch| {
        let keys: Vec<[u8; 4]> = (0..500).map(|i| (batch * 500 + i).to_be_bytes()).collect();
        let hashes: Vec<u64> = keys.iter().map(|key| hash(key)).collect();
        let column: Column = keys.iter().map(|key| Some(&key[..])).collect();
        let admitted = small.state.admit(&hashes, &column);
        small.state.begin_call(&hashes, &column);
        (0..500).for_each(|ord| small.state.value_put(0, ord, Some(b"v")));
        small.state.commit_call();
        admitted.err()
    });
    insta::assert_snapshot!(full.unwrap().to_string());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn any_history_under_a_small_budget_equals_the_model(
        steps in prop::collection::vec(
            (0u32..6_000, 1usize..600, prop::collection::vec(1u8..5, 0..40), 0u8..24),
            10..60,
        ),
    ) {
        let mut small = Small::start();
        for (from, count, write, what) in steps {
            let keys: Vec<u32> = (from..from + count as u32).map(|key| key * 7 % 6_000).collect();
            small.call(&keys, &write);
            match what {
                0..8 => small.checkpoint(),
                8 => small.restart(),
                _ => {}
            }
        }
        small.restart();
        small.read_all();
    }
}
