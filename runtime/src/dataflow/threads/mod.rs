//! Which thread runs a shard, and when. A shard thread runs the shards of its queue in turn, a bounded turn of each, and
//! sleeps when none has anything to do: until a bell rings, or until the earliest thing that is due. Knows no task.
//!
//! A shard never waits in its turn, but a guest may hold it for as long as its fuel lasts, again and again. Once one has done
//! so, its shard keeps the thread to itself, and a new thread goes on with the others.

mod bell;
mod pool;
mod queue;
mod thread;

pub use bell::Bell;
pub use pool::{Prepared, RunningShard, ShardPool};

#[cfg(test)]
mod tests;
