//! The trait that an operator implements.

use crate::{Batch, Config, Context, Descriptor, Due, Failure, Record, Task};

/// Code that runs over a stream, one record after the other.
///
/// The struct holds configuration, not data: between two calls the host may throw the instance away and open another.
/// What must last goes into states and timers. Everything that a call does (rows, state, timers) is kept if all its
/// records succeed, and is undone if one fails.
pub trait Operator: Sized + 'static {
    /// Names, ports, states and callbacks. Called once, when the component is checked, with no imports but the log.
    fn descriptor() -> Descriptor;

    /// Makes an instance from the node's configuration.
    fn open(config: &Config, task: &Task) -> Result<Self, Failure>;

    /// One record.
    fn process(&mut self, record: &Record<'_>, ctx: &mut Context) -> Result<(), Failure>;

    /// All records of a call, for operators that work on columns. Unless replaced: `process` for each in order.
    #[inline]
    fn process_batch(&mut self, batch: &Batch<'_>, ctx: &mut Context) -> Result<(), Failure> {
        for record in batch.records() {
            ctx.at(&record);
            self.process(&record, ctx)?;
        }
        Ok(())
    }

    /// A timer is due. Wanted by [`Descriptor::timers`] and [`Descriptor::processing_timers`].
    fn on_timer(&mut self, _timer: &Due<'_>, _ctx: &mut Context) -> Result<(), Failure> {
        Ok(())
    }

    /// The watermark has moved, and the timers up to it have fired. Wanted by [`Descriptor::watermarks`].
    fn on_watermark(&mut self, _at: i64, _ctx: &mut Context) -> Result<(), Failure> {
        Ok(())
    }

    /// The input has ended, and all timers of event time have fired. Wanted by [`Descriptor::end`].
    fn on_end(&mut self, _ctx: &mut Context) -> Result<(), Failure> {
        Ok(())
    }

    /// One value (or map value) of the state with this index, written under an older schema version; `None` removes it.
    /// Wanted by [`Descriptor::migrates`].
    fn migrate(&mut self, state: u32, from_version: u32, _value: &[u8]) -> Result<Option<Vec<u8>>, Failure> {
        Err(Failure::fatal("no-migration", format_args!("state {state} has no way from schema version {from_version}")))
    }

    /// The instance is about to go. Wanted by [`Descriptor::closes`].
    fn close(&mut self) {}
}
