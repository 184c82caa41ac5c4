//! What a host has, in memory: states, timers, rows. Answers the imports of the running call and panics, as the host traps,
//! on what the contract forbids.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use super::record::{Rejected, TestRow};
use crate::column::Column;
use crate::output::Rows;
use crate::record::NONE;
use crate::{Descriptor, Domain};

pub(crate) type Item = Option<Vec<u8>>;

thread_local! {
    /// The world of the call that runs on this thread.
    static RUNNING: RefCell<Option<World>> = const { RefCell::new(None) };
}

/// The world of the running call. Panics outside one.
pub(crate) fn with<R>(f: impl FnOnce(&mut World) -> R) -> R {
    RUNNING.with_borrow_mut(|world| f(world.as_mut().expect("imports are called during a call of `TestHost`")))
}

#[derive(Default)]
pub(crate) struct World {
    pub(crate) descriptor: Descriptor,
    pub(crate) watermark: i64,
    pub(crate) now: i64,
    pub(crate) secrets: BTreeMap<String, String>,
    pub(super) log: Vec<String>,
    pub(super) kept: Kept,
    pub(super) call: Call,
}

/// What a call changes, and what is as it was when the call fails.
#[derive(Default, Clone)]
pub(super) struct Kept {
    pub(super) values: BTreeMap<(u32, Vec<u8>), Vec<u8>>,
    pub(super) maps: BTreeMap<(u32, Vec<u8>, Vec<u8>), Vec<u8>>,
    /// In the order in which they fire.
    pub(super) timers: BTreeSet<(Domain, i64, Item, u64)>,
    pub(super) rows: BTreeMap<u32, Vec<TestRow>>,
    pub(super) rejected: Vec<Rejected>,
    pub(super) metrics: BTreeMap<u32, f64>,
}

/// What the running call was given.
#[derive(Default)]
pub(super) struct Call {
    pub(super) slots: Vec<Slot>,
    /// Keys by ordinal.
    pub(super) ord_keys: Vec<Item>,
    pub(super) in_process: bool,
}

#[derive(Default, Clone)]
pub(crate) struct Slot {
    pub(crate) time: i64,
    pub(crate) key: Item,
    pub(crate) value: Item,
    pub(crate) headers: Vec<u8>,
    pub(crate) origin: Option<(u32, i64)>,
}

pub(super) struct DueTimer {
    pub(super) time: i64,
    pub(super) key: Item,
    pub(super) tag: u64,
}

impl World {
    pub(super) fn new(descriptor: Descriptor) -> World {
        World { descriptor, watermark: i64::MIN, ..World::default() }
    }

    /// Runs `f` with this world as the one that answers.
    pub(super) fn during<R>(&mut self, f: impl FnOnce() -> R) -> R {
        RUNNING.set(Some(std::mem::take(self)));
        let result = f();
        *self = RUNNING.take().expect("it was put there");
        result
    }

    pub(crate) fn process_slots(&self, what: &str) -> &[Slot] {
        assert!(self.call.in_process, "`{what}` is for `process` only");
        &self.call.slots
    }

    pub(crate) fn forward(&mut self, port: u32, slot: u32) {
        let Slot { time, key, value, headers, .. } = self.process_slots("forward")[slot as usize].clone();
        self.row(port, TestRow { time, key, value, headers, partition: None });
    }

    pub(crate) fn emit(&mut self, port: u32, rows: &Rows<'_>) {
        for (i, slot) in rows.slots.iter().enumerate() {
            let from = if *slot == NONE { None } else { Some(self.call.slots[*slot as usize].clone()) };
            assert!(
                !rows.values.is_empty() || (from.is_some() && self.call.in_process),
                "a row outside `process` has no value to inherit: give it one"
            );
            assert!(
                from.is_some() || !(rows.times.is_empty() || rows.keys.is_empty()),
                "a row of `on_watermark` or `on_end` inherits nothing: give it a time and a key"
            );
            let from = from.unwrap_or_default();
            let own = |column: Column<'_>, inherited: Item| {
                if column.is_empty() { inherited } else { column.get(i).map(<[u8]>::to_vec) }
            };
            let row = TestRow {
                time: rows.times.get(i).copied().unwrap_or(from.time),
                key: own(rows.keys, from.key),
                value: own(rows.values, from.value),
                headers: own(rows.headers, Some(from.headers)).unwrap_or_default(),
                partition: rows.partitions.get(i).copied(),
            };
            self.row(port, row);
        }
    }

    fn row(&mut self, port: u32, row: TestRow) {
        assert!((port as usize) < self.descriptor.outputs.len(), "the descriptor has no output {port}");
        self.kept.rows.entry(port).or_default().push(row);
    }

    pub(crate) fn reject(&mut self, slot: u32, code: &str, message: &str) {
        assert!((slot as usize) < self.process_slots("reject").len(), "no record in slot {slot}");
        self.kept.rejected.push(Rejected { slot, code: code.into(), message: message.into() });
    }

    pub(crate) fn value_get(&self, state: u32, ords: &[u32]) -> Vec<Item> {
        self.declared(state, "value");
        self.keys(ords).into_iter().map(|key| self.kept.values.get(&(state, key)).cloned()).collect()
    }

    pub(crate) fn value_put(&mut self, state: u32, ords: &[u32], values: Column<'_>) {
        self.declared(state, "value");
        let keys = self.keys(ords);
        assert_eq!(keys.len(), values.len(), "one value per key");
        for (key, value) in keys.into_iter().zip(values.iter()) {
            match value {
                Some(value) => drop(self.kept.values.insert((state, key), value.to_vec())),
                None => drop(self.kept.values.remove(&(state, key))),
            }
        }
    }

    pub(crate) fn map_get(&self, state: u32, ords: &[u32], fields: Column<'_>) -> Vec<Item> {
        self.declared(state, "map");
        let pairs = self.keys(ords).into_iter().zip(fields.iter());
        pairs
            .map(|(key, field)| self.kept.maps.get(&(state, key, field.unwrap_or_default().to_vec())).cloned())
            .collect()
    }

    pub(crate) fn map_put(&mut self, state: u32, ords: &[u32], fields: Column<'_>, values: Column<'_>) {
        self.declared(state, "map");
        for ((key, field), value) in self.keys(ords).into_iter().zip(fields.iter()).zip(values.iter()) {
            let at = (state, key, field.unwrap_or_default().to_vec());
            match value {
                Some(value) => drop(self.kept.maps.insert(at, value.to_vec())),
                None => drop(self.kept.maps.remove(&at)),
            }
        }
    }

    fn declared(&self, state: u32, kind: &str) {
        let declared = self.descriptor.states.get(state as usize);
        let declared = declared.unwrap_or_else(|| panic!("state {state} is not in the descriptor"));
        assert_eq!(declared.kind, kind, "kind of state `{}`", declared.name);
    }

    /// No ordinals stand for all of the call.
    fn keys(&self, ords: &[u32]) -> Vec<Vec<u8>> {
        let key = |ord: usize| self.call.ord_keys[ord].clone().unwrap_or_default();
        match ords {
            [] => (0..self.call.ord_keys.len()).map(key).collect(),
            ords => ords.iter().map(|ord| key(*ord as usize)).collect(),
        }
    }

    pub(crate) fn set_timer(&mut self, domain: Domain, ord: u32, time: i64, tag: u64) {
        let callback = if domain == Domain::Event { "timers" } else { "processing-timers" };
        assert!(
            self.descriptor.callbacks.contains(&callback),
            "a timer was set, but the descriptor does not name the callback \"{callback}\""
        );
        let key = self.call.ord_keys[ord as usize].clone();
        self.kept.timers.insert((domain, time, key, tag));
    }

    pub(crate) fn unset_timer(&mut self, domain: Domain, ord: u32, time: i64, tag: u64) {
        let key = self.call.ord_keys[ord as usize].clone();
        self.kept.timers.remove(&(domain, time, key, tag));
    }

    /// Takes the timers of the next round: those up to `until`, at most one per key, the earliest.
    pub(super) fn take_due(&mut self, domain: Domain, until: i64) -> Vec<DueTimer> {
        let mut due: Vec<DueTimer> = Vec::new();
        let mut keys = BTreeSet::new();
        for (_, time, key, tag) in self.kept.timers.iter().filter(|timer| timer.0 == domain && timer.1 <= until) {
            if keys.insert(key) {
                due.push(DueTimer { time: *time, key: key.clone(), tag: *tag });
            }
        }
        for timer in &due {
            self.kept.timers.remove(&(domain, timer.time, timer.key.clone(), timer.tag));
        }
        due
    }

    pub(super) fn put_back(&mut self, domain: Domain, timer: DueTimer) {
        self.kept.timers.insert((domain, timer.time, timer.key, timer.tag));
    }

    pub(crate) fn log(&mut self, level: u32, message: &str, fields: &[(&str, String)]) {
        let level = ["trace", "debug", "info", "warn", "error"][level as usize];
        let fields: String = fields.iter().map(|(name, value)| format!(" {name}={value}")).collect();
        self.log.push(format!("{level} {message}{fields}"));
    }

    pub(crate) fn metric(&mut self, metric: u32, change: impl FnOnce(&mut f64)) {
        assert!((metric as usize) < self.descriptor.metrics.len(), "metric {metric} is not in the descriptor");
        change(self.kept.metrics.entry(metric).or_default());
    }
}
