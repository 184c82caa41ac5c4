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

    /// One value of a state (of a map: the value of a field) that an older schema version wrote; `None` removes it. Wanted by
    /// [`Descriptor::migrates`].
    ///
    /// Called at the start of a pipeline, behind `open`, for every value of each state whose version in the snapshot is older
    /// than the declared one, of whatever older version it is. A start that a crash cuts off does it again, so the answer
    /// depends on the arguments and the configuration alone. There is no key, no state, no timer and no output.
    ///
    /// ```
    /// # use weir_sdk::*;
    /// /// Version 1 was a `u64`: the number of records.
    /// const COUNT: ValueState<(u64, i64)> = ValueState::new(0, "count").version(2);
    ///
    /// # struct Count;
    /// # impl Operator for Count {
    /// # fn descriptor() -> Descriptor { Descriptor::new("count", "2.0.0").value_state(COUNT).migrates() }
    /// # fn open(_: &Config, _: &Task) -> Result<Count, Failure> { Ok(Count) }
    /// # fn process(&mut self, _: &Record<'_>, _: &mut Context) -> Result<(), Failure> { Ok(()) }
    /// fn migrate(&mut self, state: u32, from_version: u32, value: &[u8]) -> Result<Option<Vec<u8>>, Failure> {
    ///     if COUNT.is(state) && from_version == 1 {
    ///         return COUNT.rewrite(value, |count: u64| Some((count, i64::MIN)));
    ///     }
    ///     Err(Failure::no_migration(state, from_version))
    /// }
    /// # }
    /// # let mut host = weir_sdk::testing::TestHost::<Count>::open("{}").unwrap();
    /// # let old = host.migrate(0, 1, &[Some(7_u64.to_le_bytes().to_vec())]).unwrap();
    /// # assert_eq!(<(u64, i64)>::decode(&mut old[0].as_deref().unwrap()), Ok((7, i64::MIN)));
    /// ```
    fn migrate(&mut self, state: u32, from_version: u32, _value: &[u8]) -> Result<Option<Vec<u8>>, Failure> {
        Err(Failure::no_migration(state, from_version))
    }

    /// The instance is about to go. Wanted by [`Descriptor::closes`].
    fn close(&mut self) {}
}
