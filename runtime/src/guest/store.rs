//! A guest's store: made for one subtask, with its limits set before anything of the guest runs, thrown away after a trap.
//! Owns instantiation and the types of the exports; calls nothing but `describe`.

use wasmtime::Store;
use wasmtime::component::{ComponentExportIndex, Func, Lift};

use super::bindings::{BatchIn, ColumnIn, ColumnOwned, DueIn, FailureOut, TaskIn};
use super::call::{Context, Failure, Phase, Reason};
use super::engine::Engine;
use super::imports::clean;
use super::limits::{Limits, MemoryLimit};
use super::operator::{ExportIndices, Operator};
use super::trap::trapped;
use super::wasi::{self, Stdio};
use super::watchdog::{self, Watch};

/// Fuel for instantiation and `open`: more than a call, since they run once.
pub(super) const START_FUEL: u64 = 5_000_000_000;
/// Bytes that one call may move from guest to host, before anything is allocated for them.
const HOSTCALL_BYTES_MAX: usize = 64 << 20;

/// What an export that can fail answers.
pub(super) type Answer = (Result<(), FailureOut>,);

/// What `migrate` takes and answers.
pub(super) type Migrated = (Result<ColumnOwned, FailureOut>,);
pub(super) type Migrate<'a> = (u32, u32, ColumnIn<'a>);

/// The data of a store.
pub(super) struct Data {
    /// Always present but during an import.
    pub(super) context: Option<Box<Context>>,
    pub(super) memory: MemoryLimit,
    pub(super) watch: Watch,
    pub(super) stdio: Stdio,
}

#[derive(Clone, Copy)]
pub(super) struct Exports {
    pub(super) open: Func,
    pub(super) process: Func,
    pub(super) on_timers: Func,
    pub(super) on_watermark: Func,
    pub(super) on_end: Func,
    pub(super) migrate: Func,
    pub(super) close: Func,
}

pub(super) type Started = Result<(Store<Data>, Exports), (Box<Context>, Failure)>;

pub(super) fn instantiate(operator: &Operator, mut context: Box<Context>, limits: Limits) -> Started {
    context.begin(Phase::Idle);
    let watch = watchdog::watch(context.node.as_str(), &operator.inspection().sha256);
    let mut store = store(operator.engine(), context, limits.memory, watch);
    store.data_mut().watch.begin(START_FUEL);
    let instantiated = operator.instantiate(&mut store);
    wasi::flush(store.data_mut());
    store.data_mut().watch.end();
    let started = instantiated.and_then(|instance| {
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
            migrate: func(&mut store, &exports.migrate)?,
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
    exports: &ExportIndices,
) -> wasmtime::Result<()> {
    instance.get_typed_func::<(TaskIn<'static>,), Answer>(&mut *store, &exports.open)?;
    instance.get_typed_func::<(BatchIn<'static>,), Answer>(&mut *store, &exports.process)?;
    instance.get_typed_func::<(DueIn<'static>,), Answer>(&mut *store, &exports.on_timers)?;
    instance.get_typed_func::<(i64,), Answer>(&mut *store, &exports.on_watermark)?;
    instance.get_typed_func::<(), Answer>(&mut *store, &exports.on_end)?;
    instance.get_typed_func::<Migrate<'static>, Migrated>(&mut *store, &exports.migrate)?;
    instance.get_typed_func::<(), ()>(&mut *store, &exports.close)?;
    Ok(())
}

/// Calls an export that takes nothing, once, outside a running pipeline (`describe`).
pub(super) fn call_once<R: Lift + 'static>(
    store: &mut Store<Data>,
    instance: &wasmtime::component::Instance,
    index: &ComponentExportIndex,
) -> Result<R, Failure> {
    let result = instance.get_typed_func::<(), (R,)>(&mut *store, index).and_then(|func| {
        store.data_mut().watch.begin(START_FUEL);
        let result = func.call(&mut *store, ());
        wasi::flush(store.data_mut());
        store.data_mut().watch.end();
        result
    });
    result.map(|(answer,)| answer).map_err(|error| {
        let denied = store.data().memory.denied;
        match store.data().context.as_ref() {
            Some(context) => trapped(context, denied, &error),
            None => Failure {
                reason: Reason::Trapped,
                slot: None,
                code: "trap".into(),
                message: clean(&format!("{error:#}")),
                backtrace: Vec::new(),
            },
        }
    })
}

/// A store for `describe`: every import but `log` is refused.
pub(super) fn describe_store(engine: &Engine, sha256: &str) -> Store<Data> {
    let mut context = Context::describe();
    context.phase = Phase::Describe;
    let watch = watchdog::watch("describe", sha256);
    store(engine, Box::new(context), Limits::default().memory, watch)
}

fn store(engine: &Engine, context: Box<Context>, memory: usize, watch: Watch) -> Store<Data> {
    let data = Data { context: Some(context), memory: MemoryLimit::new(memory), watch, stdio: Stdio::default() };
    let mut store = Store::new(engine.raw(), data);
    store.limiter(|data| &mut data.memory);
    store.set_hostcall_fuel(HOSTCALL_BYTES_MAX);
    store.set_fuel(START_FUEL).expect("the engine consumes fuel");
    store
}
