//! One running guest of one subtask: instantiate, open, call after call. Every call is atomic: state overlay and outputs
//! count only when it returned well. After a trap the store is never entered again; the next call gets a new one, and the
//! state, which is the host's, moves over. Never decides what happens to a record that the guest refuses.

use std::collections::HashMap;
use std::ops::Range;

use wasmtime::component::{ComponentExportIndex, Func, Lift, TypedFunc};
use wasmtime::{Store, Trap, WasmBacktrace};
use weir_core::ids::Name;
use weir_core::record::{Batch, Column};

use super::bindings::{BatchIn, ColumnIn, ColumnOwned, Domain, DueIn, FailureKind, FailureOut, TaskIn};
use super::call::{Context, Failure, MemoryLimit, Output, Phase, Reason};
use super::descriptor::Descriptor;
use super::engine::Limits;
use super::imports::clean;
use super::operator::Operator;
use crate::state::{DueTimers, KeyedState};

/// Fuel for instantiation and `open`: more than a call, since they run once.
const START_FUEL: u64 = 5_000_000_000;
/// Bytes that one call may move from guest to host, before anything is allocated for them.
const HOSTCALL_BYTES_MAX: usize = 64 << 20;

/// Where an instance runs and what it may use.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Pipeline.
    pub pipeline: Name,
    /// Node.
    pub node: Name,
    /// The node's configuration as JSON, already checked.
    pub config: String,
    /// Secrets that the pipeline file granted to the node.
    pub secrets: HashMap<String, String>,
    /// Limits of the node.
    pub limits: Limits,
}

/// The keys of a batch, where the node is keyed.
#[derive(Debug, Clone, Default)]
pub struct Keyed {
    /// [`weir_core::key_group::hash`] of each slot's key.
    pub hashes: Vec<u64>,
    /// The key of each slot.
    pub keys: Column,
}

/// The data of a store.
pub(super) struct Data {
    /// Always present but during an import.
    pub(super) context: Option<Box<Context>>,
    memory: MemoryLimit,
}

#[derive(Clone, Copy)]
struct Exports {
    open: Func,
    process: Func,
    on_timers: Func,
    on_watermark: Func,
    on_end: Func,
    close: Func,
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

type Answer = (Result<(), FailureOut>,);

impl Instance {
    /// Instantiates and opens. The state comes back with the failure, for the next attempt.
    pub fn start(operator: &Operator, settings: Settings, state: KeyedState) -> Result<Instance, Failure> {
        let descriptor = operator.descriptor();
        let mut context =
            Context::new(settings.node.clone(), descriptor, state, settings.config.clone(), settings.limits);
        context.secrets = settings.secrets.clone();
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

    /// Bytes of linear memory are not readable from outside; the node's limit stands for them.
    pub fn limits(&self) -> Limits {
        self.settings.limits
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
        let result = typed.call(&mut self.store, (lowered,));
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
        let result = typed.call(&mut self.store, (lowered,));
        self.finish(result)
    }

    /// The watermark has moved and all its timers were delivered.
    pub fn on_watermark(&mut self, watermark: i64, now: i64) -> Result<(), Failure> {
        self.renew()?;
        let func = self.exports.on_watermark;
        self.begin(Phase::Watermark, watermark, now).state.begin_call(&[], &Column::default());
        // SAFETY: checked at load (`typecheck`).
        let typed = unsafe { TypedFunc::<(i64,), Answer>::new_unchecked(func) };
        let result = typed.call(&mut self.store, (watermark,));
        self.finish(result)
    }

    /// Nothing follows on any input.
    pub fn on_end(&mut self, watermark: i64, now: i64) -> Result<(), Failure> {
        self.renew()?;
        let func = self.exports.on_end;
        self.begin(Phase::End, watermark, now).state.begin_call(&[], &Column::default());
        // SAFETY: checked at load (`typecheck`).
        let typed = unsafe { TypedFunc::<(), Answer>::new_unchecked(func) };
        let result = typed.call(&mut self.store, ());
        self.finish(result)
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
        if let Err(error) = typed.call(&mut self.store, ()) {
            tracing::warn!(node = self.settings.node.as_str(), "close: {error:#}");
        }
    }

    fn context(&mut self) -> &mut Context {
        self.store.data_mut().context.as_mut().expect("an import puts the context back before it returns")
    }

    fn begin(&mut self, phase: Phase, watermark: i64, now: i64) -> &mut Context {
        let fuel = self.settings.limits.fuel;
        self.store.set_fuel(fuel).expect("the engine consumes fuel");
        self.store.data_mut().memory.denied = false;
        let context = self.context();
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
                return Ok(());
            }
            Ok((Err(failure),)) => Failure {
                reason: if failure.kind == FailureKind::Retry { Reason::Retry } else { Reason::Failed },
                slot: failure.slot,
                code: clean(&failure.code),
                message: clean(&failure.message),
            },
            Err(error) => {
                let failure = trapped(context, denied, &error);
                self.poisoned = true;
                failure
            }
        };
        let context = self.context();
        context.state.discard_call();
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
        let task =
            TaskIn { pipeline: pipeline.as_str(), node: node.as_str(), subtask: 0, parallelism: 1, options: &[] };
        // SAFETY: checked at load (`typecheck`).
        let typed = unsafe { TypedFunc::<(TaskIn<'_>,), Answer>::new_unchecked(func) };
        let result = typed.call(&mut self.store, (task,));
        self.finish(result)
    }
}

/// The columns of a call, taken out of the context as raw parts.
///
/// The context lives in a `Box` inside the store, and a call needs the store mutably while its arguments are lowered from
/// columns inside that box. Nothing that runs in between can change, move or free them: `batch`, `keyed` and the ordinals
/// are written by this file only, before and after the call, and no import touches them.
struct Parts {
    ords: *const [u32],
    times: *const [i64],
    keys: (*const [u32], *const [u8]),
    values: (*const [u32], *const [u8]),
}

impl Parts {
    fn of(context: &Context, is_keyed: bool, wants_keys: bool, wants_values: bool) -> Parts {
        let column = |wanted: bool, column: &Column| -> (*const [u32], *const [u8]) {
            let (ends, data): (&[u32], &[u8]) = if wanted { (&column.ends, &column.data) } else { (&[], &[]) };
            (ends, data)
        };
        let ords: &[u32] = if is_keyed { context.state.ordinals() } else { &[] };
        Parts {
            ords: ords as *const _,
            times: &raw const context.batch.times[..],
            keys: column(wants_keys, context.keys()),
            values: column(wants_values, &context.batch.values),
        }
    }

    fn batch<'a>(&self, input: u32) -> BatchIn<'a> {
        // SAFETY: see the type. The columns outlive the call that the result is made for.
        unsafe {
            BatchIn {
                input,
                ords: &*self.ords,
                times: &*self.times,
                keys: ColumnIn { ends: &*self.keys.0, data: &*self.keys.1 },
                values: ColumnIn { ends: &*self.values.0, data: &*self.values.1 },
            }
        }
    }
}

type Started = Result<(Store<Data>, Exports), (Box<Context>, Failure)>;

fn instantiate(operator: &Operator, context: Box<Context>, limits: Limits) -> Started {
    let data = Data { context: Some(context), memory: MemoryLimit::new(limits.memory) };
    let mut store = Store::new(operator.engine().raw(), data);
    store.limiter(|data| &mut data.memory);
    store.set_hostcall_fuel(HOSTCALL_BYTES_MAX);
    store.set_fuel(START_FUEL).expect("the engine consumes fuel");
    let started = operator.instantiate(&mut store).and_then(|instance| {
        let func = |store: &mut Store<Data>, index: &ComponentExportIndex| {
            instance.get_func(store, index).ok_or_else(|| wasmtime::format_err!("an export of the contract is missing"))
        };
        let exports = operator.exports();
        Ok(Exports {
            open: func(&mut store, &exports.open)?,
            process: func(&mut store, &exports.process)?,
            on_timers: func(&mut store, &exports.on_timers)?,
            on_watermark: func(&mut store, &exports.on_watermark)?,
            on_end: func(&mut store, &exports.on_end)?,
            close: func(&mut store, &exports.close)?,
        })
    });
    match started {
        Ok(exports) => Ok((store, exports)),
        Err(error) => {
            let denied = store.data().memory.denied;
            let context = store.data_mut().context.take().expect("an import puts the context back before it returns");
            let failure = trapped(&context, denied, &error);
            Err((context, failure))
        }
    }
}

/// Checks that every export has the type that the unchecked calls above rely on.
pub(super) fn typecheck(
    store: &mut Store<Data>,
    instance: &wasmtime::component::Instance,
    exports: &super::operator::ExportIndices,
) -> wasmtime::Result<()> {
    type Migrate = (u32, u32, ColumnIn<'static>);
    instance.get_typed_func::<(TaskIn<'static>,), Answer>(&mut *store, &exports.open)?;
    instance.get_typed_func::<(BatchIn<'static>,), Answer>(&mut *store, &exports.process)?;
    instance.get_typed_func::<(DueIn<'static>,), Answer>(&mut *store, &exports.on_timers)?;
    instance.get_typed_func::<(i64,), Answer>(&mut *store, &exports.on_watermark)?;
    instance.get_typed_func::<(), Answer>(&mut *store, &exports.on_end)?;
    instance.get_typed_func::<Migrate, (Result<ColumnOwned, FailureOut>,)>(&mut *store, &exports.migrate)?;
    instance.get_typed_func::<(), ()>(&mut *store, &exports.close)?;
    Ok(())
}

/// Calls an export that takes nothing, once, outside a running pipeline (`describe`).
pub(super) fn call_once<R: Lift + 'static>(
    operator_store: &mut Store<Data>,
    instance: &wasmtime::component::Instance,
    index: &ComponentExportIndex,
) -> Result<R, Failure> {
    let result = (instance.get_typed_func::<(), (R,)>(&mut *operator_store, index))
        .and_then(|func| func.call(&mut *operator_store, ()));
    result.map(|(answer,)| answer).map_err(|error| {
        let denied = operator_store.data().memory.denied;
        match operator_store.data().context.as_ref() {
            Some(context) => trapped(context, denied, &error),
            None => Failure {
                reason: Reason::Trapped,
                slot: None,
                code: "trap".into(),
                message: clean(&format!("{error:#}")),
            },
        }
    })
}

/// A store for `describe`: every import but `log` is refused.
pub(super) fn describe_store(operator: &super::engine::Engine) -> Store<Data> {
    let limits = Limits::default();
    let mut context = Context::describe();
    context.phase = Phase::Describe;
    let data = Data { context: Some(Box::new(context)), memory: MemoryLimit::new(limits.memory) };
    let mut store = Store::new(operator.raw(), data);
    store.limiter(|data| &mut data.memory);
    store.set_hostcall_fuel(HOSTCALL_BYTES_MAX);
    store.set_fuel(START_FUEL).expect("the engine consumes fuel");
    store
}

/// What a trap means, in the guest's own words where it left some.
fn trapped(context: &Context, denied: bool, error: &wasmtime::Error) -> Failure {
    let trap = error.downcast_ref::<Trap>();
    let (slot, words) = match &context.last_words {
        Some((slot, words)) => (*slot, Some(words.clone())),
        None => (None, None),
    };
    let place = error.downcast_ref::<WasmBacktrace>().and_then(|backtrace| {
        let frame = backtrace.frames().iter().find_map(|f| f.func_name())?;
        Some(format!(" in {frame}"))
    });
    let (reason, code, message) = match (&context.over_limit, trap) {
        (Some(message), _) => (Reason::Output, "output-limit", message.clone()),
        (None, Some(Trap::OutOfFuel)) => {
            (Reason::TimedOut, "call-timeout", "the call ran longer than `limits.call_timeout` allows".to_owned())
        }
        _ if denied => {
            (Reason::Memory, "memory-limit", "the guest asked for more memory than `limits.memory` allows".to_owned())
        }
        (None, Some(trap)) => (Reason::Trapped, "trap", trap.to_string()),
        (None, None) => (Reason::Trapped, "trap", format!("{}", error.root_cause())),
    };
    // A panic's own words name file and line; the frame of the panic handler would only be noise behind them.
    let message = match words {
        Some(words) if reason == Reason::Trapped => words,
        _ => clean(&format!("{message}{}", place.unwrap_or_default())),
    };
    Failure { reason, slot, code: code.to_owned(), message }
}
