//! A host for `cargo test`: runs an operator natively, with state, timers and outputs in memory and the rules of the
//! contract (calls are atomic, columns that were not asked for are empty, timers fire in rounds and in order).
//!
//! ```
//! # use weir_sdk::*;
//! # const OUT: Port = Port::new(0, "out");
//! # struct Echo;
//! # impl Operator for Echo {
//! #     fn descriptor() -> Descriptor { Descriptor::new("echo", "0.1.0").input("in", &[VALUES]).output(OUT) }
//! #     fn open(_: &Config, _: &Task) -> Result<Echo, Failure> { Ok(Echo) }
//! #     fn process(&mut self, r: &Record<'_>, ctx: &mut Context) -> Result<(), Failure> {
//! #         ctx.emit(OUT).value(r.value());
//! #         Ok(())
//! #     }
//! # }
//! use weir_sdk::testing::{TestHost, record};
//!
//! let mut host = TestHost::<Echo>::open("{}").unwrap();
//! host.push(&[record(1_000).key("a").value("hello")]).unwrap();
//! assert_eq!(host.take("out")[0].text(), "hello");
//! ```

mod record;
mod upgrade;
pub(crate) mod world;

use std::collections::BTreeMap;

use crate::column::{Column, ColumnBuf};
use crate::record::{DueBatch, NONE};
use crate::runtime::Runtime;
use crate::{Batch, Codec, Config, Descriptor, Domain, Failure, Field, MapState, Operator, Task, ValueState, arena};

pub use record::{Rejected, TestRecord, TestRow, record};
use world::{Call, Slot, World};

/// Timers that go on setting timers for one watermark end as a failure after this many rounds, as in the host.
const ROUNDS_MAX: usize = 10_000;

/// Runs one operator.
pub struct TestHost<O> {
    runtime: Option<Runtime<O>>,
    world: World,
    config: Config,
    forgetful: bool,
}

impl<O: Operator> TestHost<O> {
    /// An operator with this configuration, as JSON.
    pub fn open(config: &str) -> Result<TestHost<O>, Failure> {
        let world = World::new(O::descriptor());
        let mut host = TestHost { runtime: None, world, config: Config::parse(config)?, forgetful: false };
        host.reopen()?;
        Ok(host)
    }

    /// Opens the operator anew before each call, as the host may: what it kept outside its states is lost.
    pub fn forgetful(mut self) -> TestHost<O> {
        self.forgetful = true;
        self
    }

    /// Throws the instance away and opens another one. State and timers stay: they are the host's.
    pub fn reopen(&mut self) -> Result<(), Failure> {
        let task =
            Task { pipeline: "test".into(), node: self.world.descriptor.name.clone(), subtask: 0, parallelism: 1 };
        let config = &self.config;
        self.runtime = Some(self.world.during(|| Runtime::open(config, &task))?);
        Ok(())
    }

    /// One call with these records on the first input.
    pub fn push(&mut self, records: &[TestRecord]) -> Result<(), Failure> {
        self.push_to(0, records)
    }

    /// One call with these records on an input, by its index in the descriptor.
    pub fn push_to(&mut self, input: u32, records: &[TestRecord]) -> Result<(), Failure> {
        let columns = self.world.descriptor.inputs[input as usize].columns.clone();
        let slots: Vec<Slot> = records.iter().map(TestRecord::slot).collect();
        let ords = ordinals(records.iter().map(|record| record.key.clone()));
        let times: Vec<i64> = slots.iter().map(|slot| slot.time).collect();
        let keys =
            if columns.contains(&crate::KEYS) { filled(slots.iter().map(|slot| &slot.key)) } else { <_>::default() };
        let values = if columns.contains(&crate::VALUES) {
            filled(slots.iter().map(|slot| &slot.value))
        } else {
            <_>::default()
        };
        let call = Call { slots, ord_keys: ords.keys, in_process: true };
        self.call(call, |runtime| runtime.process(&Batch::new(input, &ords.ords, &times, keys.items(), values.items())))
    }

    /// Moves the watermark: timers up to it fire, one per key and call, then `on_watermark` runs. It never goes back.
    pub fn watermark(&mut self, at: i64) -> Result<(), Failure> {
        self.world.watermark = self.world.watermark.max(at);
        self.fire(Domain::Event, self.world.watermark)?;
        if self.world.descriptor.callbacks.contains(&"watermark") {
            let at = self.world.watermark;
            self.call(Call::default(), |runtime| runtime.on_watermark(at))?;
        }
        Ok(())
    }

    /// Moves processing time: timers up to it fire.
    pub fn now(&mut self, now: i64) -> Result<(), Failure> {
        self.world.now = now;
        self.fire(Domain::Processing, now)
    }

    /// Has values of an older schema version of a state rewritten, as at an upgrade; as many come back.
    pub fn migrate(
        &mut self,
        state: u32,
        from_version: u32,
        values: &[Option<Vec<u8>>],
    ) -> Result<Vec<Option<Vec<u8>>>, Failure> {
        let values = filled(values.iter());
        let runtime = self.runtime.as_mut().expect("`open` made one");
        let migrated = self.world.during(|| runtime.migrate(state, from_version, values.items()))?;
        Ok(migrated.items().iter().map(|value| value.map(<[u8]>::to_vec)).collect())
    }

    /// Ends the instance.
    pub fn close(mut self) {
        let runtime = self.runtime.as_mut().expect("`open` made one");
        self.world.during(|| runtime.close());
    }

    /// The end of the input: the watermark goes to the end of time, then `on_end` runs.
    pub fn end(&mut self) -> Result<(), Failure> {
        self.watermark(i64::MAX)?;
        if self.world.descriptor.callbacks.contains(&"end") {
            self.call(Call::default(), Runtime::on_end)?;
        }
        Ok(())
    }

    /// Takes the rows that a port has got so far. Panics if there is no such port.
    pub fn take(&mut self, port: &str) -> Vec<TestRow> {
        let index = self.world.descriptor.outputs.iter().position(|output| output.name == port);
        let index = index.unwrap_or_else(|| panic!("the descriptor has no output `{port}`")) as u32;
        self.world.kept.rows.remove(&index).unwrap_or_default()
    }

    /// Takes the records that were rejected so far.
    pub fn take_rejected(&mut self) -> Vec<Rejected> {
        std::mem::take(&mut self.world.kept.rejected)
    }

    /// Takes the log lines so far, as `level message name=value`.
    pub fn take_log(&mut self) -> Vec<String> {
        std::mem::take(&mut self.world.log)
    }

    /// The value of a key in a state.
    pub fn value<T: Codec>(&self, state: ValueState<T>, key: impl AsRef<[u8]>) -> Option<T> {
        let bytes = self.world.kept.values.get(&(state.index, key.as_ref().to_vec()))?;
        Some(T::decode(&mut bytes.as_slice()).expect("the state holds what its codec wrote"))
    }

    /// The map of a key in a state, in the order of the fields' bytes.
    pub fn map<F: Field, V: Codec>(&self, state: MapState<F, V>, key: impl AsRef<[u8]>) -> Vec<(F, V)> {
        let entries = self.world.kept.maps.iter().filter(|((s, k, _), _)| *s == state.index && k == key.as_ref());
        let decoded = entries.map(|((_, _, field), value)| {
            let field = F::decode_field(field).expect("the state holds what its codec wrote");
            (field, V::decode(&mut value.as_slice()).expect("the state holds what its codec wrote"))
        });
        decoded.collect()
    }

    /// How many entries all states hold: zero when an operator has cleaned up behind itself.
    pub fn state_len(&self) -> usize {
        self.world.kept.values.len() + self.world.kept.maps.len()
    }

    /// Pending timers as (time, key, tag), in the order in which they will fire.
    pub fn timers(&self, domain: Domain) -> Vec<(i64, Vec<u8>, u64)> {
        let timers = self.world.kept.timers.iter().filter(|timer| timer.0 == domain);
        timers.map(|(_, time, key, tag)| (*time, key.clone().unwrap_or_default(), *tag)).collect()
    }

    /// The value of a counter or gauge, the sum of a histogram.
    pub fn metric(&self, metric: crate::Metric) -> f64 {
        self.world.kept.metrics.get(&metric.index).copied().unwrap_or_default()
    }

    /// Grants a secret.
    pub fn grant(&mut self, name: &str, secret: &str) {
        self.world.secrets.insert(name.into(), secret.into());
    }

    /// The descriptor of the operator.
    pub fn descriptor(&self) -> &Descriptor {
        &self.world.descriptor
    }

    fn fire(&mut self, domain: Domain, until: i64) -> Result<(), Failure> {
        for _ in 0..ROUNDS_MAX {
            let due = self.world.take_due(domain, until);
            if due.is_empty() {
                return Ok(());
            }
            let ords = ordinals(due.iter().map(|timer| timer.key.clone()));
            let times: Vec<i64> = due.iter().map(|timer| timer.time).collect();
            let tags: Vec<u64> = due.iter().map(|timer| timer.tag).collect();
            let keys = filled(due.iter().map(|timer| &timer.key));
            let slots = due.iter().map(|timer| Slot { time: timer.time, key: timer.key.clone(), ..Slot::default() });
            let call = Call { slots: slots.collect(), ord_keys: ords.keys, in_process: false };
            let asked = self.world.descriptor.inputs.iter().any(|input| input.columns.contains(&crate::KEYS));
            let keys = if asked { keys.items() } else { Column::default() };
            let fired = self.call(call, |runtime| {
                runtime.on_timers(&DueBatch { domain, ords: &ords.ords, times: &times, tags: &tags, keys })
            });
            if fired.is_err() {
                // Nothing of the call is kept, so its timers are still due.
                due.into_iter().for_each(|timer| self.world.put_back(domain, timer));
                return fired;
            }
        }
        Err(Failure::fatal("timers", format_args!("still due after {ROUNDS_MAX} rounds for one watermark")))
    }

    fn call(&mut self, call: Call, f: impl FnOnce(&mut Runtime<O>) -> Result<(), Failure>) -> Result<(), Failure> {
        if self.forgetful {
            self.reopen()?;
        }
        let before = self.world.kept.clone();
        self.world.call = call;
        let runtime = self.runtime.as_mut().expect("`open` made one");
        let result = self.world.during(|| f(runtime));
        self.world.call = Call::default();
        // SAFETY: the call is over; the context drops its columns before it reads new ones.
        unsafe { arena::reset() };
        if result.is_err() {
            self.world.kept = before;
        }
        result
    }
}

struct Ordinals {
    ords: Vec<u32>,
    keys: Vec<world::Item>,
}

fn ordinals(keys: impl Iterator<Item = Option<Vec<u8>>>) -> Ordinals {
    let mut found = BTreeMap::new();
    let mut all = Ordinals { ords: Vec::new(), keys: Vec::new() };
    for key in keys {
        let next = found.len() as u32;
        let ord = *found.entry(key.clone()).or_insert(next);
        if ord == next {
            all.keys.push(key);
        }
        all.ords.push(ord);
    }
    debug_assert!(!all.ords.contains(&NONE));
    all
}

fn filled<'a>(items: impl Iterator<Item = &'a world::Item>) -> ColumnBuf {
    let mut column = ColumnBuf::default();
    items.for_each(|item| column.push(item.as_deref()));
    column
}

#[cfg(test)]
mod tests;
