//! Parts of the batch that a guest asks for: headers and origins.

use wasmtime::Result;
use wasmtime::component::Linker;

use super::super::store::Data;
use super::memory::{answer, push};
use super::{in_process, with};

pub(super) fn link(linker: &mut Linker<Data>) -> Result<()> {
    let mut input = linker.instance("weir:operator/input@0.1.0")?;
    input.func_wrap("headers", |store, (): ()| {
        with(store, |context, _| {
            in_process(context, "headers")?;
            let headers = &context.batch.headers;
            let mut column = answer(context.batch.len());
            for slot in 0..context.batch.len() {
                push(&mut column, if headers.is_empty() { None } else { headers.get(slot) });
            }
            Ok((column,))
        })
    })?;
    input.func_wrap("origins", |store, (): ()| {
        with(store, |context, _| {
            in_process(context, "origins")?;
            let (mut partitions, mut offsets) = (Vec::new(), Vec::new());
            for run in &context.batch.origins {
                for i in 0..i64::from(run.count) {
                    partitions.push(run.partition as u32);
                    offsets.push(run.first_offset + i);
                }
            }
            Ok(((partitions, offsets),))
        })
    })
}
