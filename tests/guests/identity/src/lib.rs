//! Passes every record on, without asking for a byte of it: what a node costs that does nothing.

use weir_sdk::{Batch, Config, Context, Descriptor, Failure, Operator, Port, Record, Task};

const OUT: Port = Port::new(0, "out");

struct Identity;

weir_sdk::export!(Identity);

impl Operator for Identity {
    fn descriptor() -> Descriptor {
        Descriptor::new("identity", "0.1.0").input("in", &[]).output(OUT)
    }

    fn open(_: &Config, _: &Task) -> Result<Identity, Failure> {
        Ok(Identity)
    }

    fn process(&mut self, _: &Record<'_>, ctx: &mut Context) -> Result<(), Failure> {
        ctx.forward(OUT);
        Ok(())
    }

    fn process_batch(&mut self, batch: &Batch<'_>, ctx: &mut Context) -> Result<(), Failure> {
        ctx.forward_slots(OUT, 0..batch.len() as u32);
        Ok(())
    }
}
