//! A shard thread: gives the shards of its queue their turns. A panic in one is the failure of that one, like any other. Owns
//! no order: that is the queue's.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::thread::Builder;
use std::time::Instant;

use super::bell::Bell;
use super::queue::RunQueue;
use crate::dataflow::shard::{Shard, Turn};
use crate::dataflow::task::Task;

/// A shard on some thread.
pub(super) struct Tenant {
    pub(super) shard: Shard,
    /// What its log lines say of whoever started it: threads are shared.
    pub(super) span: tracing::Span,
    pub(super) bell: Arc<Bell>,
    /// When it wants to be woken, while it sleeps.
    pub(super) due: Option<Instant>,
    /// Where its tasks go when it is over: who waits for that drops them, and nobody else's shard has to wait for it.
    pub(super) over: SyncSender<Vec<Task>>,
}

/// How far behind the others of the process a thread stands that holds up others: where processors are short it gets a third
/// of what each of them gets.
const NICENESS: libc::c_int = 5;

/// The thread that calls this lets the others go first, for good: no thread may raise itself again.
pub(super) fn give_way() {
    // SAFETY: changes a number of the calling thread, which on Linux is what 0 stands for. Where it is refused nothing is lost.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICENESS) };
}

/// Starts a thread for a queue, as the owner of this number.
pub(super) fn start(queue: Arc<RunQueue>, owner: u64, gives_way: bool) -> io::Result<()> {
    let run = move || {
        if gives_way {
            give_way();
        }
        run(queue, owner);
    };
    Builder::new().name("shard".to_owned()).spawn(run).map(drop)
}

fn run(mut queue: Arc<RunQueue>, mut owner: u64) {
    while let Some((slot, mut tenant)) = queue.next(owner) {
        tenant.bell.begin_turn();
        let Tenant { shard, span, .. } = &mut *tenant;
        match catch_unwind(AssertUnwindSafe(|| span.in_scope(|| shard.turn()))) {
            Ok(Turn::Over) => {
                queue.vacate(slot);
                let Tenant { shard, over, .. } = *tenant;
                // Nobody who waits: they are dropped here.
                let _ = over.try_send(shard.into_tasks());
            }
            Ok(turn) => {
                if let Err(tenant) = queue.put_back(owner, slot, tenant, turn) {
                    (queue, owner) = (RunQueue::new(false), 0);
                    queue.admit(tenant);
                }
            }
            Err(panic) => {
                queue.vacate(slot);
                let what = panic.downcast_ref::<String>().cloned();
                let what = what.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned())).unwrap_or_default();
                tenant.shard.on_panic(&what);
                // What its tasks do when they are dropped in this state is nobody's promise.
                if catch_unwind(AssertUnwindSafe(|| drop(tenant))).is_err() {
                    tracing::error!("the shard panicked while it stopped");
                }
            }
        }
    }
}
