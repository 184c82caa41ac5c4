//! Randomness that a replay sees again: a stream of bytes for each call, made from the task and from all that the call was
//! given. Nothing of it is kept between calls. Calls with other input see other bytes; it is no secret from anybody.

use wasmtime::component::LinkerInstance;
use wasmtime::{Result, StoreContextMut, bail};
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use super::super::call::{Context, Phase};
use super::super::store::Data;
use super::pay;

/// Bytes that one import may ask for.
const BYTES_MAX: u64 = 1 << 20;
const BLOCK: usize = 16;

pub(super) fn link(linker: &mut LinkerInstance<'_, Data>) -> Result<()> {
    for bytes in ["get-random-bytes", "get-insecure-random-bytes"] {
        linker.func_wrap(bytes, |mut store, (len,): (u64,)| {
            if len > BYTES_MAX {
                bail!("the guest asked for {len} random bytes at once, allowed are {BYTES_MAX}");
            }
            // As where a guest fills its memory itself.
            pay(&mut store, len)?;
            Ok((draw(context(&mut store)?, len as usize),))
        })?;
    }
    for name in ["get-random-u64", "get-insecure-random-u64"] {
        linker.func_wrap(name, |mut store, (): ()| Ok((number(&mut store)?,)))?;
    }
    linker.func_wrap("insecure-seed", |mut store, (): ()| Ok(((number(&mut store)?, number(&mut store)?),)))
}

fn context<'a>(store: &'a mut StoreContextMut<'_, Data>) -> Result<&'a mut Context> {
    let context = store.data_mut().context.as_deref_mut();
    context.ok_or_else(|| wasmtime::format_err!("import called outside a call"))
}

/// The next bytes of the running call.
pub(super) fn draw(context: &mut Context, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    if context.random.call.is_none() {
        context.random.call = Some(seed(context));
    }
    context.random.fill(&mut bytes);
    bytes
}

fn number(store: &mut StoreContextMut<'_, Data>) -> Result<u64> {
    let bytes = draw(context(store)?, 8);
    Ok(u64::from_le_bytes(bytes.try_into().unwrap_or_default()))
}

/// The randomness of one task.
#[derive(Debug, Default)]
pub(in super::super) struct Random {
    task: u128,
    /// The seed of the running call, once it was asked for.
    call: Option<u128>,
    /// Blocks that it has taken.
    blocks: u64,
}

impl Random {
    pub(in super::super) fn new(pipeline: &str, node: &str, subtask: u32) -> Random {
        // Names hold no slash.
        Random { task: xxh3_128(format!("{pipeline}/{node}/{subtask}").as_bytes()), call: None, blocks: 0 }
    }

    /// Another call begins.
    pub(in super::super) fn restart(&mut self) {
        (self.call, self.blocks) = (None, 0);
    }

    /// Blocks that the running call has taken.
    #[cfg(test)]
    pub(super) fn blocks(&self) -> u64 {
        self.blocks
    }

    fn fill(&mut self, bytes: &mut [u8]) {
        let mut source = [0; BLOCK + 8];
        source[..BLOCK].copy_from_slice(&self.call.unwrap_or(self.task).to_le_bytes());
        for chunk in bytes.chunks_mut(BLOCK) {
            source[BLOCK..].copy_from_slice(&self.blocks.to_le_bytes());
            self.blocks += 1;
            chunk.copy_from_slice(&xxh3_128(&source).to_le_bytes()[..chunk.len()]);
        }
    }
}

/// The seed of the running call: its task, which call it is, and what it works on.
fn seed(context: &Context) -> u128 {
    let mut hasher = Xxh3::new();
    hasher.update(&context.random.task.to_le_bytes());
    hasher.update(&[context.phase as u8]);
    if context.phase == Phase::Watermark {
        hasher.update(&context.watermark.to_le_bytes());
    }
    context.tags.iter().for_each(|tag| hasher.update(&tag.to_le_bytes()));
    if let Some(batch) = context.slots() {
        batch.times.iter().for_each(|time| hasher.update(&time.to_le_bytes()));
        for column in [context.inherited_keys(), &batch.values, &batch.headers] {
            // The ends tell where one item ends and the next begins.
            column.ends.iter().for_each(|end| hasher.update(&end.to_le_bytes()));
            hasher.update(&column.data);
        }
        for run in &batch.origins {
            hasher.update(&run.partition.to_le_bytes());
            hasher.update(&run.first_offset.to_le_bytes());
        }
    }
    hasher.digest128()
}
