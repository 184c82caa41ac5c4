//! One running guest of one subtask: instantiate, open, call after call. Every call is atomic: state overlay and outputs
//! count only when it returned well. After a trap the store is never entered again; the next call gets a new one, and the
//! state, which is the host's, moves over. Never decides what happens to a record that the guest refuses.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use wasmtime::Store;
use wasmtime::component::{ComponentNamedList, Lift, Lower, TypedFunc};
use weir_core::ids::Name;
use weir_core::record::{ABSENT, Batch, Column};

use super::bindings::{BatchIn, ColumnIn, ColumnOwned, Domain, DueIn, FailureKind, TaskIn};
use super::call::{Context, Failure, Output, Phase, Reason};
use super::columns::Parts;
use super::descriptor::Descriptor;
use super::imports::show;
use super::limits::{LONG_FUEL, Limits};
use super::measured::{Measured, Measuring};
use super::operator::Operator;
use super::store::{Answer, Data, Exports, Migrate, Migrated, START_FUEL, instantiate};
use super::trap::trapped;
use super::wasi::{self, Random};
use crate::journal::{Journal, LogCounts, Logger};
use crate::state::{DueTimers, KeyedState};

/// Where an instance runs and what it may use.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Pipeline.
    pub pipeline: Name,
    /// Node.
    pub node: Name,
    /// Which of the node's subtasks, and of how many.
    pub subtask: Subtask,
    /// The node's configuration as JSON, already checked.
    pub config: String,
    /// Secrets that the pipeline file granted to the node.
    pub secrets: HashMap<String, String>,
    /// Limits of the node.
    pub limits: Limits,
    /// The metrics that the operator declares, where they are counted.
    pub measured: Arc<[Measured]>,
    /// Where its log lines are kept.
    pub logs: Logs,
}

/// Where log lines are kept, and counted: nobody's, unless somebody says.
#[derive(Debug, Clone, Default)]
pub struct Logs {
    /// That of the pipeline.
    pub journal: Arc<Journal>,
    /// Those of the node.
    pub counts: Arc<LogCounts>,
}

/// One of the subtasks of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subtask {
    /// From 0.
    pub index: u32,
    /// The node's parallelism.
    pub of: u32,
}

impl Subtask {
    /// That of a node with one.
    pub const ONLY: Subtask = Subtask { index: 0, of: 1 };
}

/// The keys of a batch, where the node is keyed.
#[derive(Debug, Clone, Default)]
pub struct Keyed {
    /// [`weir_core::key_group::hash`] of each slot's key.
    pub hashes: Vec<u64>,
    /// The key of each slot.
    pub keys: Column,
}

/// A guest that runs.
pub struct Instance {
    operator: Operator,
    settings: Settings,
    store: Store<Data>,
    exports: Exports,
    /// A trap left the store in an unknown state: it is replaced before the next call.
    poisoned: bool,
    /// Per input, whether the operator asked for the column.
    wants_keys: Vec<bool>,
    wants_values: Vec<bool>,
}

impl Instance {
    /// Instantiates and opens. The state comes back with the failure, for the next attempt.
    pub fn start(operator: &Operator, settings: Settings, state: KeyedState) -> Result<Instance, Failure> {
        let descriptor = operator.descriptor();
        let mut context =
            Context::new(settings.node.clone(), descriptor, state, settings.config.clone(), settings.limits);
        context.secrets = settings.secrets.clone();
        context.random = Random::new(settings.pipeline.as_str(), settings.node.as_str(), settings.subtask.index);
        context.measuring = Measuring::new(Arc::clone(&settings.measured));
        let Logs { journal, counts } = settings.logs.clone();
        context.logger = Logger::new(journal, settings.node.clone(), settings.subtask.index, counts);
        let (store, exports) =
            instantiate(operator, Box::new(context), settings.limits).map_err(|(_, failure)| failure)?;
        let wants = |column| (0..descriptor.inputs.len()).map(|i| descriptor.wants(i, column)).collect::<Vec<bool>>();
        let (wants_keys, wants_values) = (wants("keys"), wants("values"));
        let mut instance = Instance {
            operator: operator.clone(),
            settings,
            store,
            exports,
            poisoned: false,
            wants_keys,
            wants_values,
        };
        instance.open()?;
        Ok(instance)
    }

    /// What the operator declared.
    pub fn descriptor(&self) -> &Descriptor {
        self.operator.descriptor()
    }

    /// The state, between calls.
    pub fn state(&mut self) -> &mut KeyedState {
        &mut self.context().state
    }

    /// What the last call left. Take it before the next call.
    pub fn output(&mut self) -> &mut Output {
        &mut self.context().output
    }

    /// Fuel that the last call used.
    pub fn fuel_used(&self) -> u64 {
        self.settings.limits.fuel.saturating_sub(self.store.get_fuel().unwrap_or(0))
    }

    /// Whether the last call held its thread for longer than others should wait. Told by its fuel, not by the clock: on a crowded
    /// machine every call is slow.
    pub fn took_long(&self) -> bool {
        self.fuel_used() >= LONG_FUEL
    }

    /// Bytes of its linear memory.
    pub fn memory_bytes(&self) -> usize {
        self.store.data().memory.used
    }

    /// Processes a batch. It comes back as it was, whatever the guest did.
    pub fn process(
        &mut self,
        input: u32,
        batch: &mut Batch,
        keyed: Option<&mut Keyed>,
        watermark: i64,
        now: i64,
    ) -> Result<(), Failure> {
        self.renew()?;
        let (wants_keys, wants_values) = (self.wants_keys[input as usize], self.wants_values[input as usize]);
        let func = self.exports.process;
        let context = self.begin(Phase::Process, watermark, now);
        let is_keyed = keyed.is_some();
        let mut keyed = keyed;
        match &mut keyed {
            Some(keyed) => {
                context.state.begin_call(&keyed.hashes, &keyed.keys);
                context.keyed = Some(std::mem::take(&mut keyed.keys));
            }
            None => context.state.begin_call(&[], &Column::default()),
        }
        std::mem::swap(&mut context.batch, batch);
        let parts = Parts::of(context, is_keyed, wants_keys, wants_values);
        let lowered = parts.batch(input);
        // SAFETY: `Operator` checked at load that `process` takes a batch and returns a result (`typecheck`).
        let typed = unsafe { TypedFunc::<(BatchIn<'_>,), Answer>::new_unchecked(func) };
        let result = self.call(typed, (lowered,));
        let context = self.context();
        std::mem::swap(&mut context.batch, batch);
        if let (Some(keyed), Some(keys)) = (keyed, context.keyed.take()) {
            keyed.keys = keys;
        }
        self.finish(result)
    }

    /// Delivers timers `range` of those that are due. They are removed when the call returns well.
    pub fn on_timers(&mut self, due: &DueTimers, range: Range<usize>, watermark: i64, now: i64) -> Result<(), Failure> {
        self.renew()?;
        let func = self.exports.on_timers;
        let wants_keys = self.wants_keys.iter().any(|w| *w);
        let context = self.begin(Phase::Timers, watermark, now);
        context.state.begin_due(due, range.clone());
        context.due.clear();
        context.due.times.extend_from_slice(&due.times[range.clone()]);
        context.due.keys.extend_from(&due.keys, range.clone());
        context.tags.extend_from_slice(&due.tags[range.clone()]);
        range.clone().for_each(|_| context.due.values.push(None));
        let keys = if wants_keys { context.due.keys.clone() } else { Column::default() };
        let ords = context.state.ordinals().to_vec();
        let lowered = DueIn {
            domain: Domain::Event,
            ords: &ords,
            times: &due.times[range.clone()],
            tags: &due.tags[range],
            keys: ColumnIn { ends: &keys.ends, data: &keys.data },
        };
        // SAFETY: checked at load (`typecheck`).
        let typed = unsafe { TypedFunc::<(DueIn<'_>,), Answer>::new_unchecked(func) };
        let result = self.call(typed, (lowered,));
        self.finish(result)
    }

    /// The watermark has moved and all its timers were delivered.
    pub fn on_watermark(&mut self, watermark: i64, now: i64) -> Result<(), Failure> {
        self.renew()?;
        let func = self.exports.on_watermark;
        self.begin(Phase::Watermark, watermark, now).state.begin_call(&[], &Column::default());
        // SAFETY: checked at load (`typecheck`).
        let typed = unsafe { TypedFunc::<(i64,), Answer>::new_unchecked(func) };
        let result = self.call(typed, (watermark,));
        self.finish(result)
    }

    /// Nothing follows on any input.
    pub fn on_end(&mut self, watermark: i64, now: i64) -> Result<(), Failure> {
        self.renew()?;
        let func = self.exports.on_end;
        self.begin(Phase::End, watermark, now).state.begin_call(&[], &Column::default());
        // SAFETY: checked at load (`typecheck`).
        let typed = unsafe { TypedFunc::<(), Answer>::new_unchecked(func) };
        let result = self.call(typed, ());
        self.finish(result)
    }

    /// Rewrites values of a state that an older schema version wrote. As many come back; an absent one stands for none.
    pub fn migrate(&mut self, state: u32, from: u32, values: &Column) -> Result<Column, Failure> {
        self.renew()?;
        let func = self.exports.migrate;
        self.begin(Phase::Migrate, i64::MIN, 0).state.begin_call(&[], &Column::default());
        // SAFETY: checked at load (`typecheck`).
        let typed = unsafe { TypedFunc::<Migrate<'_>, Migrated>::new_unchecked(func) };
        let mut answered = None;
        let result = self.call(typed, (state, from, ColumnIn { ends: &values.ends, data: &values.data }));
        self.finish(result.map(|(answer,)| (answer.map(|column| answered = Some(column)),)))?;
        let emitted = self.context().output.ports.iter().any(|rows| !rows.is_empty());
        let migrated = answered.map(|ColumnOwned { ends, data }| Column { ends, data }).unwrap_or_default();
        let wrong = match emitted {
            true => Some("it emitted rows, which would be lost".to_owned()),
            false => wrong_column(&migrated, values.len(), self.settings.limits.record),
        };
        match wrong {
            None => Ok(migrated),
            Some(message) => {
                let code = "migrate".to_owned();
                Err(Failure { reason: Reason::Failed, slot: None, code, message, backtrace: Vec::new() })
            }
        }
    }

    /// Tells the guest that it goes. What it answers changes nothing.
    pub fn close(&mut self) {
        if self.poisoned || !self.descriptor().calls("close") {
            return;
        }
        let func = self.exports.close;
        self.begin(Phase::Idle, i64::MAX, 0);
        // SAFETY: checked at load (`typecheck`).
        let typed = unsafe { TypedFunc::<(), ()>::new_unchecked(func) };
        if let Err(error) = self.call(typed, ()) {
            tracing::warn!(node = self.settings.node.as_str(), "close: {error:#}");
        }
    }

    /// Calls the guest, under the eyes of the watchdog.
    fn call<P, R>(&mut self, func: TypedFunc<P, R>, parameters: P) -> wasmtime::Result<R>
    where
        P: ComponentNamedList + Lower,
        R: ComponentNamedList + Lift + 'static,
    {
        let fuel = self.store.get_fuel().expect("the engine consumes fuel");
        self.store.data_mut().watch.begin(fuel);
        let result = func.call(&mut self.store, parameters);
        wasi::flush(self.store.data_mut());
        self.store.data_mut().watch.end();
        result
    }

    fn context(&mut self) -> &mut Context {
        self.store.data_mut().context.as_mut().expect("an import puts the context back before it returns")
    }

    fn begin(&mut self, phase: Phase, watermark: i64, now: i64) -> &mut Context {
        let fuel = self.settings.limits.fuel;
        self.store.set_fuel(fuel).expect("the engine consumes fuel");
        self.store.data_mut().memory.denied = false;
        let context = self.context();
        if let Some(line) = context.untold() {
            show(&line);
        }
        context.begin(phase);
        context.output.clear();
        context.watermark = watermark;
        context.now = now;
        context
    }

    /// Keeps or discards what the call left.
    fn finish(&mut self, result: wasmtime::Result<Answer>) -> Result<(), Failure> {
        let denied = self.store.data().memory.denied;
        let context = self.context();
        context.phase = Phase::Idle;
        let failure = match result {
            Ok((Ok(()),)) => {
                context.state.commit_call();
                context.measuring.commit();
                return Ok(());
            }
            Ok((Err(failure),)) => Failure {
                reason: if failure.kind == FailureKind::Retry { Reason::Retry } else { Reason::Failed },
                slot: failure.slot,
                code: context.shown(&failure.code),
                message: context.shown(&failure.message),
                backtrace: Vec::new(),
            },
            Err(error) => {
                let failure = trapped(context, denied, &error);
                self.poisoned = true;
                failure
            }
        };
        let context = self.context();
        context.state.discard_call();
        context.measuring.discard();
        context.output.clear();
        Err(failure)
    }

    /// A new store after a trap, with the old one's state.
    fn renew(&mut self) -> Result<(), Failure> {
        if !self.poisoned {
            return Ok(());
        }
        let context = self.store.data_mut().context.take().expect("an import puts the context back before it returns");
        match instantiate(&self.operator, context, self.settings.limits) {
            Ok((store, exports)) => {
                self.store = store;
                self.exports = exports;
                self.poisoned = false;
                self.open()
            }
            Err((context, failure)) => {
                self.store.data_mut().context = Some(context);
                Err(failure)
            }
        }
    }

    fn open(&mut self) -> Result<(), Failure> {
        let func = self.exports.open;
        self.begin(Phase::Open, i64::MIN, 0).state.begin_call(&[], &Column::default());
        self.store.set_fuel(START_FUEL).expect("the engine consumes fuel");
        let (pipeline, node) = (self.settings.pipeline.clone(), self.settings.node.clone());
        let Subtask { index, of } = self.settings.subtask;
        let task =
            TaskIn { pipeline: pipeline.as_str(), node: node.as_str(), subtask: index, parallelism: of, options: &[] };
        // SAFETY: checked at load (`typecheck`).
        let typed = unsafe { TypedFunc::<(TaskIn<'_>,), Answer>::new_unchecked(func) };
        let result = self.call(typed, (task,));
        self.finish(result)
    }
}

/// What is wrong with the column that `migrate` returned.
fn wrong_column(column: &Column, wanted: usize, bytes_max: usize) -> Option<String> {
    if column.len() != wanted {
        return Some(format!("{} values came back for {wanted}", column.len()));
    }
    let mut last = 0;
    for end in column.ends.iter().map(|end| end & !ABSENT) {
        if end < last || end as usize > column.data.len() {
            return Some(format!("a column's ends must rise and stay within its {} bytes", column.data.len()));
        }
        if (end - last) as usize > bytes_max {
            return Some(format!("a value of {} bytes is over the limit of {bytes_max} (`limits.record`)", end - last));
        }
        last = end;
    }
    None
}
