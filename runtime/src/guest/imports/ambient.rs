//! What surrounds a call and stays the same during it: clock, watermark, configuration, secrets.

use wasmtime::Result;
use wasmtime::component::Linker;

use super::super::store::Data;
use super::with;

pub(super) fn link(linker: &mut Linker<Data>) -> Result<()> {
    let mut clock = linker.instance("weir:operator/clock@0.1.0")?;
    clock.func_wrap("watermark", |store, (): ()| with(store, |context, _| Ok((context.watermark,))))?;
    clock.func_wrap("now", |store, (): ()| with(store, |context, _| Ok((context.now,))))?;
    let mut config = linker.instance("weir:operator/config@0.1.0")?;
    config.func_wrap("get", |store, (): ()| with(store, |context, _| Ok((context.config.clone(),))))?;
    config.func_wrap("secret", |store, (name,): (String,)| {
        with(store, |context, _| Ok((context.secrets.get(&name).cloned(),)))
    })
}
