//! The working set against a model that is too simple to be wrong, under random calls, discards, seals and restores.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use weir_core::ids::Epoch;
use weir_core::key_group::hash;
use weir_core::record::Column;

use super::*;

const TIMERS: u16 = 9;

fn declared() -> Vec<StateSpec> {
    let spec = |name: &str, kind, id| StateSpec { name: name.into(), kind, version: 1, id };
    vec![
        spec("count", Kind::Value, 1),
        spec("seen", Kind::Map, 2),
        spec("last", Kind::Value, 5),
        spec("more", Kind::Map, 6),
    ]
}

fn empty() -> KeyedState {
    KeyedState::new(declared(), TIMERS)
}

const VALUES: [usize; 2] = [0, 2];
const MAPS: [usize; 2] = [1, 3];

type Bytes = Vec<u8>;

/// What should be there.
#[derive(Debug, Clone, Default, PartialEq)]
struct Model {
    values: BTreeMap<(usize, Bytes), Bytes>,
    fields: BTreeMap<(usize, Bytes, Bytes), Bytes>,
    timers: BTreeSet<(Bytes, i64, u64)>,
}

#[derive(Debug, Clone)]
enum Write {
    Put(bool, usize, Option<Bytes>),
    Field(bool, usize, Bytes, Option<Bytes>),
    RemoveRange(bool, usize, Bytes, Option<Bytes>),
    Set(usize, i64, u64),
    Unset(usize, i64, u64),
}

#[derive(Debug, Clone)]
enum Step {
    Call {
        keys: Vec<Bytes>,
        writes: Vec<Write>,
        commit: bool,
    },
    Fire {
        watermark: i64,
        max: usize,
        skip: bool,
        commit: bool,
        again: bool,
    },
    /// A barrier.
    Close,
    /// So many entries of the closed generation are copied.
    Copy(usize),
    Restore,
}

fn key() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        4 => (0u8..6).prop_map(|i| vec![b'k', i]),
        1 => (0u8..3).prop_map(|i| vec![0; i as usize]),
        1 => (0u8..3).prop_map(|i| [&[b'l'; 40][..], &[i]].concat()),
        1 => Just(vec![b'm'; 36]),
    ]
}

fn value() -> impl Strategy<Value = Option<Bytes>> {
    prop_oneof![
        2 => Just(None),
        3 => prop::collection::vec(any::<u8>(), 0..12).prop_map(Some),
        1 => prop::collection::vec(any::<u8>(), 28..70).prop_map(Some),
    ]
}

fn name() -> impl Strategy<Value = Bytes> {
    prop::collection::vec(prop_oneof![Just(0u8), Just(b'a'), Just(b'b'), Just(0xff)], 0..3)
}

fn write() -> impl Strategy<Value = Write> {
    let at = 0..8usize;
    prop_oneof![
        4 => (any::<bool>(), at.clone(), value()).prop_map(|(s, o, v)| Write::Put(s, o, v)),
        4 => (any::<bool>(), at.clone(), name(), value()).prop_map(|(s, o, f, v)| Write::Field(s, o, f, v)),
        1 => (any::<bool>(), at.clone(), name(), prop::option::of(name()))
            .prop_map(|(s, o, f, e)| Write::RemoveRange(s, o, f, e)),
        4 => (at.clone(), -3i64..6, 0u64..3).prop_map(|(o, t, g)| Write::Set(o, t, g)),
        2 => (at, -3i64..6, 0u64..3).prop_map(|(o, t, g)| Write::Unset(o, t, g)),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (prop::collection::vec(key(), 1..8), prop::collection::vec(write(), 0..12), prop::bool::weighted(0.7))
            .prop_map(|(keys, writes, commit)| Step::Call { keys, writes, commit }),
        2 => (-4i64..7, 1..5usize, prop::bool::weighted(0.2), prop::bool::weighted(0.7), any::<bool>())
            .prop_map(|(watermark, max, skip, commit, again)| Step::Fire { watermark, max, skip, commit, again }),
        2 => Just(Step::Close),
        2 => (0..4usize).prop_map(Step::Copy),
        1 => Just(Step::Restore),
    ]
}

/// The working set, the database below it as a map, and the model.
struct Pair {
    state: KeyedState,
    database: BTreeMap<Bytes, Bytes>,
    model: Model,
    /// What was there at the last barrier, while the generation is being copied.
    closed: Option<Model>,
}

impl Pair {
    fn take(&mut self, step: Step) {
        match step {
            Step::Call { keys, writes, commit } => self.call(&keys, &writes, commit),
            Step::Fire { watermark, max, skip, commit, again } => self.fire(watermark, max, skip, commit, again),
            Step::Close => self.close(),
            Step::Copy(entries) => self.copy(entries),
            Step::Restore => self.restore(),
        }
        assert_eq!(self.state.entries(), self.model.values.len() + self.model.fields.len());
        assert_eq!(self.state.timers_pending(), self.model.timers.len());
    }

    fn call(&mut self, keys: &[Bytes], writes: &[Write], commit: bool) {
        let hashes: Vec<u64> = keys.iter().map(|k| hash(k)).collect();
        let column: Column = keys.iter().map(|k| Some(&k[..])).collect();
        self.state.begin_call(&hashes, &column);
        for (slot, key) in keys.iter().enumerate() {
            assert_eq!(self.state.key(self.state.ordinals()[slot]), key);
        }
        let distinct: BTreeSet<_> = keys.iter().collect();
        assert_eq!(self.state.distinct() as usize, distinct.len());

        let mut model = self.model.clone();
        for write in writes {
            apply(&mut self.state, &mut model, write, keys.len());
            compare_call(&self.state, &model);
        }
        self.end(model, commit);
    }

    fn end(&mut self, model: Model, commit: bool) {
        if commit {
            self.state.commit_call();
            self.model = model;
        } else {
            self.state.discard_call();
        }
    }

    fn fire(&mut self, watermark: i64, max: usize, skip: bool, commit: bool, again: bool) {
        let mut due = DueTimers::default();
        let any = self.state.due(watermark, max, &mut due);
        let mut first: BTreeMap<Bytes, (i64, u64)> = BTreeMap::new();
        for (key, time, tag) in self.model.timers.iter().filter(|t| t.1 <= watermark) {
            first.entry(key.clone()).or_insert((*time, *tag));
        }
        assert_eq!(any, !first.is_empty());
        assert_eq!(due.len(), first.len().min(max));
        assert!(due.times.is_sorted());
        // The earliest ones are chosen: nothing that is left out is earlier than what is listed.
        let mut times: Vec<i64> = first.values().map(|t| t.0).collect();
        times.sort_unstable();
        assert_eq!(due.times, times[..due.len()]);
        for i in 0..due.len() {
            assert_eq!(first[due.keys.get(i).unwrap()], (due.times[i], due.tags[i]));
            assert_eq!(due.hashes[i], hash(due.keys.get(i).unwrap()));
        }
        if !any {
            return;
        }
        if skip {
            let key = due.keys.get(0).unwrap();
            self.state.drop_timer(due.hashes[0], key, due.times[0], due.tags[0]);
            self.model.timers.remove(&(key.to_vec(), due.times[0], due.tags[0]));
            return;
        }
        let range = due.len() / 2..due.len();
        let mut model = self.model.clone();
        self.state.begin_due(&due, range.clone());
        for (ord, at) in range.enumerate() {
            assert_eq!(self.state.ordinals()[ord], ord as u32);
            let timer = (due.keys.get(at).unwrap().to_vec(), due.times[at], due.tags[at]);
            assert_eq!(self.state.key(ord as u32), timer.0);
            if again {
                self.state.timer_set(ord as u32, due.times[at], due.tags[at]);
            } else {
                model.timers.remove(&timer);
            }
            self.state.value_put(0, ord as u32, Some(b"fired"));
            model.values.insert((0, timer.0), b"fired".to_vec());
        }
        self.end(model, commit);
    }

    fn close(&mut self) {
        self.copy(usize::MAX);
        self.state.close_generation(Epoch(1));
        self.closed = Some(self.model.clone());
    }

    /// Once all of the generation is copied, the database holds what was there at the barrier, whatever was written since.
    fn copy(&mut self, entries: usize) {
        let mut left = entries;
        let is_over = || {
            left -= 1;
            left == 0
        };
        if entries == 0 || !self.state.copy_generation(is_over) {
            return;
        }
        let Some(closed) = self.closed.take() else { return };
        let sealed = self.state.take_generation();
        self.write(&sealed);
        let mut loaded = empty();
        for (key, value) in &self.database {
            loaded.load(key, value).unwrap();
        }
        let mut pair = Pair { state: loaded, database: BTreeMap::new(), model: closed, closed: None };
        pair.compare();
    }

    fn seal(&mut self) {
        self.close();
        self.copy(usize::MAX);
        assert!(seal(&mut self.state).is_empty(), "a second seal finds nothing");
        assert_eq!(self.database.len(), self.state.entries() + self.state.timers_pending());
    }

    fn write(&mut self, sealed: &SealedState) {
        let mut keys = BTreeSet::new();
        for (key, value) in (0..sealed.len()).map(|i| sealed.get(i)) {
            assert!(keys.insert(key.to_vec()), "a key is sealed once");
            match value {
                Some(value) => {
                    self.database.insert(key.to_vec(), value.to_vec());
                }
                None => assert!(self.database.remove(key).is_some(), "a tombstone is for what the database holds"),
            }
        }
    }

    fn restore(&mut self) {
        self.seal();
        self.state = empty();
        for (key, value) in &self.database {
            self.state.load(key, value).unwrap();
        }
        self.compare();
    }

    /// Everything that the model holds is there, and nothing else.
    fn compare(&mut self) {
        let model = &self.model;
        let keys: BTreeSet<&Bytes> = (model.values.keys().map(|k| &k.1))
            .chain(model.fields.keys().map(|k| &k.1))
            .chain(model.timers.iter().map(|t| &t.0))
            .collect();
        let hashes: Vec<u64> = keys.iter().map(|k| hash(k)).collect();
        let column: Column = keys.iter().map(|k| Some(&k[..])).collect();
        assert_eq!(self.state.keys(), keys.len(), "a key without state or timer leaves no entry");
        self.state.begin_call(&hashes, &column);
        compare_call(&self.state, model);
        self.state.discard_call();
        assert_eq!(self.state.keys(), keys.len());
        let mut by_key = drain(&mut self.state);
        // Per key in order of (time, tag); between keys a round may run ahead.
        by_key.sort_by(|a, b| a.0.cmp(&b.0));
        assert_eq!(by_key, self.model.timers.iter().cloned().collect::<Vec<_>>());
    }
}

/// A barrier, and all that it cut off.
pub(super) fn seal(state: &mut KeyedState) -> SealedState {
    seal_at(state, Epoch(1))
}

pub(super) fn seal_at(state: &mut KeyedState, epoch: Epoch) -> SealedState {
    state.close_generation(epoch);
    assert!(state.copy_generation(|| false));
    state.take_generation()
}

/// All timers in the order in which they fire, and puts them back.
fn drain(state: &mut KeyedState) -> Vec<(Bytes, i64, u64)> {
    let (mut due, mut fired) = (DueTimers::default(), Vec::new());
    while state.due(i64::MAX, 3, &mut due) {
        let first = fired.len();
        fired.extend((0..due.len()).map(|i| (due.keys.get(i).unwrap().to_vec(), due.times[i], due.tags[i])));
        state.begin_due(&due, 0..fired.len() - first);
        state.commit_call();
    }
    for (key, time, tag) in &fired {
        state.begin_call(&[hash(key)], &[Some(&key[..])].into_iter().collect());
        state.timer_set(0, *time, *tag);
        state.commit_call();
    }
    fired
}

fn apply(state: &mut KeyedState, model: &mut Model, write: &Write, slots: usize) {
    let ord_of = |state: &KeyedState, at: &usize| state.ordinals()[at % slots];
    let pick = |of: [usize; 2], second: &bool| of[usize::from(*second)];
    match write {
        Write::Put(second, at, value) => {
            let (s, ord) = (pick(VALUES, second), ord_of(state, at));
            state.value_put(s, ord, value.as_deref());
            let key = (s, state.key(ord).to_vec());
            match value {
                Some(value) => model.values.insert(key, value.clone()),
                None => model.values.remove(&key),
            };
        }
        Write::Field(second, at, field, value) => {
            let (s, ord) = (pick(MAPS, second), ord_of(state, at));
            state.map_put(s, ord, field, value.as_deref());
            let key = (s, state.key(ord).to_vec(), field.clone());
            match value {
                Some(value) => model.fields.insert(key, value.clone()),
                None => model.fields.remove(&key),
            };
        }
        Write::RemoveRange(second, at, first, end) => {
            let (s, ord) = (pick(MAPS, second), ord_of(state, at));
            state.map_remove_range(s, ord, first, end.as_deref());
            let key = state.key(ord).to_vec();
            let inside = |f: &Bytes| f >= first && end.as_ref().is_none_or(|end| f < end);
            model.fields.retain(|(state, k, f), _| !(*state == s && *k == key && inside(f)));
        }
        Write::Set(at, time, tag) => {
            let ord = ord_of(state, at);
            state.timer_set(ord, *time, *tag);
            model.timers.insert((state.key(ord).to_vec(), *time, *tag));
        }
        Write::Unset(at, time, tag) => {
            let ord = ord_of(state, at);
            state.timer_unset(ord, *time, *tag);
            model.timers.remove(&(state.key(ord).to_vec(), *time, *tag));
        }
    }
}

fn compare_call(state: &KeyedState, model: &Model) {
    for ord in 0..state.distinct() {
        let key = state.key(ord).to_vec();
        for s in VALUES {
            assert_eq!(state.value_get(s, ord), model.values.get(&(s, key.clone())).map(|v| &v[..]));
        }
        for s in MAPS {
            let mut found = Vec::new();
            state.map_scan(s, ord, b"", None, &mut |f, v| {
                found.push((f.to_vec(), v.to_vec()));
                true
            });
            let expected: Vec<_> = (model.fields.iter())
                .filter(|((state, k, _), _)| *state == s && *k == key)
                .map(|((.., f), v)| (f.clone(), v.clone()))
                .collect();
            assert_eq!(found, expected);
            for (field, value) in &expected {
                assert_eq!(state.map_get(s, ord, field), Some(&value[..]));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_of_calls_seals_and_restores_equals_the_model(steps in prop::collection::vec(step(), 1..40)) {
        let mut pair = Pair { state: empty(), database: BTreeMap::new(), model: Model::default(), closed: None };
        steps.into_iter().for_each(|step| pair.take(step));
        pair.restore();
    }
}

fn call_over(state: &mut KeyedState, keys: &[&[u8]]) {
    let hashes: Vec<u64> = keys.iter().map(|k| hash(k)).collect();
    state.begin_call(&hashes, &keys.iter().map(|k| Some(*k)).collect());
}

#[test]
fn keys_that_hold_nothing_are_gone_after_the_call() {
    let mut state = empty();
    for round in 0..1000u32 {
        let keys: Vec<[u8; 4]> = (0..100).map(|i| (round * 100 + i).to_be_bytes()).collect();
        call_over(&mut state, &keys.iter().map(|k| &k[..]).collect::<Vec<_>>());
        for ord in 0..100 {
            state.value_put(0, ord, Some(b"x"));
        }
        if round % 2 == 0 {
            (0..100).for_each(|ord| state.value_put(0, ord, None));
            state.commit_call();
        } else {
            state.discard_call();
        }
        assert_eq!(state.keys(), 0);
    }
    assert!(state.bytes() < 100_000, "{}", state.bytes());
    assert!(seal(&mut state).is_empty(), "what never reached a seal leaves nothing");
}

#[test]
fn a_cleared_value_of_the_database_leaves_one_tombstone_and_then_nothing() {
    let mut state = empty();
    call_over(&mut state, &[b"a"]);
    state.value_put(0, 0, Some(b"1"));
    state.timer_set(0, 5, 0);
    state.commit_call();
    assert_eq!(seal(&mut state).len(), 2);
    call_over(&mut state, &[b"a"]);
    state.value_put(0, 0, None);
    state.timer_unset(0, 5, 0);
    state.commit_call();
    assert_eq!(state.keys(), 1, "the tombstones are still to be written");
    let sealed = seal(&mut state);
    assert_eq!((0..sealed.len()).filter(|i| sealed.get(*i).1.is_none()).count(), 2);
    assert_eq!(state.keys(), 0);
    assert!(seal(&mut state).is_empty());
}

#[test]
fn a_timer_set_again_while_it_fires_stays() {
    let mut state = empty();
    call_over(&mut state, &[b"a"]);
    state.timer_set(0, 5, 1);
    state.commit_call();
    let mut due = DueTimers::default();
    assert!(!state.due(4, 10, &mut due));
    assert!(state.due(5, 10, &mut due));
    state.begin_due(&due, 0..1);
    assert_eq!(state.timers_pending(), 0, "within the call it is gone");
    state.timer_set(0, 5, 1);
    state.commit_call();
    assert!(state.due(5, 10, &mut due));
}

#[test]
fn an_entry_that_no_state_declares_is_refused_and_so_is_one_under_another_group() {
    let mut state = empty();
    let mut bytes = Vec::new();
    key::value(&mut bytes, weir_core::key_group::KeyGroup::of_hash(hash(b"k")), 77, b"k");
    assert!(state.load(&bytes, b"v").unwrap_err().to_string().contains("id 77"));
    bytes.clear();
    key::value(&mut bytes, weir_core::key_group::KeyGroup(200), 1, b"k");
    assert!(state.load(&bytes, b"v").unwrap_err().to_string().contains("lies under group 200"));
}
