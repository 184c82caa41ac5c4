//! Runs an operator: one method per export of the contract. Owns the instance and the buffers of a call; never decides what
//! a failure means. Both the component's exports and the test host stand on it.

use crate::column::{Column, ColumnBuf};
use crate::record::DueBatch;
use crate::{Batch, Config, Context, Failure, Operator, Task};

pub(crate) struct Runtime<O> {
    operator: O,
    ctx: Context,
}

impl<O: Operator> Runtime<O> {
    pub(crate) fn open(config: &Config, task: &Task) -> Result<Runtime<O>, Failure> {
        O::open(config, task).map(|operator| Runtime { operator, ctx: Context::default() })
    }

    pub(crate) fn process(&mut self, batch: &Batch<'_>) -> Result<(), Failure> {
        self.call(|operator, ctx| operator.process_batch(batch, ctx))
    }

    pub(crate) fn on_timers(&mut self, due: &DueBatch<'_>) -> Result<(), Failure> {
        self.call(|operator, ctx| {
            due.timers().try_for_each(|timer| {
                ctx.turn_to(timer.slot(), timer.ord());
                operator.on_timer(&timer, ctx)
            })
        })
    }

    pub(crate) fn on_watermark(&mut self, at: i64) -> Result<(), Failure> {
        self.call(|operator, ctx| operator.on_watermark(at, ctx))
    }

    pub(crate) fn on_end(&mut self) -> Result<(), Failure> {
        self.call(|operator, ctx| operator.on_end(ctx))
    }

    /// As many values come back as were given.
    pub(crate) fn migrate(&mut self, state: u32, from: u32, values: Column<'_>) -> Result<ColumnBuf, Failure> {
        let mut migrated = ColumnBuf::default();
        for value in values.iter() {
            let value = value.map(|value| self.operator.migrate(state, from, value)).transpose()?;
            migrated.push(value.flatten().as_deref());
        }
        Ok(migrated)
    }

    pub(crate) fn close(&mut self) {
        self.operator.close();
    }

    #[inline]
    fn call(&mut self, f: impl FnOnce(&mut O, &mut Context) -> Result<(), Failure>) -> Result<(), Failure> {
        self.ctx.begin();
        match f(&mut self.operator, &mut self.ctx) {
            Ok(()) => {
                self.ctx.finish();
                Ok(())
            }
            Err(failure) => Err(Failure { slot: failure.slot.or(crate::panic::blamed()), ..failure }),
        }
    }
}
