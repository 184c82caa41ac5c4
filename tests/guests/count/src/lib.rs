//! The least operator that has it all, for `tests/bench/boundary.rs`: all columns in, one state per key, one row out for
//! each record. What its calls cost is what the boundary costs.

use weir_sdk::{Config, Context, Descriptor, Failure, KEYS, Operator, Port, Record, Task, VALUES, ValueState};

const OUT: Port = Port::new(0, "out");
const COUNT: ValueState<u64> = ValueState::new(0, "count");

struct Count;

weir_sdk::export!(Count);

impl Operator for Count {
    fn descriptor() -> Descriptor {
        Descriptor::new("count", "0.1.0").input("in", &[KEYS, VALUES]).output(OUT).value_state(COUNT)
    }

    fn open(_: &Config, _: &Task) -> Result<Count, Failure> {
        Ok(Count)
    }

    fn process(&mut self, _: &Record<'_>, ctx: &mut Context) -> Result<(), Failure> {
        *ctx.value(COUNT).or_default() += 1;
        ctx.forward(OUT);
        Ok(())
    }
}
