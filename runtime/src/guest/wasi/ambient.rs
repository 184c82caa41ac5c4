//! What surrounds a guest that has no system: no variables, no arguments, no folders, no terminal, and a clock that stands
//! still during a call. All of it follows from the call, so a replay sees the same.

use wasmtime::component::{ComponentType, LinkerInstance, Lower, Resource};
use wasmtime::{Result, StoreContextMut};

use super::super::store::Data;
use super::Never;

const MILLI_IN_NANOS: u32 = 1_000_000;

#[derive(ComponentType, Lower)]
#[component(record)]
struct Datetime {
    seconds: u64,
    nanoseconds: u32,
}

/// The environment, the terminals, the folders that are open from the start: there are none.
pub(super) fn link_nothing(linker: &mut LinkerInstance<'_, Data>) -> Result<()> {
    linker.func_wrap("get-environment", |_, (): ()| Ok((Vec::<(String, String)>::new(),)))?;
    linker.func_wrap("get-arguments", |_, (): ()| Ok((Vec::<String>::new(),)))?;
    linker.func_wrap("initial-cwd", |_, (): ()| Ok((None::<String>,)))?;
    linker.func_wrap("get-directories", |_, (): ()| Ok((Vec::<(Resource<Never>, String)>::new(),)))?;
    for terminal in ["get-terminal-stdin", "get-terminal-stdout", "get-terminal-stderr"] {
        linker.func_wrap(terminal, |_, (): ()| Ok((None::<Resource<Never>>,)))?;
    }
    Ok(())
}

pub(super) fn link_wall_clock(linker: &mut LinkerInstance<'_, Data>) -> Result<()> {
    linker.func_wrap("now", |store: StoreContextMut<'_, Data>, (): ()| {
        let now = now(&store);
        let nanoseconds = (now % 1_000) as u32 * MILLI_IN_NANOS;
        Ok((Datetime { seconds: now / 1_000, nanoseconds },))
    })?;
    linker.func_wrap("resolution", |_, (): ()| Ok((Datetime { seconds: 0, nanoseconds: MILLI_IN_NANOS },)))
}

pub(super) fn link_monotonic_clock(linker: &mut LinkerInstance<'_, Data>) -> Result<()> {
    linker.func_wrap("now", |store: StoreContextMut<'_, Data>, (): ()| {
        Ok((now(&store).saturating_mul(u64::from(MILLI_IN_NANOS)),))
    })?;
    linker.func_wrap("resolution", |_, (): ()| Ok((u64::from(MILLI_IN_NANOS),)))
}

/// What `clock.now` of the contract answers; 0 where there is no call, and in `describe` and `open`.
fn now(store: &StoreContextMut<'_, Data>) -> u64 {
    let now = store.data().context.as_ref().map_or(0, |context| context.now);
    u64::try_from(now).unwrap_or(0)
}
